# SPDX-License-Identifier: ISC
"""A DNS server that does to its clients whatever a test wants, and keeps book of what it was sent."""

import heapq
import itertools
import selectors
import socket
import struct
import threading
import time

import harness
from dns_message import Message, a_record
from peers import reset_on_close


class Query:
    """One query that came: .transport "udp" or "tcp", .port it came from, .message, .time, .connection (a number, None
    over UDP)."""

    def __init__(self, server, transport, peer, wire, connection=None):
        self._server = server
        self._connection = connection
        self.transport = transport
        self.peer = peer
        self.port = peer[1]
        self.message = Message(wire)
        self.time = time.monotonic()
        self.connection = connection.number if connection else None

    @property
    def name(self):
        return self.message.name.lower()

    def good(self, address="192.0.2.7", ttl=300):
        """A good answer's bytes."""
        return self.message.answer_bytes([a_record(self.message.name, address, ttl)])

    def reply(self, wire, after=0):
        if after:
            self.later(after, lambda: self.reply(wire))
        elif self.transport == "udp":
            self._server.send_udp(wire, self.peer)
        else:
            self._connection.send(struct.pack(">H", len(wire)) + wire)

    def reply_from_elsewhere(self, wire, host=None):
        """From another port, or from the same port of another address."""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            if host:
                sock.bind((host, self._server.port))
            sock.sendto(wire, self.peer)

    def send_raw(self, data):
        """Octets on the connection, as they are."""
        self._connection.send(data)

    def later(self, seconds, function):
        self._server.later(seconds, function)

    def close(self):
        """The connection, when all has been sent."""
        self._connection.close()

    def reset(self):
        reset_on_close(self._connection.sock)
        self._connection.close()


class _Connection:
    def __init__(self, server, sock, peer, number):
        self.server = server
        self.sock = sock
        self.peer = peer
        self.number = number
        self.read = b""
        self.written = b""
        sock.setblocking(False)
        server.selector.register(sock, selectors.EVENT_READ, self.on_ready)

    def on_ready(self, events):
        if events & selectors.EVENT_WRITE:
            self.flush()
        if not events & selectors.EVENT_READ or self.sock.fileno() < 0:
            return
        try:
            data = self.sock.recv(65536)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self.close()
            return
        self.read += data
        while len(self.read) >= 2:
            length = struct.unpack(">H", self.read[:2])[0]
            if len(self.read) < 2 + length:
                break
            wire, self.read = self.read[2:2 + length], self.read[2 + length:]
            self.server.take(Query(self.server, "tcp", self.peer, wire, self))

    def send(self, data):
        self.written += data
        self.flush()

    def flush(self):
        if self.sock.fileno() < 0:
            return
        try:
            sent = self.sock.send(self.written)
        except BlockingIOError:
            sent = 0
        except OSError:
            self.close()
            return
        self.written = self.written[sent:]
        events = selectors.EVENT_READ | (selectors.EVENT_WRITE if self.written else 0)
        self.server.selector.modify(self.sock, events, self.on_ready)

    def close(self):
        if self.sock.fileno() >= 0:
            self.server.selector.unregister(self.sock)
            self.sock.close()
            self.server.open_connections.discard(self)


class ScriptedServer:
    """On .port of .host, by UDP and TCP. script(query) is called on the server's thread for each query; it replies, or
    not. It may be replaced at any time. .seen are the queries, in order; .connection_count the TCP connections so far."""

    def __init__(self, script=None, host="127.0.0.1", tcp=True):
        self.script = script or (lambda query: query.reply(query.good()))
        self.host = host
        self.port = harness.free_port()
        self.seen = []
        self.open_connections = set()
        self.connection_count = 0
        self.failure = None
        self.selector = selectors.DefaultSelector()
        self._timers = []
        self._order = itertools.count()
        self._wake, self._woken = socket.socketpair()
        self.selector.register(self._woken, selectors.EVENT_READ, lambda _events: self._woken.recv(4096))
        self._closed = False
        self._listen(tcp)
        threading.Thread(target=self._run, daemon=True).start()

    def _listen(self, tcp):
        self._udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._udp.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        self._udp.bind((self.host, self.port))
        self._udp.setblocking(False)
        self.selector.register(self._udp, selectors.EVENT_READ, self._on_udp)
        if not tcp:
            return
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((self.host, self.port))
        listener.listen(256)
        listener.setblocking(False)
        self.selector.register(listener, selectors.EVENT_READ, lambda _events: self._on_connection(listener))

    @property
    def address(self):
        return f"{self.host}:{self.port}"

    def of(self, suffix):
        """The queries for names that end so."""
        return [query for query in self.seen if query.name.endswith(suffix)]

    def later(self, seconds, function):
        heapq.heappush(self._timers, (time.monotonic() + seconds, next(self._order), function))
        self._wake.send(b"x")

    def send_udp(self, wire, peer):
        self._udp.sendto(wire, peer)

    def take(self, query):
        self.seen.append(query)
        try:
            self.script(query)
        except Exception as error:  # pylint: disable=broad-except
            self.failure = self.failure or error

    def _on_udp(self, _events):
        for _ in range(64):
            try:
                wire, peer = self._udp.recvfrom(65535)
            except BlockingIOError:
                return
            except OSError:
                continue  # an ICMP error about an answer of ours
            self.take(Query(self, "udp", peer, wire))

    def _on_connection(self, listener):
        sock, peer = listener.accept()
        self.connection_count += 1
        self.open_connections.add(_Connection(self, sock, peer, self.connection_count))

    def _run(self):
        while not self._closed:
            wait = max(0, self._timers[0][0] - time.monotonic()) if self._timers else None
            for key, events in self.selector.select(wait):
                key.data(events)
            while self._timers and self._timers[0][0] <= time.monotonic():
                heapq.heappop(self._timers)[2]()
        for key in list(self.selector.get_map().values()):
            key.fileobj.close()
        self.selector.close()

    def close(self):
        """Ends it; a failure of the script comes up here."""
        self._closed = True
        self._wake.send(b"x")
        if self.failure:
            raise self.failure
