# SPDX-License-Identifier: ISC
"""BIND (RFC 1928 sections 4 and 6): two replies, the peer that is expected, strangers, and the session that follows."""

import ipaddress
import time

from context import (BAD_COMMAND, DENIED, EXPIRED, FAILURE, HOST_UNREACHABLE, MIB, SUCCEEDED, Conn, Flow, blob,
                     connect_socket, request_bytes, transfer)
from engine import Failed, Skipped, case

RFC = "RFC 1928 4"
REPLIES = "RFC 1928 6"
PEER = f"{RFC}: DST.ADDR is the peer that is expected"
BIND = 2
OTHER, THIRD = "127.0.0.2", "127.0.0.3"  # addresses of peers, beside that of the targets


# --- the two ends ---------------------------------------------------------------------------------


def request(t, conn, host, port=0, behind=b""):
    """Send a BIND request; returns the first reply, which has to be a success. Skipped for servers without BIND."""
    conn.send(request_bytes(host, port, BIND) + behind)
    reply = t.reply(conn)
    if reply.rep == BAD_COMMAND:
        t.lacks("bind")
    t.equal("the first reply's REP", reply.rep, SUCCEEDED)
    return reply


def waiting(t, host=None, port=0):
    """(connection, first reply): the server waits for host to connect."""
    conn = t.ready()
    return conn, request(t, conn, host or t.server.targets, port)


def where(t, reply):
    """Where the first reply says that the peer has to connect."""
    if ipaddress.ip_address(reply.host).is_unspecified:
        return t.server.host, reply.port
    return reply.host, reply.port


def peer_from(t, reply, source=None):
    """A connection to where the first reply says, from an address of this machine."""
    host, port = where(t, reply)
    if source is None:
        source = t.server.targets6 if ":" in host else t.server.targets
    elif not ipaddress.ip_address(source).is_loopback or not t.server.is_loopback:
        raise Skipped("the addresses of strangers are known on loopback only")
    sock = connect_socket(host, port, source, max(0.01, t.left()))
    return t.keep(Conn(sock, t.deadline, "server's listener"))


def stranger_from(t, reply, source):
    """Somebody who is not expected; None when they were reset before connect() returned."""
    try:
        return peer_from(t, reply, source)
    except ConnectionResetError:
        return None


def second_reply(t, conn):
    return t.expect_reply(conn, SUCCEEDED)


def joined(t, host=None):
    """(client, peer): the two ends of a session that BIND has made."""
    conn, reply = waiting(t, host)
    peer = peer_from(t, reply)
    second_reply(t, conn)
    return conn, peer


def expect_closed(t, reply, source=None, seconds=1.0):
    """Nobody listens there any more: refused, or reset at once."""
    end = time.monotonic() + seconds
    while True:
        try:
            peer = peer_from(t, reply, source)
        except ConnectionRefusedError:
            return
        except ConnectionResetError:
            peer = None
        if time.monotonic() > end:
            raise Failed("connections are still accepted where the first reply said")
        if peer:
            peer.close()
        time.sleep(0.05)


def expect_thrown_out(conn):
    """The connection ends without a byte."""
    if conn:
        conn.expect_end()


# --- the first reply ------------------------------------------------------------------------------


@case("bind/first-reply", REPLIES, "00, before any peer is there")
def first_reply(t):
    waiting(t)


@case("bind/first-reply-address", f"{RFC}: the address where to connect", "BND.ADDR is no 0.0.0.0, BND.PORT no 0")
def first_reply_address(t):
    _conn, reply = waiting(t)
    t.true(not ipaddress.ip_address(reply.host).is_unspecified, f"BND.ADDR {reply.host}")
    t.true(reply.port, "BND.PORT 0")


@case("bind/first-reply-bytes", REPLIES, "ten bytes, RSV 00, ATYP 01, for an IPv4 peer")
def first_reply_bytes(t):
    _conn, reply = waiting(t)
    t.equal("the first four bytes", reply.raw[:4], b"\x05\x00\x00\x01")
    t.equal("the length", len(reply.raw), 10)


@case("bind/first-reply-ipv6", REPLIES, "ATYP 04 and a real address, for an IPv6 peer")
def first_reply_ipv6(t):
    _conn, reply = waiting(t, t.need_ipv6())
    t.equal("the ATYP of BND.ADDR", reply.kind, 4)
    t.true(not ipaddress.ip_address(reply.host).is_unspecified, f"BND.ADDR {reply.host}")


@case("bind/first-reply-mapped", REPLIES, "ATYP 01, for a v4-mapped peer", "should")
def first_reply_mapped(t):
    conn, reply = waiting(t, "::ffff:" + t.server.targets)
    t.equal("the ATYP of BND.ADDR", reply.kind, 1)
    peer = peer_from(t, reply)
    t.equal("the ATYP of the peer", second_reply(t, conn).kind, 1)
    conn.expect_open_both_ways(peer)


@case("bind/listens-first", f"{RFC}: the client tells the peer at once", "who connects right behind the first reply is "
      "let in, 30 times out of 30", seconds=12)
def listens_first(t):
    for _ in range(30):
        conn, reply = waiting(t)
        peer = peer_from(t, reply)
        second_reply(t, conn)
        conn.close()
        peer.close()


@case("bind/byte-at-a-time", RFC, "a request in single bytes is served")
def byte_at_a_time(t):
    conn = t.ready()
    whole = request_bytes(t.server.targets, 0, BIND)
    for byte in whole[:-1]:
        conn.send(bytes([byte]))
        time.sleep(0.01)
    conn.send(whole[-1:])
    reply = t.reply(conn)
    if reply.rep == BAD_COMMAND:
        t.lacks("bind")
    t.equal("REP", reply.rep, SUCCEEDED)
    peer = peer_from(t, reply)
    second_reply(t, conn)
    conn.expect_open_both_ways(peer)


@case("bind/with-greeting", RFC, "greeting and request in one segment are served")
def with_greeting(t):
    conn = t.open()
    conn.send(t.hello() + request_bytes(t.server.targets, 0, BIND))
    conn.expect(t.hello_answer(), "answers to the greeting")
    reply = t.reply(conn)
    if reply.rep == BAD_COMMAND:
        t.lacks("bind")
    peer = peer_from(t, reply)
    second_reply(t, conn)
    conn.expect_open_both_ways(peer)


@case("bind/two-at-once", RFC, "two connections wait on different ports, each gets its own peer")
def two_at_once(t):
    (one, first), (two, second) = waiting(t), waiting(t)
    t.true(first.port != second.port, "both wait on the same port")
    late, early = peer_from(t, second), peer_from(t, first)
    second_reply(t, one)
    second_reply(t, two)
    one.expect_open_both_ways(early, b"number one")
    two.expect_open_both_ways(late, b"number two")


# --- the second reply -----------------------------------------------------------------------------


@case("bind/second-reply", REPLIES, "00 with the peer's address and port")
def second_reply_peer(t):
    conn, reply = waiting(t)
    peer = peer_from(t, reply)
    answer = second_reply(t, conn)
    t.equal("the peer", (answer.host, answer.port), peer.sock.getsockname()[:2])


@case("bind/second-reply-ipv6", REPLIES, "the same with ATYP 04, for an IPv6 peer")
def second_reply_ipv6(t):
    conn, reply = waiting(t, t.need_ipv6())
    peer = peer_from(t, reply)
    answer = second_reply(t, conn)
    t.equal("the ATYP of the peer", answer.kind, 4)
    t.equal("the peer", (answer.host, answer.port), peer.sock.getsockname()[:2])
    conn.expect_open_both_ways(peer)


@case("bind/second-reply-later", REPLIES, "no second reply before the peer has connected")
def second_reply_later(t):
    conn, reply = waiting(t)
    conn.expect_silence(0.6)
    peer_from(t, reply)
    second_reply(t, conn)


# --- the session ----------------------------------------------------------------------------------


@case("bind/both-ways", RFC, "bytes pass both ways")
def both_ways(t):
    conn, peer = joined(t)
    conn.expect_open_both_ways(peer)
    peer.expect_open_both_ways(conn, b"the other way first")


@case("bind/peer-speaks-first", RFC, "what the peer says at once comes right behind the second reply")
def peer_speaks_first(t):
    conn, reply = waiting(t)
    peer_from(t, reply).send(b"150 here it comes\r\n")
    second_reply(t, conn)
    conn.expect(b"150 here it comes\r\n", "first word of the peer")


@case("bind/peer-speaks-and-leaves", f"{RFC}; RFC 9293 3.6", "a file of 200,000 bytes and FIN, as active FTP sends it, "
      "arrive whole")
def peer_speaks_and_leaves(t):
    conn, reply = waiting(t)
    peer = peer_from(t, reply)
    file = blob(200_000, 7)
    peer.send(file)
    peer.fin()
    second_reply(t, conn)
    t.equal("what arrived", conn.end(), (file, "FIN"))


@case("bind/early-data", RFC, "what the client says while it waits reaches the peer first")
def early_data(t):
    conn, reply = waiting(t)
    conn.send(b"early, ")
    time.sleep(0.2)
    peer = peer_from(t, reply)
    second_reply(t, conn)
    conn.send(b"and late")
    peer.expect(b"early, and late")


@case("bind/early-data-with-request", RFC, "the same when it came in one segment with the request")
def early_data_with_request(t):
    conn = t.ready()
    reply = request(t, conn, t.server.targets, behind=b"early bird")
    peer = peer_from(t, reply)
    second_reply(t, conn)
    peer.expect(b"early bird")


@case("bind/early-data-64k", RFC, "the same with 64 KiB")
def early_data_64k(t):
    conn, reply = waiting(t)
    file = blob(65536, 3)
    conn.send(file)
    time.sleep(0.2)
    peer = peer_from(t, reply)
    second_reply(t, conn)
    peer.expect(file, "early data")


@case("bind/half-close-client", "RFC 9293 3.6", "the client's FIN reaches the peer, which can still answer")
def half_close_client(t):
    conn, peer = joined(t)
    conn.send(b"question")
    conn.fin()
    t.equal("what the peer got", peer.end(), (b"question", "FIN"))
    peer.send(b"answer")
    peer.fin()
    t.equal("what the client got", conn.end(), (b"answer", "FIN"))


@case("bind/half-close-peer", "RFC 9293 3.6", "the peer's FIN reaches the client, which can still answer")
def half_close_peer(t):
    conn, peer = joined(t)
    peer.send(b"question")
    peer.fin()
    t.equal("what the client got", conn.end(), (b"question", "FIN"))
    conn.send(b"answer")
    conn.fin()
    t.equal("what the peer got", peer.end(), (b"answer", "FIN"))


@case("bind/reset-by-peer", "RFC 9293 3.5.3: a cut transfer must not look complete", "RST reaches the client as RST",
      "should")
def reset_by_peer(t):
    conn, peer = joined(t)
    conn.expect_open_both_ways(peer)
    peer.reset()
    t.equal("the end", conn.end()[1], "RST")


@case("bind/reset-by-client", "RFC 9293 3.5.3: a cut transfer must not look complete", "RST reaches the peer as RST",
      "should")
def reset_by_client(t):
    conn, peer = joined(t)
    conn.expect_open_both_ways(peer)
    conn.reset()
    t.equal("the end", peer.end()[1], "RST")


@case("bind/bulk-both-ways", RFC, "8 MiB each way at the same time arrive bit-identical", seconds=20)
def bulk_both_ways(t):
    conn, peer = joined(t)
    transfer(t, Flow(conn, peer, blob(8 * MIB, 1)), Flow(peer, conn, blob(8 * MIB, 2)))


@case("bind/second-request-is-data", f"{RFC}: one request per connection", "another request behind the first is data "
      "for the peer")
def second_request_is_data(t):
    again = request_bytes(t.server.targets, 0, BIND)
    conn = t.ready()
    reply = request(t, conn, t.server.targets, behind=again)
    conn.expect_silence(0.3)
    peer = peer_from(t, reply)
    second_reply(t, conn)
    peer.expect(again)


# --- the client leaves ----------------------------------------------------------------------------


@case("bind/client-fin", "robustness: nobody is left to be told", "the client's FIN ends the wait: nobody listens 1 s "
      "later", "should")
def client_fin(t):
    conn, reply = waiting(t)
    conn.fin()
    time.sleep(0.2)
    expect_closed(t, reply)


@case("bind/client-reset", "robustness: nobody is left to be told", "so does its RST", "should")
def client_reset(t):
    conn, reply = waiting(t)
    conn.reset()
    time.sleep(0.2)
    expect_closed(t, reply)


@case("bind/client-fin-behind-data", "robustness: nobody is left to be told", "so does FIN behind 100,000 bytes of "
      "early data", "should")
def client_fin_behind_data(t):
    conn, reply = waiting(t)
    conn.send(blob(100_000, 5))
    conn.fin()
    time.sleep(0.2)
    expect_closed(t, reply)


# --- strangers ------------------------------------------------------------------------------------


@case("bind/stranger", PEER, "somebody else is thrown out, and the client not told of them")
def stranger(t):
    conn, reply = waiting(t)
    expect_thrown_out(stranger_from(t, reply, OTHER))
    conn.expect_silence(0.3)


@case("bind/stranger-by-reset", f"{PEER}; robustness", "by RST, so that they do not wait for an answer", "should")
def stranger_by_reset(t):
    _conn, reply = waiting(t)
    other = stranger_from(t, reply, OTHER)
    if other:
        other.expect_end("RST")


@case("bind/stranger-then-peer", f"{PEER}; robustness", "the wait goes on, the peer is served")
def stranger_then_peer(t):
    conn, reply = waiting(t)
    expect_thrown_out(stranger_from(t, reply, OTHER))
    peer = peer_from(t, reply)
    answer = second_reply(t, conn)
    t.equal("the peer", (answer.host, answer.port), peer.sock.getsockname()[:2])
    conn.expect_open_both_ways(peer)


@case("bind/strangers-100", f"{PEER}; robustness", "100 strangers change nothing either", seconds=15)
def strangers_100(t):
    conn, reply = waiting(t)
    for number in range(100):
        stranger_from(t, reply, (OTHER, THIRD)[number % 2])
    peer = peer_from(t, reply)
    second_reply(t, conn)
    conn.expect_open_both_ways(peer)


@case("bind/stranger-data", PEER, "what a stranger says does not reach the client")
def stranger_data(t):
    conn, reply = waiting(t)
    other = stranger_from(t, reply, OTHER)
    if other:
        other.send_anyway(b"evil")
        other.fin_anyway()
    peer = peer_from(t, reply)
    second_reply(t, conn)
    peer.send(b"good")
    conn.expect(b"good")


@case("bind/port-not-compared", f"{PEER}: not its port", "DST.PORT may be another port than the peer's")
def port_not_compared(t):
    conn, reply = waiting(t, t.server.targets, 21)
    peer = peer_from(t, reply)
    second_reply(t, conn)
    conn.expect_open_both_ways(peer)


def anybody(name, host):
    @case(f"bind/{name}", f"{RFC}: an address not known yet", "whoever comes first is the peer, or REP 02", "should")
    def run(t):
        conn = t.ready()
        conn.send(request_bytes(host(t), 0, BIND))
        reply = t.reply(conn)
        if reply.rep == BAD_COMMAND:
            t.lacks("bind")
        if reply.rep == DENIED:
            return
        t.equal("REP", reply.rep, SUCCEEDED)
        t.true(not ipaddress.ip_address(reply.host).is_unspecified, f"BND.ADDR {reply.host}")
        peer = t.keep(Conn(connect_socket(reply.host, reply.port, None, max(0.01, t.left())), t.deadline, "listener"))
        answer = second_reply(t, conn)
        t.equal("the peer", (answer.host, answer.port), peer.sock.getsockname()[:2])
        conn.expect_open_both_ways(peer)


anybody("anybody", lambda t: "0.0.0.0")
anybody("anybody-ipv6", lambda t: t.need_ipv6() and "::")


@case("bind/one-peer-only", RFC, "the second peer is not let in: the wait is over")
def one_peer_only(t):
    conn, reply = waiting(t)
    first = peer_from(t, reply)
    second_reply(t, conn)
    expect_closed(t, reply)
    conn.expect_open_both_ways(first)


@case("bind/two-peers-at-once", RFC, "of two that come at the same time one is served, the other thrown out")
def two_peers_at_once(t):
    conn, reply = waiting(t)
    host, port = where(t, reply)
    peers = []
    for _ in range(2):
        try:
            sock = connect_socket(host, port, t.server.targets, max(0.01, t.left()))
        except OSError:
            continue
        peers.append(t.keep(Conn(sock, t.deadline, "listener")))
    answer = second_reply(t, conn)
    served = [peer for peer in peers if peer.sock.getsockname()[1] == answer.port]
    t.equal("those who are served", len(served), 1)
    for peer in peers:
        if peer is not served[0]:
            expect_thrown_out(peer)
    conn.expect_open_both_ways(served[0])


# --- names ----------------------------------------------------------------------------------------


@case("bind/name", f"{PEER}; RFC 1928 5", "the address of a name is expected")
def name(t):
    conn, reply = waiting(t, t.name(t.server.targets))
    t.equal("the ATYP of BND.ADDR", reply.kind, 1)
    peer = peer_from(t, reply)
    second_reply(t, conn)
    conn.expect_open_both_ways(peer)


@case("bind/name-any-address", f"{PEER}; RFC 1928 5", "so is each of several addresses", "should")
def name_any_address(t):
    conn, reply = waiting(t, t.name(t.server.targets, OTHER))
    peer = peer_from(t, reply, OTHER)
    second_reply(t, conn)
    conn.expect_open_both_ways(peer)


@case("bind/name-stranger", f"{PEER}; RFC 1928 5", "and nobody else")
def name_stranger(t):
    conn, reply = waiting(t, t.name(t.server.targets, OTHER))
    expect_thrown_out(stranger_from(t, reply, THIRD))
    conn.expect_silence(0.2)


@case("bind/name-is-address", "RFC 1928 5", "an address written as a name is an address", "should")
def name_is_address(t):
    conn, reply = waiting(t, t.server.targets.encode())
    peer = peer_from(t, reply)
    second_reply(t, conn)
    conn.expect_open_both_ways(peer)


def refused(title, cite, expect, make, *reps, level="should"):
    """A BIND request that fails, in ten bytes, and the connection ends."""

    @case(f"bind/{title}", cite, expect, level)
    def run(t):
        conn = t.ready()
        conn.send(request_bytes(make(t), 0, BIND))
        reply = t.reply(conn)
        if reply.rep == BAD_COMMAND:
            t.lacks("bind")
        if reply.rep not in reps:
            raise Failed(f"REP {reply.rep:02x}, not {' or '.join(f'{rep:02x}' for rep in reps)}")
        t.equal("the address and port of a failure", (reply.host, reply.port, len(reply.raw)), ("0.0.0.0", 0, 10))
        conn.expect_end()


refused("name-unknown", REPLIES, "REP 04: nobody has the name",
        lambda t: t.need_dns() and f"none-{t.number}.conform.example".encode(), HOST_UNREACHABLE)
refused("name-bad", "RFC 1035 2.3.4", "REP 01: no name", lambda t: b"a..b", FAILURE)
refused("name-nul", "RFC 1123 2.1", "REP 01: a NUL in a name", lambda t: b"127.0.0.1\0.conform.example", FAILURE)
refused("name-numeric", "RFC 1123 2.1: no address but a dotted quad", "REP 04 or 01: 127.1 is no address",
        lambda t: b"127.1", HOST_UNREACHABLE, FAILURE)
refused("multicast", "policy: no peer has such an address", "REP 02", lambda t: "224.0.0.1", DENIED)
refused("broadcast", "policy: no peer has such an address", "REP 02", lambda t: "255.255.255.255", DENIED)
refused("metadata", "policy: nothing a client could not reach itself", "REP 02", lambda t: "169.254.169.254", DENIED)
refused("this-network", "policy: only 0.0.0.0 itself stands for anybody", "REP 02", lambda t: "0.0.0.1", DENIED)


# --- timers ---------------------------------------------------------------------------------------


@case("timers/bind", f"{REPLIES}: TTL expired", "the second reply is 06 when nobody comes in the server's time; then "
      "nobody listens", "should", 20)
def timer(t):
    timeout = t.server.bind_timeout
    t.need(timeout, "the server's bind timeout was not said (--bind-timeout)")
    conn, reply = waiting(t)
    began = time.monotonic()
    t.expect_reply(conn, EXPIRED)
    took = time.monotonic() - began
    t.true(timeout - 1.1 <= took <= timeout + 3, f"after {took:.1f} s")
    conn.expect_end()
    expect_closed(t, reply)


@case("timers/bind-strangers", f"{REPLIES}: TTL expired", "strangers do not extend that time", "should", 20)
def timer_strangers(t):
    timeout = t.server.bind_timeout
    t.need(timeout, "the server's bind timeout was not said (--bind-timeout)")
    conn, reply = waiting(t)
    began = time.monotonic()
    while time.monotonic() - began < timeout - 0.5:
        stranger_from(t, reply, OTHER)
        time.sleep(0.2)
    t.expect_reply(conn, EXPIRED)
    took = time.monotonic() - began
    t.true(took <= timeout + 3, f"after {took:.1f} s")
