# SPDX-License-Identifier: ISC
"""socksd under the conformance suite (tests/conform), once for each kind of configuration."""

import os
import re
import socket
import subprocess
import sys
import threading

import harness

CONFORM = os.path.join(os.path.dirname(os.path.abspath(__file__)), os.pardir, "conform")
sys.path.insert(0, CONFORM)

import private_network  # noqa: E402  pylint: disable=wrong-import-position

BIND = ("rule bind.action=allow", "rule bind.command=bind")  # off otherwise
HAS = ("--has", "bind", "--has", "udp")
RUN_SECONDS = 170  # the suite ends by itself long before


def enter_private_network():
    """There addresses fail in every way the replies tell apart. Without root those few cases are skipped."""
    if harness.IS_ROOT and not harness.QUICK:
        try:
            private_network.enter()
        except (OSError, subprocess.CalledProcessError) as error:
            print(f"# no network namespace: {error}")


def conform(*arguments):
    """Run the suite; returns [(passed, title, what was seen or why it was skipped)]."""
    command = [sys.executable, os.path.join(CONFORM, "conform"), "--tap", *arguments]
    output = harness.output_of(*command, status=None, seconds=RUN_SECONDS).decode()
    found = re.findall(r"^(not ok|ok) \d+ - (.*?)(?: # SKIP (.*))?\n(?:# (.*)\n)?", output, re.MULTILINE)
    if not found:
        raise AssertionError(f"no verdicts from {' '.join(command)}:\n{output[-2000:]}")
    return [(verdict == "ok", title, seen, reason) for verdict, title, reason, seen in found]


def report(passed, seen, reason):
    if reason:
        raise harness.Skip(reason)
    if not passed:
        raise AssertionError(seen)


def again(title, arguments):
    """The verdict on one case that failed beside seven others, when it runs alone."""
    patterns = [index + offset for index, word in enumerate(arguments) if word == "--only" for offset in (0, 1)]
    others = [word for index, word in enumerate(arguments) if index not in patterns]
    print(f"# once more, alone: {title}")
    return conform(*others, "--only", title.split(":")[0], "--jobs", "1")[0]


def cases(what, *arguments):
    """A case of this file for each of the suite's."""
    for passed, title, seen, reason in conform(*arguments):
        if not passed and not reason:
            print(f"# {seen}")
            passed, title, seen, reason = again(title, arguments)
        yield (f"{what}, {title}",
               lambda passed=passed, seen=seen, reason=reason: report(passed, seen, reason))


def only(*patterns):
    return [word for pattern in patterns for word in ("--only", pattern)]


def test_open():
    """Without a password"""
    dns = f"127.0.0.1:{harness.free_port()}"
    server = harness.socksd(*BIND, f"dns.server={dns}")
    yield from cases("open", "--port", str(server.port), "--dns", dns, *HAS,
                     *only("greeting/*", "request/*", "replies/*", "relay/*", "bind/*", "udp/*"))
    server.stop()


def test_ipv6():
    """A client that comes by IPv6"""
    dns = f"127.0.0.1:{harness.free_port()}"
    server = harness.socksd(*BIND, f"dns.server={dns}")
    yield from cases("by IPv6", "--host", "::1", "--port", str(server.port), "--dns", dns, *HAS,
                     *only("greeting/*", "request/splits-ipv?", "request/loop-own-listener", "replies/bound-ipv?",
                           "relay/half-close-*", "bind/*", "udp/*"))
    server.stop()


def test_password():
    """With a password"""
    users = harness.temporary_path("conform-users")
    for name, password in (("alice", "Sesame open"), ("u" * 255, "p" * 255)):
        harness.output_of(harness.program_path("socksd-passwd"), users, name, text_in=password.encode() + b"\n")
    dns = f"127.0.0.1:{harness.free_port()}"
    server = harness.socksd("listen test.auth=password", f"listen test.users={users}", f"dns.server={dns}",
                            *BIND)
    yield from cases("password", "--port", str(server.port), "--user", "alice", "--password", "Sesame open",
                     "--long-account", "--dns", dns, *HAS,
                     *only("greeting/*", "password/*", "request/*", "replies/*", "relay/*", "bind/stranger*", "bind/early*",
                           "udp/request*", "udp/stranger*"))
    server.stop()


def test_timers():
    """With short timers"""
    timers = {"handshake": 3, "connect": 5, "idle": 6, "half-close": 2, "stall": 3, "bind": 2, "udp-idle": 2}
    dns = f"127.0.0.1:{harness.free_port()}"
    server = harness.socksd(*BIND, f"dns.server={dns}",
                            *(f"limits.{name}-timeout={seconds}s" for name, seconds in timers.items()))
    yield from cases("timers", "--port", str(server.port), "--dns", dns, *HAS,
                     *(word for name, seconds in timers.items() for word in (f"--{name}-timeout", str(seconds))),
                     *only("timers/*"))
    server.stop()


def test_finds_fault():
    """The suite finds fault with a server that closes every connection at once"""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve():
        while True:
            try:
                listener.accept()[0].close()
            except OSError:
                return

    threading.Thread(target=serve, daemon=True).start()
    verdicts = conform("--port", str(listener.getsockname()[1]),
                       *only("greeting/*-method", "request/ipv4", "replies/refused", "relay/echo"))
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()
    harness.expect([passed for passed, *_ in verdicts], [False] * len(verdicts), "what passed")


if __name__ == "__main__":
    enter_private_network()
    harness.run(globals())
