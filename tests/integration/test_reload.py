# SPDX-License-Identifier: ISC
"""What SIGHUP must not do: a reload in the middle of things."""

import functools
import os
import signal
import socket
import time

import harness
import socks_client as socks
from dns_message import SERVFAIL, Message, query_bytes
from harness import expect


def users_file():
    path = harness.temporary_path("users")
    harness.output_of(harness.program_path("socksd-passwd"), path, "alice", text_in=b"open sesame\n")
    harness.let_daemons_read(path)
    return path


def reload(daemon, path, content):
    before = len(daemon.log())
    with open(path, "w", encoding="ascii") as file:
        file.write(content)
    daemon.send_signal(signal.SIGHUP)
    daemon.wait_log("reloaded", before)


def expect_end(sock):
    """The daemon closes the connection without another word."""
    try:
        expect(sock.recv(16), b"", "what a session under another `auth` gets")
    except ConnectionResetError:
        pass


def check_auth_change(port, before, after, greeting, answer):
    path = harness.temporary_file(f"auth-{port}.conf", before)
    daemon = harness.Daemon("socksd", port, config=path)
    with socks.open_proxy(port) as agreed, socks.open_proxy(port) as silent:
        agreed.sendall(greeting)
        expect(socks.receive(agreed, 2), answer, "the method")
        reload(daemon, path, after)
        expect_end(agreed)
        silent.sendall(greeting)
        expect(socks.receive(silent, 2), b"\x05\xff", "the method under the new section")
    daemon.stop()


def test_auth_change():
    """A reload that changes `auth` ends the sessions that have agreed on a method"""
    users = users_file()
    for name, swap in (("password to none", False), ("none to password", True)):
        port = harness.free_port()
        none = f"[listen test]\naddress = 127.0.0.1:{port}\n"
        password = f"{none}auth = password\nusers = {users}\n"
        if swap:
            arguments = (none, password, socks.GREETING_OPEN, b"\x05\x00")
        else:
            arguments = (password, none, socks.GREETING_PASSWORD, b"\x05\x02")
        yield f"a reload from {name} ends sessions that agreed on a method", functools.partial(
            check_auth_change, port, *arguments)


def test_other_upstreams():
    """Reloads with other upstream servers while queries wait to try again: each query gets a reply"""
    port = harness.free_port()
    content = "[server]\nworkers = 1\n[listen test]\naddress = 127.0.0.1:{}\n[upstream default]\nserver = 127.0.0.1:{}\n"
    path = harness.temporary_file("upstreams.conf", content.format(port, 1))
    daemon = harness.Daemon("dnsproxyd", port, config=path)
    count = 0
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.connect(("127.0.0.1", port))
        client.settimeout(10)
        for number in range(30):
            for _ in range(5):
                client.send(query_bytes(f"n{count}.example"))
                count += 1
            reload(daemon, path, content.format(port, 1 + number % 3))
            time.sleep(0.05)
        for _ in range(count):
            expect(Message(client.recv(4096)).rcode, SERVFAIL, "the RCODE")
    daemon.stop()


def test_reload_at_the_end():
    """SIGHUP while the daemon ends, watched by a service manager, does nothing"""
    for _ in range(5):
        daemon = harness.socksd("server.workers=8", wrapper=("env", "WATCHDOG_USEC=2000000", "NOTIFY_SOCKET=/nonexistent"))
        daemon.send_signal(signal.SIGINT)
        for _ in range(400):
            if daemon.process.poll() is not None:
                break
            daemon.send_signal(signal.SIGHUP)
        daemon.stop()


if __name__ == "__main__":
    harness.run(globals())
