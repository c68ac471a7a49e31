# SPDX-License-Identifier: ISC
"""dnsproxyd's cache file when it is large: a restart, and what may happen while it is loaded."""

import concurrent.futures
import os
import re
import signal
import socket
import struct
import subprocess
import threading
import time

import dns_message as dns
import harness
from dns_message import Message, a_record, query_bytes
from harness import expect
from peers import DnsServer, ask_udp

ANSWERS = 500_000
SIZE = "cache.size=128M"


def cachetool(*arguments):
    return harness.output_of(os.path.join(harness.TOP_BUILDDIR, "tests", "integration", "cachetool"),
                             *map(str, arguments)).decode().strip()


def make_file(name, count=ANSWERS):
    """A file of that many answers, in a directory that the daemon can write to; its path, and the last name in it."""
    directory = harness.temporary_path(f"cache-{name}")
    os.makedirs(directory, exist_ok=True)
    path = os.path.join(directory, "cache")
    last = cachetool("file", count, path)
    os.chmod(directory, 0o777)
    os.chmod(path, 0o666)
    return path, last


class Silent:
    """A server that never answers."""

    def __init__(self):
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.sock.bind(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self.sock.getsockname()[1]}"

    def close(self):
        self.sock.close()


def start_unready(path, upstream, *options):
    """Start it without waiting for anything; the daemon, and when it was started."""
    port = harness.free_port()
    command = [harness.program_path("dnsproxyd"), "-c", harness.temporary_file("empty.conf")]
    if harness.SANITIZED and harness.IS_ROOT:
        options = ("server.user=root", *options)
    for option in (f"listen test.address=127.0.0.1:{port}", f"upstream default.server={upstream}",
                   f"cache.file={path}", SIZE, *options):
        command += ["-o", option]
    began = time.monotonic()
    with open(harness.temporary_path(f"unready-{port}.log"), "wb") as log:
        return harness.start(command, stdin=subprocess.DEVNULL, stderr=log), port, log.name, began


def ask_until(port, name, deadline):
    """Ask as a stub would that is in a hurry, until somebody answers; the reply, None when nobody does."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.connect(("127.0.0.1", port))
        while time.monotonic() < deadline:
            try:
                sock.settimeout(0.02)
                sock.send(query_bytes(name))
                sock.settimeout(max(deadline - time.monotonic(), 0.01))
                reply = Message(sock.recv(4096))
                if reply.rcode == dns.NOERROR:
                    return reply
            except ConnectionRefusedError:
                time.sleep(0.002)  # its port is not open yet
            except TimeoutError:
                return None
    return None


def end(process):
    process.send_signal(signal.SIGTERM)
    expect(process.wait(30), 0, "the exit status")


def test_restart():
    """500,000 answers: whichever is asked for, it is there within a second of the start"""
    harness.needs_plain_build()
    path, last = make_file("restart")
    upstream = Silent()
    slowest = 0.0
    for name in ("n0000000.ca.example", last, f"n{ANSWERS // 2:07}.ca.example", last.upper(), last):
        process, port, log, began = start_unready(path, upstream.address)
        reply = ask_until(port, name, began + 3)
        took = time.monotonic() - began
        expect(reply is not None, True, f"that {name} is answered within 3 s")
        expect(len(reply.answers), 1, "the number of answers")
        slowest = max(slowest, took)
        expect(took < 1, True, f"that {took:.2f} s for {name} is within a second")
        harness.wait_until(lambda: "cache-loaded" in open(log, encoding="utf-8").read(), 10, "end of loading")
        end(process)
    print(f"# the slowest took {slowest:.2f} s")
    upstream.close()


def test_answers_while_loading():
    """Questions that are not in the file are answered while it is loaded, and nothing of the file is lost"""
    path, last = make_file("meanwhile", 200_000)
    upstream = DnsServer(lambda message, _: message.answer_bytes([a_record(message.name, "192.0.2.77", 300)]))
    daemon = harness.dnsproxyd(upstream.address, f"cache.file={path}", SIZE)

    def one(number):
        expect(len(Message(ask_udp(query_bytes(f"other{number}.example"), daemon.port)).answers), 1, "answers")

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        list(pool.map(one, range(200)))
    expect(int(daemon.wait_log(r"cache-loaded .*answers=(\d+)", seconds=60).group(1)), 200_000, "the answers loaded")
    expect(Message(ask_udp(query_bytes(last), daemon.port)).answers[0].ttl > 80000, True, "that it is the file's")
    seen = len(upstream.seen)
    ask_udp(query_bytes("n0123456.ca.example"), daemon.port)
    expect(len(upstream.seen), seen, "the number of queries the upstream saw")
    daemon.stop()
    daemon = harness.dnsproxyd(upstream.address, f"cache.file={path}", SIZE)
    expect(int(daemon.wait_log(r"cache-loaded .*answers=(\d+)", seconds=60).group(1)), 200_200, "the answers kept")
    daemon.stop()
    upstream.close()


def test_stop_while_loading():
    """Stopped while it loads, at any moment, it leaves a file with all its answers"""
    path, _ = make_file("stopped", 200_000)
    upstream = Silent()
    stopped = 0
    for step in range(12):
        process, port, log, _ = start_unready(path, upstream.address)
        harness.wait_until(lambda: "ready" in open(log, encoding="utf-8").read(), 10, "ready daemon")
        time.sleep(step * 0.01)
        end(process)
        with open(log, encoding="utf-8") as file:
            stopped += "cache-loading-stopped" in file.read()
    expect(stopped > 0, True, "that some were stopped before all was loaded")
    daemon = harness.dnsproxyd(upstream.address, f"cache.file={path}", SIZE)
    expect(int(daemon.wait_log(r"cache-loaded .*answers=(\d+)", seconds=60).group(1)), 200_000, "the answers loaded")
    daemon.stop()
    upstream.close()


def test_reload_while_loading():
    """A reload with other servers while it loads leaves nothing of the old ones' answers; one without leaves all"""
    path, last = make_file("reload", 200_000)
    upstream = DnsServer(lambda message, _: message.answer_bytes([a_record(message.name, "192.0.2.77", 300)]))
    other = DnsServer(lambda message, _: message.answer_bytes([a_record(message.name, "192.0.2.88", 300)]))
    for address, kept in ((upstream.address, True), (other.address, False)):
        port = harness.free_port()
        content = (f"[listen test]\naddress = 127.0.0.1:{port}\n[cache]\nsize = 128M\nfile = {path}\n"
                   "[upstream default]\nserver = ")
        config = harness.temporary_file("loading.conf", content + upstream.address + "\n")
        daemon = harness.Daemon("dnsproxyd", port, config=config)
        harness.temporary_file("loading.conf", content + address + "\n")
        daemon.send_signal(signal.SIGHUP)
        daemon.wait_log("reloaded")
        daemon.wait_log("cache-loaded", seconds=60)
        reply = Message(ask_udp(query_bytes(last), port))
        expect(reply.answers[0].rdata != socket.inet_aton("192.0.2.88"), kept, "that the answer is the file's")
        daemon.stop()
    upstream.close()
    other.close()


def test_groups():
    """Answers of all groups are kept, under the groups' names"""
    hosts = {}
    for number, group in enumerate(("default", "corp", "lab"), 1):
        hosts[group] = DnsServer(lambda message, _, n=number: message.answer_bytes(
            [a_record(message.name, f"192.0.2.{n}", 300)]))
    directory = harness.temporary_path("cache-groups")
    os.makedirs(directory, exist_ok=True)
    os.chmod(directory, 0o777)
    port = harness.free_port()

    def config(*groups):
        text = f"[listen test]\naddress = 127.0.0.1:{port}\n[cache]\nfile = {directory}/cache\n"
        for group in groups:
            text += f"[upstream {group}]\nserver = {hosts[group].address}\n"
            if group != "default":
                text += f"[forward {group}]\ndomain = {group}.example\nupstream = {group}\n"
        return harness.temporary_file("groups.conf", text)

    names = {group: f"www.{group}.example" for group in hosts}
    daemon = harness.Daemon("dnsproxyd", port, config=config("default", "corp", "lab"))
    for name in names.values():
        ask_udp(query_bytes(name), port)
    daemon.stop()
    # Another order, another number for lab, corp is gone.
    daemon = harness.Daemon("dnsproxyd", port, config=config("lab", "default"))
    expect(int(daemon.wait_log(r"cache-loaded .*answers=(\d+)").group(1)), 2, "the answers loaded")
    before = {group: len(host.seen) for group, host in hosts.items()}
    for group, address in (("default", 1), ("lab", 3)):
        reply = Message(ask_udp(query_bytes(names[group]), port))
        expect(reply.answers[0].rdata, socket.inet_aton(f"192.0.2.{address}"), f"the answer of {group}")
    expect({group: len(host.seen) for group, host in hosts.items()}, before, "the queries that the servers saw")
    reply = Message(ask_udp(query_bytes(names["corp"]), port))
    expect(reply.answers[0].rdata, socket.inet_aton("192.0.2.1"), "the answer to a name whose group is gone")
    daemon.stop()
    for host in hosts.values():
        host.close()


class Fast:
    """A server for many questions: any name has `records` A records. No thread for each."""

    def __init__(self, records):
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        self.sock.bind(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self.sock.getsockname()[1]}"
        self.tail = b"".join(b"\xc0\x0c\0\1\0\1\0\1\x51\x80\0\4\xc0\0\2" + bytes([number]) for number in range(records))
        self.counts = b"\0\1" + struct.pack(">H", records) + b"\0\0\0\0"
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        while True:
            try:
                wire, peer = self.sock.recvfrom(4096)
            except OSError:
                return
            end = wire.index(b"\0", 12) + 5
            self.sock.sendto(wire[:2] + b"\x81\x80" + self.counts + wire[12:end] + self.tail, peer)

    def close(self):
        self.sock.close()


def ask_many(port, count, at_once=64):
    """Ask for count names that nobody has asked for yet; how many were answered."""
    answered = 0
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.connect(("127.0.0.1", port))
        sock.settimeout(5)
        for first in range(0, count, at_once):
            for number in range(first, min(first + at_once, count)):
                sock.send(query_bytes(f"fresh{number}.many.example"))
            for _ in range(first, min(first + at_once, count)):
                answered += not sock.recv(4096)[3] & 15
    return answered


def test_memory_of_the_daemon():
    """Resident memory is never above the cache's size, 16 MiB, and 100 KiB for each worker and server, come what may"""
    harness.needs_plain_build()
    is_full = os.environ.get("STILE_FULL")
    size, count = (128 << 20, 300_000) if is_full else (12 << 20, 30_000)
    path, _ = make_file("memory", (size + (size >> 2)) // 105)
    servers = [Fast(20), Fast(20)]
    daemon = harness.dnsproxyd(servers[0].address, f"upstream default.server={servers[1].address}",
                               f"cache.file={path}", f"cache.size={size}", "server.workers=2",
                               "limits.rate-limit=0", "log.level=notice")
    daemon.wait_log("cache-loaded", seconds=60)
    after_load = int(daemon.status_field("VmHWM").split()[0]) << 10
    expect(ask_many(daemon.port, count), count, "the number of answers")
    highest = int(daemon.status_field("VmHWM").split()[0]) << 10
    limit = size + (16 << 20) + 2 * 2 * 100 * 1024
    print(f"# size {size >> 10} KiB; resident {after_load >> 10} KiB when loaded, {highest >> 10} KiB at most since, "
          f"{limit >> 10} KiB allowed")
    expect(highest <= limit, True, f"that {highest} octets are within {limit}")
    daemon.stop()
    for server in servers:
        server.close()


def test_memory():
    """An answer of 19 characters and one A record costs at most 145 bytes, all in"""
    harness.needs_plain_build()
    count = 1_000_000 if os.environ.get("STILE_FULL") else 200_000
    text = cachetool("memory", count)
    counted, resident = map(float, re.search(r"each ([\d.]+) bytes by .*?, ([\d.]+) by", text).groups())
    print(f"# {text}")
    expect(counted <= 145 and resident <= 145, True, f"that it is so: {text}")


harness.run(globals(), tries=2)
