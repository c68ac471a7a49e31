# SPDX-License-Identifier: ISC
"""socksd's egresses on the wire: marks, interfaces and addresses as routes, the firewall and targets see them, over links
with an MTU of 1500. In network namespaces that the test makes, for which it has to be root."""

import concurrent.futures
import contextlib
import functools
import hashlib
import os
import re
import socket
import subprocess
import sys
import threading

import harness
import socks_client as socks
from harness import expect
from peers import TcpTarget, blob, blob_digest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), os.pardir, "conform"))

import private_network  # noqa: E402  pylint: disable=wrong-import-position

# This side has two links to the other one, on whose loopback the target is. The route takes link one, but for packets
# marked 0x1f.
TARGET, TARGET6 = "10.60.0.1", "fd00:60::1"
ONE, TWO, ONE6, TWO6 = "10.50.1.1", "10.50.2.1", "fd00:50:1::1", "fd00:50:2::1"
EXTRA = "10.50.1.77"
MARK = 0x1F
NEAR = f"""
link add one type veth peer name far1 netns FAR
link add two type veth peer name far2 netns FAR
address add {ONE}/24 dev one
address add {EXTRA}/32 dev one
address add {TWO}/24 dev two
address add {ONE6}/64 dev one nodad
address add {TWO6}/64 dev two nodad
link set one up
link set two up
route add {TARGET} via 10.50.1.2
route add {TARGET} via 10.50.2.2 metric 200
route add {TARGET} via 10.50.2.2 table 100
rule add fwmark {MARK:#x} lookup 100
-6 route add {TARGET6} via fd00:50:1::2 metric 100
-6 route add {TARGET6} via fd00:50:2::2 metric 200
-6 route add {TARGET6} via fd00:50:2::2 table 100
-6 rule add fwmark {MARK:#x} lookup 100
"""
FAR = f"""
link set lo up
address add 10.50.1.2/24 dev far1
address add 10.50.2.2/24 dev far2
address add fd00:50:1::2/64 dev far1 nodad
address add fd00:50:2::2/64 dev far2 nodad
address add {TARGET}/32 dev lo
address add {TARGET6}/128 dev lo nodad
link set far1 gso_max_segs 1 up
link set far2 gso_max_segs 1 up
"""
BULK = 64 << 20


def ip(lines, **places):
    for line in lines.strip().splitlines():
        words = [places.get(word, word) for word in line.split()]
        subprocess.run(["ip", *words], check=True)


@functools.lru_cache(maxsize=None)
def far_side():
    """A thread in a network namespace of its own: what is opened there belongs to that one."""
    if not PRIVATE:
        raise harness.Skip("needs root and network namespaces")
    pool = concurrent.futures.ThreadPoolExecutor(1)

    def enter():
        private_network.enter()
        return f"/proc/{os.getpid()}/task/{threading.get_native_id()}/ns/net"

    path = pool.submit(enter).result()
    ip(NEAR, FAR=path)
    pool.submit(ip, FAR).result()
    return pool


def serve(sock):
    """Say from where the connection comes; a line from the client asks for bulk."""
    host, port = sock.getpeername()[:2]
    sock.sendall(f"{host} {port}\n".encode())
    if sock.recv(5) == b"bulk\n":
        for piece in blob(BULK, 5):
            sock.sendall(piece)


@functools.lru_cache(maxsize=None)
def target(number, host=TARGET):
    """There are as many as are wanted."""
    return far_side().submit(lambda: TcpTarget(serve, host)).result()


def read_line(sock):
    line = b""
    while not line.endswith(b"\n"):
        line += socks.receive(sock, 1)
    return line.decode().split()


class Proxy:
    """socksd with these lines for the egress that everybody takes."""

    def __init__(self, egress):
        target(0)
        self.config = harness.temporary_path("egress.conf")
        self.write(egress)
        self.daemon = harness.socksd("server.workers=1", config=self.config)
        self.port = self.daemon.port

    def write(self, egress):
        egress = f"[egress out]\n{egress}[rule all]\naction = allow\negress = out\n" if egress else ""
        with open(self.config, "w", encoding="utf-8") as file:
            file.write(egress)
        os.chmod(self.config, 0o644)

    def source(self, host=TARGET):
        """From which address the target was reached."""
        with socks.connect(self.port, host, target(0, host).port) as sock:
            return read_line(sock)[0]


def check_source(egress, wanted, wanted6):
    proxy = Proxy(egress)
    expect(proxy.source(), wanted, "the address that the target saw")
    if harness.have_ipv6():
        expect(proxy.source(TARGET6), wanted6, "the IPv6 address that the target saw")
    proxy.daemon.stop()


def test_source():
    """Where sessions leave from"""
    for egress, wanted, wanted6 in (
            ("", ONE, ONE6),
            ("fwmark = 0x1f\n", TWO, TWO6),
            ("fwmark = 31\n", TWO, TWO6),
            ("fwmark = 0x1e\n", ONE, ONE6),
            ("fwmark = 0x1001f\n", ONE, ONE6),
            ("interface = two\n", TWO, TWO6),
            ("interface = one\nfwmark = 0x1e\n", ONE, ONE6),
            (f"address = {EXTRA}, {ONE6}\n", EXTRA, ONE6),
            (f"address = {TWO}, {TWO6}\nfwmark = 0x1f\n", TWO, TWO6)):
        name = egress.strip().replace("\n", "; ") or "without an egress"
        yield name, functools.partial(check_source, egress, wanted, wanted6)


def test_interface_missing():
    """An interface that is not there: REP 01, a log line and a counter; nothing leaves by another one"""
    proxy = Proxy("interface = none0\n")
    try:
        proxy.source()
        rep = 0
    except socks.Refused as refused:
        rep = refused.rep
    expect(rep, 1, "REP")
    proxy.daemon.wait_log("egress-failed egress=out error=")
    expect(proxy.daemon.counters()["dial_egress_failed"], 1, "dial_egress_failed")
    proxy.daemon.stop()


def test_every_packet_is_marked():
    """The firewall sees the mark on each packet to the target, from the SYN on, and a reload changes it"""
    harness.needs("nft")
    proxy = Proxy("fwmark = 0x1f\n")

    def nft(text):
        return subprocess.run(["nft", "-f", "-"], input=text.encode(), check=True, stdout=subprocess.PIPE).stdout

    def counters():
        text = subprocess.run(["nft", "list", "table", "inet", "stile"], check=True, stdout=subprocess.PIPE).stdout
        return [int(packets) for packets in re.findall(r"counter packets (\d+)", text.decode())]

    try:
        nft(f"""table inet stile {{
            chain out {{
                type filter hook output priority 0;
                ip daddr {TARGET} tcp flags syn / syn,ack meta mark 0x1f counter
                ip daddr {TARGET} meta mark 0x1f counter
                ip daddr {TARGET} meta mark != 0x1f counter
                ip daddr {TARGET} meta mark 0x20 counter
            }}
        }}""")
    except subprocess.CalledProcessError:
        raise harness.Skip("the kernel has no nftables") from None
    for _ in range(3):
        expect(proxy.source(), TWO, "the address that the target saw")
    syns, marked, others, _ = counters()
    expect((syns, others), (3, 0), "the SYNs with the mark, and packets without it")
    expect(marked > 6, True, f"that more than the SYNs are marked ({marked})")
    proxy.write("fwmark = 0x20\n")
    proxy.daemon.send_signal(1)
    proxy.daemon.wait_log("reloaded")
    expect(proxy.source(), ONE, "the address that the target saw after a reload")
    expect(counters()[0], 3, "the SYNs with the old mark")
    expect(counters()[3] > 2, True, "that packets have the new one")
    proxy.daemon.stop()


def port_range(new):
    """Where this namespace takes ports for connections from; returns the range before."""
    path = "/proc/sys/net/ipv4/ip_local_port_range"
    with open(path, encoding="ascii") as file:
        before = file.read()
    with open(path, "w", encoding="ascii") as file:
        file.write(new)
    return before


def test_ports_are_chosen_late():
    """One egress address with 16 ports holds 12 connections to each of four targets at once"""
    proxy = Proxy(f"address = {EXTRA}\n")
    ports = {number: set() for number in range(4)}
    with harness.closing_all() as sessions:
        for _ in range(4 * 12):
            sessions.append(socks.open_proxy(proxy.port))
        before = port_range("40000 40015")
        try:
            for index, sock in enumerate(sessions):
                sock.sendall(socks.GREETING_OPEN + socks.request_bytes(TARGET, target(index % 4).port))
                expect(socks.receive(sock, 2), b"\x05\x00", "the method")
                rep, host, port = socks.receive_reply(sock)
                expect((rep, host), (0, EXTRA), f"REP and BND.ADDR of connection {index}")
                expect(read_line(sock), [EXTRA, str(port)], "what the target saw, as BND.ADDR and BND.PORT have it")
                ports[index % 4].add(port)
        finally:
            port_range(before)
    for number in range(4):
        expect(len(ports[number]), 12, "the ports used for a target")
    expect(set.union(*ports.values()) <= set(range(40000, 40016)), True, "that the ports are of the range")
    proxy.daemon.stop()


def test_bulk_at_mtu_1500():
    """Bulk from a target at an MTU of 1500 arrives whole, and is spliced"""
    proxy = Proxy("fwmark = 0x1f\n")
    with contextlib.closing(socks.connect(proxy.port, TARGET, target(0).port)) as sock:
        read_line(sock)
        sock.sendall(b"bulk\n")
        data = socks.receive_all(sock)
    expect(len(data), BULK, "the bytes that arrived")
    digest = hashlib.sha256(data).hexdigest()
    expect(digest, blob_digest(BULK, 5), "their digest")
    harness.wait_until(lambda: proxy.daemon.counters()["sessions_now"] == 0, what="end of the session")
    counters = proxy.daemon.counters()
    if counters["pipe_missing"] == 0:
        spliced = counters["bytes_spliced"]
        expect(spliced > BULK // 2, True, f"that more than half was spliced ({spliced})")
    proxy.daemon.stop()


def enter():
    """Whether this process is in a network of its own."""
    if not harness.IS_ROOT or harness.QUICK:
        return False
    try:
        private_network.enter()
    except (OSError, subprocess.CalledProcessError) as error:
        print(f"# no network namespace: {error}")
        return False
    return True


PRIVATE = enter()

if __name__ == "__main__":
    harness.run(globals())
