# SPDX-License-Identifier: ISC
"""socksd seen byte by byte: handshakes, replies, the relay's half-closes and resets, its timers, its memory."""

import functools
import socket
import threading
import time

import harness
import socks_client as socks
from dns_message import NXDOMAIN, a_record, soa_record
from harness import expect
from peers import DnsServer, TcpTarget, echo, reset_on_close

MIB = 1 << 20
IDLE_SESSIONS = 1000
MEASURED_SESSIONS = 4000


def name_server_answer(message, _transport):
    """*.good.example is 127.0.0.1; nothing else exists."""
    if message.name.lower().endswith("good.example"):
        answers = [a_record(message.name, "127.0.0.1")] if message.type == 1 else []
        return message.answer_bytes(answers, [] if answers else [soa_record("good.example")])
    return message.answer_bytes(authority=[soa_record("example")], rcode=NXDOMAIN)


@functools.lru_cache(maxsize=None)
def name_server():
    return DnsServer(name_server_answer)


@functools.lru_cache(maxsize=None)
def proxy():
    return harness.socksd(f"dns.server={name_server().address}")


@functools.lru_cache(maxsize=None)
def password_proxy():
    users = harness.temporary_path("users")
    harness.output_of(harness.program_path("socksd-passwd"), users, "alice", text_in=b"open sesame\n")
    return harness.socksd("listen test.auth=password", f"listen test.users={users}")


@functools.lru_cache(maxsize=None)
def echo_target():
    return TcpTarget(echo)


def expect_echo(sock, data=b"hello, world"):
    sock.sendall(data)
    expect(socks.receive(sock, len(data)), data, "the echo")


def expect_closed(sock, what="the connection"):
    """EOF, or RST, and not a byte before."""
    try:
        data = sock.recv(4096)
    except ConnectionResetError:
        return
    expect(data, b"", f"what came before the end of {what}")


# --- the handshake --------------------------------------------------------------------------------


def handshake_bytes():
    return socks.GREETING_OPEN + socks.request_bytes("127.0.0.1", echo_target().port)


def expect_handshake_answers(sock):
    expect(socks.receive(sock, 2), b"\x05\x00", "the method")
    expect(socks.receive_reply(sock)[0], 0, "REP")


def test_byte_at_a_time():
    """A handshake sent one byte at a time"""
    with socks.open_proxy(proxy().port) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in handshake_bytes():
            sock.sendall(bytes([byte]))
            time.sleep(0.01)
        expect_handshake_answers(sock)
        expect_echo(sock)


def test_one_segment():
    """The whole handshake and the first payload in one segment"""
    with socks.open_proxy(proxy().port) as sock:
        sock.sendall(handshake_bytes() + b"early data")
        expect_handshake_answers(sock)
        expect(socks.receive(sock, 10), b"early data", "the echo")
        expect_echo(sock)


def test_one_segment_large():
    """The whole handshake and 1 MiB of payload at once"""
    payload = bytes(range(256)) * 4096
    with socks.open_proxy(proxy().port) as sock:
        sender = threading.Thread(target=sock.sendall, args=(handshake_bytes() + payload,))
        sender.start()
        expect_handshake_answers(sock)
        expect(socks.receive(sock, len(payload)) == payload, True, "that the echo equals the payload")
        sender.join()


def test_every_split():
    """A handshake in two segments, cut at each place"""
    whole = handshake_bytes() + b"early"
    for cut in range(1, len(whole)):
        with socks.open_proxy(proxy().port) as sock:
            sock.sendall(whole[:cut])
            time.sleep(0.005)
            sock.sendall(whole[cut:])
            expect_handshake_answers(sock)
            expect(socks.receive(sock, 5), b"early", f"the echo after a cut at {cut}")


def test_request_before_fin():
    """A client that sends everything and its FIN before the answer"""
    with socks.open_proxy(proxy().port) as sock:
        sock.sendall(handshake_bytes() + b"all there is")
        sock.shutdown(socket.SHUT_WR)
        expect_handshake_answers(sock)
        expect(socks.receive_all(sock), b"all there is", "the echo")


def test_ipv6():
    """IPv6 to the proxy and from it"""
    if not harness.have_ipv6():
        raise harness.Skip("no IPv6 on loopback")
    target = TcpTarget(echo, "::1")
    with socks.connect(proxy().port, "::1", target.port, proxy_host="::1") as sock:
        expect_echo(sock)
    with socks.connect(proxy().port, "::1", target.port) as sock:
        expect_echo(sock)
    target.close()


def test_names():
    """Names, with any case, with a dot at the end, localhost, and addresses written as names"""
    for host in (b"good.example", b"WWW.Good.Example", b"good.example.", b"a_b.good.example", b"localhost", b"LocalHost."):
        with socks.connect(proxy().port, host, echo_target().port) as sock:
            expect_echo(sock)
    if harness.have_ipv6():
        target = TcpTarget(echo, "::1")
        with socks.connect(proxy().port, b"::1", target.port) as sock:
            expect_echo(sock)
        target.close()
    with socks.connect(proxy().port, b"127.0.0.1", echo_target().port) as sock:
        expect_echo(sock)


def test_bound_address():
    """A successful reply carries the address the connection left from"""
    seen = []
    target = TcpTarget(lambda sock: (seen.append(sock.getpeername()), echo(sock)))
    with socks.open_proxy(proxy().port) as sock:
        sock.sendall(socks.GREETING_OPEN + socks.request_bytes("127.0.0.1", target.port))
        expect(socks.receive(sock, 2), b"\x05\x00", "the method")
        rep, host, port = socks.receive_reply(sock)
        expect(rep, 0, "REP")
        expect_echo(sock)
        expect((host, port), seen[0], "BND.ADDR and BND.PORT")
    target.close()


def test_methods():
    """Method negotiation: what the client offers, what the proxy takes"""
    for offer, answer in ((b"\x05\x01\x00", b"\x05\x00"), (b"\x05\x02\x80\x00", b"\x05\x00"),
                          (b"\x05\xff" + bytes(255), b"\x05\x00"), (b"\x05\x01\x01", b"\x05\xff"),
                          (b"\x05\x00", b"\x05\xff"), (b"\x05\x02\x01\x02", b"\x05\xff")):
        with socks.open_proxy(proxy().port) as sock:
            sock.sendall(offer)
            expect(socks.receive(sock, 2), answer, f"the answer to {offer[:4].hex()}")
            if answer[1] == 0xFF:
                expect_closed(sock)


def test_wrong_version():
    """A client that speaks something else is closed without a byte"""
    for first in (b"\x04\x01\x00\x50\x7f\x00\x00\x01\x00", b"\x16\x03\x01\x02\x00\x01", b"\x00", b"\xff" * 64):
        with socks.open_proxy(proxy().port) as sock:
            sock.sendall(first)
            expect_closed(sock, first[:4].hex())


# --- authentication -------------------------------------------------------------------------------


def test_password():
    """User and password: right"""
    with socks.connect(password_proxy().port, "127.0.0.1", echo_target().port, "alice", "open sesame") as sock:
        expect_echo(sock)


def expect_password_refused(message):
    with socks.open_proxy(password_proxy().port) as sock:
        sock.sendall(socks.GREETING_PASSWORD)
        expect(socks.receive(sock, 2), b"\x05\x02", "the method")
        sock.sendall(message)
        version, status = socks.receive(sock, 2)
        expect(version, 1, "the version of the answer")
        expect(status != 0, True, "that the status says no")
        expect_closed(sock)


def test_password_wrong():
    """User and password: wrong password, unknown user, empty ones, wrong version"""
    for message in (socks.password_bytes("alice", "open sesam"), socks.password_bytes("bob", "open sesame"),
                    socks.password_bytes("", ""), socks.password_bytes("a" * 255, "b" * 255),
                    b"\x05" + socks.password_bytes("alice", "open sesame")[1:]):
        expect_password_refused(message)


def test_password_pipelined():
    """A request sent before the answer to the password works, and is discarded after a wrong one"""
    request = socks.request_bytes("127.0.0.1", echo_target().port)
    with socks.open_proxy(password_proxy().port) as sock:
        sock.sendall(socks.GREETING_PASSWORD + socks.password_bytes("alice", "open sesame") + request + b"early")
        expect(socks.receive(sock, 4), b"\x05\x02\x01\x00", "method and status")
        expect(socks.receive_reply(sock)[0], 0, "REP")
        expect(socks.receive(sock, 5), b"early", "the echo")
    expect_password_refused(socks.password_bytes("alice", "wrong") + request)


def test_password_required():
    """Where a password is required, a client that offers none is refused"""
    with socks.open_proxy(password_proxy().port) as sock:
        sock.sendall(socks.GREETING_OPEN)
        expect(socks.receive(sock, 2), b"\x05\xff", "the method")
        expect_closed(sock)


def test_password_left():
    """Clients that leave while their password is looked at do no harm"""
    for _ in range(20):
        with socks.open_proxy(password_proxy().port) as sock:
            sock.sendall(socks.GREETING_PASSWORD + socks.password_bytes("alice", "open sesame"))
            reset_on_close(sock)
    test_password()


# --- refusals -------------------------------------------------------------------------------------


def refusal(request):
    """The reply code to a request, after which the connection must end."""
    with socks.open_proxy(proxy().port) as sock:
        sock.sendall(socks.GREETING_OPEN)
        expect(socks.receive(sock, 2), b"\x05\x00", "the method")
        sock.sendall(request)
        rep = socks.receive_reply(sock)[0]
        expect_closed(sock)
        return rep


def test_refusals():
    """Each refusal has its reply code"""
    name = b"\x05\x01\x00\x03"
    web = b"\x00\x50"
    table = (
        ("a port nobody listens on", 5, socks.request_bytes("127.0.0.1", harness.free_port())),
        ("a name nobody has", 4, socks.request_bytes("nowhere.example", 80)),
        ("a name without addresses", 4, socks.request_bytes("127.1", 80)),
        ("an unknown command", 7, socks.request_bytes("127.0.0.1", 80, command=0x77)),
        ("command 0", 7, socks.request_bytes("127.0.0.1", 80, command=0)),
        ("an unknown address type", 8, b"\x05\x01\x00\x02\x7f\x00\x00\x01" + web),
        ("port 0", 1, socks.request_bytes("127.0.0.1", 0)),
        ("an empty name", 1, name + b"\x00" + web),
        ("a name with NUL", 1, name + b"\x05a\x00.bc" + web),
        ("a name with a space", 1, name + b"\x05a .bc" + web),
        ("a label of 64 bytes", 1, name + b"\x40" + b"a" * 64 + web),
        ("an empty label", 1, name + b"\x04a..b" + web),
        ("a request of another version", 1, b"\x04\x01\x00\x01\x7f\x00\x00\x01" + web),
    )
    for what, rep, request in table:
        yield f"REP {rep:02x}: {what}", functools.partial(
            lambda rep, request: expect(refusal(request), rep, "REP"), rep, request)


# --- the relay ------------------------------------------------------------------------------------


def test_half_close_by_client():
    """The client sends 8 MiB, shuts down, and then receives 8 MiB"""
    upload = bytes(range(251)) * (8 * MIB // 251)
    download = bytes(reversed(upload))
    received = []

    def serve(sock):
        received.append(socks.receive_all(sock))
        time.sleep(0.2)
        sock.sendall(download)

    target = TcpTarget(serve)
    with socks.connect(proxy().port, "127.0.0.1", target.port) as sock:
        sock.sendall(upload)
        sock.shutdown(socket.SHUT_WR)
        expect(socks.receive_all(sock) == download, True, "that the download is what was sent")
    expect(received[0] == upload, True, "that the upload is what was sent")
    expect(target.errors, [], "the target's errors")
    target.close()


def test_half_close_by_server():
    """The server sends 8 MiB, shuts down, and then receives 8 MiB"""
    download = bytes(range(249)) * (8 * MIB // 249)
    upload = bytes(reversed(download))
    received = []
    done = threading.Event()

    def serve(sock):
        sock.sendall(download)
        sock.shutdown(socket.SHUT_WR)
        received.append(socks.receive_all(sock))
        done.set()

    target = TcpTarget(serve)
    with socks.connect(proxy().port, "127.0.0.1", target.port) as sock:
        expect(socks.receive_all(sock) == download, True, "that the download is what was sent")
        time.sleep(0.2)
        sock.sendall(upload)
        sock.shutdown(socket.SHUT_WR)
        expect(done.wait(30), True, "that the server saw the end")
    expect(received[0] == upload, True, "that the upload is what was sent")
    target.close()


def test_both_ways():
    """16 MiB in both directions at once"""
    data = bytes(range(253)) * (16 * MIB // 253)
    target = TcpTarget(echo)
    with socks.connect(proxy().port, "127.0.0.1", target.port) as sock:
        def send():
            sock.sendall(data)
            sock.shutdown(socket.SHUT_WR)

        sender = threading.Thread(target=send)
        sender.start()
        expect(socks.receive_all(sock) == data, True, "that the echo is what was sent")
        sender.join()
    target.close()


def test_back_pressure():
    """A reader that stops reading stops the sender, and costs no memory"""
    sent = []

    def serve(sock):
        sock.settimeout(1)
        try:
            while len(sent) < 256:
                sock.sendall(bytes(MIB))
                sent.append(MIB)
        except TimeoutError:
            pass

    before = proxy().rss_bytes()
    target = TcpTarget(serve)
    with socks.connect(proxy().port, "127.0.0.1", target.port):
        time.sleep(2)
        expect(len(sent) < 64, True, f"that the sender was held back (it sent {len(sent)} MiB)")
        grown = proxy().rss_bytes() - before
    target.close()
    if not harness.SANITIZED:
        expect(grown < 8 * MIB, True, f"that socksd holds little of it ({grown} bytes)")


def test_reset_by_server():
    """RST from the server reaches the client as RST"""
    def serve(sock):
        socks.receive(sock, 2)
        reset_on_close(sock)

    target = TcpTarget(serve)
    with socks.connect(proxy().port, "127.0.0.1", target.port) as sock:
        sock.sendall(b"go")
        try:
            data = sock.recv(1)
        except ConnectionResetError:
            data = None
        expect(data, None, "what came instead of RST")
    target.close()


def test_reset_by_client():
    """RST from the client reaches the server as RST"""
    outcome = []
    done = threading.Event()

    def serve(sock):
        try:
            sock.sendall(b"hi")
            outcome.append(sock.recv(1))
        except ConnectionResetError:
            outcome.append("reset")
        done.set()

    target = TcpTarget(serve)
    with socks.connect(proxy().port, "127.0.0.1", target.port) as sock:
        socks.receive(sock, 2)
        reset_on_close(sock)
    expect(done.wait(10), True, "that the server noticed")
    expect(outcome, ["reset"], "what the server saw")
    target.close()


# --- timers ---------------------------------------------------------------------------------------


def seconds_until_closed(sock):
    began = time.monotonic()
    expect_closed(sock)
    return time.monotonic() - began


def expect_between(value, low, high, what):
    expect(low <= value <= high, True, f"that {what} ({value:.2f} s) is within {low} and {high} s")


def test_handshake_timeout():
    """handshake-timeout ends a handshake that does not, however many bytes come"""
    short = harness.socksd("limits.handshake-timeout=1s")
    with socks.open_proxy(short.port) as silent, socks.open_proxy(short.port) as slow:
        slow.sendall(b"\x05\x80")
        expect_between(seconds_until_closed(silent), 0.7, 3, "the time until a silent client is closed")
    with socks.open_proxy(short.port) as slow:
        began = time.monotonic()
        try:
            slow.sendall(b"\x05\xff")
            while time.monotonic() - began < 5:
                slow.sendall(b"\x00")
                time.sleep(0.1)
        except OSError:
            pass
        expect_between(time.monotonic() - began, 0.7, 3, "the time until a slow client is closed")
    short.stop()


def test_idle_timeout():
    """idle-timeout ends a session in which nothing moves, and only such"""
    short = harness.socksd("limits.idle-timeout=1s")
    with socks.connect(short.port, "127.0.0.1", echo_target().port) as idle, \
            socks.connect(short.port, "127.0.0.1", echo_target().port) as busy:
        began = time.monotonic()
        idle.settimeout(0.05)
        closed_after = None
        while time.monotonic() - began < 4:
            expect_echo(busy)
            try:
                expect_closed(idle)
                closed_after = closed_after or time.monotonic() - began
            except TimeoutError:
                pass
            time.sleep(0.2)
        expect(closed_after is not None, True, "that the idle session was closed")
        expect_between(closed_after, 0.7, 3.5, "the time until the idle session is closed")
    short.stop()


def test_half_close_timeout():
    """half-close-timeout ends a session that waits for one side only, however long idle-timeout is"""
    short = harness.socksd("limits.idle-timeout=1h", "limits.half-close-timeout=1s")
    with socket.create_server(("127.0.0.1", 0)) as server:
        with socks.connect(short.port, "127.0.0.1", server.getsockname()[1]) as client, server.accept()[0] as target:
            target.settimeout(10)
            time.sleep(1.3)
            target.sendall(b"open")
            expect(socks.receive(client, 4), b"open", "what came when it was idle for longer, but not half-closed")
            client.shutdown(socket.SHUT_WR)
            expect(target.recv(1), b"", "the end that the target saw")
            expect_between(seconds_until_closed(client), 0.7, 3, "the time until a half-closed session is closed")
    short.stop()


# --- many -----------------------------------------------------------------------------------------


def test_idle_sessions_memory():
    """An idle session, of 4,000, costs less than 1 KiB of memory, and two descriptors"""
    harness.needs_plain_build()
    fresh = harness.socksd()
    with harness.closing_all() as sessions:
        # A thread for each on the other side would take too much.
        target = socket.create_server(("127.0.0.1", 0), backlog=64)
        sessions.append(target)

        def add_session():
            sessions.append(socks.connect(fresh.port, "127.0.0.1", target.getsockname()[1]))
            sessions.append(target.accept()[0])

        for _ in range(10):
            add_session()
        memory, descriptors = fresh.rss_bytes(), fresh.descriptor_count()
        for _ in range(MEASURED_SESSIONS):
            add_session()
        memory, descriptors = fresh.rss_bytes() - memory, fresh.descriptor_count() - descriptors
        for client, server in (sessions[1:3], sessions[-2:]):
            client.sendall(b"still there")
            expect(socks.receive(server, 11), b"still there", "what arrived")
    print(f"# an idle session: {memory / MEASURED_SESSIONS:.0f} bytes")
    expect(memory < MEASURED_SESSIONS * 1024, True, f"that {memory} bytes are less than 1 KiB for each")
    expect(descriptors, 2 * MEASURED_SESSIONS, "descriptors")
    fresh.stop()


def test_idle_costs_nothing():
    """A thousand idle sessions use no CPU"""
    harness.needs_plain_build()
    with harness.closing_all() as sessions:
        for _ in range(IDLE_SESSIONS):
            sessions.append(socks.connect(proxy().port, "127.0.0.1", echo_target().port))
        before = proxy().cpu_seconds()
        time.sleep(2)
        used = proxy().cpu_seconds() - before
    expect(used <= 0.05, True, f"that {used} s of CPU in 2 s are next to none")


if __name__ == "__main__":
    harness.run(globals())
