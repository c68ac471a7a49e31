# SPDX-License-Identifier: ISC
"""DNS over TLS: servers that dnsproxyd asks by it, and clients that ask dnsproxyd by it."""

import contextlib
import functools
import os
import re
import shutil
import signal
import socket
import ssl
import struct
import subprocess
import threading
import time
import warnings

import dns_message as dns
import harness
import tls_server
from dns_message import Message, a_record, query_bytes
from harness import expect, needs, output_of, wait_until
from peers import DnsServer, ask_udp, read_tcp_message
from scripted_dns import ScriptedServer
from tls_server import TlsServer, certificate, key, pin

PADDING, KEEPALIVE = 12, 11
CA = "upstream default.ca={}"


def ca():
    return CA.format(certificate("ca"))


def ask(daemon, name):
    return Message(ask_udp(query_bytes(name, opt=dns.opt_record()), daemon.port))


def address_of(reply):
    return [socket.inet_ntoa(record.rdata) for record in reply.answers if record.type == dns.A]


@contextlib.contextmanager
def daemon_before(upstream, *options, workers=1):
    daemon = harness.dnsproxyd(upstream, f"server.workers={workers}", *options)
    yield daemon
    daemon.stop()


# --- servers that are asked by TLS ----------------------------------------------------------------


def test_answers():
    """A server asked by TLS answers; what it is asked is padded to 128 octets"""
    with contextlib.closing(TlsServer()) as server:
        with daemon_before(server.address + "#dns.example", ca()) as daemon:
            for name in ("a.example", "a-much-longer-name-than-the-first-one.with.labels.example"):
                expect(address_of(ask(daemon, name)), ["192.0.2.7"], "the answer")
            counters = daemon.counters()
        expect(server.connection_count, 1, "connections")
        expect([len(wire) % 128 for wire in server.seen], [0, 0], "lengths of queries, modulo 128")
        for wire in server.seen:
            options = Message(wire).options
            expect(options[KEEPALIVE], b"", "the keepalive option")
            expect(set(options[PADDING]) <= {0}, True, "that padding is zeros")
    expect(counters["upstream_tls_handshakes"], 1, "handshakes")


def test_padding_off():
    """With padding = off, queries have the length they have"""
    with contextlib.closing(TlsServer()) as server:
        with daemon_before(server.address + "#dns.example", ca(), "privacy.padding=off") as daemon:
            ask(daemon, "a.example")
        expect(PADDING in Message(server.seen[0]).options, False, "whether there is padding")


BAD = (
    ("other", "#dns.example", "wrong_name", ()),
    ("other", "", "wrong_name", ()),
    ("expired", "#dns.example", "expired", ()),
    ("future", "#dns.example", "not_yet_valid", ()),
    ("self", "#dns.example", "self_signed", ()),
    ("stranger", "#dns.example", "untrusted", ()),
    ("good", "#dns.example", "wrong_pin", ("other",)),
    ("good", "#elsewhere.example", "wrong_name", ()),
)


def test_refused():
    """A server that is not who it should be gets no question; the others answer"""
    for name, suffix, word, pins in BAD:
        yield (f"A server with certificate {name}, asked for as {suffix or 'its address'}, is refused: {word}",
               functools.partial(refuse, name, suffix, word, pins))


def refuse(name, suffix, word, pins):
    """One server with this certificate, and then one that is good."""
    good_pins = [*pins, "stranger"] if pins else []
    good_name = "stranger" if pins else "good"
    options = [f"upstream default.pin={pin(p)}" for p in good_pins]
    options.append(CA.format(both_authorities()) if pins else ca())
    with contextlib.closing(TlsServer(name)) as bad, contextlib.closing(TlsServer(good_name)) as good:
        servers = f"{bad.address}{suffix},{good.address}#dns.example"
        with daemon_before(servers, "upstream default.strategy=failover", *options) as daemon:
            for i in range(6):
                expect(address_of(ask(daemon, f"n{i}.example")), ["192.0.2.7"], "the answer")
            counters = daemon.counters()
            log = daemon.log()
        expect(bad.seen, [], "queries that the bad server got")
        expect(len(good.seen) >= 6, True, "that the good server was asked")
        expect(counters[f"upstream_tls_{word}"] >= 1, True, f"that upstream_tls_{word} counts")
        lines = [line for line in log.splitlines() if " upstream-refused " in line]
        expect(len(lines), 1, "lines in the log")
        expect(f" why={word} " in lines[0] and f"{bad.address}" in lines[0], True, f"that {lines[0]!r} tells")


def both_authorities():
    text = ""
    for name in ("ca", "elsewhere"):
        with open(certificate(name), encoding="ascii") as file:
            text += file.read()
    return harness.temporary_file("both.pem", text)


def test_refused_alone():
    """With no other server there is no answer, and nothing in clear text"""
    with contextlib.closing(TlsServer("self")) as server, contextlib.closing(ScriptedServer()) as plain:
        upstream = server.address + "#dns.example"
        with daemon_before(upstream, ca()) as daemon:
            expect(ask(daemon, "a.example").rcode, dns.SERVFAIL, "the rcode")
            counters = daemon.counters()
        expect(server.seen, [], "queries that the server got")
        expect(plain.seen, [], "queries in clear text")
    expect(counters["upstream_tls_self_signed"] > 0, True, "that it counts")


def test_not_tls():
    """A server that speaks no TLS gets no question"""
    with contextlib.closing(ScriptedServer()) as server:
        with daemon_before(f"tls://{server.address}#dns.example", ca()) as daemon:
            expect(ask(daemon, "a.example").rcode, dns.SERVFAIL, "the rcode")
        expect(server.seen, [], "queries in clear text")


def test_pin_alone():
    """A pinned key is enough, whoever signed the certificate"""
    with contextlib.closing(TlsServer("self")) as server:
        with daemon_before(server.address, f"upstream default.pin={pin('other')},{pin('self')}") as daemon:
            expect(address_of(ask(daemon, "a.example")), ["192.0.2.7"], "the answer")


def test_address_in_certificate():
    """Without a name the certificate must be for the address"""
    with contextlib.closing(TlsServer()) as server:
        with daemon_before(server.address, ca()) as daemon:
            expect(address_of(ask(daemon, "a.example")), ["192.0.2.7"], "the answer")


def test_opportunistic():
    """authentication = opportunistic takes any certificate, but no clear text"""
    opportunistic = "upstream default.authentication=opportunistic"
    with contextlib.closing(TlsServer("expired")) as server, contextlib.closing(ScriptedServer()) as plain:
        with daemon_before(server.address + "#elsewhere.example", opportunistic) as daemon:
            expect(address_of(ask(daemon, "a.example")), ["192.0.2.7"], "the answer")
        with daemon_before(f"tls://{plain.address}#elsewhere.example", opportunistic) as daemon:
            expect(ask(daemon, "a.example").rcode, dns.SERVFAIL, "the rcode")
        expect(plain.seen, [], "queries in clear text")


# --- connections ----------------------------------------------------------------------------------


def ask_many(daemon, count, window=200):
    """So many different questions, `window` at a time; returns how many had an address in the answer."""
    good = 0
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(10)
        sock.connect(("127.0.0.1", daemon.port))
        for first in range(0, count, window):
            for i in range(first, min(first + window, count)):
                sock.send(query_bytes(f"n{i}.example", ident=i % 65536, opt=dns.opt_record()))
            for _ in range(first, min(first + window, count)):
                good += bool(Message(sock.recv(4096)).answers)
    return good


def test_ten_thousand():
    """10,000 questions need at most four connections, and one handshake each"""
    with contextlib.closing(TlsServer()) as server:
        with daemon_before(server.address + "#dns.example", ca(), workers=2) as daemon:
            expect(ask_many(daemon, 10000), 10000, "answers")
            counters = daemon.counters()
        expect(server.connection_count <= 4, True, f"that {server.connection_count} connections are at most 4")
        expect(counters["upstream_tls_handshakes"], server.connection_count, "handshakes")


def test_resumption():
    """When the server hangs up the next connection resumes the session, and no client notices"""
    with contextlib.closing(TlsServer()) as server:
        with daemon_before(server.address + "#dns.example", ca()) as daemon:
            for i in range(4):
                expect(address_of(ask(daemon, f"n{i}.example")), ["192.0.2.7"], "the answer")
                server.hang_up()
                wait_until(lambda: not server.socks, 5, "end of the connection")
                time.sleep(0.05)
            counters = daemon.counters()
        expect(server.resumed_count, 3, "sessions resumed")
    expect(counters["upstream_tls_resumed"], 3, "sessions resumed, as counted")


def test_keepalive():
    """An idle connection ends when the server wants it to (RFC 7828)"""

    def answer(message):
        wire = bytearray(message.answer_bytes([a_record(message.name, "192.0.2.7")]))
        wire[11] += 1  # ARCOUNT
        return bytes(wire) + opt_bytes(struct.pack(">HHH", KEEPALIVE, 2, 7))

    def opt_bytes(options):
        return struct.pack(">BHHIH", 0, 41, 1232, 0, len(options)) + options

    with contextlib.closing(TlsServer()) as server:
        # The scripted answers carry no OPT otherwise.
        plain = server.answer(Message(query_bytes("x.example")))
        expect(plain[10:12], b"\0\0", "ARCOUNT")
        server.answer = answer
        with daemon_before(server.address + "#dns.example", ca()) as daemon:
            began = time.monotonic()
            ask(daemon, "a.example")
            wait_until(lambda: not server.socks, 5, "end of the connection")
            took = time.monotonic() - began
            expect(0.6 < took < 3, True, f"that {took:.1f} s is about 0.7")
            expect(address_of(ask(daemon, "b.example")), ["192.0.2.7"], "the answer")
        expect(server.resumed_count, 1, "sessions resumed")


def test_half_open():
    """A connection that goes silent while questions flow is replaced within 2 s"""
    with contextlib.closing(TlsServer()) as server:
        with daemon_before(server.address + "#dns.example", ca()) as daemon:
            ask(daemon, "first.example")
            server.go_silent()
            began = time.monotonic()
            results = flow(daemon, seconds=4)
        late = [at - began for at, ok in results if at - began > 2 and not ok]
        expect(late, [], "failures of questions asked 2 s after the silence began or later")
        expect(sum(ok for _at, ok in results) >= len(results) * 0.9, True, "that nine of ten are answered")
        expect(server.connection_count, 2, "connections")


def flow(daemon, seconds, rate=50):
    """50 different questions a second; returns [(time asked, answered well)]."""
    asked = {}
    well = set()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.connect(("127.0.0.1", daemon.port))
        sock.settimeout(0.2)
        asked_last = []

        def read():
            while len(well) < seconds * rate and not (asked_last and time.monotonic() > asked_last[0] + 2):
                try:
                    reply = Message(sock.recv(4096))
                except OSError:
                    continue
                if reply.answers:
                    well.add(reply.ident)

        reader = threading.Thread(target=read)
        reader.start()
        for i in range(seconds * rate):
            asked[i] = time.monotonic()
            sock.send(query_bytes(f"flow{i}.example", ident=i, opt=dns.opt_record()))
            time.sleep(1 / rate)
        asked_last.append(time.monotonic())
        reader.join()
    return [(at, i in well) for i, at in asked.items()]


# --- servers given by name ------------------------------------------------------------------------


def name_server(answers):
    """A plain server that knows the address of dns.example."""

    def script(query):
        if query.message.name.lower() == "dns.example" and query.message.type == dns.A:
            query.reply(query.message.answer_bytes([a_record(query.message.name, a) for a in answers]))
        else:
            query.reply(query.message.answer_bytes([]))

    return ScriptedServer(script)


def test_bootstrap():
    """A server given by name is found by asking the bootstrap servers, which are asked nothing else"""
    with contextlib.closing(TlsServer()) as server, contextlib.closing(name_server(["127.0.0.1"])) as names:
        upstream = f"tls://dns.example:{server.port}"
        with daemon_before(upstream, ca(), f"upstream default.bootstrap={names.address}") as daemon:
            for i in range(5):
                expect(address_of(ask(daemon, f"n{i}.other.example")), ["192.0.2.7"], "the answer")
            counters = daemon.counters()
        expect({query.name for query in names.seen}, {"dns.example"}, "names the bootstrap server was asked about")
    expect(counters["bootstraps"], 1, "lookups")


def test_bootstrap_by_tls():
    """Bootstrap servers can be asked by TLS as well"""
    with contextlib.closing(TlsServer()) as server, contextlib.closing(TlsServer()) as names:
        names.answer = lambda message: message.answer_bytes(
            [a_record(message.name, "127.0.0.1")] if message.type == dns.A else [])
        options = (ca(), f"upstream default.bootstrap={names.address}#dns.example")
        with daemon_before(f"tls://dns.example:{server.port}", *options) as daemon:
            expect(address_of(ask(daemon, "a.example")), ["192.0.2.7"], "the answer")
        expect({Message(wire).name.lower() for wire in names.seen}, {"dns.example"}, "names asked about")


def test_bootstrap_second_address():
    """When one address of a name does not answer, the next one is used"""
    with contextlib.closing(TlsServer(host="127.0.0.2")) as server:
        with contextlib.closing(name_server(["127.0.0.1", "127.0.0.2"])) as names:
            upstream = f"tls://dns.example:{server.port}"
            with daemon_before(upstream, ca(), f"upstream default.bootstrap={names.address}") as daemon:
                wait_until(lambda: address_of(ask(daemon, f"{time.monotonic()}.example")) == ["192.0.2.7"], 10,
                           "answer")


def test_late_network():
    """Started before there is a network: once there is one, questions are answered"""
    port, names_port = harness.free_port(), harness.free_port()
    options = (ca(), f"upstream default.bootstrap=127.0.0.1:{names_port}", "cache.failure-ttl=1s")
    with daemon_before(f"tls://dns.example:{port}", *options) as daemon:
        expect(ask(daemon, "a.example").rcode, dns.SERVFAIL, "the rcode without network")
        answer = {dns.A: "127.0.0.1"}

        def names(message, _transport):
            addresses = [answer[message.type]] if message.type in answer else []
            return message.answer_bytes([a_record(message.name, a) for a in addresses])

        with contextlib.closing(TlsServer(port=port)), contextlib.closing(DnsServer(names, port=names_port)):
            wait_until(lambda: address_of(ask(daemon, f"{time.monotonic()}.example")) == ["192.0.2.7"], 20, "answer")
        log = daemon.log()
    expect(len(re.findall(" bootstrap-failed ", log)), 1, "lines in the log")


# --- clients that ask by TLS ----------------------------------------------------------------------


@contextlib.contextmanager
def tls_listener(*options, name="good", upstream=None, certificate_path=None, key_path=None):
    """A daemon that listens by TLS on .tls_port."""
    port = harness.free_port()
    listen = [f"listen dot.address=127.0.0.1:{port}", "listen dot.protocol=tls",
              f"listen dot.certificate={certificate_path or certificate(name)}",
              f"listen dot.key={key_path or key(name)}"]
    with contextlib.closing(ScriptedServer()) as server:
        with daemon_before(upstream or server.address, *listen, *options) as daemon:
            daemon.tls_port = port
            yield daemon


def tls_connect(daemon, **more):
    context = ssl.create_default_context(cafile=certificate("ca"))
    sock = socket.create_connection(("127.0.0.1", daemon.tls_port), 10)
    return context.wrap_socket(sock, server_hostname="dns.example", **more)


def exchange(sock, wire):
    sock.sendall(struct.pack(">H", len(wire)) + wire)
    return read_tcp_message(sock.makefile("rb"))


def test_kdig():
    """kdig +tls is answered, with the certificate checked"""
    needs("kdig")
    with tls_listener() as daemon:
        out = output_of("kdig", "@127.0.0.1", "-p", str(daemon.tls_port), f"+tls-ca={certificate('ca')}",
                        "+tls-hostname=dns.example", "a.example", "A").decode()
        expect("192.0.2.7" in out and "TLS1.3" in out, True, f"that the answer came by TLS:\n{out}")
        counters = daemon.counters()
    expect(counters["tls_handshakes"], 1, "handshakes")
    expect(counters["queries_tcp"], 1, "queries")


def test_dnsperf():
    """dnsperf -m dot loses nothing"""
    needs("dnsperf")
    queries = harness.temporary_file("queries", "".join(f"n{i}.example A\n" for i in range(100)))
    with tls_listener() as daemon:
        out = output_of("dnsperf", "-s", "127.0.0.1", "-p", str(daemon.tls_port), "-m", "dot", "-d", queries, "-c", "4",
                        "-n", "20", "-q", "40").decode()
        expect(re.search(r"Queries lost: +(\d+)", out).group(1), "0", "queries lost")
        expect(re.search(r"Queries completed: +(\d+)", out).group(1), "2000", "queries completed")


def test_reply_padding():
    """A reply is padded to 468 when the question was padded, and only then (RFC 8467)"""
    cases = (("padded", struct.pack(">HH", PADDING, 20) + bytes(20), True), ("not padded", b"", False))
    with tls_listener() as daemon, tls_connect(daemon) as sock:
        for what, options, padded in cases:
            for round_name in ("from upstream", "from the cache"):
                reply = exchange(sock, query_bytes("a.example", opt=dns.opt_record(options=options)))
                expect(len(reply) % 468 == 0, padded, f"{what}, {round_name}: whether {len(reply)} is padded")
                expect(PADDING in Message(reply).options, padded, f"{what}, {round_name}: padding")
        with socket.create_connection(("127.0.0.1", daemon.port), 10) as plain:
            options = struct.pack(">HH", PADDING, 20) + bytes(20)
            reply = exchange(plain, query_bytes("a.example", opt=dns.opt_record(options=options)))
            expect(PADDING in Message(reply).options, False, "padding in clear text")


def test_pipelined():
    """Questions in one record and in many are all answered, a byte at a time too"""
    wires = [query_bytes(f"n{i}.example", ident=i) for i in range(100)]
    framed = b"".join(struct.pack(">H", len(wire)) + wire for wire in wires)
    with tls_listener() as daemon:
        for size in (len(framed), 1000, 7):
            with tls_connect(daemon) as sock:
                for at in range(0, len(framed), size):
                    sock.sendall(framed[at:at + size])
                stream = sock.makefile("rb")
                idents = {Message(read_tcp_message(stream)).ident for _ in wires}
            expect(idents, set(range(100)), f"answers, in pieces of {size}")


def test_clients_of_all_kinds():
    """Old TLS, clear text and strangers are refused, and counted"""
    with tls_listener("limits.tcp-idle-timeout=500ms") as daemon:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        context.set_ciphers("ALL:@SECLEVEL=0")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            context.minimum_version, context.maximum_version = ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1
        try:
            with context.wrap_socket(socket.create_connection(("127.0.0.1", daemon.tls_port), 5)):
                raise AssertionError("TLS 1.1 was taken")
        except ssl.SSLError:
            pass
        with socket.create_connection(("127.0.0.1", daemon.tls_port), 5) as plain:
            wire = query_bytes("a.example")
            plain.sendall(struct.pack(">H", len(wire)) + wire)
            plain.settimeout(5)
            expect(b"a\7example" in plain.recv(4096), False, "an answer in clear text")
        with socket.create_connection(("127.0.0.1", daemon.tls_port), 5) as mute:
            began = time.monotonic()
            mute.settimeout(5)
            expect(mute.recv(1), b"", "what a client that says nothing gets")
            expect(time.monotonic() - began < 3, True, "that it is soon")
        wait_until(lambda: daemon.counters()["tcp_now"] == 0, 5, "end of all connections")
        counters = daemon.counters()
        expect(counters["tls_failed"], 2, "handshakes that failed")
        expect(counters["tcp_idle"], 1, "connections closed because nothing came")
        expect(counters["queries_tcp"], 0, "queries")


def test_limits():
    """The limits of TCP clients hold for TLS"""
    with tls_listener("limits.max-tcp-per-client=3") as daemon:
        with contextlib.ExitStack() as stack:
            socks = [stack.enter_context(tls_connect(daemon)) for _ in range(3)]
            try:
                stack.enter_context(tls_connect(daemon))
                raise AssertionError("a fourth connection was taken")
            except OSError:
                pass
            expect(Message(exchange(socks[0], query_bytes("a.example"))).rcode, dns.NOERROR, "the rcode")
        expect(daemon.counters()["tcp_refused"], 1, "connections refused")


def test_discovery():
    """Clients in clear text are told where they can be encrypted (RFC 9462), and only then"""
    needs("kdig")
    with tls_listener() as daemon:
        out = output_of("kdig", "@127.0.0.1", "-p", str(daemon.port), "_dns.resolver.arpa", "SVCB", "+short").decode()
        expect(out.strip(), f"1 dns.example. alpn=dot port={daemon.tls_port} ipv4hint=127.0.0.1", "the record")
    with contextlib.closing(ScriptedServer()) as server, daemon_before(server.address) as daemon:
        reply = Message(ask_udp(query_bytes("_dns.resolver.arpa", 64), daemon.port))
        expect((reply.rcode, reply.answers), (dns.NOERROR, []), "the answer of one that listens in clear text")
        expect(server.seen, [], "questions to the server")


def served_certificate(daemon):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with context.wrap_socket(socket.create_connection(("127.0.0.1", daemon.tls_port), 10)) as sock:
        return sock.getpeercert(True)


def der(name):
    with open(certificate(name), encoding="ascii") as file:
        return ssl.PEM_cert_to_DER_cert(file.read())


def put(source, target):
    """As careful people do: beside, then renamed."""
    shutil.copy2(source, target + ".new")
    if harness.IS_ROOT:
        shutil.chown(target + ".new", group=os.stat(source).st_gid)
    os.rename(target + ".new", target)


def test_new_certificate():
    """A certificate that changes is served without a reload; one that is broken is not"""
    own, own_key = harness.temporary_path("own.pem"), harness.temporary_path("own.key")
    put(certificate("good"), own)
    put(key("good"), own_key)
    with tls_listener(certificate_path=own, key_path=own_key) as daemon:
        expect(served_certificate(daemon), der("good"), "the certificate")
        with open(own, "w", encoding="ascii") as file:
            file.write("rubbish\n")
        daemon.wait_log(" certificate-kept ", seconds=15)
        expect(served_certificate(daemon), der("good"), "the certificate after rubbish")
        put(key("other"), own_key)
        put(certificate("other"), own)
        daemon.wait_log(" certificate-loaded ", seconds=15)
        expect(served_certificate(daemon), der("other"), "the new certificate")
        # And at once with a reload.
        put(key("stranger"), own_key)
        put(certificate("stranger"), own)
        with tls_connect_any(daemon) as before:
            at = len(daemon.log())
            daemon.send_signal(signal.SIGHUP)
            daemon.wait_log(" reloaded", at)
            expect(served_certificate(daemon), der("stranger"), "the certificate after SIGHUP")
            expect(Message(exchange(before, query_bytes("a.example"))).rcode, dns.NOERROR,
                   "the rcode on a connection of before")


def tls_connect_any(daemon):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context.wrap_socket(socket.create_connection(("127.0.0.1", daemon.tls_port), 10))


FAULTS = (
    ("a key everybody can read", ["key={open_key}"], "can be read or changed by everyone"),
    ("another key", ["key={other_key}"], "not the certificate's"),
    ("no key", [], r"\[listen dot\] has no key"),
    ("no such certificate", ["certificate=/nowhere", "key={good_key}"], "/nowhere: no such file"),
)


def test_faults():
    """What cannot be served ends the start with the reason"""
    open_key = harness.temporary_path("open.key")
    shutil.copy(key("good"), open_key)
    os.chmod(open_key, 0o644)
    values = {"open_key": open_key, "other_key": key("other"), "good_key": key("good")}
    for what, options, why in FAULTS:
        yield (f"A listener with {what} is no configuration",
               functools.partial(check_fault, [option.format(**values) for option in options], why))


def check_fault(options, why):
    command = [harness.program_path("dnsproxyd"), "-t", "-c", harness.temporary_file("empty.conf"),
               "-o", "upstream default.server=192.0.2.1", "-o", "listen dot.address=127.0.0.1:8853",
               "-o", "listen dot.protocol=tls"]
    if not any(option.startswith("certificate") for option in options):
        command += ["-o", f"listen dot.certificate={certificate('good')}"]
    for option in options:
        command += ["-o", f"listen dot.{option}"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    expect(result.returncode, 2, "the exit status")
    expect(bool(re.search(why, result.stderr)), True, f"that {result.stderr!r} says {why!r}")


# --- real servers ---------------------------------------------------------------------------------

UNBOUND = """server:
	interface: 127.0.0.1@{port}
	tls-port: {port}
	tls-service-key: {key}
	tls-service-pem: {pem}
	do-daemonize: no
	use-syslog: no
	logfile: ""
	username: ""
	chroot: ""
	directory: "{directory}"
	pidfile: ""
	num-threads: 1
	access-control: 127.0.0.0/8 allow
	local-zone: "example." redirect
	local-data: "example. 300 A 192.0.2.8"
remote-control:
	control-enable: no
"""


def test_unbound():
    """unbound answers by TLS"""
    needs("unbound")
    port = harness.free_port()
    config = harness.temporary_file("unbound.conf", UNBOUND.format(
        port=port, key=key("good"), pem=certificate("good"), directory=harness.temporary_directory()))
    process = harness.start(["unbound", "-c", config, "-d"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_until(lambda: harness.accepts(port), 10, "unbound")
        with daemon_before(f"tls://127.0.0.1:{port}#dns.example", ca()) as daemon:
            expect(address_of(ask(daemon, "a.example")), ["192.0.2.8"], "the answer")
            expect(ask_many(daemon, 1000), 1000, "answers")
            counters = daemon.counters()
        expect(counters["upstream_tls_handshakes"], 1, "handshakes")
    finally:
        harness.kill_group(process)


if __name__ == "__main__":
    harness.run(globals())
