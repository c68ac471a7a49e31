# SPDX-License-Identifier: ISC
"""BIND: who may use it, where peers are told to come, what is counted and logged, and clients that use it, above all
active FTP. What the protocol asks of it is in tests/conform."""

import contextlib
import functools
import os
import re
import signal
import socket
import subprocess
import threading
import time

import harness
import socks_client as socks
from dns_message import NXDOMAIN, a_record, soa_record
from harness import expect, needs, output_of
from peers import DnsServer, blob, reset_on_close
from socks_tools import node_environment, socksify_environment

OK, FAILED, DENIED, UNREACHABLE, EXPIRED, NO_COMMAND = 0, 1, 2, 4, 6, 7
BIND = 2
PEER, STRANGER = "127.0.0.9", "127.0.0.8"
ALLOW = ("rule bind.action=allow", "rule bind.command=bind")
NAMES = {"peer.example": [PEER], "two.example": [PEER, "127.0.0.7"], "far.example": ["10.99.99.99"],
         "mixed.example": ["169.254.1.1", PEER], "bad.example": ["169.254.1.1"]}


def name_server_answer(message, _transport):
    name = message.name.lower()
    if name not in NAMES:
        return message.answer_bytes(authority=[soa_record("example")], rcode=NXDOMAIN)
    answers = [a_record(message.name, address) for address in NAMES[name]] if message.type == 1 else []
    return message.answer_bytes(answers, [] if answers else [soa_record("example")])


@functools.lru_cache(maxsize=None)
def name_server():
    return DnsServer(name_server_answer)


@functools.lru_cache(maxsize=None)
def proxy(*options):
    """socksd with BIND allowed to everybody, and more options."""
    return harness.socksd(*ALLOW, f"dns.server={name_server().address}", *options)


def ask(server, host, port=0, command=BIND, source=None):
    """(connection, the first reply)."""
    sock = socket.create_connection(("127.0.0.1", server.port), timeout=20, source_address=source)
    sock.sendall(socks.GREETING_OPEN)
    socks.receive(sock, 2)
    sock.sendall(socks.request_bytes(host, port, command))
    return sock, socks.receive_reply(sock)


def rep(server, host, port=0, command=BIND):
    """The code of the first reply; the connection is closed."""
    sock, reply = ask(server, host, port, command)
    sock.close()
    return reply[0]


def come(reply, source):
    """A peer that connects to where the reply says, on loopback whatever address that tells."""
    return socket.create_connection(("127.0.0.1", reply[2]), timeout=20, source_address=(source, 0))


def expect_reset(reply, source):
    try:
        with come(reply, source) as peer:
            data = peer.recv(1)
    except ConnectionResetError:
        return
    raise AssertionError(f"{data!r} instead of a reset for {source}")


def expect_joined(sock, reply, source):
    """A peer comes, the second reply tells of it, bytes pass both ways. Both connections are closed."""
    with sock, come(reply, source) as peer:
        code, host, port = socks.receive_reply(sock)
        expect((code, host, port), (OK, *peer.getsockname()), "the second reply")
        sock.sendall(b"to the peer")
        expect(socks.receive(peer, 11), b"to the peer", "what the peer got")
        peer.sendall(b"back")
        expect(socks.receive(sock, 4), b"back", "what the client got")


def last_end(server, start=0):
    """The last line session-end of the log, as a dictionary."""
    line = server.wait_log(r"session-end .*command=bind.*", start).group(0)
    return dict(re.findall(r"(\w+)=(\S+)", line))


# --- who may --------------------------------------------------------------------------------------


def test_off_by_default():
    """BIND is refused with 07 unless a rule with command = bind allows it"""
    for options in ((), ("rule all.action=allow",), ("rule all.action=allow", "rule all.command=connect, udp"),
                    ("rule no.action=deny", "rule no.command=bind")):
        server = harness.socksd(*options)
        sock, reply = ask(server, PEER)
        expect(reply, (NO_COMMAND, "0.0.0.0", 0), f"the reply with {options}")
        expect(sock.recv(1), b"", "what follows")
        sock.close()
        expect(last_end(server)["why"], "bind", "why")
        server.stop()


def test_rules():
    """Rules decide by user, client and expected peer; what none allows is denied"""
    server = harness.socksd(
        "rule no.action=deny", f"rule no.destination={STRANGER}",
        "rule ftp.action=allow", "rule ftp.command=bind", f"rule ftp.destination={PEER}, .example",
        "rule all.action=allow", f"dns.server={name_server().address}")
    for host, code in ((PEER, OK), (STRANGER, DENIED), ("127.0.0.1", DENIED), ("peer.example", OK),
                       ("other.test", UNREACHABLE)):
        start = len(server.log())
        expect(rep(server, host), code, f"REP for {host}")
        end = last_end(server, start)
        expect((end["why"], end["rule"]), {STRANGER: ("rule", "no"), "127.0.0.1": ("no_rule", "-"),
                                           "other.test": ("nxdomain", "-")}.get(host, ("-", "-")), f"why for {host}")
    server.stop()


def test_rules_names():
    """DNS never hears of a name that rules with names alone do not allow"""
    server = harness.socksd("rule ftp.action=allow", "rule ftp.command=bind", "rule ftp.destination=.example",
                            f"dns.server={name_server().address}")
    expect(rep(server, "secret.test"), DENIED, "REP")
    expect((last_end(server)["why"], last_end(server)["rule"]), ("no_rule", "-"), "why")
    expect("secret.test" in name_server().names(), False, "that DNS was asked")
    expect(rep(server, "peer.example"), OK, "REP for a name that is allowed")
    server.stop()


def test_anybody():
    """0.0.0.0 stands for whoever the rules allow; others are reset"""
    server = harness.socksd("rule ftp.action=allow", "rule ftp.command=bind", f"rule ftp.destination={PEER}/32",
                            "egress lo.address=127.0.0.1", "rule ftp.egress=lo")
    sock, reply = ask(server, "0.0.0.0")
    expect(reply[:2], (OK, "127.0.0.1"), "the first reply")
    expect_reset(reply, STRANGER)
    expect_joined(sock, reply, PEER)
    expect(server.counters()["bind_strangers"], 1, "strangers")
    server.stop()


def test_anybody_denied():
    """A rule that denies 0.0.0.0 denies waiting for anybody, not for somebody"""
    server = harness.socksd("rule no.action=deny", "rule no.command=bind", "rule no.destination=0.0.0.0, ::", *ALLOW)
    expect(rep(server, "0.0.0.0"), DENIED, "REP for 0.0.0.0")
    expect(rep(server, PEER), OK, "REP for a peer")
    server.stop()


def test_needs_connect():
    """bind-needs-connect: only peers that the same client is connected to, by whatever worker, are let in"""
    server = harness.socksd(*ALLOW, "listen test.bind-needs-connect=yes", "server.workers=4",
                            "egress lo.address=127.0.0.1", "rule bind.egress=lo",
                            f"dns.server={name_server().address}")
    start = len(server.log())
    expect(rep(server, PEER), DENIED, "REP without a connection")
    expect(last_end(server, start)["why"], "no_connect", "why")
    with socket.create_server((PEER, 0)) as listener:
        primary = socks.connect(server.port, "peer.example", listener.getsockname()[1])
        for host in [PEER, "peer.example"] * 4:
            expect_joined(*ask(server, host), PEER)
        sock, reply = ask(server, "0.0.0.0")
        expect_reset(reply, STRANGER)
        expect_joined(sock, reply, PEER)
        expect(rep(server, STRANGER), DENIED, "REP for another peer")
        other, reply = ask(server, PEER, source=("127.0.0.3", 0))
        other.close()
        expect(reply[0], DENIED, "REP for another client")
        waiting, reply = ask(server, PEER)
        reset_on_close(primary)
        primary.close()
        harness.wait_until(lambda: server.counters()["sessions_relaying_now"] == 0, what="end of the connection")
        expect_reset(reply, PEER)
        waiting.close()
    expect(rep(server, PEER), DENIED, "REP after it")
    server.stop()


def test_guard():
    """The guard looks at the peer: a name's addresses that it protects are not expected"""
    expect(rep(proxy(), "bad.example"), DENIED, "REP when no address is left")
    sock, reply = ask(proxy(), "mixed.example")
    expect(reply[0], OK, "REP when one is left")
    expect_joined(sock, reply, PEER)


def test_reload():
    """A reload that takes the right away turns a peer that comes later into a stranger"""
    path = harness.temporary_path("bind-reload.conf")
    port = harness.free_port()

    def write(rule):
        with open(path, "w", encoding="ascii") as file:
            file.write(f"[listen test]\naddress = 127.0.0.1:{port}\n[limits]\nbind-timeout = 2s\n{rule}")

    write("[rule bind]\naction = allow\ncommand = bind\n")
    server = harness.Daemon("socksd", port, config=path)
    sock, reply = ask(server, PEER)
    write("")
    before = len(server.log())
    server.send_signal(signal.SIGHUP)
    server.wait_log("reloaded", before)
    expect_reset(reply, PEER)
    expect(socks.receive_reply(sock)[0], EXPIRED, "the second reply's REP")
    sock.close()
    expect(rep(server, PEER), NO_COMMAND, "REP of a new request")
    server.stop()


def test_reload_without_section():
    """A reload that takes the section away leaves those alone that wait under it: a BIND, and a CONNECT for its name"""
    path = harness.temporary_path("bind-sections.conf")
    port = harness.free_port()
    asked, answer = threading.Event(), threading.Event()

    def answer_late(message, transport):
        if message.name.lower() == "peer.example":
            asked.set()
            answer.wait(10)
        return name_server_answer(message, transport)

    def write(name, listen_port, more=""):
        with open(path, "w", encoding="ascii") as file:
            file.write(f"[listen {name}]\naddress = 127.0.0.1:{listen_port}\n{more}"
                       f"[dns]\nserver = {names.address}\n[rule bind]\naction = allow\ncommand = bind\n")

    names = DnsServer(answer_late)
    for more in ("", "bind-needs-connect = yes\n"):
        asked.clear()
        answer.clear()
        write("old", port, more)
        server = harness.Daemon("socksd", port, config=path)
        with socket.create_server((PEER, 0)) as listener:
            primary = socks.connect(server.port, PEER, listener.getsockname()[1])
            waiting, reply = ask(server, PEER)
            dialling = socks.open_proxy(port)
            dialling.sendall(socks.GREETING_OPEN)
            socks.receive(dialling, 2)
            dialling.sendall(socks.request_bytes("peer.example", listener.getsockname()[1]))
            expect(asked.wait(10), True, "the question for the name")
            write("new", harness.free_port())
            before = len(server.log())
            server.send_signal(signal.SIGHUP)
            server.wait_log("reloaded", before)
            answer.set()
            expect(socks.receive_reply(dialling)[0], OK, "REP of the CONNECT")
            expect_reset(reply, STRANGER)
            expect_joined(waiting, reply, PEER)
            dialling.close()
            primary.close()
        server.stop()


def test_explain():
    """--explain knows what BIND is asked"""
    config = harness.temporary_file("bind-explain.conf", f"""[listen l]
address = 127.0.0.1:1080
[rule no]
action = deny
destination = {STRANGER}
[rule ftp]
action = allow
command = bind
client = 127.0.0.1
""")

    def explained(destination, client="127.0.0.1"):
        done = subprocess.run([harness.program_path("socksd"), "-c", config, "--explain", "command=bind",
                               f"client={client}", f"destination={destination}"], stdout=subprocess.PIPE, timeout=20,
                              check=False)
        return done.returncode, done.stdout.decode()

    for destination, client, status, text in (
            (f"{PEER}:21", "127.0.0.1", 0, "[rule ftp]"), (f"{STRANGER}:21", "127.0.0.1", 3, "[rule no]"),
            ("127.0.0.1:1080", "127.0.0.1", 0, "[rule ftp]"), ("0.0.0.0:21", "127.0.0.1", 0, "anybody"),
            ("0.0.0.0:21", "10.0.0.1", 3, "anybody: no rule matches"), ("10.1.1.1:21", "10.0.0.1", 3, "no rule matches"),
            ("peer.example:21", "10.0.0.1", 3, "no rule matches")):
        got, printed = explained(destination, client)
        expect((got, text in printed), (status, True), f"--explain for {destination} ({printed!r})")


# --- where ----------------------------------------------------------------------------------------


def test_public_address():
    """udp-public-address is told instead of our own, per family"""
    server = harness.socksd(*ALLOW, "listen test.udp-public-address=203.0.113.7")
    for host in (PEER, "0.0.0.0"):
        sock, reply = ask(server, host)
        expect(reply[:2], (OK, "203.0.113.7"), f"the first reply for {host}")
        expect_joined(sock, reply, PEER)
    if harness.have_ipv6():
        sock, reply = ask(server, "::1")
        sock.close()
        expect(reply[:2], (OK, "::1"), "the first reply for IPv6")
    server.stop()


def test_port_range():
    """bind-port-range is kept to; when all are taken the answer is 01, when one is free again it is used"""
    first = next(port for port in range(20000, 30000, 7)
                 if all(harness._port_is_free(port + more) for more in range(3)))  # pylint: disable=protected-access
    server = harness.socksd(*ALLOW, f"listen test.bind-port-range={first}-{first + 2}")
    waiting = [ask(server, PEER) for _ in range(3)]
    expect(sorted(reply[2] for _sock, reply in waiting), [first, first + 1, first + 2], "the ports")
    start = len(server.log())
    expect(rep(server, PEER), FAILED, "REP of the fourth")
    expect(last_end(server, start)["why"], "no_port", "why")
    sock, reply = waiting.pop()
    sock.close()
    harness.wait_until(lambda: server.counters()["bind_waiting_now"] == 2, what="end of the wait")
    again = ask(server, PEER)
    expect(again[1][2], reply[2], "the port")
    for sock, reply in (*waiting, again):
        expect_joined(sock, reply, PEER)
    server.stop()


def test_config():
    """What is wrong in its keys is told with what was expected"""
    for option, words in (("listen test.bind-port-range=0-9", "port"), ("listen test.bind-port-range=9-1", "lower"),
                          ("listen test.bind-port-range=many", "port"), ("limits.bind-timeout=0", "bind-timeout"),
                          ("limits.max-binds-per-client=0", "max-binds-per-client")):
        done = subprocess.run([harness.program_path("socksd"), "-c", harness.temporary_file("empty.conf"), "-t", "-o",
                               "listen test.address=127.0.0.1:1080", "-o", option], stderr=subprocess.PIPE,
                              stdout=subprocess.PIPE, timeout=20, check=False)
        told = (done.stderr + done.stdout).decode()
        expect((done.returncode, words in told), (2, True), f"-t with {option} ({told!r})")


# --- limits, counters, log ------------------------------------------------------------------------


def test_per_client():
    """max-binds-per-client counts those that wait, for each client by itself"""
    server = harness.socksd(*ALLOW, "limits.max-binds-per-client=2")
    waiting = [ask(server, PEER) for _ in range(2)]
    start = len(server.log())
    expect(rep(server, PEER), DENIED, "REP of the third")
    expect(last_end(server, start)["why"], "max-binds-per-client", "why")
    other, reply = ask(server, PEER, source=("127.0.0.3", 0))
    expect(reply[0], OK, "REP of another client")
    other.close()
    sock, reply = waiting.pop()
    with sock, come(reply, PEER):
        expect(socks.receive_reply(sock)[0], OK, "REP")
        # Joined, it does not wait any more.
        waiting.append(ask(server, PEER))
        expect(waiting[-1][1][0], OK, "REP of one more")
    for sock, _reply in waiting:
        sock.close()
    expect(server.counters()["bind_refused"], 1, "bind_refused")
    harness.wait_until(lambda: server.counters()["bind_waiting_now"] == 0, what="end of the waits")
    server.stop()


def test_counters_and_log():
    """Peers, strangers and timeouts are counted; the log says who came"""
    server = harness.socksd(*ALLOW, "limits.bind-timeout=1s", "log.level=debug")
    sock, reply = ask(server, PEER, 21)
    expect(server.counters()["bind_waiting_now"], 1, "bind_waiting_now")
    expect_reset(reply, STRANGER)
    expect(server.wait_log("bind-stranger .*").group(0).split("why=")[1], "unexpected", "why")
    expect_joined(sock, reply, PEER)
    end = last_end(server)
    expect((end["destination"].split(":")[0], end["bytes_up"], end["bytes_down"], end["end"]),
           (PEER, "11", "4", end["end"]), "what the log says")
    start = len(server.log())
    sock, reply = ask(server, PEER, 21)
    expect(socks.receive_reply(sock)[0], EXPIRED, "the second reply's REP")
    sock.close()
    end = last_end(server, start)
    expect((end["destination"], end["end"]), (f"{PEER}:21", "bind_timeout"), "what the log says of a timeout")
    counters = server.counters()
    for name, value in (("bind_waiting_now", 0), ("bind_connected", 1), ("bind_strangers", 1), ("bind_timeout", 1),
                        ("sessions_now", 0), ("sessions_relaying_now", 0)):
        expect(counters[name], value, name)
    server.stop()


def test_privacy():
    """[log] destinations = none hides who came, and strangers"""
    server = harness.socksd(*ALLOW, "log.level=debug", "log.destinations=none")
    sock, reply = ask(server, PEER)
    expect_reset(reply, STRANGER)
    expect_joined(sock, reply, PEER)
    last_end(server)
    expect([address for address in (PEER, STRANGER) if address in server.log()], [], "addresses in the log")
    server.stop()


def test_nothing_is_left():
    """300 requests, half of them left by the client and half joined, leave no descriptor behind"""
    server = proxy()

    def descriptors():
        return len(os.listdir(f"/proc/{server.process.pid}/fd"))

    expect_joined(*ask(server, PEER), PEER)
    harness.wait_until(lambda: server.counters()["sessions_now"] == 0, what="end of the session")
    before = descriptors()
    for number in range(300):
        sock, reply = ask(server, PEER)
        if number % 2:
            sock.close()
        else:
            expect_joined(sock, reply, PEER)
    harness.wait_until(lambda: server.counters()["sessions_now"] == 0, what="end of the sessions")
    expect(descriptors(), before, "open descriptors")
    expect(server.counters()["bind_waiting_now"], 0, "bind_waiting_now")


def test_few_descriptors():
    """With few descriptors requests wait or fail, and are served when there are some again"""
    server = harness.socksd(*ALLOW, "server.workers=1", wrapper=("prlimit", "--nofile=64"))
    held = []
    for _ in range(40):
        sock = socket.create_connection(("127.0.0.1", server.port), timeout=20)
        sock.sendall(socks.GREETING_OPEN + socks.request_bytes(PEER, 0, BIND))
        held.append(sock)
    before = server.cpu_seconds()
    time.sleep(0.5)
    expect(server.cpu_seconds() - before < 0.3, True, "that it does not spin")
    for sock in held:
        sock.close()
    harness.wait_until(lambda: server.counters()["sessions_now"] == 0, what="end of the sessions")
    expect_joined(*ask(server, PEER), PEER)
    server.stop()


# --- names, alike for TCP, UDP and BIND -----------------------------------------------------------


class Asking:
    """One way to use a name. rep(): the code that a request for it gets; UDP has none, so what is counted tells."""

    def __init__(self, server, command):
        self.server = server
        self.command = command

    def rep(self, name, port):
        if self.command != 3:
            return rep(self.server, name, port, self.command)
        return self.datagram(name, port)

    def datagram(self, name, port):
        before = self.server.counters()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.bind(("127.0.0.1", 0))
            control, reply = ask(self.server, "0.0.0.0", 0, 3)
            expect(reply[0], OK, "REP of UDP ASSOCIATE")
            with control:
                sock.sendto(b"\0\0\0" + socks.address_bytes(name) + port.to_bytes(2, "big") + b"x",
                            ("127.0.0.1", reply[2]))
                codes = {"udp_datagrams_up": OK, "udp_drop_denied": DENIED, "udp_drop_unresolved": UNREACHABLE,
                         "udp_drop_malformed": FAILED}

                def outcome():
                    after = self.server.counters()
                    return [code for key, code in codes.items() if after[key] > before[key]]

                return harness.wait_until(outcome, what="fate of the datagram")[0]


def names_alike():
    server = harness.socksd(
        "rule nonames.action=deny", "rule nonames.destination=.ads.example", "rule nonets.action=deny",
        "rule nonets.destination=10.0.0.0/8", "rule bind.action=allow", "rule bind.command=bind, connect, udp",
        f"dns.server={name_server().address}")
    with socket.create_server((PEER, 0)) as listener:
        yield server, listener.getsockname()[1]
    server.stop()


def test_names():
    """A name means the same to CONNECT, BIND and UDP: resolved here, once, under the same rules and hygiene"""
    cases = (("peer.example", OK), ("PEER.Example.", OK), ("none.example", UNREACHABLE), ("x.ads.example", DENIED),
             ("far.example", DENIED), ("bad.example", DENIED), (PEER, OK), (b"127.1", UNREACHABLE),
             (b"0x7f.1", UNREACHABLE), (b"a..b", FAILED), (b"peer.example\0.test", FAILED), (b"p eer.example", FAILED))
    for server, port in names_alike():
        for name, wanted in cases:
            raw = name if isinstance(name, bytes) else name.encode()
            got = {command: Asking(server, command).rep(raw, port) for command in (1, BIND, 3)}
            expect(got, {command: wanted for command in got}, f"what comes of {name!r}")
        expect([name for name in name_server().names() if name.endswith(".ads.example")], [],
               "denied names that DNS was asked for")


def test_names_cached():
    """What one of them has resolved the others know"""
    server = harness.socksd(*ALLOW, "server.workers=1", f"dns.server={name_server().address}")
    with socket.create_server((PEER, 0)) as listener:
        for command in (BIND, 1, 3, BIND):
            expect(Asking(server, command).rep(b"two.example", listener.getsockname()[1]), OK, f"command {command}")
    counters = server.counters()
    expect(counters["names_asked"], 2, "lookups that DNS was asked for, A and AAAA")
    expect(counters["names_cached"] >= 5, True, f"that the cache answered the others ({counters['names_cached']})")
    server.stop()


# --- clients --------------------------------------------------------------------------------------

FTP_SERVER = """
import sys
from pyftpdlib.authorizers import DummyAuthorizer
from pyftpdlib.handlers import FTPHandler
from pyftpdlib.servers import FTPServer
authorizer = DummyAuthorizer()
authorizer.add_anonymous(sys.argv[2], perm="elrw")
FTPHandler.authorizer = authorizer
FTPServer((sys.argv[3], int(sys.argv[1])), FTPHandler).serve_forever()
"""
# Debian's modules are those of Debian's Python.
PYTHON = "/usr/bin/python3"


def needs_ftp_server():
    if not os.path.exists(PYTHON) or subprocess.run([PYTHON, "-c", "import pyftpdlib"], stderr=subprocess.DEVNULL,
                                                    check=False).returncode:
        raise harness.Skip("python3-pyftpdlib is not installed")


def ftp_server(directory, host="127.0.0.1"):
    """pyftpdlib on a free port; returns it."""
    needs_ftp_server()
    port = harness.free_port()
    with open(harness.temporary_path("ftp.log"), "ab") as log:
        harness.start([PYTHON, harness.temporary_file("ftp_server.py", FTP_SERVER), str(port), directory, host],
                      stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    harness.wait_until(lambda: harness.accepts(port, host), what="FTP server")
    return port


def transfer_by_ftp(server, size, lists=1, run=0):
    """Lists, a download and an upload by active FTP through socksify; returns whether the files are the same."""
    needs("socksify", "tnftp")
    directory = harness.temporary_path(f"ftp-{server.port}-{run}")
    os.mkdir(directory)
    for name, seed in (("down", 11), ("up", 12)):
        with open(os.path.join(directory if name == "down" else harness.temporary_directory(), name), "wb") as file:
            file.write(b"".join(blob(size, seed)))
    os.chmod(directory, 0o777)
    port = ftp_server(directory)
    script = "\n".join(("user anonymous me", "binary", *["ls"] * lists, f"get down {harness.temporary_path('down.got')}",
                        f"put {harness.temporary_path('up')} up", "bye", ""))
    printed = output_of("socksify", "tnftp", "-A", "-n", "-v", "127.0.0.1", str(port), text_in=script.encode(),
                        env=socksify_environment(server), status=None).decode(errors="replace")
    expect(printed.count("226 "), lists + 2, f"completed transfers ({printed[-1500:]})")
    for name, path in (("down", harness.temporary_path("down.got")), ("up", os.path.join(directory, "up"))):
        original = os.path.join(directory if name == "down" else harness.temporary_directory(), name)
        with open(original, "rb") as wanted, open(path, "rb") as got:
            expect(got.read() == wanted.read(), True, f"that the file {name} arrived as it was")


def test_active_ftp():
    """Active FTP through socksify: a list, 20 MB down and 20 MB up, each over a BIND"""
    server = harness.socksd(*ALLOW)
    transfer_by_ftp(server, 20_000_000)
    counters = server.counters()
    expect((counters["bind_connected"], counters["bind_timeout"]), (3, 0), "peers that came, and did not")
    server.stop()


def test_active_ftp_strangers():
    """The same while somebody else keeps connecting to every port that waits"""
    port = harness.free_port()
    server = harness.socksd(*ALLOW, f"listen test.bind-port-range={port}")
    stop = threading.Event()

    def knock():
        while not stop.is_set():
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", port), timeout=1, source_address=(STRANGER, 0)).close()

    knocker = threading.Thread(target=knock, daemon=True)
    knocker.start()
    times = 0
    try:
        # On a busy machine it may be over before anybody has knocked.
        while times < 10 and server.counters()["bind_strangers"] == 0:
            transfer_by_ftp(server, 200_000, 60, times)
            times += 1
    finally:
        stop.set()
        knocker.join()
    counters = server.counters()
    expect((counters["bind_connected"], counters["bind_timeout"]), (62 * times, 0), "peers that came, and did not")
    expect(counters["bind_strangers"] > 0, True, "that there were strangers")
    print(f"# {counters['bind_strangers']} strangers")
    server.stop()


NODE_BIND = """
const { SocksClient } = require('socks');
const net = require('net');
const client = new SocksClient({
	proxy: { host: '127.0.0.1', port: Number(process.argv[2]), type: 5 },
	command: 'bind', destination: { host: process.argv[3], port: 0 },
});
client.on('error', error => { console.log('error', error.message); process.exit(1); });
client.on('bound', info => {
	const peer = net.connect({ host: info.remoteHost.host, port: info.remoteHost.port, localAddress: '127.0.0.1' });
	peer.on('data', data => peer.end('you said ' + data));
});
client.on('established', info => {
	info.socket.on('data', data => console.log(info.remoteHost.host, data.toString()));
	info.socket.on('end', () => process.exit(0));
	info.socket.resume();
	info.socket.write('hello');
});
client.connect();
"""


def test_node():
    """The node package socks: its bind"""
    environment = node_environment()
    script = harness.temporary_file("bind.js", NODE_BIND)
    printed = output_of("node", script, str(proxy().port), "127.0.0.1", env=environment)
    expect(printed, b"127.0.0.1 you said hello\n", "what it printed")


if __name__ == "__main__":
    harness.run(globals())
