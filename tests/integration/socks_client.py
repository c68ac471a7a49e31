# SPDX-License-Identifier: ISC
"""A SOCKS5 client that shows each byte of the handshake (RFC 1928, RFC 1929)."""

import ipaddress
import socket
import struct

GREETING_OPEN = b"\x05\x01\x00"
GREETING_PASSWORD = b"\x05\x01\x02"


class Refused(Exception):
    """The reply code of a request that failed is .rep."""

    def __init__(self, rep):
        super().__init__(f"REP {rep:02x}")
        self.rep = rep


def address_bytes(host):
    """ATYP and DST.ADDR: an address literal as an address, anything else, and bytes, as a name."""
    if isinstance(host, bytes):
        return b"\x03" + bytes([len(host)]) + host
    try:
        packed = ipaddress.ip_address(host).packed
    except ValueError:
        return address_bytes(host.encode())
    return (b"\x01" if len(packed) == 4 else b"\x04") + packed


def request_bytes(host, port, command=1):
    return b"\x05" + bytes([command]) + b"\x00" + address_bytes(host) + struct.pack(">H", port)


def password_bytes(user, password):
    return b"\x01" + bytes([len(user)]) + user.encode() + bytes([len(password)]) + password.encode()


def receive(sock, count):
    """Exactly count bytes; EOFError when the peer closes before."""
    data = b""
    while len(data) < count:
        piece = sock.recv(count - len(data))
        if not piece:
            raise EOFError(f"closed after {len(data)} of {count} bytes: {data.hex()}")
        data += piece
    return data


def receive_all(sock):
    """Everything until the peer closes."""
    pieces = []
    while True:
        piece = sock.recv(1 << 18)
        if not piece:
            return b"".join(pieces)
        pieces.append(piece)


def receive_reply(sock):
    """A reply to a request: (rep, host, port)."""
    version, rep, _reserved, kind = receive(sock, 4)
    if version != 5:
        raise AssertionError(f"a reply with version {version}")
    size = {1: 4, 4: 16}[kind]
    host = str(ipaddress.ip_address(receive(sock, size)))
    return rep, host, struct.unpack(">H", receive(sock, 2))[0]


def open_proxy(proxy_port, proxy_host="127.0.0.1", timeout=20):
    """A connection to the proxy, nothing said yet."""
    return socket.create_connection((proxy_host, proxy_port), timeout=timeout)


def connect(proxy_port, host, port, user=None, password=None, proxy_host="127.0.0.1"):
    """A connection to host:port through the proxy. Refused when the proxy says so."""
    sock = open_proxy(proxy_port, proxy_host)
    try:
        if user is None:
            sock.sendall(GREETING_OPEN)
            chosen = receive(sock, 2)
        else:
            sock.sendall(GREETING_PASSWORD)
            chosen = receive(sock, 2)
            sock.sendall(password_bytes(user, password))
            if receive(sock, 2) != b"\x01\x00":
                raise PermissionError("wrong password")
        if chosen[1] == 0xFF:
            raise PermissionError("no acceptable method")
        sock.sendall(request_bytes(host, port))
        rep = receive_reply(sock)[0]
        if rep:
            raise Refused(rep)
        return sock
    except BaseException:
        sock.close()
        raise
