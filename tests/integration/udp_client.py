# SPDX-License-Identifier: ISC
"""The client's side of a UDP association (RFC 1928, section 7), and targets that answer datagrams."""

import ipaddress
import socket
import struct
import threading

import socks_client as socks

BUFFER_BYTES = 4 << 20


def udp_socket(host="127.0.0.1", port=0, seconds=10):
    sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER_BYTES)
    sock.bind((host, port))
    sock.settimeout(seconds)
    return sock


def header_bytes(host, port, fragment=0):
    return b"\0\0" + bytes([fragment]) + socks.address_bytes(host) + struct.pack(">H", port)


def split_header(datagram):
    """(host, port, payload) of what came from the proxy, whose header must be in order."""
    if datagram[:3] != b"\0\0\0":
        raise AssertionError(f"a header that begins with {datagram[:3].hex()}")
    size = {1: 4, 4: 16}[datagram[3]]
    host = str(ipaddress.ip_address(datagram[4:4 + size]))
    return host, struct.unpack(">H", datagram[4 + size:6 + size])[0], datagram[6 + size:]


class Association:
    """An association, and the socket that the client sends from. .relay is where to."""

    def __init__(self, proxy_port, proxy_host="127.0.0.1", source=None, said=None, control=None):
        """source: the address to send datagrams from; said: the (host, port) in the request; control: a connection that
        is logged in already."""
        self.socket = udp_socket(source or proxy_host)
        self.control = control or socks.open_proxy(proxy_port, proxy_host)
        try:
            if not control:
                self.control.sendall(socks.GREETING_OPEN)
                socks.receive(self.control, 2)
            host, port = said or ("::" if ":" in proxy_host else "0.0.0.0", 0)
            self.control.sendall(socks.request_bytes(host, port, 3))
            rep, *self.relay = socks.receive_reply(self.control)
            if rep:
                raise socks.Refused(rep)
        except BaseException:
            self.close()
            raise
        self.relay = tuple(self.relay)

    def send(self, payload, host, port, fragment=0, sock=None):
        (sock or self.socket).sendto(header_bytes(host, port, fragment) + payload, self.relay)

    def send_raw(self, datagram, sock=None):
        (sock or self.socket).sendto(datagram, self.relay)

    def receive(self):
        """The next datagram from the proxy: (host, port, payload)."""
        datagram, source = self.socket.recvfrom(70000)
        if source[:2] != self.relay:
            raise AssertionError(f"a datagram from {source}, not from {self.relay}")
        return split_header(datagram)

    def is_silent(self, seconds=0.3):
        """Whether nothing comes."""
        before = self.socket.gettimeout()
        self.socket.settimeout(seconds)
        try:
            self.socket.recv(70000)
            return False
        except TimeoutError:
            return True
        finally:
            self.socket.settimeout(before)

    def close(self):
        self.control.close()
        self.socket.close()


class Echo:
    """Sends datagrams back, from .host and .port. .sources is where they came from."""

    def __init__(self, host="127.0.0.1", port=0):
        self.host = host
        self.socket = udp_socket(host, port, seconds=None)
        self.port = self.socket.getsockname()[1]
        self.sources = []
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        while True:
            try:
                datagram, source = self.socket.recvfrom(70000)
                self.sources.append(source[:2])
                self.socket.sendto(datagram, source)
            except OSError:
                return
