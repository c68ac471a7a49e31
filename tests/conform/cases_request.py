# SPDX-License-Identifier: ISC
"""The request (RFC 1928 sections 4 and 5): versions, commands, address types, names, and who may not be reached."""

import socket
import struct
import time

from context import (BAD_COMMAND, BAD_TYPE, DENIED, FAILURE, HOST_UNREACHABLE, SUCCEEDED, address_bytes, request_bytes)
from engine import case

RFC = "RFC 1928 4"
TYPES = "RFC 1928 5"
HOSTS = "RFC 1123 2.1, RFC 1035 2.3.1"
POLICY = "policy: nothing a client could not reach itself"


def refused(name, cite, expect, request, *reps, level="must", seconds=8):
    """The request, bytes or a function of the case, fails with one of the codes."""

    @case(f"request/{name}", cite, expect, level, seconds)
    def run(t):
        t.expect_refusal(request(t) if callable(request) else request, *reps)


# --- header ---------------------------------------------------------------------------------------

for _version in (0x00, 0x01, 0x04, 0x06, 0xFF):
    refused(f"version-{_version:02x}", RFC, "REP 01", request_bytes("127.0.0.1", 9, version=_version), FAILURE,
            level="should")


def reserved_byte(value):
    @case(f"request/reserved-{value:02x}", f"{RFC}: RSV", "served: RSV says nothing", "should")
    def run(t):
        target = t.listen()
        conn = t.ready()
        conn.send(request_bytes(target.host, target.port, reserved=value))
        t.expect_reply(conn, SUCCEEDED)
        conn.expect_open_both_ways(target.accept())


reserved_byte(0x01)
reserved_byte(0xFF)

for _command in (0x00, 0x04, 0x05, 0x7F, 0x80, 0xF0, 0xF1, 0xFF):
    refused(f"command-{_command:02x}", f"{RFC}, RFC 1928 6", "REP 07",
            request_bytes("127.0.0.1", 9, command=_command), BAD_COMMAND)
refused("command-and-type-unknown", f"{RFC}: CMD comes first", "REP 07", b"\x05\x77\x00\x77\x01\x02\x03\x04\x00\x50",
        BAD_COMMAND, level="should")
refused("command-unknown-name", f"{RFC}, RFC 1928 6", "REP 07, with a name as destination",
        request_bytes(b"resolve.conform.example", 0, command=0xF0), BAD_COMMAND)


refused("command-unknown-at-once", f"{RFC}: the rest may never come",
        "REP 07 to the command alone, the rest not waited for",
        b"\x05\x77\x00", BAD_COMMAND, level="should")
refused("type-unknown-at-once", f"{TYPES}: its length is unknown",
        "REP 08 to the type alone, the rest not waited for",
        b"\x05\x01\x00\x77", BAD_TYPE, level="should")


def known_command(name, command, host, expect="an answer: 00, or why not (02, 07)"):
    @case(f"request/{name}", f"{RFC}, RFC 1928 6", expect)
    def run(t):
        conn = t.ready()
        conn.send(request_bytes(host, 0, command=command))
        t.expect_reply(conn, SUCCEEDED, DENIED, BAD_COMMAND)


known_command("bind", 2, "0.0.0.0")
known_command("udp-associate", 3, "0.0.0.0")
known_command("udp-associate-ipv6", 3, "::")
known_command("udp-associate-empty-name", 3, b"", "an answer: an empty name is no address known yet (00, 02, 07)")

for _kind in (0x00, 0x02, 0x05, 0x06, 0x80, 0xFF):
    refused(f"type-{_kind:02x}", f"{TYPES}, RFC 1928 6", "REP 08",
            b"\x05\x01\x00" + bytes([_kind]) + b"\x7f\x00\x00\x01\x00\x50", BAD_TYPE)


# --- addresses ------------------------------------------------------------------------------------


def reached(name, cite, expect, host, target_host=None, level="must", asks=None):
    """host(t) leads to a target on target_host; asks: whether DNS is asked about it, where we can see that."""

    @case(f"request/{name}", cite, expect, level)
    def run(t):
        wanted = t.need_ipv6() if target_host == "ipv6" else target_host
        target = t.listen(wanted)
        destination = host(t)
        conn = t.connect(destination, target.port)
        conn.expect_open_both_ways(target.accept())
        if asks is False and t.server.dns:
            text = destination.decode("latin-1")
            t.true(not t.server.dns.was_asked(text), f"DNS was asked for {text}")


reached("ipv4", TYPES, "served", lambda t: t.server.targets)
reached("ipv6", TYPES, "served", lambda t: t.server.targets6, "ipv6")
reached("name", TYPES, "served", lambda t: t.name(t.server.targets))
reached("name-ipv6", TYPES, "served by its AAAA record", lambda t: t.name(t.server.targets6), "ipv6")
LITERAL = f"{TYPES}; clients put any host into ATYP 03"
reached("ipv4-as-name", LITERAL, "the address as text is the address, without DNS",
        lambda t: t.server.targets.encode(), asks=False)
reached("ipv6-as-name", LITERAL, "the address as text is the address, without DNS",
        lambda t: t.server.targets6.encode(), "ipv6", asks=False)
reached("ipv6-in-brackets", LITERAL, "brackets are taken off", lambda t: b"[" + t.server.targets6.encode() + b"]",
        "ipv6", "should", asks=False)


def mapped(t):
    return "::ffff:" + t.server.targets


@case("request/mapped", f"{TYPES}; RFC 4291 2.5.5.2", "an IPv4-mapped address is IPv4: target and BND.ADDR say so")
def mapped_address(t):
    target = t.listen()
    conn, reply = t.answer(request_bytes(mapped(t), target.port))
    t.equal("REP", reply.rep, SUCCEEDED)
    conn.expect_open_both_ways(target.accept())
    t.equal("the ATYP of BND.ADDR", reply.kind, 1)


reached("mapped-as-name", f"{TYPES}; RFC 4291 2.5.5.2", "the same as text", lambda t: mapped(t).encode(),
        level="should",
        asks=False)


def scoped(name, text, *reps):
    refused(name, "RFC 4007 11.2", "REP 08 (or 02)", request_bytes(text, 80), BAD_TYPE, DENIED, *reps, level="should")


scoped("scope-unknown-zone", b"fe80::1%nosuchzone")
scoped("scope-loopback", b"fe80::1%lo")
scoped("scope-in-brackets", b"[fe80::1%lo]")
scoped("link-local-no-scope", "fe80::1")

refused("port-0", RFC, "REP 01: nobody can listen there", request_bytes("127.0.0.1", 0), FAILURE, level="should")
refused("port-0-ipv6", RFC, "REP 01: nobody can listen there", request_bytes("::1", 0), FAILURE, level="should")
refused("port-0-name", RFC, "REP 01: nobody can listen there", lambda t: request_bytes(t.name("127.0.0.1"), 0),
        FAILURE,
        level="should")


@case("request/ipv4-final-dot", LITERAL, "the address as text with a dot at its end: the address, or refused (01, 04)",
      "should")
def ipv4_final_dot(t):
    # An address of its own: what DNS is asked for here, it is not asked for by other cases.
    t.need(t.server.targets.startswith("127."), "the targets are not on loopback")
    target = t.listen("127.88.0.1")
    conn, reply = t.answer(request_bytes(b"127.88.0.1.", target.port))
    if reply.rep == SUCCEEDED:
        conn.expect_open_both_ways(target.accept())
    else:
        t.true(reply.rep in (FAILURE, HOST_UNREACHABLE), f"REP {reply.rep:02x}")
    if t.server.dns:
        t.true(not t.server.dns.was_asked("127.88.0.1"), "DNS was asked for an address")


# --- names that are none --------------------------------------------------------------------------


def bad_name(name, expect, text):
    refused(f"name-{name}", HOSTS, f"REP 01: {expect}", request_bytes(text, 80), FAILURE, level="should")


bad_name("empty", "an empty name", b"")
bad_name("dot", "no label", b".")
bad_name("dots", "no label", b"..")
bad_name("empty-label", "an empty label", b"a..conform.example")
bad_name("leading-dot", "an empty label", b".conform.example")
bad_name("two-final-dots", "an empty label", b"conform.example..")
bad_name("label-64", "a label of 64 bytes", b"a" * 64 + b".conform.example")
bad_name("254-bytes", "longer than 253 bytes", b".".join([b"a" * 63] * 3) + b"." + b"b" * 62)
bad_name("255-bytes", "longer than 253 bytes", b".".join([b"a" * 63] * 4))
bad_name("255-one-label", "one label of 255 bytes", b"a" * 255)
for _word, _bytes in (("nul-first", b"\0"), ("nul", b"a\0"), ("space", b"a "), ("tab", b"a\t"), ("newline", b"a\n"),
                      ("control", b"a\x01"), ("del", b"a\x7f"), ("slash", b"a/"), ("at", b"a@"), ("percent", b"a%41"),
                      ("backslash", b"a\\"), ("quote", b'a"'), ("star", b"*."), ("comma", b"a,"), ("colon", b"a:80"),
                      ("utf8", "b\u00fccher".encode()), ("latin1", b"b\xfccher"), ("brackets", b"[a]")):
    bad_name(_word, "not a byte of a host's name", _bytes + b"b.conform.example")
bad_name("nul-last", "not a byte of a host's name", b"conform.example\0")


@case("request/name-nul-cut", HOSTS, "what is before a NUL is not taken for the name: nobody is reached")
def name_nul_cut(t):
    target = t.listen()
    good = t.name(t.server.targets)
    conn = t.ready()
    conn.send(request_bytes(good + b"\0.conform.example", target.port))
    reply = t.reply(conn)
    t.true(reply.rep != SUCCEEDED, f"connected to {good.decode()}")
    target.expect_nobody(0.1)


# --- names that are -------------------------------------------------------------------------------


def good_name(name, expect, change, level="must", **more):
    reached(f"name-{name}", HOSTS, expect, lambda t: change(t.name(t.server.targets, **more)), level=level)


good_name("upper-case", "served", bytes.upper)
good_name("mixed-case", "served", bytes.title)
good_name("final-dot", "one dot at the end is taken off", lambda name: name + b".")
good_name("underscore", "served", bytes, "should", word="_under_score")
good_name("punycode", "served", bytes, word="xn--bcher-kva")
good_name("digits-first", "served", bytes, word="3com")
good_name("hyphens", "served", bytes, word="a--b-c")


@case("request/name-253", HOSTS, "a name of 253 bytes is served, and with a dot at its end")
def name_253(t):
    target = t.listen()
    tail = f".{t.number}.conform.example"
    name = ("a" * 63 + ".") * 3 + "b" * (253 - 3 * 64 - len(tail)) + tail
    t.need_dns().add(name, t.server.targets)
    for text in (name.encode(), name.encode() + b"."):
        t.connect(text, target.port).expect_open_both_ways(target.accept())


@case("request/name-label-63", HOSTS, "a label of 63 bytes is served")
def name_label_63(t):
    target = t.listen()
    name = f"{'c' * 63}.{t.number}.conform.example"
    t.need_dns().add(name, t.server.targets)
    t.connect(name.encode(), target.port).expect_open_both_ways(target.accept())


# --- numbers that libc would take for 127.0.0.1 ---------------------------------------------------


def numeric(text):
    @case(f"request/numeric-{text}", f"{LITERAL}; inet_aton is no DNS",
          "REP 04 (or 01): a name for DNS, or none; never a loopback address", "should")
    def run(t):
        t.need_dns()
        target = t.listen()
        conn = t.ready()
        conn.send(request_bytes(text.encode(), target.port))
        t.expect_reply(conn, HOST_UNREACHABLE, FAILURE)
        conn.expect_end()
        target.expect_nobody(0.05)


for _text in ("127.1", "127.0.1", "0x7f.1", "0x7f.0.0.1", "0x7f000001", "0177.1", "1", "2130706433", "0177.0.0.1", "017700000001", "127.0.0.01", "0",
              "1.2.3.4.5", "256.256.256.256"):
    numeric(_text)


# --- who may not be reached -----------------------------------------------------------------------


def denied(name, expect, host, cite=POLICY):
    """REP 02 for an address, or for text as a name."""
    refused(f"deny-{name}", cite, f"REP 02: {expect}", request_bytes(host, 80), DENIED, level="should")


denied("0.0.0.0", "Linux would connect to itself", "0.0.0.0")
denied("0.0.0.0-as-name", "Linux would connect to itself", b"0.0.0.0")
denied("::", "Linux would connect to itself", "::")
denied("::-as-name", "Linux would connect to itself", b"::")
denied("::ffff:0.0.0.0", "the same, mapped", "::ffff:0.0.0.0")
denied("0.0.0.0-final-dot", "Linux would connect to itself; a dot at the end changes nothing", b"0.0.0.0.")
denied("0.0.0.1", "RFC 1122 3.2.1.3: this host on this network", "0.0.0.1")
denied("multicast", "TCP has no multicast", "224.0.0.1")
denied("multicast-ssdp", "TCP has no multicast", "239.255.255.250")
denied("multicast-ipv6", "TCP has no multicast", "ff02::1")
denied("multicast-mapped", "the same, mapped", "::ffff:224.0.0.1")
denied("broadcast", "TCP has no broadcast", "255.255.255.255")
denied("class-e", "reserved", "240.0.0.1")
denied("link-local", "the proxy's own link", "169.254.1.1")
denied("metadata", "where clouds keep credentials", "169.254.169.254")
denied("metadata-as-name", "where clouds keep credentials", b"169.254.169.254")
denied("metadata-final-dot", "a dot at the end changes nothing", b"169.254.169.254.")
denied("metadata-mapped", "the same, mapped", "::ffff:169.254.169.254")
denied("metadata-mapped-as-name", "the same, mapped, in hexadecimal, as text", b"::FFFF:A9FE:A9FE")
denied("metadata-mapped-in-brackets", "the same, mapped, in brackets", b"[::ffff:169.254.169.254]")
denied("metadata-ipv6", "where a cloud keeps credentials, by IPv6", "fd00:ec2::254")
denied("translated-metadata", "IPv4 inside ::ffff:0:0:0/96", "::ffff:0:169.254.169.254", f"{POLICY}; RFC 7915 1")
denied("compatible-metadata", "IPv4 inside ::/96", "::169.254.169.254", f"{POLICY}; RFC 4291 2.5.5.1")
denied("nat64-multicast", "IPv4 inside 64:ff9b::/96", "64:ff9b::224.0.0.1", f"{POLICY}; RFC 6052 2.1")
denied("nat64-metadata", "IPv4 inside 64:ff9b::/96", "64:ff9b::169.254.169.254", f"{POLICY}; RFC 6052 2.1")
denied("nat64-local-metadata", "IPv4 inside 64:ff9b:1::/48", "64:ff9b:1::169.254.169.254", f"{POLICY}; RFC 8215")
denied("6to4-metadata", "IPv4 inside 2002::/16", "2002:a9fe:a9fe::1", f"{POLICY}; RFC 3056 2")
denied("6to4-multicast", "IPv4 inside 2002::/16", "2002:e000:1::1", f"{POLICY}; RFC 3056 2")


def denied_by_answer(name, expect, *addresses):
    @case(f"request/rebind-{name}", f"{POLICY}, checked on the address", f"REP 02: {expect}", "should")
    def run(t):
        t.expect_refusal(request_bytes(t.name(*addresses), 80), DENIED)


denied_by_answer("unspecified", "a name for 0.0.0.0", "0.0.0.0")
denied_by_answer("multicast", "a name for a multicast address", "224.0.0.1")
denied_by_answer("metadata", "a name for the metadata service", "169.254.169.254")
denied_by_answer("mapped", "an AAAA record with ::ffff:0.0.0.0", "::ffff:0.0.0.0")
denied_by_answer("nat64", "an AAAA record with 64:ff9b::169.254.169.254", "64:ff9b::169.254.169.254")
denied_by_answer("all-denied", "every address of the name is forbidden", "224.0.0.1", "0.0.0.0", "ff02::1")


def loop(name, expect, host):
    @case(f"request/loop-{name}", "policy: no loops", f"REP 02: {expect}", "should")
    def run(t):
        t.expect_refusal(request_bytes(host(t), t.server.port), DENIED)


def need_ipv4_server(t):
    t.need(":" not in t.server.host, "the server listens on IPv6")
    return t.server.host


loop("own-listener", "the server's own address", lambda t: t.server.host)
loop("own-listener-as-name", "the server's own address as text", lambda t: t.server.host.encode())
loop("own-listener-mapped", "the server's own address, mapped", lambda t: "::ffff:" + need_ipv4_server(t))
loop("own-listener-resolved", "a name for the server's own address", lambda t: t.name(t.server.host))


# --- several addresses ----------------------------------------------------------------------------


def second_address(name, expect, addresses, seconds=8):
    """One of the name's addresses is the target's."""

    @case(f"request/addresses-{name}", "RFC 1123 2.3, RFC 8305 5", expect, "should", seconds)
    def run(t):
        target = t.listen()
        t.connect(t.name(*addresses(t)), target.port).expect_open_both_ways(target.accept())


second_address("first-refuses", "the second address is tried when the first refuses",
               lambda t: ["127.99.0.1", t.server.targets])
second_address("six-refuse", "the seventh address is tried when six refuse",
               lambda t: [*(f"127.99.0.{i}" for i in range(1, 7)), t.server.targets])
second_address("ipv6-refuses", "IPv4 is tried when IPv6 refuses", lambda t: ["::1", t.server.targets])
second_address("first-denied", "the second address is tried when the first is forbidden or unreachable",
               lambda t: ["224.0.0.1", t.server.targets])
second_address("mixed", "forbidden and refusing ones are passed over",
               lambda t: ["240.0.0.1", "127.99.0.1", "ff02::1", t.server.targets])


@case("request/addresses-first-hangs", "RFC 8305 5: a new attempt every 250 ms",
      "an address that does not answer costs less than 2 s", "should", 10)
def addresses_first_hangs(t):
    t.need_dns()
    target, port = None, 0
    slow = t.slow_target()
    port = slow.port
    other = socket.socket()
    t.keep(other)
    other.bind(("127.99.1.1", port))
    other.listen(8)
    began = time.monotonic()
    conn = t.connect(t.name(slow.host, "127.99.1.1"), port)
    t.true(time.monotonic() - began < 2, "it took longer")
    other.settimeout(t.left())
    target = t.keep(other.accept()[0])
    target.sendall(b"here")
    conn.expect(b"here")


@case("request/cname", "RFC 1034 3.6.2", "a name that is an alias is served")
def cname(t):
    target = t.listen()
    canonical = t.name(t.server.targets, word="canonical").decode()
    t.connect(t.name(word="alias", cname=canonical), target.port).expect_open_both_ways(target.accept())


@case("request/dns-over-tcp", "RFC 7766 5", "an answer cut by UDP is asked for by TCP")
def dns_over_tcp(t):
    target = t.listen()
    t.connect(t.name(t.server.targets, truncate=True), target.port).expect_open_both_ways(target.accept())


@case("request/dns-late", "robustness", "an answer that takes 0.7 s is waited for")
def dns_late(t):
    target = t.listen()
    entry = t.need_dns().add("late.conform.example", t.server.targets, silent=True)
    conn = t.ready()
    conn.send(request_bytes(b"late.conform.example", target.port))
    conn.expect_silence(0.7)
    entry.answering.set()
    t.expect_reply(conn, SUCCEEDED)
    conn.expect_open_both_ways(target.accept())


@case("request/dns-dead-delays-nobody", "robustness", "16 names without an answer do not delay another session")
def dns_dead_delays_nobody(t):
    dns = t.need_dns()
    for index in range(16):
        dns.add(f"dead{index}.conform.example", silent=True)
        t.ready().send(request_bytes(f"dead{index}.conform.example".encode(), 80))
    target = t.listen()
    name = t.name(t.server.targets)
    began = time.monotonic()
    t.connect(target.host, target.port).expect_open_both_ways(target.accept())
    t.connect(name, target.port).expect_open_both_ways(target.accept())
    t.true(time.monotonic() - began < 3, "it took more than 3 s to be served")


# --- pieces ---------------------------------------------------------------------------------------


def splits(name, host, target_host=None):
    @case(f"request/splits-{name}", f"{RFC}; TCP has no messages", "served wherever the request is cut in two",
          seconds=20)
    def run(t):
        target = t.listen(t.need_ipv6() if target_host else None)
        request = request_bytes(host(t), target.port)
        for cut in range(1, len(request)):
            conn = t.ready()
            conn.send(request[:cut])
            time.sleep(0.003)
            conn.send(request[cut:] + b"x")
            t.expect_reply(conn, SUCCEEDED)
            target.accept().expect(b"x", f"byte behind the request cut at {cut}")
            conn.close()


splits("ipv4", lambda t: t.server.targets)
splits("ipv6", lambda t: t.server.targets6, "ipv6")
splits("name", lambda t: t.name(t.server.targets))


@case("request/waits-for-all", RFC, "no answer to a request that lacks its last byte; served when it comes")
def waits_for_all(t):
    target, conn = t.listen(), t.ready()
    request = request_bytes(target.host, target.port)
    conn.send(request[:-1])
    conn.expect_silence(0.3)
    conn.send(request[-1:])
    t.expect_reply(conn, SUCCEEDED)


@case("request/one-per-connection", RFC, "a second request on the same connection is payload")
def one_per_connection(t):
    client, target = t.pair()
    again = request_bytes("127.0.0.1", 9)
    client.send(b"\x05\x01\x00" + again)
    target.expect(b"\x05\x01\x00" + again, "second request")
    target.send(b"seen")
    client.expect(b"seen")


def refusal_arrives(name, expect, head):
    """The reply, whatever its code, arrives, and FIN behind it."""

    @case(f"request/{name}", f"{RFC}; RFC 1122 4.2.2.13", expect)
    def run(t):
        conn = t.ready()
        conn.send(head)
        t.true(t.reply(conn).rep != SUCCEEDED, "REP 00")
        conn.expect_gentle_end()


BEHIND = bytes(16384)
refusal_arrives("refusal-command-16k", "reply and FIN, though 16 KiB came with an unknown command",
                request_bytes("127.0.0.1", 9, command=0x77) + BEHIND)
refusal_arrives("refusal-type-16k", "reply and FIN, though 16 KiB came with an unknown type",
                b"\x05\x01\x00\x77" + BEHIND)
refusal_arrives("refusal-name-16k", "reply and FIN, though 16 KiB came with a bad name",
                b"\x05\x01\x00" + address_bytes(b"a..b") + struct.pack(">H", 80) + BEHIND)


@case("request/refusal-closes", "RFC 1928 6: closed within 10 s of the reply",
      "the server closes after a failure, though the client does not")
def refusal_closes(t):
    conn, reply = t.answer(request_bytes(t.server.targets, t.closed_port()))
    t.true(reply.rep != SUCCEEDED, "REP 00")
    conn.expect_end()
    deadline = time.monotonic() + 3
    # FIN is only half of it: the server must not wait for ours for ever.
    while time.monotonic() < deadline:
        try:
            conn.sock.send(b"x")
        except OSError:
            return
        time.sleep(0.05)
    t.true(False, "it still takes bytes 3 s after its FIN")
