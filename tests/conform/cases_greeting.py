# SPDX-License-Identifier: ISC
"""The first message: version and methods (RFC 1928 section 3)."""

import time

from context import NO_METHOD, OPEN, PASSWORD, request_bytes, show
from engine import Failed, case

RFC = "RFC 1928 3"
GSSAPI = 0x01
PIPELINED = 16384  # bytes a refused client has sent ahead


def greeting(*methods):
    return bytes([5, len(methods), *methods])


def chosen(t, *methods):
    """The method that the server takes of those offered."""
    conn = t.open()
    conn.send(greeting(*methods))
    version, method = conn.receive(2, "method")
    t.equal("the version of the answer", version, 5)
    if method == NO_METHOD:
        conn.expect_end()
    return method


# --- methods --------------------------------------------------------------------------------------

OTHERS = [method for method in range(256) if method not in (OPEN, PASSWORD, NO_METHOD)]


def takes(name, expect, offer, level="must"):
    """The server takes its method out of offer(method)."""

    @case(f"greeting/{name}", RFC, expect, level)
    def run(t):
        method = t.server.method
        t.equal("the method", chosen(t, *offer(method)), method)


takes("one-method", "the method offered is taken", lambda method: [method])
takes("255-methods-last", "the method is found at the end of 255",
      lambda method: ([*OTHERS, *OTHERS][:254] + [method]))
takes("255-methods-first", "the method is found at the start of 255",
      lambda method: [method] + [*OTHERS, *OTHERS][:254])
takes("255-times-the-same", "255 times the same method is as good as once", lambda method: [method] * 255)
takes("duplicates", "a method named twice is taken", lambda method: [0x80, method, 0x80, method])
takes("unknown-beside", "unknown methods 03, 7f, 80, fe beside a known one do no harm",
      lambda method: [0x03, 0x7F, method, 0x80, 0xFE])
takes("gssapi-beside", "GSSAPI offered first does no harm", lambda method: [GSSAPI, method])
takes("ff-beside", "method FF among the offers does no harm", lambda method: [NO_METHOD, method])


@case("greeting/order", f"{RFC}: the server selects", "the order of the offers does not matter", "should")
def order(t):
    t.equal("the method of 02 00", chosen(t, PASSWORD, OPEN), chosen(t, OPEN, PASSWORD))


def refused_offer(name, expect, methods, level="must"):
    @case(f"greeting/{name}", RFC, expect, level)
    def run(t):
        t.equal("the method", chosen(t, *methods(t)), NO_METHOD)


refused_offer("gssapi-only", "05 FF, then closed", lambda t: [GSSAPI])
refused_offer("unknown-only", "05 FF, then closed", lambda t: [0x80])
refused_offer("ff-only", "05 FF, then closed", lambda t: [NO_METHOD])
refused_offer("255-unknown", "all 255 are read, 05 FF, then closed", lambda t: [*OTHERS, *OTHERS][:255])
refused_offer("other-method", "05 FF to a client that offers only the other one of 00 and 02",
              lambda t: [PASSWORD if t.server.method == OPEN else OPEN], "should")
refused_offer("no-methods", "05 FF to an empty list, then closed", lambda t: [], "should")


# --- refusals that arrive -------------------------------------------------------------------------


def refusal_arrives(name, expect, first, pause=0.0):
    """05 FF, and then FIN: RST would destroy the answer on its way."""

    @case(f"greeting/{name}", f"{RFC}; RFC 1122 4.2.2.13", expect)
    def run(t):
        conn = t.open()
        conn.send(first)
        time.sleep(pause)
        conn.expect(b"\x05\xff", "method")
        conn.expect_gentle_end()


REQUEST = request_bytes("127.0.0.1", 9)
refusal_arrives("refusal-pipelined", "05 FF and FIN, though a request came with the greeting",
                greeting(GSSAPI) + REQUEST)
refusal_arrives("refusal-pipelined-16k", "05 FF and FIN, though 16 KiB came with the greeting",
                greeting(GSSAPI) + REQUEST + bytes(PIPELINED))
refusal_arrives("refusal-slow-reader", "05 FF and FIN for a client that reads 0.3 s later",
                greeting(GSSAPI) + REQUEST + bytes(100), 0.3)
refusal_arrives("no-methods-pipelined", "05 FF and FIN, though a request follows the empty list",
                greeting() + REQUEST)


@case("greeting/refusal-sent-after", f"{RFC}; RFC 1122 4.2.2.13", "05 FF and FIN, though the client goes on sending")
def refusal_sent_after(t):
    conn = t.open()
    conn.send(greeting(GSSAPI))
    for _ in range(8):
        conn.send_anyway(bytes(512))
        time.sleep(0.01)
    conn.expect(b"\x05\xff", "method")
    conn.expect_gentle_end()


# --- something else than SOCKS5 -------------------------------------------------------------------

SOCKS4 = b"\x04\x01\x00\x50\x7f\x00\x00\x01user\x00"
SOCKS4A = b"\x04\x01\x00\x50\x00\x00\x00\x01user\x00name.conform.example\x00"


def foreign(name, expect, first):
    """Closed without a byte."""

    @case(f"greeting/{name}", RFC, expect, "should")
    def run(t):
        conn = t.open()
        conn.send(first)
        conn.expect_end()


for version in (0x00, 0x01, 0x02, 0x03, 0x06, 0x7F, 0x80, 0xFF):
    foreign(f"version-{version:02x}", "closed without a byte", bytes([version, 1, 0]))
foreign("tls-hello", "closed without a byte", bytes.fromhex("16030100a5010000a10303") + bytes(160))
foreign("ssh-banner", "closed without a byte", b"SSH-2.0-conform\r\n")
foreign("proxy-v1", "closed without a byte", b"PROXY TCP4 127.0.0.1 127.0.0.1 1000 1080\r\n\x05\x01\x00")
foreign("proxy-v2", "closed without a byte",
        b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x0c\x7f\x00\x00\x01\x7f\x00\x00\x01\x03\xe8\x04\x38\x05\x01\x00")


def old_version(name, first):
    @case(f"greeting/{name}", f"{RFC}; SOCKS4", "closed without a byte, or answered as SOCKS4 (00 5A to 5D, 8 bytes)",
          "should")
    def run(t):
        conn = t.open()
        conn.send(first)
        data, _how = conn.end()
        t.true(not data or (len(data) == 8 and data[0] == 0 and 0x5A <= data[1] <= 0x5D), f"{show(data)} came")


old_version("socks4", SOCKS4)
old_version("socks4a", SOCKS4A)


HTTP = "RFC 9110 15.6.2: somebody has configured an HTTP proxy"


def expect_page(t, conn):
    data, how = conn.end()
    line = data.split(b"\r\n")[0]
    if not line.startswith((b"HTTP/1.0 ", b"HTTP/1.1 ")) or not 400 <= int(line[9:12] or 0) <= 599:
        raise Failed(f"{show(data)} came")
    t.true(b"\r\n\r\n" in data, "the page's header has no end")
    t.equal("the end", how, "FIN")


def http(verb):
    @case(f"greeting/http-{verb.lower()}", HTTP, "an HTTP error page for a person to read, then closed", "should")
    def run(t):
        conn = t.open()
        conn.send(f"{verb} http://conform.example/ HTTP/1.1\r\nHost: conform.example\r\n\r\n".encode())
        expect_page(t, conn)


@case("greeting/http-16k", f"{HTTP}; RFC 1122 4.2.2.13", "the page and FIN, though 16 KiB of cookies came", "should")
def http_cookies(t):
    conn = t.open()
    conn.send(b"GET http://conform.example/ HTTP/1.1\r\nCookie: " + b"c" * PIPELINED + b"\r\n\r\n")
    expect_page(t, conn)


@case("greeting/http-byte-at-a-time", HTTP, "the page, though the request comes byte by byte", "should")
def http_bytes(t):
    conn = t.open()
    for byte in b"GET / HTTP/1.0\r\n\r\n":
        conn.send_anyway(bytes([byte]))
        time.sleep(0.005)
    expect_page(t, conn)


for _verb in ("GET", "CONNECT", "POST", "HEAD", "OPTIONS", "DELETE", "TRACE", "PUT", "PATCH"):
    http(_verb)


# --- pieces ---------------------------------------------------------------------------------------


def whole(t, target):
    return t.hello() + request_bytes(target.host, target.port)


def expect_served_bytes(t, conn, target, early=b""):
    conn.expect(t.hello_answer(), "answers to greeting and password")
    t.expect_reply(conn, 0)
    end = target.accept()
    if early:
        end.expect(early, "early data")
    conn.expect_open_both_ways(end)


@case("greeting/byte-at-a-time", f"{RFC}; TCP has no messages", "answered like a handshake sent at once")
def byte_at_a_time(t):
    target, conn = t.listen(), t.open()
    for byte in whole(t, target):
        conn.send(bytes([byte]))
        time.sleep(0.005)
    expect_served_bytes(t, conn, target)


@case("greeting/slow-bytes", f"{RFC}; TCP has no messages", "a byte every 50 ms is fast enough")
def slow_bytes(t):
    target, conn = t.listen(), t.open()
    for byte in whole(t, target):
        conn.send(bytes([byte]))
        time.sleep(0.05)
    expect_served_bytes(t, conn, target)


@case("greeting/all-splits", f"{RFC}; TCP has no messages", "two segments, cut at each place, are answered",
      seconds=20)
def all_splits(t):
    target = t.listen()
    data = whole(t, target)
    for cut in range(1, len(data)):
        conn = t.open()
        conn.send(data[:cut])
        time.sleep(0.003)
        conn.send(data[cut:])
        expect_served_bytes(t, conn, target)
        conn.close()


@case("greeting/one-segment", f"{RFC}; TCP has no messages",
      "greeting to request in one segment are answered in order")
def one_segment(t):
    target, conn = t.listen(), t.open()
    conn.send(whole(t, target))
    expect_served_bytes(t, conn, target)


@case("greeting/one-segment-early-data", f"{RFC}; optimistic data",
      "payload in the same segment reaches the target first")
def one_segment_early_data(t):
    target, conn = t.listen(), t.open()
    conn.send(whole(t, target) + b"early data")
    expect_served_bytes(t, conn, target, b"early data")


@case("greeting/greeting-with-next", f"{RFC}; TCP has no messages",
      "the first bytes of the next message may come with the greeting")
def greeting_with_next(t):
    target, conn = t.listen(), t.open()
    data = whole(t, target)
    conn.send(data[:5])
    time.sleep(0.05)
    conn.send(data[5:])
    expect_served_bytes(t, conn, target)


# --- clients that leave ---------------------------------------------------------------------------


def leaves(name, expect, first, answer):
    @case(f"greeting/{name}", "RFC 9293 3.6", expect, "should")
    def run(t):
        conn = t.open()
        conn.send(first(t))
        conn.fin()
        data, _how = conn.end()
        t.equal("what came", data, answer(t))


leaves("fin-at-once", "FIN instead of a greeting: closed", lambda t: b"", lambda t: b"")
leaves("fin-in-greeting", "FIN in the middle of the greeting: closed without a byte", lambda t: b"\x05\x02\x00",
       lambda t: b"")
leaves("fin-after-version", "FIN after the version: closed without a byte", lambda t: b"\x05", lambda t: b"")
leaves("fin-after-greeting", "FIN after the greeting: its answer, then closed",
       lambda t: greeting(t.server.method), lambda t: bytes([5, t.server.method]))
leaves("fin-in-request", "FIN in the middle of the request: no reply, closed",
       lambda t: t.hello() + b"\x05\x01\x00\x01\x7f\x00", lambda t: t.hello_answer())


@case("greeting/resets", "robustness", "50 clients that connect and reset do not stop the next one")
def resets(t):
    for _ in range(50):
        t.open().reset()
    t.expect_served()


@case("greeting/half-open", "robustness", "64 clients that say half a greeting do not delay the next one", seconds=10)
def half_open(t):
    for _ in range(64):
        t.open().send(b"\x05\x02\x00")
    began = time.monotonic()
    t.expect_served()
    t.true(time.monotonic() - began < 5, "it took more than 5 s to be served")
