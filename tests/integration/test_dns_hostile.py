# SPDX-License-Identifier: ISC
"""dnsproxyd among strange neighbours: odd configurations, odd addresses, clients that misbehave."""

import functools
import re
import signal
import socket
import subprocess
import time

import dns_message as dns
import harness
from dns_message import Message, a_record, query_bytes
from harness import expect
from peers import DnsServer, ask_udp


@functools.lru_cache(maxsize=None)
def server():
    return DnsServer(lambda message, _transport: message.answer_bytes([a_record(message.name, "192.0.2.1")]))


def test_no_upstream():
    """With a resolv.conf that names only ourselves every query gets SERVFAIL"""
    harness.needs("unshare", "mount")
    if not harness.IS_ROOT:
        raise harness.Skip("needs root")
    if subprocess.run(["unshare", "-m", "true"], stderr=subprocess.DEVNULL, check=False).returncode != 0:
        raise harness.Skip("no mount namespaces here")
    port = harness.free_port()
    resolv_conf = harness.temporary_file("resolv.conf", "# nobody\n")
    script = f'mount --bind {resolv_conf} /etc/resolv.conf && exec "$@"'
    daemon = harness.dnsproxyd(None, port=port, wrapper=("unshare", "-m", "sh", "-c", script, "sh"))
    for name in ("a.example", "b.example"):
        expect(Message(ask_udp(query_bytes(name), port)).rcode, dns.SERVFAIL, "the RCODE")
    expect(bool(re.search("no-upstream", daemon.log())), True, "that the log says so")
    daemon.stop()


def source_of_reply(family, host, port):
    with socket.socket(family, socket.SOCK_DGRAM) as sock:
        sock.settimeout(10)
        sock.sendto(query_bytes("wild.example"), (host, port))
        return sock.recvfrom(4096)[1][:2]


def test_wildcard():
    """A wildcard listener replies from the address that was asked"""
    port = harness.free_port()
    addresses = f"0.0.0.0:{port}" + (f",[::]:{port}" if harness.have_ipv6() else "")
    daemon = harness.Daemon("dnsproxyd", port, [f"listen all.address={addresses}",
                                                f"upstream default.server={server().address}"])
    for host in ("127.0.0.1", "127.0.0.2", "127.1.2.3"):
        for _ in range(2):  # a miss, then a hit
            expect(source_of_reply(socket.AF_INET, host, port), (host, port), "the source of the reply")
    if harness.have_ipv6():
        expect(source_of_reply(socket.AF_INET6, "::1", port), ("::1", port), "the source of the reply")
    daemon.stop()


def test_reload_max_outstanding():
    """A reload that raises max-outstanding raises it for the upstream servers as well"""
    port = harness.free_port()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent, \
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        silent.bind(("127.0.0.1", 0))
        content = (f"[server]\nworkers = 1\n[listen test]\naddress = 127.0.0.1:{port}\n"
                   f"[upstream default]\nserver = 127.0.0.1:{silent.getsockname()[1]}\n[limits]\nmax-outstanding = ")
        path = harness.temporary_file("outstanding.conf", content + "2\n")
        daemon = harness.Daemon("dnsproxyd", port, config=path)
        harness.temporary_file("outstanding.conf", content + "100\n")
        before = len(daemon.log())
        daemon.send_signal(signal.SIGHUP)
        daemon.wait_log("reloaded", before)
        client.connect(("127.0.0.1", port))
        client.settimeout(0.5)
        for number in range(10):
            client.send(query_bytes(f"n{number}.example"))
        try:
            expect(client.recv(4096), None, "a reply while the upstream is silent")
        except TimeoutError:
            pass
    daemon.stop(signal.SIGINT)


def test_tcp_dribble():
    """A TCP client that sends a byte now and then is closed like an idle one"""
    daemon = harness.dnsproxyd(server().address, "limits.tcp-idle-timeout=1s")
    with socket.create_connection(("127.0.0.1", daemon.port), timeout=10) as sock:
        sent = 0
        began = time.monotonic()
        try:
            while sent < 25:
                sock.sendall(b"\x01")
                sent += 1
                time.sleep(0.2)
        except OSError:
            pass
        took = time.monotonic() - began
        expect(sent < 25 and 0.9 < took < 5, True, f"that {sent} bytes in {took:.1f} s are those of about 1 s")
    expect(daemon.counters()["tcp_idle"], 1, "the connections closed as idle")
    daemon.stop()


if __name__ == "__main__":
    harness.run(globals())
