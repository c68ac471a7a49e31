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
    return ["valgrind", "--quiet", "--vgdb=no", "--leak-check=full", "--show-leak-kinds=definite,indirect,possible",
            "--errors-for-leak-kinds=definite,indirect,possible", "--track-fds=yes", "--error-exitcode=9",
            f"--log-file={report}"], report


def expect_clean(daemon, report):
    """It ends with 0, not valgrind's 9, and holds no descriptor but those it was started with."""
    try:
        daemon.stop(seconds=60)
    finally:
        with open(report, encoding="utf-8", errors="replace") as file:
            text = re.sub("^==[0-9]+== ?", "", file.read(), flags=re.MULTILINE)
        # Two lines each, the second telling where it was opened.
        left = [lines for lines in re.findall(r"^Open .*descriptor.*\n.*", text, re.MULTILINE)
                if "<inherited from parent>" not in lines]
        if left or re.search("^(Invalid|Use of|Conditional jump|Syscall param|.* are .* lost)", text, re.MULTILINE):
            print(re.sub("^", "# ", text, flags=re.MULTILINE))
    expect(left, [], "the descriptors left open")


def name_server_answer(message, transport):
    """Names that begin with "no" do not exist; "long" ones need TCP; *.good.example is 127.0.0.1."""
    name = message.name.lower()
    if name.startswith("no") or message.type != 1:
        return message.answer_bytes(authority=[soa_record("example")], rcode=NXDOMAIN if name.startswith("no") else 0)
    if name.startswith("long") and transport == "udp":
        return message.answer_bytes(flags=TC)
    return message.answer_bytes([a_record(message.name, "127.0.0.1")])


def one_session(port, number, target, credentials=()):
    """Each kind of session in turn."""
    kind = number % 6
    if kind == 0:  # leaves in the middle of the handshake
        with socks.open_proxy(port) as sock:
            sock.sendall(b"\x05\x02\x00")
        return
    if kind == 1:  # a name nobody has
        try:
            socks.connect(port, f"no{number}.example", 80, *credentials)
        except socks.Refused as refused:
            expect(refused.rep, 4, "REP")
            return
        raise AssertionError("a name nobody has was found")
    host = "127.0.0.1" if kind == 2 else f"w{number}.good.example"
    with socks.connect(port, host, target.port, *credentials) as sock:
        data = bytes(1000 * number)
        sock.sendall(data)
        if kind != 3:  # which leaves before the echo is complete
            expect(len(socks.receive(sock, len(data))), len(data), "the size of the echo")


@harness.limit(300)
def test_socksd():
    """socksd: 100 sessions of every kind"""
    wrapper, report = valgrind("socksd")
    users = harness.temporary_path("users")
    harness.output_of(harness.program_path("socksd-passwd"), users, "alice", text_in=b"open sesame\n")
    server = DnsServer(name_server_answer)
    target = TcpTarget(echo)
    locked = harness.free_port()
    daemon = harness.socksd(f"listen locked.address=127.0.0.1:{locked}", "listen locked.auth=password",
                            f"listen locked.users={users}", f"dns.server={server.address}",
                            wrapper=wrapper, wait_seconds=SLOW_START_SECONDS)
    # Few with a password: hashing one takes long here.
    for number in range(SESSIONS):
        if number % 7:
            one_session(daemon.port, number, target)
        else:
            one_session(locked, number, target, ("alice", "open sesame"))
    try:
        socks.connect(locked, "127.0.0.1", target.port, "alice", "wrong")
        raise AssertionError("a wrong password was taken")
    except PermissionError:
        pass
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
