# SPDX-License-Identifier: ISC
"""dnsproxyd and DNS over HTTPS, both ways: asking dnsdist and what stands behind nginx, answering kdig, dnsperf, curl,
Chromium and Firefox."""

import base64
import functools
import http.server
import json
import os
import re
import socket
import ssl
import tempfile
import threading
import time

import dns_message as dns
import harness
from dns_message import Message, query_bytes
from encrypted_peers import (HOST, Dnsdist, Link, Nginx, certificate, certificate_digest, https_stamp)
from flow import Flow
from harness import expect, needs, output_of, wait_until
from peers import ask_tcp, ask_udp
from scripted_dns import ScriptedServer

QUICK = "upstream default.timeout=500ms"
CA = "upstream default.ca="
FAILOVER = "upstream default.strategy=failover"


def ask(daemon, name, kind=dns.A, by=ask_udp):
    return Message(by(query_bytes(name, kind, opt=dns.opt_record()), daemon.port))


def addresses(reply):
    return [socket.inet_ntoa(record.rdata) for record in reply.answers if record.type == dns.A]


@functools.cache
def dnsdist():
    """One for the cases that do nothing to it."""
    return Dnsdist()


def by_https(servers, *options):
    return harness.dnsproxyd(servers, CA + certificate("ca.pem"), *options)


# --- asking ---------------------------------------------------------------------------------------


def test_many():
    """A thousand questions go over one connection of each worker, padded."""
    daemon = by_https(dnsdist().https())
    flow = Flow(daemon, rate=400)
    time.sleep(2.5)
    flow.stop()
    expect(flow.failures(), [], "failures")
    expect(len(flow.results) > 500, True, "that there were many")
    counters = daemon.counters()
    expect(counters["upstream_tls_handshakes"] <= os.cpu_count(), True, "one handshake per worker")
    expect(counters["upstream_tcp"], counters["upstream_answers"], "answers by stream")
    daemon.stop()


def refused(server, counter):
    """The server gets no question, another one takes over, one line says why."""
    other = ScriptedServer()
    daemon = by_https(f"{server.https()},{other.address}", FAILOVER, "server.workers=1", QUICK)
    for number in range(5):
        expect(addresses(ask(daemon, f"r{number}.example")), ["192.0.2.7"], "answer of the other server")
    expect(len(server.backend.of(".example")), 0, "questions to the server")
    expect(daemon.counters()[counter] > 0, True, counter)
    expect(daemon.log().count(" upstream-refused "), 1, "log lines")
    daemon.stop()
    other.close()


def test_certificates():
    for name, counter in (("other", "wrong_name"), ("expired", "expired"), ("self", "self_signed"),
                          ("stranger", "untrusted")):
        def case(name=name, counter=counter):
            server = Dnsdist(certificate_name=name)
            refused(server, f"upstream_tls_{counter}")
            server.close()

        yield f"a server whose certificate is {counter.replace('_', ' ')} gets no question", case


def test_stamp():
    """A stamp's hash is looked for in the server's chain."""
    port = dnsdist().https_port
    for path, rcode in (("good.pem", dns.NOERROR), ("ca.pem", dns.SERVFAIL)):
        digest = certificate_digest(certificate(path))
        if path == "ca.pem":
            digest = bytes([digest[0] ^ 1]) + digest[1:]
        daemon = by_https(https_stamp(f"127.0.0.1:{port}", digest=digest), QUICK)
        expect(ask(daemon, "stamp.example").rcode, rcode, f"rcode with the hash of {path}")
        expect(daemon.counters()["upstream_tls_wrong_pin"] > 0, rcode != dns.NOERROR, "that the pin was wrong")
        daemon.stop()


def test_nginx():
    """nginx in front of a DoH server, which ends its connections after ten questions each: none is lost."""
    backend = dnsdist()
    front = Nginx(f"proxy_pass https://127.0.0.1:{backend.https_port}/dns-query; proxy_set_header Host {HOST};",
                  "keepalive_requests 10;")
    daemon = by_https(front.https(), "server.workers=1")
    flow = Flow(daemon, rate=100)
    time.sleep(2)
    flow.stop()
    expect(flow.failures(), [], "failures")
    counters = daemon.counters()
    expect(counters["upstream_tls_handshakes"] >= 10, True, "that there were many connections")
    expect(counters["answers_failed"], 0, "questions without an answer")
    daemon.stop()
    front.close()


def test_http_errors():
    """Errors and redirects are no answers; the next server is asked, and the log says it."""
    other = ScriptedServer()
    for location, status in (("return 404;", 404), ("return 302 https://127.0.0.1:1/dns-query;", 302),
                             ("return 500;", 500)):
        front = Nginx(location)
        daemon = by_https(f"{front.https()},{other.address}", FAILOVER, QUICK)
        expect(addresses(ask(daemon, f"e{status}.example")), ["192.0.2.7"], "answer of the other server")
        daemon.wait_log(f"upstream-http-error .*status={status}")
        expect(daemon.counters()["upstream_http_errors"] >= 1, True, "counted")
        daemon.stop()
        front.close()
    other.close()


def test_wrong_type():
    """A page of a captive portal is no answer."""
    other = ScriptedServer()
    front = Nginx("default_type text/html; return 200 '<html>welcome</html>';")
    daemon = by_https(f"{front.https()},{other.address}", FAILOVER, QUICK)
    expect(addresses(ask(daemon, "portal.example")), ["192.0.2.7"], "answer of the other server")
    daemon.stop()
    front.close()
    other.close()


def test_age():
    """The time that an answer spent in an HTTP cache is taken off its TTLs."""
    backend = dnsdist()
    front = Nginx(f"proxy_pass https://127.0.0.1:{backend.https_port}/dns-query; proxy_set_header Host {HOST}; "
                  "add_header Age 100;")
    daemon = by_https(front.https())
    reply = ask(daemon, "age.example")
    expect([195 <= record.ttl <= 200 for record in reply.answers], [True], "that its TTL is 300 - 100")
    daemon.stop()
    front.close()


def test_large():
    """An answer of 60,000 bytes arrives."""
    def script(query):
        if query.transport == "udp":
            query.reply(query.message.answer_bytes(flags=dns.TC))
            return
        text = b"".join(b"\xff" + b"y" * 255 for _ in range(234))
        query.reply(query.message.answer_bytes([dns.Record(query.message.name, dns.TXT, 1, 300, text)]))

    server = Dnsdist(script)
    daemon = by_https(server.https())
    reply = ask(daemon, "large.example", dns.TXT, by=ask_tcp)
    expect([len(record.rdata) for record in reply.answers], [234 * 256], "length")
    daemon.stop()
    server.close()


@harness.limit(60)
def test_cut():
    """With 50 questions a second: the only server's way is cut and mended; back within 2 s."""
    link = Link(dnsdist().https_port)
    daemon = by_https(f"https://127.0.0.1:{link.port}/dns-query#{HOST}")
    flow = Flow(daemon)
    time.sleep(1)
    link.cut()
    time.sleep(3)
    mended = time.monotonic()
    link.mend()
    time.sleep(4)
    flow.stop()
    expect(flow.first_success_after(mended) < 2, True, "that the first answer came within 2 s")
    expect([result for result in flow.results if result[0] > mended + 2 and result[2] != dns.NOERROR], [],
           "failures after 2 s")
    daemon.stop()
    link.close()


@harness.limit(60)
def test_cut_with_other():
    """With 50 questions a second, and another server: no client sees a failure when the first one's way is cut."""
    link = Link(dnsdist().https_port)
    daemon = by_https(f"https://127.0.0.1:{link.port}/dns-query#{HOST},{dnsdist().https()}", FAILOVER)
    flow = Flow(daemon)
    time.sleep(1)
    link.cut()
    time.sleep(3)
    link.mend()
    time.sleep(1)
    flow.stop()
    expect(flow.failures(), [], "failures")
    expect(max(took for _began, took, _rcode in flow.results) < 4, True, "that each took less than 4 s")
    daemon.stop()
    link.close()


# --- answering ------------------------------------------------------------------------------------


class WebListener:
    """dnsproxyd with a listener by HTTPS on .web_port, over a ScriptedServer (.backend)."""

    def __init__(self, *options, script=None):
        self.backend = ScriptedServer(script)
        self.web_port = harness.free_port()
        self.daemon = harness.dnsproxyd(
            self.backend.address, f"listen web.address=127.0.0.1:{self.web_port}", "listen web.protocol=https",
            f"listen web.certificate={certificate('good.pem')}", f"listen web.key={certificate('good.key')}", *options)

    def url(self, path="/dns-query"):
        return f"https://{HOST}:{self.web_port}{path}"

    def curl(self, *arguments, path="/dns-query", **more):
        needs("curl")
        return output_of("curl", "-sS", "--http2", "--cacert", certificate("ca.pem"), "--resolve",
                         f"{HOST}:{self.web_port}:127.0.0.1", *arguments, self.url(path), **more)

    def close(self):
        self.daemon.stop()
        self.backend.close()


@functools.cache
def listener():
    """One for the cases that do nothing to it."""
    return WebListener()


def test_kdig():
    """kdig asks by POST and GET; what was padded is answered padded."""
    needs("kdig")
    for more in ((), ("+https-get",)):
        text = output_of("kdig", "@127.0.0.1", "-p", str(listener().web_port), f"+https={HOST}", *more,
                         f"+tls-ca={certificate('ca.pem')}", f"+tls-hostname={HOST}", "www.kdig.example").decode()
        expect("192.0.2.7" in text and "status: NOERROR" in text, True, "the answer")
        expect(re.findall(r"Received (\d+) B", text), ["468"], "length of the padded answer")


def test_dnsperf():
    """dnsperf asks a thousand times over four connections."""
    needs("dnsperf")
    queries = harness.temporary_file("queries", "".join(f"p{number}.example A\n" for number in range(50)))
    handshakes = listener().daemon.counters()["tls_handshakes"]
    # More than one question at a time for each connection is more than dnsperf 2.10 can take: it has one buffer.
    text = output_of("dnsperf", "-m", "doh", "-s", "127.0.0.1", "-p", str(listener().web_port), "-d", queries, "-n", "20",
                     "-c", "4", "-q", "1", "-O", f"doh-uri=https://{HOST}/dns-query", seconds=60).decode()
    expect(re.findall(r"completed: +(\d+) \(100.00%\)", text), ["1000"], "questions answered")
    expect(listener().daemon.counters()["tls_handshakes"] - handshakes <= 8, True, "that connections were kept")


def test_statuses():
    """What is no question gets the status that says why."""
    # From the example in RFC 8484 section 4.1.1.
    question = "AAABAAABAAAAAAAAA3d3dwdleGFtcGxlA2NvbQAAAQAB"
    code = ("-o", "/dev/null", "-w", "%{http_code}")
    body = harness.temporary_file("body", b"\0" * 5000)
    message = harness.temporary_file("message", base64.urlsafe_b64decode(question))
    kind = ("-H", "content-type: application/dns-message")
    for arguments, path, status in (
            ((), f"/dns-query?dns={question}", 200), ((), "/dns-query", 400), ((), "/dns-query?dns=A", 400),
            ((), "/dns-query?dns=AAAA", 400), ((), "/", 404), ((), "/dns-query/", 404), (("-X", "PUT"), "/dns-query", 405),
            (("--data-binary", f"@{message}", *kind), "/dns-query", 200),
            (("--data-binary", f"@{message}"), "/dns-query", 415),
            (("--data-binary", f"@{body}", *kind), "/dns-query", 413),
            ((), f"/dns-query?dns={'A' * 7000}", 414)):
        expect(listener().curl(*code, *arguments, path=path).decode(), str(status), f"status of {arguments} {path[:40]}")
    # The connection of a refused request goes on.
    text = listener().curl(*code, "--data-binary", f"@{body}", *kind, listener().url(), "--next", "-sS", "--http2",
                           "--cacert", certificate("ca.pem"), *code, path=f"/dns-query?dns={question}").decode()
    expect(text, "413200", "statuses on one connection")


def test_freshness():
    """Cache-Control is the shortest TTL; the content type is that of messages."""
    def script(query):
        query.reply(query.message.answer_bytes([dns.a_record(query.message.name, "192.0.2.1", 77),
                                                dns.a_record(query.message.name, "192.0.2.2", 99)]))

    web = WebListener(script=script)
    question = base64.urlsafe_b64encode(query_bytes("fresh.example", ident=0)).rstrip(b"=").decode()
    headers = web.curl("-D", "-", "-o", "/dev/null", path=f"/dns-query?dns={question}").decode()
    expect(re.findall("cache-control: (.*)\r", headers), ["max-age=77"], "cache-control")
    expect(re.findall("content-type: (.*)\r", headers), ["application/dns-message"], "content-type")
    web.close()


def test_query_log():
    """The query log says https."""
    web = WebListener("log.query-log=on")
    question = base64.urlsafe_b64encode(query_bytes("logged.example", ident=0)).rstrip(b"=").decode()
    web.curl("-o", "/dev/null", path=f"/dns-query?dns={question}")
    web.daemon.wait_log(r"query client=127\.0\.0\.1 by=https name=logged\.example type=A rcode=0 .* from=upstream")
    web.close()


def test_passer_by():
    """Who connects and hangs up has not failed at a handshake; who speaks no TLS has."""
    before = listener().daemon.counters()
    for words in (b"", b"GET / HTTP/1.1\r\n\r\n"):
        with socket.create_connection(("127.0.0.1", listener().web_port), 5) as passer_by:
            passer_by.sendall(words)
            if words:
                passer_by.settimeout(5)
                passer_by.recv(4096)
    wait_until(lambda: listener().daemon.counters()["tcp_now"] == 0, 15, "end of all connections")
    expect(listener().daemon.counters()["tls_failed"] - before["tls_failed"], 1, "handshakes that failed")


def test_http1():
    """A client without HTTP/2 is turned away in the handshake, or hung up on."""
    needs("curl")
    before = listener().daemon.counters()
    output_of("curl", "-sS", "--http1.1", "--cacert", certificate("ca.pem"), "--resolve",
              f"{HOST}:{listener().web_port}:127.0.0.1", listener().url(), status=35)
    output_of("curl", "-sS", "--no-alpn", "--http1.1", "--cacert", certificate("ca.pem"), "--resolve",
              f"{HOST}:{listener().web_port}:127.0.0.1", listener().url(), status=None)
    counters = listener().daemon.counters()
    expect(counters["tls_failed"] - before["tls_failed"], 1, "handshakes that failed")
    expect(counters["https_refused"] - before["https_refused"], 1, "connections without HTTP/2")


def tls_socket(port, alpn=("h2",)):
    context = ssl.create_default_context(cafile=certificate("ca.pem"))
    context.set_alpn_protocols(list(alpn))
    return context.wrap_socket(socket.create_connection(("127.0.0.1", port), timeout=10), server_hostname=HOST)


def http2_frame(kind, flags, stream, payload=b""):
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


def http2_get(stream, path):
    """The HEADERS frame of a GET request, with its fields as literals."""
    block = b"\x82\x87\x04" + bytes([len(path)]) + path.encode() + b"\x01" + bytes([len(HOST)]) + HOST.encode()
    return http2_frame(1, 5, stream, block)


def http2_ended(data):
    """The streams whose last frame is in what came."""
    ended = set()
    while len(data) >= 9 and len(data) >= 9 + int.from_bytes(data[:3], "big"):
        if data[3] in (0, 1) and data[4] & 1:
            ended.add(int.from_bytes(data[5:9], "big"))
        data = data[9 + int.from_bytes(data[:3], "big"):]
    return ended


def test_many_large_at_once():
    """Answers that are ready together, and more than one write takes, reach a client that says nothing more."""
    def script(query):
        if query.transport == "udp":
            query.reply(query.message.answer_bytes(flags=dns.TC))
            return
        query.reply(query.message.answer_bytes([dns.Record(query.message.name, dns.TXT, 1, 300, (b"\xff" + b"z" * 255) * 16)]))

    web = WebListener("server.workers=1", script=script)
    question = query_bytes("many.example", dns.TXT, ident=0)
    ask_tcp(question, web.daemon.port)
    path = "/dns-query?dns=" + base64.urlsafe_b64encode(question).rstrip(b"=").decode()
    wide = (2**31 - 1).to_bytes(4, "big")
    data = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + http2_frame(4, 0, 0, b"\0\4" + wide)
    data += http2_frame(4, 1, 0) + http2_frame(8, 0, 0, (2**31 - 1 - 65535).to_bytes(4, "big"))
    streams = range(1, 101, 2)
    came = b""
    with tls_socket(web.web_port) as sock:
        sock.settimeout(3)
        sock.sendall(data + b"".join(http2_get(stream, path) for stream in streams))
        while len(http2_ended(came)) < len(streams):
            came += sock.recv(65536)
    expect(len(came) > 50 * 4096, True, "that the answers are large")
    web.close()


def test_limits():
    """Connections by HTTPS count with those by TCP; those on which nothing is asked end."""
    web = WebListener("limits.max-tcp-per-client=3", "limits.tcp-idle-timeout=700ms", "server.workers=1")
    with harness.closing_all() as sockets:
        sockets.append(socket.create_connection(("127.0.0.1", web.daemon.port)))
        sockets += [tls_socket(web.web_port) for _ in range(2)]
        try:
            sockets.append(tls_socket(web.web_port))
            raise AssertionError("there was room for a fourth connection")
        except (ConnectionError, ssl.SSLError):
            pass
        expect(web.daemon.counters()["tcp_refused"], 1, "tcp_refused")
        wait_until(lambda: web.daemon.counters()["tcp_now"] == 0, 5, "end of idle connections")
        expect(web.daemon.counters()["tcp_idle"], 3, "tcp_idle")
    web.close()


def test_rubbish():
    """Rubbish after the handshake, and none at all, ends the connection and nothing else."""
    preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\4\0\0\0\0\0"
    for data in (b"GET / HTTP/1.1\r\n\r\n", b"\0" * 100, preface + b"\xff" * 100, preface + b"\0\0\1\0\1\0\0\0\1x"):
        with tls_socket(listener().web_port) as sock:
            sock.sendall(data)
            while sock.recv(65536):
                pass
    with socket.create_connection(("127.0.0.1", listener().web_port)) as sock:
        sock.sendall(b"\0" * 100)
        sock.settimeout(10)
        while sock.recv(65536):
            pass
    test_kdig()


def test_discovery():
    """Clients find the listener by themselves (RFC 9462): protocol, port and path."""
    reply = ask(listener().daemon, "_dns.resolver.arpa", 64)
    expect(len(reply.answers), 1, "records")
    data = reply.answers[0].rdata
    path = b"/dns-query{?dns}"
    for what, bytes_wanted in (("priority and name", b"\0\1" + dns.name_bytes(HOST)), ("protocol", b"\0\1\0\3\2h2"),
                               ("port", b"\0\3\0\2" + listener().web_port.to_bytes(2, "big")),
                               ("address", b"\0\4\0\4\x7f\0\0\1"),
                               ("path", b"\0\7\0" + bytes([len(path)]) + path)):
        expect(bytes_wanted in data, True, f"{what} in {data!r}")


class _Page(http.server.BaseHTTPRequestHandler):
    hosts = set()

    def do_GET(self):
        _Page.hosts.add(self.headers["Host"].split(":")[0])
        body = b"<html><head><title>it works</title></head><body>hello</body></html>"
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@functools.cache
def page():
    """A web server whose names only our listener knows; its port."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Page)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server.server_port


@functools.cache
def local_answers():
    """A listener that says that every address is 127.0.0.1, for names that no one else knows."""
    def script(query):
        if query.message.type == dns.A:
            query.reply(query.good("127.0.0.1"))
        else:
            query.reply(query.message.answer_bytes())

    return WebListener(script=script)


def test_curl():
    """curl --doh-url"""
    needs("curl")
    text = output_of("curl", "-sS", "--doh-insecure", "--doh-url", f"https://127.0.0.1:{local_answers().web_port}/dns-query",
                     f"http://curl.browser.example:{page()}/").decode()
    expect("it works" in text, True, "the page")


def trust_in_database(directory):
    """Put our authority into a database as browsers have them."""
    needs("certutil")
    os.makedirs(directory, exist_ok=True)
    output_of("certutil", "-N", "-d", f"sql:{directory}", "--empty-password")
    output_of("certutil", "-A", "-d", f"sql:{directory}", "-n", "test", "-t", "C,,", "-i", certificate("ca.pem"))


@harness.limit(180)
def test_chromium():
    """headless Chromium with secure DNS set to us"""
    needs("chromium", "certutil")
    web = local_answers()
    with tempfile.TemporaryDirectory() as home:
        trust_in_database(f"{home}/.pki/nssdb")
        os.makedirs(f"{home}/profile")
        with open(f"{home}/profile/Local State", "w", encoding="ascii") as file:
            json.dump({"dns_over_https": {"mode": "secure",
                                          "templates": f"https://127.0.0.1:{web.web_port}/dns-query{{?dns}}"}}, file)
        dom = output_of("chromium", "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
                        "--no-first-run", "--disable-background-networking", "--disable-component-update",
                        f"--user-data-dir={home}/profile", "--virtual-time-budget=20000", "--dump-dom",
                        f"http://chromium.browser.example:{page()}/", seconds=150, env=dict(os.environ, HOME=home)).decode()
    expect(re.findall("<title>(.*?)</title>", dom), ["it works"], "the title of the page")
    expect(len(web.backend.of("chromium.browser.example")) > 0, True, "that we were asked")


FIREFOX_PREFERENCES = """
user_pref("network.trr.mode", 3);
user_pref("network.trr.uri", "https://%(host)s:%(port)d/dns-query");
user_pref("network.trr.custom_uri", "https://%(host)s:%(port)d/dns-query");
user_pref("network.trr.bootstrapAddr", "127.0.0.1");
user_pref("network.trr.bootstrapAddress", "127.0.0.1");
user_pref("network.trr.allow-rfc1918", true);
user_pref("network.trr.confirmationNS", "skip");
user_pref("browser.shell.checkDefaultBrowser", false);
user_pref("datareporting.policy.dataSubmissionEnabled", false);
user_pref("app.update.enabled", false);
user_pref("network.captive-portal-service.enabled", false);
user_pref("network.connectivity-service.enabled", false);
"""


@harness.limit(180)
def test_firefox():
    """headless Firefox with DNS over HTTPS set to us"""
    needs("firefox-esr", "certutil")
    web = local_answers()
    with tempfile.TemporaryDirectory() as home:
        trust_in_database(f"{home}/profile")
        with open(f"{home}/profile/user.js", "w", encoding="ascii") as file:
            file.write(FIREFOX_PREFERENCES % {"host": HOST, "port": web.web_port})
        output_of("firefox-esr", "--headless", "--no-remote", "--profile", f"{home}/profile",
                  "--screenshot", f"{home}/page.png", f"http://firefox.browser.example:{page()}/", seconds=150,
                  env=dict(os.environ, HOME=home))
    expect("firefox.browser.example" in _Page.hosts, True, "that the page was asked for")
    expect(len(web.backend.of("firefox.browser.example")) > 0, True, "that we were asked")


def test_end():
    """what the cases share ends"""
    for web in (listener(), local_answers()):
        web.close()
    dnsdist().close()


if __name__ == "__main__":
    harness.run(globals(), tries=2)
