# SPDX-License-Identifier: ISC
"""Certificates for tests, and a server for DNS over TLS that does what a test wants."""

import functools
import os
import socket
import ssl
import struct
import subprocess
import threading

import harness
from dns_message import Message, a_record

_MAKE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "certs", "make-certs")


@functools.cache
def certificates():
    """The folder with what make-certs makes, once for a test program."""
    harness.needs("openssl")
    directory = harness.temporary_path("certs")
    os.mkdir(directory)
    subprocess.run([_MAKE, directory], check=True)
    os.chmod(directory, 0o755)
    return directory


def certificate(name):
    return os.path.join(certificates(), f"{name}.pem")


def key(name):
    """The private key, which daemons that dropped their privileges can read, but not everybody."""
    path = os.path.join(certificates(), f"{name}.key")
    os.chmod(path, 0o640)
    harness.let_daemons_read(path)
    return path


def pin(name):
    with open(os.path.join(certificates(), f"{name}.pin"), encoding="ascii") as file:
        return file.read().strip()


class TlsServer:
    """On .port of .host. answer(message) is called for each query and returns the answer's bytes or None; it may be
    replaced at any time. .seen are the queries' bytes, in order; .connection_count the connections made,
    .handshake_count those that got through, .resumed_count those of them that resumed a session."""

    def __init__(self, certificate_name="good", answer=None, host="127.0.0.1", port=None):
        self.answer = answer or (lambda message: message.answer_bytes([a_record(message.name, "192.0.2.7")]))
        self.host = host
        self.port = port or harness.free_port()
        self.seen = []
        self.connection_count = 0
        self.handshake_count = 0
        self.resumed_count = 0
        self.failures = []
        self.socks = set()
        self.silent = set()  # those that read nothing and say nothing any more
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(certificate(certificate_name), key(certificate_name))
        self._listener = socket.create_server((host, self.port), backlog=64)
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def address(self):
        return f"tls://{self.host}:{self.port}"

    def _accept(self):
        while True:
            try:
                sock, _peer = self._listener.accept()
            except OSError:
                return
            self.connection_count += 1
            threading.Thread(target=self._serve, args=(sock,), daemon=True).start()

    def _serve(self, raw):
        raw.settimeout(30)
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            sock = self._context.wrap_socket(raw, server_side=True)
        except OSError as error:
            self.failures.append(str(error))
            raw.close()
            return
        self.handshake_count += 1
        self.resumed_count += bool(sock.session_reused)
        self.socks.add(sock)
        try:
            self._talk(sock)
        except OSError:
            pass
        self.socks.discard(sock)
        sock.close()

    def _talk(self, sock):
        stream = sock.makefile("rb")
        while True:
            head = stream.read(2)
            if len(head) < 2:
                return
            wire = stream.read(struct.unpack(">H", head)[0])
            if len(wire) < struct.unpack(">H", head)[0]:
                return
            self.seen.append(wire)
            reply = self.answer(Message(wire)) if sock not in self.silent else None
            if reply:
                sock.sendall(struct.pack(">H", len(reply)) + reply)

    def go_silent(self):
        """The connections there are now: their peers hear nothing any more. New ones are served."""
        self.silent |= self.socks

    def hang_up(self):
        for sock in list(self.socks):
            try:
                sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def close(self):
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.hang_up()
