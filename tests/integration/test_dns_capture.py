# SPDX-License-Identifier: ISC
"""What leaves dnsproxyd when all its servers are asked by TLS, HTTPS or DNSCrypt: every packet, in a network namespace of
this test's own (root)."""

import contextlib
import os
import signal
import socket
import struct
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), os.pardir, "conform"))

import dns_message as dns  # noqa: E402  pylint: disable=wrong-import-position
import harness  # noqa: E402  pylint: disable=wrong-import-position
import private_network  # noqa: E402  pylint: disable=wrong-import-position
from dns_message import Message, a_record, query_bytes  # noqa: E402  pylint: disable=wrong-import-position
from encrypted_peers import Dnsdist, certificate as pem  # noqa: E402  pylint: disable=wrong-import-position
from harness import expect, wait_until  # noqa: E402  pylint: disable=wrong-import-position
from peers import ask_udp  # noqa: E402  pylint: disable=wrong-import-position
from tls_server import TlsServer, certificate  # noqa: E402  pylint: disable=wrong-import-position

SECRET = b"hidden"
ETH_P_ALL, UDP, TCP = 3, 17, 6
WHY_NOT = None


def enter():
    """Why there is no network of our own, or None."""
    if not harness.IS_ROOT:
        return "needs root"
    try:
        harness.needs("ip", "openssl")
        private_network.enter()
        for command in ("ip link add out0 type veth peer name out1", "ip link set out1 up",
                        "ip link set out0 up arp off",  # so that what is sent leaves
                        "ip addr add 192.0.2.100/24 dev out0", "ip route add default dev out0"):
            subprocess.run(command.split(), check=True)
    except (harness.Skip, OSError, subprocess.CalledProcessError) as error:
        return f"no network namespace: {error}"
    return None


class Capture:
    """All packets of UDP and TCP on all interfaces, as (protocol, ports, payload)."""

    def __init__(self):
        self.packets = []
        self._sock = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(ETH_P_ALL))
        self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16 << 20)
        self._sock.settimeout(0.1)
        self._closed = False
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self):
        while not self._closed:
            try:
                packet = self._sock.recv(65535)
            except TimeoutError:
                continue
            version = packet[0] >> 4 if packet else 0
            if version == 4:
                kind, at = packet[9], (packet[0] & 15) * 4
            elif version == 6:
                kind, at = packet[6], 40
            else:
                continue
            if kind in (UDP, TCP):
                self.packets.append((kind, struct.unpack_from(">HH", packet, at), packet[at:]))

    def close(self):
        time.sleep(0.3)
        self._closed = True
        self._thread.join()
        self._sock.close()


def ask(daemon, name):
    """Whether it is answered."""
    return bool(Message(ask_udp(query_bytes(name, opt=dns.opt_record()), daemon.port)).answers)


def judge(packets, client_port, tls_ports):
    """Nothing but TLS and what clients say; nowhere the name that was asked for."""
    to_clients = [packet for packet in packets if client_port in packet[1]]
    others = [packet for packet in packets if client_port not in packet[1]]
    expect(any(SECRET in payload for _kind, _ports, payload in to_clients), True, "that the capture sees questions")
    expect(any(tls_ports & set(ports) for _kind, ports, _payload in others), True, "that it sees servers asked")
    expect([ports for kind, ports, _payload in others if kind == UDP], [], "datagrams to or from others")
    expect([ports for _kind, ports, _payload in others if not tls_ports & set(ports)], [], "segments that are no TLS")
    expect([ports for _kind, ports, payload in others if SECRET in payload.lower()], [], "packets with the name")


def test_nothing_in_clear_text():
    """From start to end, through failures, reload and redial, not one question leaves in clear text"""
    if WHY_NOT:
        raise harness.Skip(WHY_NOT)
    with contextlib.ExitStack() as stack:
        good, bad = TlsServer(), stack.enter_context(contextlib.closing(TlsServer("expired")))
        names = stack.enter_context(contextlib.closing(TlsServer()))
        names.answer = lambda message: message.answer_bytes(
            [a_record(message.name, "127.0.0.1")] if message.type == dns.A else [])
        capture = Capture()
        stack.callback(lambda: capture.close() if capture else None)
        daemon = harness.dnsproxyd(
            f"{bad.address}#dns.example,{good.address}#dns.example,tls://dns.example:{good.port}",
            f"upstream default.ca={certificate('ca')}", f"upstream default.bootstrap={names.address}#dns.example",
            "server.workers=2", "cache.failure-ttl=1s", "cache.serve-stale=0")
        for i in range(20):
            expect(ask(daemon, f"{SECRET.decode()}{i}.example"), True, "whether there is an answer")
        good.hang_up()
        expect(ask(daemon, f"{SECRET.decode()}-again.example"), True, "whether there is an answer after a hang-up")
        good.go_silent()
        for i in range(3):
            ask(daemon, f"{SECRET.decode()}-silent{i}.example")
        good.close()
        for i in range(3):
            expect(ask(daemon, f"{SECRET.decode()}-dead{i}.example"), False, "whether there is an answer from nobody")
        at = len(daemon.log())
        daemon.send_signal(signal.SIGHUP)
        daemon.wait_log(" reloaded", at)
        ask(daemon, f"{SECRET.decode()}-reloaded.example")
        back = stack.enter_context(contextlib.closing(TlsServer(port=good.port)))
        subprocess.run("ip link set out0 down".split(), check=True)
        subprocess.run("ip link set out0 up".split(), check=True)
        wait_until(lambda: ask(daemon, f"{SECRET.decode()}{time.monotonic()}.example"), 15, "answer after the redial")
        daemon.stop()
        packets, client_port = capture.packets, daemon.port
        capture.close()
        capture = None
        judge(packets, client_port, {good.port, bad.port, names.port, back.port})


def test_https_and_dnscrypt():
    """The same by HTTPS and by DNSCrypt, whose certificates are all that is asked for in clear text"""
    if WHY_NOT:
        raise harness.Skip(WHY_NOT)
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(contextlib.closing(Dnsdist()))
        for number, url in enumerate((server.https(), server.stamp())):
            capture = Capture()
            daemon = harness.dnsproxyd(url, f"upstream default.ca={pem('ca.pem')}", "server.workers=2",
                                       "upstream default.timeout=300ms", "cache.failure-ttl=1s", "cache.serve-stale=0")
            try:
                for i in range(20):
                    expect(ask(daemon, f"{SECRET.decode()}{number}-{i}.example"), True, "whether there is an answer")
                server.stop()
                for i in range(3):
                    expect(ask(daemon, f"{SECRET.decode()}{number}-dead{i}.example"), False, "whether there is an answer")
                server.start()
                wait_until(lambda: ask(daemon, f"{SECRET.decode()}{time.monotonic()}.example"), 15, "answer again")
                daemon.stop()
            finally:
                capture.close()
            ours = [packet for packet in capture.packets if not {daemon.port, server.backend.port} & set(packet[1])]
            ports = {server.https_port, server.dnscrypt_port}
            expect(any(SECRET in payload for _kind, _ports, payload in capture.packets), True, "that it sees questions")
            expect(len([packet for packet in ours if ports & set(packet[1])]) >= 40, True, "that it sees the server asked")
            expect([packet[1] for packet in ours if SECRET in packet[2].lower()], [], "packets with the name")
            expect([packet[1] for packet in ours if not ports & set(packet[1]) and server.tls_port not in packet[1]], [],
                   "packets to or from others")


if __name__ == "__main__":
    WHY_NOT = enter()
    harness.run(globals())
