# SPDX-License-Identifier: ISC
"""What stands on the other side of our daemons: TCP targets, a web server, DNS servers, an SSH server. All on loopback,
in threads of the test or as processes that harness.start() looks after."""

import collections
import functools
import hashlib
import http.server
import os
import pwd
import random
import shutil
import socket
import struct
import subprocess
import threading

import harness
from dns_message import Message

BLOCK = 1 << 20


def reset_on_close(sock):
    """Make close() send RST."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


class TcpTarget:
    """A server on .port that calls handler(socket) on a thread for each connection, and closes it afterwards. What
    handlers raised is in .errors."""

    def __init__(self, handler, host="127.0.0.1"):
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self.handler = handler
        self.errors = []
        self.listener = socket.socket(family, socket.SOCK_STREAM)
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.listener.bind((host, 0))
        self.listener.listen(1024)
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                sock, _peer = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(sock,), daemon=True).start()

    def _serve(self, sock):
        with sock:
            sock.settimeout(60)
            try:
                self.handler(sock)
            except Exception as error:  # pylint: disable=broad-except
                self.errors.append(error)

    def close(self):
        # A thread that sits in accept() holds the socket open; shutdown wakes it.
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()


def echo(sock):
    while True:
        data = sock.recv(65536)
        if not data:
            return
        sock.sendall(data)


# --- HTTP -----------------------------------------------------------------------------------------


@functools.lru_cache(maxsize=None)
def _base_block():
    return random.Random(1).randbytes(BLOCK)


def blob(size, seed):
    """size bytes that depend on seed, in pieces; no two blocks are alike."""
    for index in range(0, size, BLOCK):
        block = struct.pack(">QQ", seed, index) + _base_block()[16:]
        yield block[:size - index]


def blob_digest(size, seed):
    digest = hashlib.sha256()
    for piece in blob(size, seed):
        digest.update(piece)
    return digest.hexdigest()


class _WebHandler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def _send(self, body, content_type="text/plain", status=200):
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        self.server.requests.append(self.path)
        path = self.path.split("?")[0]
        if path.startswith("/blob/"):
            size, seed = (int(word) for word in path.split("/")[2:])
            self.send_response(200)
            self.send_header("Content-Length", str(size))
            self.end_headers()
            digest = hashlib.sha256()
            for piece in blob(size, seed):
                digest.update(piece)
                # Noted before the last piece leaves: a client that has it all may look.
                self.server.digests[path] = digest.hexdigest()
                self.connection.sendall(piece)
        elif path in self.server.pages:
            self._send(self.server.pages[path].encode(), "text/html")
        else:
            self._get_file(path)

    def _get_file(self, path):
        file = os.path.join(self.server.directory or "/nonexistent", path.lstrip("/"))
        if ".." in path or not os.path.isfile(file):
            self._send(b"no such page\n", status=404)
            return
        with open(file, "rb") as stream:
            self._send(stream.read(), "application/octet-stream")

    def _chunks(self):
        """The body of a request, chunked or with a length."""
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            left = int(self.headers["Content-Length"])
            while left:
                piece = self.rfile.read(min(left, BLOCK))
                if not piece:
                    raise EOFError("the upload was cut")
                left -= len(piece)
                yield piece
            return
        while True:
            size = int(self.rfile.readline(), 16)
            if size:
                yield self.rfile.read(size)
            self.rfile.readline()
            if not size:
                return

    def do_PUT(self):
        digest = hashlib.sha256()
        for piece in self._chunks():
            digest.update(piece)
        self._send(digest.hexdigest().encode())


class WebServer:
    """GET /blob/SIZE/SEED gives blob(SIZE, SEED) and notes its digest in .digests[path]; PUT answers with the body's
    sha256; .pages maps paths to HTML; files come from .directory; .requests are the paths asked for."""

    def __init__(self, host="127.0.0.1", directory=None):
        class Server(http.server.ThreadingHTTPServer):
            address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
            daemon_threads = True
            request_queue_size = 1024

            def handle_error(self, request, client_address):
                pass

        self._server = Server((host, 0), _WebHandler)
        self.port = self._server.server_address[1]
        self.digests = self._server.digests = {}
        self.pages = self._server.pages = {"/": "<title>front</title><p>stile-front-page</p>"}
        self.requests = self._server.requests = []
        self._server.directory = directory
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self):
        self._server.shutdown()
        self._server.server_close()


# --- DNS ------------------------------------------------------------------------------------------

Seen = collections.namedtuple("Seen", "transport port message")


class DnsServer:
    """A DNS server on .port of 127.0.0.1, by UDP and TCP. answer(message, transport) returns the reply's bytes, or None
    for silence; it runs on a thread of its own and may sleep. .seen is every query, in order: transport "udp" or "tcp",
    the port it came from, the Message."""

    def __init__(self, answer, port=None):
        self.answer = answer
        self.seen = []
        self.port = port or harness.free_port()
        self._udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._udp.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        self._udp.bind(("127.0.0.1", self.port))
        self._tcp = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        self._tcp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._tcp.bind(("127.0.0.1", self.port))
        self._tcp.listen(64)
        threading.Thread(target=self._serve_udp, daemon=True).start()
        threading.Thread(target=self._serve_tcp, daemon=True).start()

    @property
    def address(self):
        return f"127.0.0.1:{self.port}"

    def names(self):
        """The names asked for, in lower case and in order."""
        return [seen.message.name.lower() for seen in self.seen]

    def _serve_udp(self):
        while True:
            try:
                wire, peer = self._udp.recvfrom(65535)
            except OSError:
                return
            message = Message(wire)
            self.seen.append(Seen("udp", peer[1], message))
            threading.Thread(target=self._reply_udp, args=(message, peer), daemon=True).start()

    def send_udp(self, wire, peer):
        """Send a datagram from the server's port, asked for or not."""
        self._udp.sendto(wire, peer)

    def _reply_udp(self, message, peer):
        reply = self.answer(message, "udp")
        if reply is not None:
            self.send_udp(reply, peer)

    def _serve_tcp(self):
        while True:
            try:
                sock, peer = self._tcp.accept()
            except OSError:
                return
            threading.Thread(target=self._serve_stream, args=(sock, peer), daemon=True).start()

    def _serve_stream(self, sock, peer):
        lock = threading.Lock()
        with sock:
            stream = sock.makefile("rb")
            while True:
                prefix = stream.read(2)
                if len(prefix) < 2:
                    return
                message = Message(stream.read(struct.unpack(">H", prefix)[0]))
                self.seen.append(Seen("tcp", peer[1], message))
                threading.Thread(target=self._reply_tcp, args=(message, sock, lock), daemon=True).start()

    def _reply_tcp(self, message, sock, lock):
        reply = self.answer(message, "tcp")
        if reply is not None:
            with lock:
                try:
                    sock.sendall(struct.pack(">H", len(reply)) + reply)
                except OSError:
                    pass  # the client did not wait

    def close(self):
        self._udp.close()
        self._tcp.shutdown(socket.SHUT_RDWR)
        self._tcp.close()


def ask_udp(wire, port, seconds=10):
    """Send one datagram to a DNS server on loopback; returns the first that comes back."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(seconds)
        sock.connect(("127.0.0.1", port))
        sock.send(wire)
        return sock.recv(65535)


def read_tcp_message(stream):
    return stream.read(struct.unpack(">H", stream.read(2))[0])


def ask_tcp(wire, port, seconds=10):
    with socket.create_connection(("127.0.0.1", port), timeout=seconds) as sock:
        sock.sendall(struct.pack(">H", len(wire)) + wire)
        return read_tcp_message(sock.makefile("rb"))


def relay_to(port):
    """An answer function for DnsServer that passes everything on to the server on that port."""

    def answer(message, transport):
        return (ask_udp if transport == "udp" else ask_tcp)(message.wire, port)

    return answer


class Knot:
    """knotd on .port, serving one zone given as the text of its zone file; it signs the zone if asked to."""

    def __init__(self, domain, zone, signed=False):
        harness.needs("knotd")
        self.port = harness.free_port()
        directory = harness.temporary_path(f"knot-{self.port}")
        os.mkdir(directory)
        with open(os.path.join(directory, f"{domain}.zone"), "w", encoding="ascii") as file:
            file.write(zone)
        config = harness.temporary_file(f"knot-{self.port}.conf", f"""
server:
    rundir: "{directory}"
    listen: 127.0.0.1@{self.port}
    udp-workers: 1
    tcp-workers: 1
    background-workers: 1
log:
  - target: stderr
    any: warning
database:
    storage: "{directory}"
    journal-db-max-size: 16M
    timer-db-max-size: 16M
    kasp-db-max-size: 16M
    catalog-db-max-size: 16M
template:
  - id: default
    storage: "{directory}"
    journal-content: none
    zonefile-sync: -1
    dnssec-signing: {"on" if signed else "off"}
zone:
  - domain: {domain}
""")
        path = shutil.which("knotd", path=os.environ.get("PATH", "") + ":/usr/sbin")
        with open(os.path.join(directory, "log"), "wb") as log:
            self.process = harness.start([path, "-c", config], stdout=log, stderr=log)
        harness.wait_until(lambda: harness.accepts(self.port), what="knotd")

    def close(self):
        self.process.terminate()
        self.process.wait()


# --- SSH ------------------------------------------------------------------------------------------


class Sshd:
    """An sshd of its own on .port, which the current user enters with the private key .key."""

    @staticmethod
    def _login_name():
        try:
            entry = pwd.getpwuid(os.geteuid())
        except KeyError:
            raise harness.Skip("sshd lets in only users it can look up") from None
        if os.path.basename(entry.pw_shell) in ("nologin", "false"):
            raise harness.Skip("sshd lets in only users with a shell")
        return entry.pw_name

    def __init__(self):
        harness.needs("sshd", "ssh-keygen", "ssh")
        self.port = harness.free_port()
        self.user = self._login_name()
        self.key = harness.temporary_path("ssh-client-key")
        host_key = harness.temporary_path("ssh-host-key")
        for path in (self.key, host_key):
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", path], check=True)
        with open(self.key + ".pub", encoding="ascii") as file:
            authorized = harness.temporary_file("ssh-authorized", file.read())
        with open(host_key + ".pub", encoding="ascii") as file:
            self.known_hosts = harness.temporary_file("ssh-known-hosts", "* " + file.read())
        if harness.IS_ROOT:
            os.makedirs("/run/sshd", mode=0o755, exist_ok=True)  # sshd insists
        config = harness.temporary_file("sshd-config", f"""
ListenAddress 127.0.0.1:{self.port}
HostKey {host_key}
AuthorizedKeysFile {authorized}
PidFile none
StrictModes no
UsePAM no
PasswordAuthentication no
PermitRootLogin prohibit-password
""")
        path = shutil.which("sshd", path="/usr/sbin:" + os.environ.get("PATH", ""))
        with open(harness.temporary_path("sshd.log"), "wb") as log:
            self.process = harness.start([path, "-D", "-e", "-f", config], stdout=log, stderr=log)
        harness.wait_until(lambda: harness.accepts(self.port), what="sshd")

    def close(self):
        self.process.terminate()
        self.process.wait()
