# SPDX-License-Identifier: ISC
"""A DNS server that says what a case tells it to (RFC 1035). Names that no case has told it about do not exist."""

import ipaddress
import socket
import struct
import threading

A, CNAME, SOA, AAAA = 1, 5, 6, 28
NOERROR, FORMERR, SERVFAIL, NXDOMAIN, NOTIMP, REFUSED = range(6)
QR_RD_RA, TC = 0x8180, 0x0200


def _name_bytes(name):
    return b"".join(bytes([len(label)]) + label.encode("latin-1") for label in name.split(".") if label) + b"\0"


def _record(name, kind, data):
    # Nothing is worth keeping: each case has names of its own, and resolvers may round TTL 0 up.
    return _name_bytes(name) + struct.pack(">HHIH", kind, 1, 1, len(data)) + data


def _question(wire):
    """(name in lower case, type, the question's bytes)."""
    at, labels = 12, []
    while wire[at]:
        labels.append(wire[at + 1:at + 1 + wire[at]].decode("latin-1").lower())
        at += 1 + wire[at]
    return ".".join(labels), struct.unpack_from(">H", wire, at + 1)[0], wire[12:at + 5]


class Entry:
    """What is said about one name. Answers wait for the event .answering; .asked is set by the first question."""

    def __init__(self, addresses, rcode, cname, truncate):
        self.addresses = [ipaddress.ip_address(address) for address in addresses]
        self.rcode = rcode
        self.cname = cname
        self.truncate = truncate
        self.answering = threading.Event()
        self.asked = threading.Event()


class FakeDns:
    """By UDP and TCP at (host, port)."""

    def __init__(self, host, port):
        self.host = host
        self.entries = {}
        self.seen = []
        self._lock = threading.Lock()
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._udp = socket.socket(family, socket.SOCK_DGRAM)
        self._udp.bind((host, port))
        self.port = self._udp.getsockname()[1]
        self._tcp = socket.socket(family, socket.SOCK_STREAM)
        self._tcp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._tcp.bind((host, self.port))
        self._tcp.listen(64)
        for serve in (self._serve_udp, self._serve_tcp):
            threading.Thread(target=serve, daemon=True).start()

    def add(self, name, *addresses, rcode=NOERROR, cname=None, truncate=False, silent=False):
        """Tell about a name; returns its Entry. truncate: answers by UDP are cut, those by TCP are not."""
        entry = Entry(addresses, rcode, cname, truncate)
        if not silent:
            entry.answering.set()
        with self._lock:
            self.entries[name.lower()] = entry
        return entry

    def was_asked(self, name):
        with self._lock:
            return name.lower() in self.seen

    def _answer(self, wire, by_udp):
        name, kind, question = _question(wire)
        with self._lock:
            self.seen.append(name)
            entry = self.entries.get(name)
        if entry is None:
            return self._message(wire, question, NXDOMAIN, [])
        entry.asked.set()
        if not entry.answering.wait(60):
            return None
        if entry.truncate and by_udp:
            return self._message(wire, question, entry.rcode, [], TC)
        records, owner = [], name
        if entry.cname:
            records.append(_record(name, CNAME, _name_bytes(entry.cname)))
            owner, entry = entry.cname, self.entries[entry.cname]
        records += [_record(owner, kind, address.packed) for address in entry.addresses
                    if kind == {4: A, 6: AAAA}[address.version]]
        return self._message(wire, question, entry.rcode, records)

    @staticmethod
    def _message(wire, question, rcode, records, flags=0):
        authority = b""
        if not records and not flags:
            numbers = struct.pack(">IIIII", 1, 2, 3, 4, 1)
            authority = _record("example", SOA, _name_bytes("ns.example") + _name_bytes("admin.example") + numbers)
        header = wire[:2] + struct.pack(">HHHHH", QR_RD_RA | flags | rcode, 1, len(records), 1 if authority else 0, 0)
        return header + question + b"".join(records) + authority

    def _serve_udp(self):
        while True:
            wire, peer = self._udp.recvfrom(4096)
            threading.Thread(target=self._reply_udp, args=(wire, peer), daemon=True).start()

    def _reply_udp(self, wire, peer):
        reply = self._answer(wire, True)
        if reply:
            self._udp.sendto(reply, peer)

    def _serve_tcp(self):
        while True:
            sock, _peer = self._tcp.accept()
            threading.Thread(target=self._reply_tcp, args=(sock,), daemon=True).start()

    def _reply_tcp(self, sock):
        with sock, sock.makefile("rb") as stream:
            try:
                while len(prefix := stream.read(2)) == 2:
                    reply = self._answer(stream.read(struct.unpack(">H", prefix)[0]), False)
                    if reply:
                        sock.sendall(struct.pack(">H", len(reply)) + reply)
            except OSError:
                pass  # the resolver did not wait
