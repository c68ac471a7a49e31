# SPDX-License-Identifier: ISC
"""As much of the DNS message format (RFC 1035, RFC 6891) as the tests look at."""

import collections
import ipaddress
import random
import struct

A, NS, CNAME, SOA, PTR, MX, TXT, AAAA, OPT = 1, 2, 5, 6, 12, 15, 16, 28, 41
NOERROR, FORMERR, SERVFAIL, NXDOMAIN, NOTIMP, REFUSED, BADVERS = 0, 1, 2, 3, 4, 5, 16
QR, AA, TC, RD, RA, AD, CD = 0x8000, 0x0400, 0x0200, 0x0100, 0x0080, 0x0020, 0x0010

Record = collections.namedtuple("Record", "name type cls ttl rdata")


def name_bytes(name):
    labels = [label.encode() for label in name.rstrip(".").split(".") if label]
    return b"".join(bytes([len(label)]) + label for label in labels) + b"\0"


def record_bytes(record):
    name, kind, cls, ttl, rdata = record
    return name_bytes(name) + struct.pack(">HHIH", kind, cls, ttl, len(rdata)) + rdata


def option_bytes(code, data):
    return struct.pack(">HH", code, len(data)) + data


def opt_record(size=1232, options=b"", version=0, flags=0):
    return Record("", OPT, size, version << 16 | flags, options)


def a_record(name, address, ttl=300):
    return Record(name, A, 1, ttl, ipaddress.ip_address(address).packed)


def soa_record(zone, ttl=300, minimum=300):
    return Record(zone, SOA, 1, ttl,
                  name_bytes("ns." + zone) + name_bytes("admin." + zone) + struct.pack(">IIIII", 1, 2, 3, 4, minimum))


def message_bytes(ident, flags, question, answers=(), authority=(), additional=()):
    """question: (name, type) or None."""
    sections = [answers, authority, additional]
    wire = struct.pack(">HHHHHH", ident, flags, 1 if question else 0, *(len(section) for section in sections))
    if question:
        wire += name_bytes(question[0]) + struct.pack(">HH", question[1], 1)
    return wire + b"".join(record_bytes(record) for section in sections for record in section)


def query_bytes(name, kind=A, ident=None, flags=RD, opt=None):
    return message_bytes(random.randrange(65536) if ident is None else ident, flags, (name, kind),
                         additional=[opt] if opt else [])


class Message:
    """A parsed message. Names keep their case and have no dot at the end."""

    def __init__(self, wire):
        self.wire = wire
        self._at = 12
        self.ident, self.flags, questions, *counts = struct.unpack(">HHHHHH", wire[:12])
        self.rcode = self.flags & 15
        self.opcode = self.flags >> 11 & 15
        self.name = self.type = None
        for _ in range(questions):
            self.name = self._name()
            self.type, _cls = self._unpack(">HH")
        self.answers, self.authority, self.additional = ([self._record() for _ in range(count)] for count in counts)
        if self._at != len(wire):
            raise ValueError(f"{len(wire) - self._at} bytes after the message")

    def _unpack(self, form):
        values = struct.unpack_from(form, self.wire, self._at)
        self._at += struct.calcsize(form)
        return values

    def _name(self):
        labels = []
        at = self._at
        after = None
        while self.wire[at]:
            length = self.wire[at]
            if length >= 0xC0:
                after = after or at + 2
                target = struct.unpack_from(">H", self.wire, at)[0] & 0x3FFF
                if target >= at:
                    raise ValueError("a name that points forwards")
                at = target
                continue
            labels.append(self.wire[at + 1:at + 1 + length].decode("latin-1"))
            at += 1 + length
        self._at = after or at + 1
        return ".".join(labels)

    def _record(self):
        name = self._name()
        kind, cls, ttl, length = self._unpack(">HHIH")
        end = self._at + length
        if kind in (NS, CNAME, SOA, PTR, MX):
            rdata = self._rdata_with_names(kind, end)
        else:
            rdata = self.wire[self._at:end]
        self._at = end
        return Record(name, kind, cls, ttl, rdata)

    def _rdata_with_names(self, kind, end):
        """Without compression and in lower case: pointers may lead to a question of any case."""
        rdata = b""
        if kind == MX:
            rdata = self.wire[self._at:self._at + 2]
            self._at += 2
        for _ in range(2 if kind == SOA else 1):
            rdata += name_bytes(self._name().lower())
        return rdata + self.wire[self._at:end]

    @property
    def opt(self):
        """The OPT record or None."""
        found = [record for record in self.additional if record.type == OPT]
        if len(found) > 1:
            raise ValueError("more than one OPT")
        return found[0] if found else None

    @property
    def full_rcode(self):
        return self.rcode | (self.opt.ttl >> 24 << 4 if self.opt else 0)

    @property
    def options(self):
        """The OPT record's options by code."""
        found = {}
        data = self.opt.rdata if self.opt else b""
        while data:
            code, length = struct.unpack_from(">HH", data)
            found[code] = data[4:4 + length]
            data = data[4 + length:]
        return found

    def answer_bytes(self, answers=(), authority=(), additional=(), rcode=NOERROR, flags=0):
        """A server's answer to this query."""
        return message_bytes(self.ident, QR | RA | (self.flags & RD) | flags | rcode, (self.name, self.type), answers,
                             authority, additional)
