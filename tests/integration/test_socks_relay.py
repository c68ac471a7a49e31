# SPDX-License-Identifier: ISC
"""socksd's relay under load: bulk through the pipe, resets in its midst, readers that stop reading, the limits of
sessions that are half closed, and what all this costs."""

import functools
import hashlib
import os
import socket
import threading
import time

import harness
import socks_client as socks
from harness import expect
from flows_cost import bulk_flows
from peers import TcpTarget, blob, blob_digest, echo, reset_on_close

MIB = 1 << 20
BULK = 64 * MIB
SESSIONS = 1000


@functools.lru_cache(maxsize=None)
def proxy():
    return harness.socksd("server.workers=1")


@functools.lru_cache(maxsize=None)
def echo_target():
    return TcpTarget(echo)


def send_for_ever(sock):
    data = bytes(MIB)
    try:
        while True:
            sock.sendall(data)
    except OSError:
        pass


def digest_of(sock):
    """Digest and length of what comes until the end."""
    digest = hashlib.sha256()
    count = 0
    while True:
        piece = sock.recv(MIB)
        if not piece:
            return digest.hexdigest(), count
        digest.update(piece)
        count += len(piece)


def open_pipes(daemon):
    """How many pipes the daemon has open, but for those it was started with."""
    inodes = set()
    directory = f"/proc/{daemon.process.pid}/fd"
    for name in os.listdir(directory):
        target = os.readlink(f"{directory}/{name}")
        if int(name) > 2 and target.startswith("pipe:"):
            inodes.add(target)
    return len(inodes)


def wait_counter(daemon, name, value):
    harness.wait_until(lambda: daemon.counters()[name] >= value, 10, f"counter {name} at {value}")


# --- bulk -----------------------------------------------------------------------------------------


def send_blob(sock, seed):
    for piece in blob(BULK, seed):
        sock.sendall(piece)
    sock.shutdown(socket.SHUT_WR)


def test_bulk():
    """8 downloads and 8 uploads at once arrive whole, most of it spliced, through one pipe"""
    before = proxy().counters()
    received = {}

    def serve(sock):
        kind, seed = socks.receive(sock, 2)
        if kind:
            send_blob(sock, seed)
        else:
            received[seed] = digest_of(sock)

    def client(kind, seed):
        with socks.connect(proxy().port, "127.0.0.1", target.port) as sock:
            sock.sendall(bytes([kind, seed]))
            if kind:
                received[seed] = digest_of(sock)
            else:
                send_blob(sock, seed)
                socks.receive_all(sock)

    target = TcpTarget(serve)
    clients = [threading.Thread(target=client, args=(seed % 2, seed)) for seed in range(16)]
    for thread in clients:
        thread.start()
    for thread in clients:
        thread.join()
    for seed in range(16):
        expect(received.get(seed), (blob_digest(BULK, seed), BULK), f"what arrived of blob {seed}")
    expect(target.errors, [], "the targets' errors")
    target.close()
    wait_counter(proxy(), "bytes_down", before["bytes_down"] + 8 * BULK)
    after = proxy().counters()
    expect(after["bytes_down"] - before["bytes_down"], 8 * BULK, "bytes_down")
    expect(after["bytes_up"] - before["bytes_up"], 8 * BULK + 16 * 2, "bytes_up")
    if after["pipe_missing"] == before["pipe_missing"]:
        expect(after["bytes_spliced"] - before["bytes_spliced"] > 8 * BULK, True, "that more than half was spliced")
        expect(open_pipes(proxy()), 1, "pipes open afterwards")


def test_small_is_copied():
    """Small messages are copied, and a session without bytes has two descriptors"""
    before = proxy().counters()["bytes_spliced"]
    with harness.closing_all() as sessions:
        fds = proxy().descriptor_count()
        for _ in range(100):
            sessions.append(socks.connect(proxy().port, "127.0.0.1", echo_target().port))
        expect(proxy().descriptor_count() - fds, 200, "descriptors for 100 sessions")
        for sock in sessions:
            sock.sendall(b"ping")
            expect(socks.receive(sock, 4), b"ping", "the echo")
        expect(proxy().descriptor_count() - fds, 200, "descriptors for 100 sessions that have moved bytes")
    harness.wait_until(lambda: proxy().counters()["sessions_now"] == 0, 10, "the end of the sessions")
    expect(proxy().counters()["bytes_spliced"], before, "bytes_spliced")


def test_reset_amid_bulk():
    """A download that the server resets half-way never looks complete"""
    def serve(sock):
        for piece in blob(BULK // 2, 1):
            sock.sendall(piece)
        reset_on_close(sock)

    target = TcpTarget(serve)
    for pause in (0, 0.3):
        with socks.connect(proxy().port, "127.0.0.1", target.port) as sock:
            time.sleep(pause)
            try:
                _digest, count = digest_of(sock)
            except ConnectionResetError:
                count = None
            expect(count, None, "what came as if it were complete")
    target.close()


def test_half_close_amid_bulk():
    """Bytes that wait for a slow reader when their sender's FIN comes still arrive"""
    target = TcpTarget(functools.partial(send_blob, seed=7))
    with socks.connect(proxy().port, "127.0.0.1", target.port) as sock:
        time.sleep(1)
        expect(digest_of(sock), (blob_digest(BULK, 7), BULK), "what arrived")
    target.close()


def test_bulk_starves_nobody():
    """With 4 bulk sessions on the same worker, 1,000 small ones get their answers soon"""
    harness.needs_plain_build()
    target = TcpTarget(send_for_ever)
    stop = threading.Event()

    def drain(sock):
        buffer = bytearray(MIB)
        while not stop.is_set():
            sock.recv_into(buffer)

    with harness.closing_all() as sessions:
        small = []
        for _ in range(SESSIONS):
            small.append(socks.connect(proxy().port, "127.0.0.1", echo_target().port))
            sessions.append(small[-1])
        readers = []
        for _ in range(4):
            sessions.append(socks.connect(proxy().port, "127.0.0.1", target.port))
            readers.append(threading.Thread(target=drain, args=(sessions[-1],)))
            readers[-1].start()
        slowest = 0.0
        for _ in range(3):
            began = time.monotonic()
            for sock in small:
                sock.sendall(b"ping")
            for sock in small:
                expect(socks.receive(sock, 4), b"ping", "the echo")
            slowest = max(slowest, time.monotonic() - began)
        stop.set()
        for thread in readers:
            thread.join()
    target.close()
    print(f"# the slowest round of {SESSIONS} answers took {slowest * 1000:.0f} ms")
    expect(slowest < 10, True, f"that the slowest round of answers ({slowest:.2f} s) took less than 10 s")


def test_flows_are_served_evenly():
    """Of 200 downloads at once each gets its share"""
    harness.needs_plain_build()
    flows = bulk_flows(proxy(), 200, 500, 1500)
    print(f"# bytes of a flow in 1.5 s: 5 % below {flows['p5']}, half below {flows['p50']}, the most {flows['max']}")
    expect(flows["silent"], 0, "flows that got nothing")
    expect(flows["p5"] > flows["p50"] / 4, True, f"that one in twenty gets a quarter of the median at least: {flows}")


def test_small_beside_many_flows():
    """Beside 200 downloads on the same worker, an answer takes no longer than some of their pieces"""
    harness.needs_plain_build()
    with socks.connect(proxy().port, "127.0.0.1", echo_target().port) as sock:
        took = []
        load = threading.Thread(target=bulk_flows, args=(proxy(), 200, 500, 1500))
        load.start()
        while load.is_alive():
            began = time.monotonic()
            sock.sendall(b"ping")
            expect(socks.receive(sock, 4), b"ping", "the echo")
            took.append(time.monotonic() - began)
        load.join()
    took.sort()
    median, slow = took[len(took) // 2], took[len(took) * 99 // 100]
    print(f"# of {len(took)} answers half took {median * 1000:.1f} ms, one in a hundred {slow * 1000:.0f} ms")
    expect(median < 0.05, True, f"that the median ({median * 1000:.1f} ms) is less than 50 ms")


# --- readers that stop ----------------------------------------------------------------------------


def test_stalled_readers():
    """40 readers that stop reading: what is held for them stops growing within a second, and others are served as before"""
    sent = []

    def fill(sock):
        try:
            while True:
                sent.append(sock.send(bytes(MIB // 4)))
        except OSError:
            pass

    target = TcpTarget(fill)
    with harness.closing_all() as sessions:
        other = socks.connect(proxy().port, "127.0.0.1", echo_target().port)
        sessions.append(other)
        before = proxy().rss_bytes()
        for _ in range(40):
            sessions.append(socks.connect(proxy().port, "127.0.0.1", target.port))
        time.sleep(1)
        first, first_sent, cpu = proxy().rss_bytes(), sum(sent), proxy().cpu_seconds()
        slowest = 0
        until = time.monotonic() + 1.5
        while time.monotonic() < until:
            began = time.monotonic()
            other.sendall(b"still there")
            expect(socks.receive(other, 11), b"still there", "the echo")
            slowest = max(slowest, time.monotonic() - began)
            time.sleep(0.01)
        second, second_sent, cpu = proxy().rss_bytes(), sum(sent), proxy().cpu_seconds() - cpu
        expect(open_pipes(proxy()) <= 1, True, "that stalled sessions keep no pipes")
    target.close()
    print(f"# held for 40 stalled readers: {first - before} bytes after 1 s, {second - before} after 2.5 s; "
          f"the kernel took {first_sent / MIB:.1f} and {second_sent / MIB:.1f} MiB; "
          f"the slowest echo took {slowest * 1000:.1f} ms")
    expect(cpu < 0.3, True, f"that stalled sessions take no CPU ({cpu:.2f} s of 1.5 s)")
    expect(second_sent - first_sent < 40 * MIB // 16, True, "that the kernel takes no more after a second")
    expect(slowest < 0.2, True, f"that the slowest echo ({slowest:.3f} s) was not delayed")
    if not harness.SANITIZED:
        expect(second - before < 40 * MIB // 4, True, f"that {second - before} bytes are less than 256 KiB each")
        expect(second - first < MIB, True, "that it does not grow after the first second")


def test_stall_timeout():
    """stall-timeout ends a session whose client never reads; the server sees a reset"""
    short = harness.socksd("limits.stall-timeout=1s")
    outcome = []
    done = threading.Event()

    def serve(sock):
        try:
            while True:
                sock.sendall(bytes(MIB))
        except OSError as error:
            outcome.append(type(error))
        done.set()

    target = TcpTarget(serve)
    began = time.monotonic()
    with socks.connect(short.port, "127.0.0.1", target.port), \
            socks.connect(short.port, "127.0.0.1", echo_target().port) as idle:
        expect(done.wait(20), True, "that the server saw an end")
        took = time.monotonic() - began
        expect(0.8 < took < 15, True, f"that {took:.1f} s is about the limit")
        expect(outcome, [ConnectionResetError], "what the server saw")
        short.wait_log(r"session-end .* end=stalled ")
        wait_counter(short, "stall_timeout", 1)
        idle.sendall(b"a session with nothing to send is not stalled")
        socks.receive(idle, 45)
    target.close()
    short.stop()


# --- half-closed sessions -------------------------------------------------------------------------


def never_answer(sock):
    """Read to the end, and keep the connection."""
    socks.receive_all(sock)
    time.sleep(60)


def test_fin_timeout():
    """fin-timeout ends a half-closed session whose other side says nothing, though idle-timeout is long"""
    short = harness.socksd("limits.fin-timeout=1s")
    target = TcpTarget(never_answer)
    with socks.connect(short.port, "127.0.0.1", target.port) as sock, \
            socks.connect(short.port, "127.0.0.1", echo_target().port) as idle:
        time.sleep(1.5)
        sock.sendall(b"request")
        began = time.monotonic()
        sock.shutdown(socket.SHUT_WR)
        short.wait_log(r"session-end .* end=idle_timeout ")
        took = time.monotonic() - began
        expect(0.8 < took < 5, True, f"that {took:.1f} s is about the limit")
        idle.sendall(b"open")
        expect(socks.receive(idle, 4), b"open", "the echo of a session that is not half closed")
    short.stop()


def test_half_close_timeout():
    """Once the other side has answered, half-close-timeout holds, from when bytes last moved"""
    short = harness.socksd("limits.fin-timeout=1s", "limits.half-close-timeout=3s")
    release = threading.Event()

    def serve(sock):
        socks.receive_all(sock)
        for _ in range(3):
            sock.sendall(b"tick")
            time.sleep(1.8)
        release.wait(20)

    target = TcpTarget(serve)
    with socks.connect(short.port, "127.0.0.1", target.port) as sock:
        began = time.monotonic()
        sock.shutdown(socket.SHUT_WR)
        expect(socks.receive(sock, 12), b"tickticktick", "what came after the client's FIN")
        short.wait_log(r"session-end .* end=idle_timeout ")
        took = time.monotonic() - began
        expect(6 < took < 12, True, f"that {took:.1f} s is 3 s after the last bytes")
    release.set()
    target.close()
    short.stop()


if __name__ == "__main__":
    harness.run(globals(), tries=2)
