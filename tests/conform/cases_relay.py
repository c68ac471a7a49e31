# SPDX-License-Identifier: ISC
"""After the reply: bytes, ends and resets pass as if the proxy were a wire (RFC 1928 section 6, RFC 9293)."""

import socket
import statistics
import struct
import threading
import time

from context import MIB, SUCCEEDED, TCP_CLOSE, TCP_TIME_WAIT, Flow, blob, request_bytes, stall, transfer
from engine import case

WIRE = "RFC 1928 6: data may now be passed"
FIN = "RFC 9293 3.6, RFC 1122 4.2.2.13"
RST = "RFC 9293 3.5.2"
BULK = 8 * MIB
BULK_SECONDS = 30


# --- bytes ----------------------------------------------------------------------------------------


@case("relay/echo", WIRE, "bytes arrive in both directions")
def echo(t):
    client, target = t.pair()
    client.expect_open_both_ways(target)


@case("relay/every-byte", WIRE, "all 256 values arrive as they are, in both directions")
def every_byte(t):
    client, target = t.pair()
    client.expect_open_both_ways(target, bytes(range(256)))


@case("relay/target-first", WIRE, "a target that speaks first is heard")
def target_first(t):
    client, target = t.pair()
    target.send(b"220 ready\r\n")
    client.expect(b"220 ready\r\n")


@case("relay/ping-pong", WIRE, "60 questions and answers of changing size", seconds=15)
def ping_pong(t):
    client, target = t.pair()
    for turn in range(60):
        client.expect_open_both_ways(target, blob(1 + turn * 37 % 3000, turn))


@case("relay/after-a-pause", WIRE, "a session is alive after 2 s of silence")
def after_a_pause(t):
    client, target = t.pair()
    client.expect_open_both_ways(target)
    time.sleep(2)
    client.expect_open_both_ways(target)


def bulk(name, expect, *flows, host=None, size=BULK, receive_buffer=0, at_once=1 << 18):
    """flows: (from, to) of "client" and "target"; all at the same time, and a FIN when all is there."""

    @case(f"relay/{name}", f"{WIRE}; {FIN}", expect, seconds=BULK_SECONDS)
    def run(t):
        target = t.listen(t.need_ipv6() if host else None, receive_buffer=receive_buffer)
        client = t.connect(target.host, target.port, receive_buffer=receive_buffer)
        ends = {"client": client, "target": target.accept()}
        transfer(t, *(Flow(ends[sender], ends[receiver], blob(size, 1 + index), fin=False)
                      for index, (sender, receiver) in enumerate(flows)), at_once=at_once)
        sender, receiver = flows[0]
        ends[sender].fin()
        ends[receiver].expect_end("FIN")


UP, DOWN = ("client", "target"), ("target", "client")
bulk("bulk-up", "8 MiB from the client, byte for byte, then FIN", UP)
bulk("bulk-down", "8 MiB from the target, byte for byte, then FIN", DOWN)
bulk("bulk-both", "8 MiB in both directions at the same time, byte for byte", UP, DOWN)
bulk("bulk-ipv6", "the same over IPv6", UP, DOWN, host="ipv6")
bulk("small-buffers", "2 MiB each way between ends with receive buffers of 4 KiB", UP, DOWN, size=2 * MIB,
     receive_buffer=4096, at_once=3000)
bulk("small-pieces", "1 MiB each way in pieces of 700 bytes", UP, DOWN, size=MIB, at_once=700)


@case("relay/bulk-and-quiet", WIRE, "bursts of 3 MiB, single bytes and pauses, mixed: byte for byte",
      seconds=BULK_SECONDS)
def bulk_and_quiet(t):
    client, target = t.pair()
    for turn in range(4):
        transfer(t, Flow(client, target, blob(3 * MIB + turn, turn), fin=False),
                 Flow(target, client, blob(turn * 1000 + 1, turn), fin=False))
        for _ in range(10):
            client.expect_open_both_ways(target, b".")
        time.sleep(0.1)
        transfer(t, Flow(target, client, blob(3 * MIB, 10 + turn), fin=False))
    client.expect_open_both_ways(target)


@case("relay/16-bulk-sessions", WIRE, "16 sessions with 1 MiB each way at the same time", seconds=BULK_SECONDS)
def bulk_sessions(t):
    flows = []
    for index in range(16):
        client, target = t.pair()
        flows += [Flow(client, target, blob(MIB, index), fin=False),
                  Flow(target, client, blob(MIB, 100 + index), fin=False)]
    transfer(t, *flows)


# --- early data -----------------------------------------------------------------------------------


def early(name, expect, size, fin=False):
    @case(f"relay/{name}", f"{WIRE}; optimistic data", expect, seconds=15)
    def run(t):
        target, conn = t.listen(), t.ready()
        data = blob(size, 7)
        request = request_bytes(target.host, target.port)
        sender = threading.Thread(target=conn.send_anyway, args=(request + data,), daemon=True)
        sender.start()
        end = target.accept()
        t.expect_reply(conn, SUCCEEDED)
        end.expect(data, "early data")
        sender.join(max(0, t.left()))
        if fin:
            conn.fin()
            end.expect_end("FIN")
            end.send(b"answer")
            conn.expect(b"answer")
        else:
            conn.expect_open_both_ways(end)


early("early-500", "500 bytes sent with the request arrive first", 500)
early("early-64k", "64 KiB sent with the request arrive first", 65536)
early("early-1m", "1 MiB sent with the request arrives first", MIB)
early("early-fin", "early data and FIN, then the answer", 2000, fin=True)


@case("relay/early-waits", f"{WIRE}; optimistic data", "early data waits for a connection that takes a second",
      seconds=14)
def early_waits(t):
    target = t.slow_target()
    conn = t.ready()
    conn.send(request_bytes(target.host, target.port) + b"first, ")
    time.sleep(0.2)
    conn.send(b"second, ")
    time.sleep(0.2)
    target.drain()
    conn.send(b"third")
    t.expect_reply(conn, SUCCEEDED)
    target.accept().expect(b"first, second, third", "early data")


# --- half-close -----------------------------------------------------------------------------------


def half_close(name, expect, first, second, host=None):
    @case(f"relay/{name}", FIN, expect, seconds=BULK_SECONDS)
    def run(t):
        client, target = t.pair(t.need_ipv6() if host else None)
        ends = {"client": client, "target": target}
        transfer(t, Flow(ends[first], ends[second], blob(BULK, 1)))
        time.sleep(0.2)
        transfer(t, Flow(ends[second], ends[first], blob(BULK, 2)))


half_close("half-close-client", "the client sends 8 MiB and FIN, and then gets 8 MiB and FIN", "client", "target")
half_close("half-close-target", "the target sends 8 MiB and FIN, and then gets 8 MiB and FIN", "target", "client")
half_close("half-close-ipv6", "the same over IPv6", "client", "target", "ipv6")


@case("relay/half-close-empty", FIN, "FIN without a byte passes in both directions, one after the other")
def half_close_empty(t):
    client, target = t.pair()
    client.fin()
    target.expect_end("FIN")
    target.send(b"still here")
    client.expect(b"still here")
    target.fin()
    client.expect_end("FIN")


@case("relay/half-close-target-empty", FIN, "the same, the target first")
def half_close_target_empty(t):
    client, target = t.pair()
    target.fin()
    client.expect_end("FIN")
    client.send(b"still here")
    target.expect(b"still here")
    client.fin()
    target.expect_end("FIN")


@case("relay/half-close-lasts", FIN, "the open direction works 2 s after the other was closed")
def half_close_lasts(t):
    client, target = t.pair()
    client.fin()
    target.expect_end("FIN")
    for _ in range(4):
        time.sleep(0.5)
        target.send(b"tick")
        client.expect(b"tick")


@case("relay/fin-not-early", FIN, "no FIN before the last of 4 MiB that the receiver reads slowly",
      seconds=BULK_SECONDS)
def fin_not_early(t):
    client, target = t.pair(receive_buffer=8192)
    data = blob(4 * MIB, 3)
    sender = threading.Thread(target=lambda: (client.send_anyway(data), client.fin()), daemon=True)
    sender.start()
    time.sleep(0.3)
    seen, how = target.end()
    sender.join(1)
    t.true(seen == data, f"{len(seen)} of {len(data)} bytes, or others")
    t.equal("the end", how, "FIN")


def fin_with_data(name, expect, first, second):
    @case(f"relay/{name}", FIN, expect)
    def run(t):
        client, target = t.pair()
        ends = {"client": client, "target": target}
        ends[first].sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, 1)
        ends[first].send(b"the last words")
        ends[first].fin()
        data, how = ends[second].end()
        t.equal("what came", (data, how), (b"the last words", "FIN"))


fin_with_data("fin-with-data-client", "data and FIN of the client in one segment: both arrive", "client", "target")
fin_with_data("fin-with-data-target", "data and FIN of the target in one segment: both arrive", "target", "client")


@case("relay/target-says-and-closes", FIN, "a target that speaks and closes at once: reply, words, FIN")
def target_says_and_closes(t):
    target = t.listen()
    conn = t.ready()
    conn.send(request_bytes(target.host, target.port))
    end = target.accept()
    end.send(b"bye")
    end.close()
    t.expect_reply(conn, SUCCEEDED)
    t.equal("what came", conn.end(), (b"bye", "FIN"))


@case("relay/fin-with-request", FIN, "request, data and FIN in one go: delivered, and the answer comes back")
def fin_with_request(t):
    target, conn = t.listen(), t.ready()
    conn.send(request_bytes(target.host, target.port) + b"all there is")
    conn.fin()
    end = target.accept()
    t.equal("what the target got", end.end(), (b"all there is", "FIN"))
    end.send(b"answer")
    end.close()
    t.expect_reply(conn, SUCCEEDED)
    t.equal("what the client got", conn.end(), (b"answer", "FIN"))


@case("relay/fin-with-bare-request", FIN, "request and FIN, no data: the target sees FIN, and its answer comes back")
def fin_with_bare_request(t):
    target, conn = t.listen(), t.ready()
    conn.send(request_bytes(target.host, target.port))
    conn.fin()
    end = target.accept()
    end.expect_end("FIN")
    end.send(b"answer")
    t.expect_reply(conn, SUCCEEDED)
    conn.expect(b"answer")


@case("relay/fin-while-connecting", FIN,
      "FIN while the target is being connected to is kept, and so is the data", seconds=14)
def fin_while_connecting(t):
    target = t.slow_target()
    conn = t.ready()
    conn.send(request_bytes(target.host, target.port))
    time.sleep(0.2)
    conn.send(b"all there is")
    conn.fin()
    conn.expect_silence(0.3)
    target.drain()
    end = target.accept()
    t.equal("what the target got", end.end(), (b"all there is", "FIN"))
    end.send(b"answer")
    end.close()
    t.expect_reply(conn, SUCCEEDED)
    t.equal("what the client got", conn.end(), (b"answer", "FIN"))


@case("relay/fin-while-resolving", FIN, "FIN while the name is being resolved is kept, and so is the data")
def fin_while_resolving(t):
    target = t.listen()
    entry = t.need_dns().add("fin.conform.example", t.server.targets, silent=True)
    conn = t.ready()
    conn.send(request_bytes(b"fin.conform.example", target.port) + b"all there is")
    conn.fin()
    conn.expect_silence(0.3)
    entry.answering.set()
    end = target.accept()
    t.equal("what the target got", end.end(), (b"all there is", "FIN"))
    end.send(b"answer")
    end.close()
    t.expect_reply(conn, SUCCEEDED)
    t.equal("what the client got", conn.end(), (b"answer", "FIN"))


@case("relay/both-fins", FIN, "both FINs at the same time: both sides see the end, nothing is reset")
def both_fins(t):
    client, target = t.pair()
    client.fin()
    target.fin()
    client.expect_end("FIN")
    target.expect_end("FIN")


# --- resets ---------------------------------------------------------------------------------------


def reset(name, expect, first, second, before=lambda first, second: None):
    @case(f"relay/{name}", RST, expect, "should")
    def run(t):
        client, target = t.pair()
        ends = {"client": client, "target": target}
        before(ends[first], ends[second])
        ends[first].reset()
        _data, how = ends[second].end()
        t.equal("the end", how, "RST")


def talked(first, second):
    first.expect_open_both_ways(second)


def first_has_finished(first, second):
    first.fin()
    second.expect_end("FIN")


def second_has_finished(first, second):
    second.fin()
    first.expect_end("FIN")


def unread(first, second):
    second.send(b"never read")
    time.sleep(0.1)


for _first, _second in (UP, DOWN):
    reset(f"reset-by-{_first}", f"RST of the {_first} is RST to the {_second}", _first, _second, talked)
    reset(f"reset-by-{_first}-at-once", "the same before any byte has passed", _first, _second)
    reset(f"reset-by-{_first}-unread", "the same with bytes it has not read", _first, _second, unread)
    reset(f"reset-by-{_first}-half-closed", f"the same after the {_second} has sent FIN", _first, _second,
          second_has_finished)


def cut(name, expect, first, second):
    """A transfer that is cut by RST never looks complete."""

    @case(f"relay/{name}", f"{RST}: a cut transfer never looks complete", expect, seconds=BULK_SECONDS)
    def run(t):
        client, target = t.pair()
        ends = {"client": client, "target": target}
        data = blob(MIB, 5)
        transfer(t, Flow(ends[first], ends[second], data[:MIB // 2], fin=False))
        ends[first].sock.setblocking(True)
        ends[first].send(data[MIB // 2:MIB // 2 + 65536])
        ends[first].reset()
        seen, how = ends[second].end()
        t.equal("the end", how, "RST")
        t.true(data[MIB // 2:].startswith(seen), "other bytes than were sent")


cut("cut-download", "RST of the target in the middle of a download is RST to the client", "target", "client")
cut("cut-upload", "RST of the client in the middle of an upload is RST to the target", "client", "target")


def cut_slow(name, expect, first, second):
    @case(f"relay/{name}", f"{RST}: a cut transfer never looks complete", expect, seconds=BULK_SECONDS)
    def run(t):
        target = t.listen(receive_buffer=8192)
        client = t.connect(target.host, target.port, receive_buffer=8192)
        ends = {"client": client, "target": target.accept()}
        data = blob(4 * MIB, 6)
        ends[first].sock.settimeout(0.5)
        try:
            ends[first].sock.sendall(data)
        except TimeoutError:
            pass  # the receiver does not read
        ends[first].reset()
        time.sleep(0.1)
        seen, how = ends[second].end()
        t.equal("the end", how, "RST")
        t.true(data.startswith(seen), "other bytes than were sent")


cut_slow("cut-download-unread", "the same with a client that has not read yet", "target", "client")
cut_slow("cut-upload-unread", "the same with a target that has not read yet", "client", "target")


def data_and_reset(name, expect, first, second):
    @case(f"relay/{name}", RST, expect)
    def run(t):
        client, target = t.pair()
        ends = {"client": client, "target": target}
        ends[first].send(b"last words")
        ends[first].reset()
        data, how = ends[second].end()
        t.equal("the end", how, "RST")
        t.true(b"last words".startswith(data), "other bytes than were sent")


data_and_reset("data-and-reset-client", "data and RST of the client: all or part of it, then RST", "client", "target")
data_and_reset("data-and-reset-target", "data and RST of the target: all or part of it, then RST", "target", "client")


@case("relay/reset-while-connecting", RST,
      "RST of the client while the target is being connected to ends the attempt",
      "should", seconds=14)
def reset_while_connecting(t):
    target = t.slow_target()
    conn = t.ready()
    conn.send(request_bytes(target.host, target.port))
    time.sleep(0.2)
    conn.reset()
    time.sleep(0.3)
    target.drain()
    # The attempt's SYN would be sent again after 1 s, and after 3.
    target.expect_nobody(3.5)


@case("relay/reset-while-resolving", RST,
      "RST of the client while its name is being resolved: the target is left alone",
      "should")
def reset_while_resolving(t):
    target = t.listen()
    entry = t.need_dns().add("rst.conform.example", t.server.targets, silent=True)
    conn = t.ready()
    conn.send(request_bytes(b"rst.conform.example", target.port))
    t.true(entry.asked.wait(max(0, t.left())), "the name was not asked for")
    conn.reset()
    time.sleep(0.3)
    entry.answering.set()
    target.expect_nobody(0.5)


@case("relay/close-under-download", RST, "a client that closes under a download stops the target soon")
def close_under_download(t):
    client, target = t.pair()
    target.send(b"x" * 65536)
    client.receive(100)
    client.close()
    target.sock.settimeout(0.5)
    with_error = False
    while t.left() > 1 and not with_error:
        try:
            target.sock.send(b"x" * 65536)
            time.sleep(0.01)
        except TimeoutError:
            continue
        except OSError:
            with_error = True
    t.true(with_error, "the target could go on sending")


@case("relay/answer-survives-late-data", FIN,
      "what a target said before it closed survives a client that sends later")
def answer_survives_late_data(t):
    client, target = t.pair()
    answer = blob(32768, 9)
    target.send(answer)
    target.close()
    time.sleep(0.3)
    client.send_anyway(b"late")
    time.sleep(0.3)
    client.expect(answer, "answer")


@case("relay/reset-by-not-reading", RST, "a target that closes with bytes unread: what it said, then RST", "should")
def reset_by_not_reading(t):
    client, target = t.pair()
    target.send(b"413 too large")
    client.expect(b"413 too large")
    client.send(b"y" * 1000)
    time.sleep(0.1)
    target.close()  # unread bytes: RST
    _data, how = client.end()
    t.equal("the end", how, "RST")


# --- readers that do not read ---------------------------------------------------------------------


def unread_case(name, expect, first, second):
    @case(f"relay/{name}", "RFC 9293 3.8.6: flow control", expect, seconds=BULK_SECONDS)
    def run(t):
        client, target = t.pair()
        ends = {"client": client, "target": target}
        sent = stall(ends[first], 64 * MIB)
        ends[first].fin()
        seen, how = ends[second].end()
        t.equal("the number of bytes", len(seen), sent)
        t.equal("the end", how, "FIN")


unread_case("zero-window-client", "a client that does not read stops the target; later it gets every byte", "target",
            "client")
unread_case("zero-window-target", "a target that does not read stops the client; later it gets every byte", "client",
            "target")


@case("relay/zero-window-one-way", "RFC 9293 3.8.6: flow control",
      "a direction that stalls does not stop the other one",
      seconds=BULK_SECONDS)
def zero_window_one_way(t):
    client, target = t.pair()
    stall(target, 64 * MIB)
    for _ in range(3):
        client.send(b"upwards")
        target.expect(b"upwards")


@case("relay/zero-window-others", "robustness", "8 sessions that stall do not delay another one",
      seconds=BULK_SECONDS)
def zero_window_others(t):
    for _ in range(8):
        _client, target = t.pair()
        target.sock.setblocking(False)
        try:
            while True:
                target.sock.send(bytes(1 << 18))
        except BlockingIOError:
            pass
    began = time.monotonic()
    t.expect_served()
    t.true(time.monotonic() - began < 3, "it took more than 3 s to be served")


# --- time -----------------------------------------------------------------------------------------


def second_byte_seconds(first, second):
    """How long a byte takes that follows another one not yet acknowledged: with Nagle's algorithm (RFC 896) on the way
    it waits for the receiver's delayed acknowledgement, 40 ms."""
    second.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 0)
    first.send(b"a")
    time.sleep(0.002)
    began = time.monotonic()
    first.send(b"b")
    second.expect(b"ab")
    took = time.monotonic() - began
    second.send(b"c")  # who answers may delay its acknowledgements
    first.expect(b"c")
    return took


def no_nagle(name, expect, first, second):
    @case(f"relay/{name}", "RFC 896, RFC 1122 4.2.3.4", expect, "should", alone=True)
    def run(t):
        client, target = t.pair()
        ends = {"client": client, "target": target}
        for _ in range(5):
            second_byte_seconds(ends[first], ends[second])
        took = statistics.median(second_byte_seconds(ends[first], ends[second]) for _ in range(21))
        t.true(took < 0.03, f"{took * 1000:.0f} ms is the median")


no_nagle("no-delay-up", "two bytes in a row from the client: the second takes less than 30 ms", "client", "target")
no_nagle("no-delay-down", "two bytes in a row from the target: the second takes less than 30 ms", "target", "client")


@case("relay/latency", "robustness", "a question and its answer take less than 20 ms (median)", "should", alone=True)
def latency(t):
    client, target = t.pair()
    times = []
    for _ in range(41):
        began = time.monotonic()
        client.expect_open_both_ways(target, b"?")
        times.append(time.monotonic() - began)
    took = statistics.median(times)
    t.true(took < 0.02, f"{took * 1000:.1f} ms")


# --- urgent data ----------------------------------------------------------------------------------


def urgent(name, expect, first, second):
    @case(f"relay/{name}", "RFC 6093 3: urgent data is ordinary data", expect, "should")
    def run(t):
        client, target = t.pair()
        ends = {"client": client, "target": target}
        ends[first].send(b"before")
        ends[second].expect(b"before")
        ends[first].sock.send(b"!", socket.MSG_OOB)
        ends[first].send(b"behind")
        head = ends[second].receive(6)
        t.true(head in (b"behind", b"!behin"), f"{head} came")
        if head == b"!behin":
            ends[second].expect(b"d")
        client.expect_open_both_ways(target)


urgent("urgent", "urgent data of the client harms nothing: the rest arrives in order", "client", "target")
urgent("urgent-down", "urgent data of the target harms nothing", "target", "client")


@case("relay/urgent-last", "RFC 6093 3: urgent data is ordinary data", "urgent data right before FIN: the end arrives",
      "should")
def urgent_last(t):
    client, target = t.pair()
    client.send(b"words")
    client.sock.send(b"!", socket.MSG_OOB)
    client.fin()
    data, how = target.end()
    t.true(data in (b"words", b"words!"), f"{data} came")
    t.equal("the end", how, "FIN")


# --- many -----------------------------------------------------------------------------------------


@case("relay/200-sessions", "robustness", "200 sessions at the same time, each its own bytes", seconds=20)
def many_sessions(t):
    target = t.listen()
    pairs = [(t.connect(target.host, target.port), target.accept()) for _ in range(200)]
    for index, (client, _end) in enumerate(pairs):
        client.send(struct.pack(">I", index))
    for index, (client, end) in enumerate(pairs):
        end.expect(struct.pack(">I", index))
        end.send(struct.pack(">I", index + 1000))
        client.expect(struct.pack(">I", index + 1000))


@case("relay/200-in-turn", "robustness", "200 sessions one after the other, each closed before the next", seconds=20)
def many_in_turn(t):
    target = t.listen()
    for _ in range(200):
        client = t.connect(target.host, target.port)
        end = target.accept()
        client.expect_open_both_ways(end, b"x")
        client.close()
        end.close()


@case("relay/100-at-once", "robustness", "100 requests at the same time are all served", seconds=20)
def many_at_once(t):
    target = t.listen()
    conns = [t.ready() for _ in range(100)]
    for conn in conns:
        conn.send(request_bytes(target.host, target.port))
    for conn in conns:
        t.expect_reply(conn, SUCCEEDED)


@case("relay/closed-behind", FIN, "after both ends have closed, the server's sockets are closed too")
def closed_behind(t):
    client, target = t.pair()
    client.expect_open_both_ways(target)
    client.fin()
    target.expect_end("FIN")
    target.fin()
    client.expect_end("FIN")
    for end in (client, target):
        t.true(_is_closed(t, end), f"the {end.who} still has a connection")


def _is_closed(t, conn):
    while t.left() > 0.5:
        if conn.tcp_state() in (TCP_TIME_WAIT, TCP_CLOSE):
            return True
        time.sleep(0.05)
    return False
