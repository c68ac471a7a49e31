# SPDX-License-Identifier: ISC
"""Both daemons under valgrind: no error, no leak, no descriptor left behind."""

import re
import struct

import harness
import socks_client as socks
from dns_message import NXDOMAIN, TC, Message, a_record, query_bytes, soa_record
from harness import expect
from peers import DnsServer, TcpTarget, ask_tcp, ask_udp, echo

SESSIONS = 100
QUERIES = 1000
SLOW_START_SECONDS = 60


def valgrind(program):
    """The words of a command that runs a daemon under valgrind, and where it reports."""
    harness.needs("valgrind")
    harness.needs_plain_build()
    report = harness.temporary_path(f"{program}.valgrind")
    return ["valgrind", "--quiet", "--vgdb=no", "--leak-check=full", "--show-leak-kinds=all",
            "--errors-for-leak-kinds=definite,indirect,possible", "--track-fds=yes", "--error-exitcode=9",
            "--child-silent-after-fork=yes", f"--log-file={report}"], report


def expect_clean(daemon, report):
    try:
        daemon.stop(seconds=60)
    finally:
        with open(report, encoding="utf-8", errors="replace") as file:
            text = file.read()
        for line in text.splitlines():
            print("#", re.sub("^==[0-9]+== ?", "", line))


def name_server_answer(message, transport):
    """Names that begin with "no" do not exist; "long" ones need TCP; *.good.example is 127.0.0.1."""
    name = message.name.lower()
    if name.startswith("no") or message.type != 1:
        return message.answer_bytes(authority=[soa_record("example")], rcode=NXDOMAIN if name.startswith("no") else 0)
    if name.startswith("long") and transport == "udp":
        return message.answer_bytes(flags=TC)
    return message.answer_bytes([a_record(message.name, "127.0.0.1")])


def one_session(port, number, target):
    """Each kind of session in turn."""
    kind = number % 8
    if kind == 5:  # leaves in the middle of the handshake
        with socks.open_proxy(port) as sock:
            sock.sendall(b"\x05\x02\x00")
        return
    if kind == 6:  # a name nobody has
        try:
            socks.connect(port, f"no{number}.example", 80, "alice", "open sesame")
        except socks.Refused as refused:
            expect(refused.rep, 4, "REP")
        return
    if kind == 7:  # a wrong password
        try:
            socks.connect(port, "127.0.0.1", target.port, "alice", "wrong")
        except PermissionError:
            return
        raise AssertionError("a wrong password was taken")
    host = "127.0.0.1" if kind < 3 else f"w{number}.good.example"
    with socks.connect(port, host, target.port, "alice", "open sesame") as sock:
        data = bytes(1000 * number)
        sock.sendall(data)
        if kind != 4:  # which leaves before the echo is complete
            expect(len(socks.receive(sock, len(data))), len(data), "the size of the echo")


@harness.limit(300)
def test_socksd():
    """socksd: 100 sessions of every kind"""
    wrapper, report = valgrind("socksd")
    users = harness.temporary_path("users")
    harness.output_of(harness.program_path("socksd-passwd"), users, "alice", text_in=b"open sesame\n")
    server = DnsServer(name_server_answer)
    target = TcpTarget(echo)
    daemon = harness.socksd("listen test.auth=password", f"listen test.users={users}", f"dns.server={server.address}",
                            wrapper=wrapper, wait_seconds=SLOW_START_SECONDS)
    for number in range(SESSIONS):
        one_session(daemon.port, number, target)
    expect_clean(daemon, report)
    target.close()


@harness.limit(300)
def test_dnsproxyd():
    """dnsproxyd: 1,000 queries over UDP and TCP"""
    wrapper, report = valgrind("dnsproxyd")
    server = DnsServer(name_server_answer)
    daemon = harness.dnsproxyd(server.address, wrapper=wrapper, wait_seconds=SLOW_START_SECONDS)
    for number in range(QUERIES):
        name = ("w", "no", "long", "w")[number % 4] + f"{number % 300}.example"
        wire = query_bytes(name, ident=number)
        if number % 10 == 9:
            wire = struct.pack(">HHHHHH", number, 0x0100, 2, 0, 0, 0) + wire[12:] * 2
        reply = (ask_tcp if number % 7 == 0 else ask_udp)(wire, daemon.port)
        expect(struct.unpack(">H", reply[:2])[0], number, "the ID")
        if number % 10 != 9:
            expect(Message(reply).rcode, NXDOMAIN if name.startswith("no") else 0, "the RCODE")
    expect_clean(daemon, report)
    server.close()


if __name__ == "__main__":
    harness.run(globals())
