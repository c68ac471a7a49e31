# SPDX-License-Identifier: ISC
"""What a case works with: connections to the server under test, targets behind it, names, and checks that say what was
seen.

Every wait ends at the deadline of the case; everything that was opened is closed with the Context.
"""

import contextlib
import dataclasses
import errno
import functools
import ipaddress
import random
import selectors
import socket
import struct
import time

from engine import Failed, Skipped

MIB = 1 << 20
TCP_TIME_WAIT, TCP_CLOSE = 6, 7  # states of a connection, as Linux numbers them
OPEN, PASSWORD, NO_METHOD = 0x00, 0x02, 0xFF
SUCCEEDED, FAILURE, DENIED, NET_UNREACHABLE, HOST_UNREACHABLE, REFUSED, EXPIRED, BAD_COMMAND, BAD_TYPE = range(9)


@dataclasses.dataclass
class Server:
    """The server under test, and what we were told about it. None or 0: not told."""

    host: str
    port: int
    user: bytes = None
    password: bytes = None
    long_account: bool = False
    dns: object = None
    bind: str = None
    targets: str = "127.0.0.1"
    targets6: str = "::1"
    handshake_timeout: float = 0
    connect_timeout: float = 0
    idle_timeout: float = 0
    half_close_timeout: float = 0
    stall_timeout: float = 0
    bind_timeout: float = 0
    udp_idle_timeout: float = 0
    has: tuple = ()  # commands it is known to have: bind, udp

    @property
    def method(self):
        return OPEN if self.user is None else PASSWORD

    @property
    def is_loopback(self):
        return ipaddress.ip_address(self.host).is_loopback


# --- bytes ----------------------------------------------------------------------------------------


def show(data):
    """Bytes for people: hex, and the length of what is long."""
    if data is None:
        return "nothing"
    return data.hex(" ") if len(data) <= 24 else f"{data[:16].hex(' ')} ... ({len(data)} bytes)"


def address_bytes(host):
    """ATYP and DST.ADDR: bytes as a name, text as an address."""
    if isinstance(host, bytes):
        return b"\x03" + bytes([len(host)]) + host
    packed = ipaddress.ip_address(host).packed
    return (b"\x01" if len(packed) == 4 else b"\x04") + packed


def request_bytes(host, port, command=1, version=5, reserved=0):
    return bytes([version, command, reserved]) + address_bytes(host) + struct.pack(">H", port)


def password_bytes(user, password, version=1):
    return bytes([version, len(user)]) + user + bytes([len(password)]) + password


@functools.lru_cache(maxsize=None)
def _noise():
    return random.Random(1928).randbytes(MIB)


def blob(size, seed):
    """size bytes that look random and depend on seed, no two MiB alike."""
    pieces = []
    for index in range(0, size, MIB):
        pieces.append((struct.pack(">QQ", seed, index) + _noise()[16:])[:size - index])
    return b"".join(pieces)


class Reply:
    """The server's answer to a request."""

    def __init__(self, raw):
        self.raw = raw
        self.rep = raw[1]
        self.kind = raw[3]
        if self.kind == 3:
            self.host = raw[5:-2]
        else:
            self.host = str(ipaddress.ip_address(raw[4:-2]))
        self.port = struct.unpack(">H", raw[-2:])[0]


# --- connections ----------------------------------------------------------------------------------


class Conn:
    """A TCP connection. `who` is the other end, for messages."""

    def __init__(self, sock, deadline, who):
        self.sock = sock
        self.deadline = deadline
        self.who = who
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def _wait(self):
        left = self.deadline - time.monotonic()
        if left <= 0:
            raise Failed(f"no time left, waiting for the {self.who}")
        self.sock.settimeout(left)

    def send(self, data):
        self._wait()
        try:
            self.sock.sendall(data)
        except TimeoutError:
            raise Failed(f"the {self.who} took no more bytes") from None
        except OSError as error:
            raise Failed(f"sending to the {self.who}: {error.strerror}") from None

    def send_anyway(self, data):
        """Send what the other end may have stopped listening to."""
        with contextlib.suppress(Failed):
            self.send(data)

    def receive(self, size, what="answer"):
        """Exactly size bytes."""
        data = b""
        while len(data) < size:
            self._wait()
            try:
                piece = self.sock.recv(size - len(data))
            except TimeoutError:
                raise Failed(f"no {what} from the {self.who} in time; so far: {show(data)}") from None
            except ConnectionResetError:
                raise Failed(f"RST from the {self.who} instead of the {what}; so far: {show(data)}") from None
            if not piece:
                raise Failed(f"the {self.who} closed instead of the {what}; so far: {show(data)}")
            data += piece
        return data

    def end(self):
        """Read up to the end: (bytes, "FIN" or "RST")."""
        pieces = []
        while True:
            self._wait()
            try:
                piece = self.sock.recv(1 << 18)
            except TimeoutError:
                raise Failed(f"the {self.who} left the connection open; so far: {show(b''.join(pieces))}") from None
            except ConnectionResetError:
                return b"".join(pieces), "RST"
            if not piece:
                return b"".join(pieces), "FIN"
            pieces.append(piece)

    def expect(self, data, what="bytes"):
        seen = self.receive(len(data), what)
        if seen != data:
            raise Failed(f"the {what} are {show(seen)}, not {show(data)}")

    def expect_end(self, *ways):
        """An end without another byte; by FIN or RST, or only as given."""
        data, how = self.end()
        if data:
            raise Failed(f"{show(data)} from the {self.who} where it should have closed")
        if ways and how not in ways:
            raise Failed(f"{how} from the {self.who}, not {' or '.join(ways)}")

    def expect_gentle_end(self):
        """FIN, and no RST behind it: that could overtake or destroy what was sent before. Closing a socket that has
        unread bytes sends one."""
        self.expect_end("FIN")
        time.sleep(0.05)
        if self.tcp_state() == TCP_CLOSE:
            raise Failed(f"RST from the {self.who} right behind its FIN")

    def tcp_state(self):
        """struct tcp_info begins with it."""
        return self.sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0]

    def expect_silence(self, seconds):
        """Nothing comes for some time."""
        self.sock.settimeout(seconds)
        try:
            data = self.sock.recv(4096)
        except TimeoutError:
            return
        except ConnectionResetError:
            raise Failed(f"RST from the {self.who}, too early") from None
        raise Failed(f"{show(data) if data else 'FIN'} from the {self.who}, too early")

    def expect_open_both_ways(self, other, data=b"both ways"):
        """Bytes get through to other, and back."""
        self.send(data)
        other.expect(data)
        other.send(data[::-1])
        self.expect(data[::-1])

    def fin_anyway(self):
        with contextlib.suppress(OSError):
            self.fin()

    def fin(self):
        self.sock.shutdown(socket.SHUT_WR)

    def reset(self):
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()

    def close(self):
        self.sock.close()


def connect_socket(host, port, source, timeout):
    """A connected socket; source: the address to come from, or None."""
    sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    try:
        if source:
            sock.bind((source, 0))
        sock.settimeout(timeout)
        sock.connect((host, port))
    except OSError:
        sock.close()
        raise
    return sock


class Target:
    """A listening socket; what accept() gives is closed with the case."""

    def __init__(self, context, host, backlog, receive_buffer):
        self.context = context
        self.host = host
        self.sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if receive_buffer:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.sock.bind((host, 0))
        self.sock.listen(backlog)
        self.port = self.sock.getsockname()[1]

    def accept(self):
        self.sock.settimeout(max(0.01, self.context.left()))
        try:
            sock, self.peer = self.sock.accept()
        except TimeoutError:
            raise Failed("the target was not connected to in time") from None
        return self.context.keep(Conn(sock, self.context.deadline, "target"))

    def expect_nobody(self, seconds=0.3):
        self.sock.settimeout(seconds)
        try:
            sock, peer = self.sock.accept()
        except TimeoutError:
            return
        sock.close()
        raise Failed(f"the target was connected to, from {peer[0]}")

    def fill(self):
        """Fill the queue of connections that wait to be accepted (use with backlog 0): who connects now has to wait, as
        with a target far away, until drain()."""
        self.waiting = []
        while True:
            sock = self.context.keep(socket.socket(self.sock.family, socket.SOCK_STREAM))
            sock.settimeout(0.2)
            self.waiting.append(sock)
            try:
                sock.connect((self.host, self.port))
            except TimeoutError:
                sock.close()
                return

    def drain(self):
        """Let those in who wait; returns nothing, the queue is empty afterwards."""
        ours = {sock.getsockname() for sock in self.waiting if sock.fileno() >= 0}
        while ours:
            self.sock.settimeout(max(0.01, self.context.left()))
            sock, peer = self.sock.accept()
            sock.close()
            ours.discard(peer)

    def close(self):
        self.sock.close()


# --- the context ----------------------------------------------------------------------------------


class Context:
    """One case at work."""

    def __init__(self, server, known, number):
        self.server = server
        self.number = number
        self.deadline = time.monotonic() + known.seconds
        self._open = contextlib.ExitStack()

    def close(self):
        self._open.close()

    def keep(self, thing):
        self._open.callback(thing.close)
        return thing

    def left(self):
        return self.deadline - time.monotonic()

    # --- what a case may need

    def need(self, condition, reason):
        if not condition:
            raise Skipped(reason)

    def lacks(self, command):
        """The server does not know a command (REP 07): no fault, unless it was said to have it."""
        if command in self.server.has:
            raise Failed("REP 07")
        raise Skipped(f"the server has no {command} (REP 07)")

    def need_open(self):
        self.need(self.server.user is None, "the server asks for a password")

    def need_password(self):
        self.need(self.server.user is not None, "the server was not said to have a user (--user, --password)")

    def need_dns(self):
        self.need(self.server.dns, "the server was not said to ask our DNS server (--dns)")
        return self.server.dns

    def need_ipv6(self):
        try:
            with socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as probe:
                probe.bind((self.server.targets6, 0))
        except OSError:
            raise Skipped("no IPv6 here") from None
        return self.server.targets6

    def name(self, *addresses, word="name", **more):
        """A name of this case's own, known to our DNS server."""
        name = f"{word}-{self.number}.conform.example"
        self.need_dns().add(name, *addresses, **more)
        return name.encode()

    # --- the client's side

    def open(self, receive_buffer=0, source=None):
        """A connection to the server, nothing said. On loopback each case comes from an address of its own (or from
        source), so that one case's wrong passwords are not another's."""
        address = self.server.host
        sock = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM)
        self._open.callback(sock.close)
        if receive_buffer:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        if address.startswith("127."):
            sock.bind((source or f"127.77.{self.number // 250}.{self.number % 250 + 1}", 0))
        sock.settimeout(max(0.01, self.left()))
        try:
            sock.connect((address, self.server.port))
        except OSError as error:
            raise Failed(f"cannot connect to the server: {error}") from None
        return Conn(sock, self.deadline, "server")

    def hello(self):
        """All that a client says before its request."""
        if self.server.user is None:
            return b"\x05\x01\x00"
        return b"\x05\x01\x02" + password_bytes(self.server.user, self.server.password)

    def hello_answer(self):
        return b"\x05\x00" if self.server.user is None else b"\x05\x02\x01\x00"

    def ready(self, **more):
        """A connection on which the server waits for the request."""
        conn = self.open(**more)
        conn.send(b"\x05\x01" + bytes([self.server.method]))
        conn.expect(bytes([5, self.server.method]), "method")
        if self.server.user is not None:
            conn.send(password_bytes(self.server.user, self.server.password))
            conn.expect(b"\x01\x00", "status of the password")
        return conn

    def reply(self, conn):
        head = conn.receive(4, "reply")
        if head[0] != 5 or head[3] not in (1, 3, 4):
            raise Failed(f"the reply begins {show(head)}")
        extra = conn.receive(1) if head[3] == 3 else b""
        size = {1: 4, 4: 16}.get(head[3]) or extra[0]
        return Reply(head + extra + conn.receive(size + 2, "reply"))

    def expect_reply(self, conn, *reps):
        reply = self.reply(conn)
        if reply.rep not in reps:
            wanted = " or ".join(f"{rep:02x}" for rep in reps)
            raise Failed(f"REP {reply.rep:02x}, not {wanted}")
        return reply

    def answer(self, request):
        """(connection, reply) to a request."""
        conn = self.ready()
        conn.send(request)
        return conn, self.reply(conn)

    def expect_refusal(self, request, *reps):
        """The request fails with one of the codes, and the connection ends."""
        conn = self.ready()
        conn.send(request)
        reply = self.expect_reply(conn, *reps)
        conn.expect_end()
        return reply

    def connect(self, host, port, **more):
        """A connection through the server to host and port."""
        conn = self.ready(**more)
        conn.send(request_bytes(host, port))
        self.expect_reply(conn, SUCCEEDED)
        return conn

    def expect_served(self, target=None):
        """The server still does its work."""
        target = target or self.listen()
        self.connect(target.host, target.port).expect_open_both_ways(target.accept())

    # --- the target's side

    def listen(self, host=None, backlog=1024, receive_buffer=0):
        return self.keep(Target(self, host or self.server.targets, backlog, receive_buffer))

    def closed_port(self, host=None):
        """A port that refuses connections, and that nobody else gets."""
        host = host or self.server.targets
        sock = self.keep(socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM))
        sock.bind((host, 0))
        return sock.getsockname()[1]

    def pair(self, host=None, **more):
        """(client, target): the two ends of a session through the server."""
        target = self.listen(host, **more)
        client = self.connect(target.host, target.port)
        return client, target.accept()

    def slow_target(self):
        """A target that lets nobody in before its drain()."""
        target = self.listen(backlog=0)
        target.fill()
        return target

    # --- checks

    def equal(self, what, seen, wanted):
        if seen != wanted:
            texts = [show(value) if isinstance(value, bytes) else str(value) for value in (seen, wanted)]
            raise Failed(f"{what}: {texts[0]}, not {texts[1]}")

    def true(self, condition, otherwise):
        if not condition:
            raise Failed(otherwise)


def route_error(host):
    """What this machine's routes say of an address: an errno, 0 if there is a way. Nothing is sent."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((host, 9))
        except OSError as error:
            return error.errno
    return 0


def address_without_route(error):
    """An address for documentation (RFC 5737, RFC 3849) that this machine cannot reach, with that errno."""
    for host in ("198.51.100.1", "203.0.113.1", "2001:db8::1"):
        if route_error(host) == error:
            return host
    raise Skipped(f"no route here that gives {errno.errorcode[error]}")


# --- bulk -----------------------------------------------------------------------------------------


def stall(sender, limit):
    """Send until nothing is taken for 0.5 s; returns how many bytes went. Failed beyond the limit."""
    sender.sock.settimeout(0.5)
    sent, piece = 0, bytes(65536)
    while sent < limit:
        try:
            sent += sender.sock.send(piece)
        except TimeoutError:
            return sent
    raise Failed(f"{limit // MIB} MiB were taken though nobody reads")


class Flow:
    """Bytes on their way from one end to the other, followed by FIN unless fin is False."""

    def __init__(self, sender, receiver, data, fin=True):
        self.sender = sender
        self.receiver = receiver
        self.data = memoryview(data)
        self.fin = fin
        self.sent = 0
        self.received = 0
        self.fin_sent = not fin
        self.done = False

    def write(self, at_once):
        if self.sent < len(self.data):
            self.sent += self.sender.sock.send(self.data[self.sent:self.sent + at_once])
        if self.sent == len(self.data) and not self.fin_sent:
            self.sender.fin()
            self.fin_sent = True

    def read(self, at_once):
        piece = self.receiver.sock.recv(at_once)
        if not piece:
            if self.received < len(self.data):
                raise Failed(f"FIN after {self.received} of {len(self.data)} bytes: looks complete, and is not")
            if not self.fin_sent:
                raise Failed("FIN where none was sent")
            self.done = True
            return
        if piece != self.data[self.received:self.received + len(piece)]:
            raise Failed(f"other bytes than were sent, in the {len(piece)} from offset {self.received} on")
        self.received += len(piece)
        self.done = not self.fin and self.received == len(self.data)


def transfer(context, *flows, at_once=1 << 18):
    """Run flows at the same time until all have arrived, byte for byte."""
    for flow in flows:
        flow.sender.sock.setblocking(False)
        flow.receiver.sock.setblocking(False)
    while not all(flow.done for flow in flows):
        with selectors.DefaultSelector() as selector:
            wanted = {}
            for flow in flows:
                if flow.sent < len(flow.data) or not flow.fin_sent:
                    wanted.setdefault(flow.sender.sock, [None, None])[0] = flow
                if not flow.done:
                    wanted.setdefault(flow.receiver.sock, [None, None])[1] = flow
            for sock, (writer, reader) in wanted.items():
                events = (selectors.EVENT_WRITE if writer else 0) | (selectors.EVENT_READ if reader else 0)
                selector.register(sock, events, (writer, reader))
            # Which sockets are of interest changes rarely.
            stable = True
            while stable:
                ready = selector.select(max(0, context.left()))
                if not ready:
                    states = ", ".join(f"{flow.received} of {len(flow.data)} bytes" for flow in flows)
                    raise Failed(f"did not arrive in time: {states}")
                for key, events in ready:
                    stable = _move(key, events, at_once) and stable


def _move(key, events, at_once):
    """Returns whether the same sockets are still of interest."""
    writer, reader = key.data
    stable = True
    try:
        if events & selectors.EVENT_READ and reader:
            reader.read(at_once)
            stable = not reader.done
        if events & selectors.EVENT_WRITE and writer:
            writer.write(at_once)
            stable = stable and (writer.sent < len(writer.data) or not writer.fin_sent)
    except BlockingIOError:
        pass
    except OSError as error:
        raise Failed(f"{error.strerror} in the middle of a transfer") from None
    return stable
