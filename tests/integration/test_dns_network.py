# SPDX-License-Identifier: ISC
"""dnsproxyd when the machine's network changes under it: in a network namespace of this test's own (root)."""

import concurrent.futures
import os
import signal
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), os.pardir, "conform"))

import dns_message as dns  # noqa: E402  pylint: disable=wrong-import-position
import harness  # noqa: E402  pylint: disable=wrong-import-position
import private_network  # noqa: E402  pylint: disable=wrong-import-position
from dns_message import Message, a_record, query_bytes  # noqa: E402  pylint: disable=wrong-import-position
from harness import expect  # noqa: E402  pylint: disable=wrong-import-position
from peers import DnsServer, ask_udp  # noqa: E402  pylint: disable=wrong-import-position

EDE = 15
SETTLED = 1.2  # s: when a burst of changes has been told, with some room
WHY_NOT = None
HAS_BRIDGE = False


def run(command):
    subprocess.run(command.split(), check=True)


def enter():
    """Why there is no network of our own, or None."""
    if not harness.IS_ROOT:
        return "needs root"
    try:
        harness.needs("ip")
        private_network.enter()
        for command in ("ip link add out0 type veth peer name out1", "ip link set out0 addrgenmode none",
                        "ip link set out1 addrgenmode none", "ip link set out1 up", "ip link set out0 up"):
            run(command)
    except (harness.Skip, OSError, subprocess.CalledProcessError) as error:
        return f"no network namespace: {error}"
    return None


def make_bridge():
    """A bridge with a port that works; whether the kernel can."""
    try:
        run("ip link add bridge0 type bridge")
        run("ip link set bridge0 addrgenmode none")
        run("ip link set bridge0 up")
        add_container("first")
    except subprocess.CalledProcessError:
        return False
    return True


def ip(*words):
    """Change the network."""
    if WHY_NOT:
        raise harness.Skip(WHY_NOT)
    run(" ".join(("ip", *words)))


def changes(daemon):
    return daemon.counters()["network_changes"]


def wait_changes(daemon, count):
    harness.wait_until(lambda: changes(daemon) >= count, 5, f"network change {count}")


def setup(scheme="", workers=2):
    if WHY_NOT:
        raise harness.Skip(WHY_NOT)
    upstream = DnsServer(lambda message, _: message.answer_bytes([a_record(message.name, "192.0.2.1", 300)]))
    return upstream, harness.dnsproxyd(scheme + upstream.address, f"server.workers={workers}",
                                        "server.watch-network=on")


def ask(port, name="kept.example"):
    return Message(ask_udp(query_bytes(name, opt=dns.opt_record()), port))


def test_changes_counted():
    """A link, an address, a route that comes or goes is a change of the network; a burst is one"""
    upstream, daemon = setup()
    steps = (("address", "add", "192.0.2.10/24", "dev", "out0"),
             ("route", "add", "198.51.101.0/24", "via", "192.0.2.9"),
             ("route", "replace", "198.51.101.0/24", "via", "192.0.2.8"),
             ("-6", "route", "add", "2001:db8:1::/48", "dev", "out0"),
             ("route", "del", "198.51.101.0/24"),
             ("link", "set", "out0", "down"),
             ("link", "set", "out0", "up"),
             ("address", "flush", "dev", "out0", "scope", "global"))
    for number, step in enumerate(steps, 1):
        ip(*step)
        wait_changes(daemon, number)
        expect(changes(daemon), number, f"the number of changes after: ip {' '.join(step)}")
    time.sleep(SETTLED)
    expect(changes(daemon), len(steps), "the number of changes")
    for last in range(1, 41):
        ip("route", "add", f"198.51.102.{last}/32", "dev", "out0")
    wait_changes(daemon, len(steps) + 1)
    time.sleep(SETTLED)
    expect(changes(daemon) - len(steps) in (1, 2), True, "that a burst is told once, or twice if it lasts")
    daemon.stop()
    upstream.close()


def add_container(name):
    """What happens when a container starts: a pair of links, one a port of the bridge, the other in another network."""
    sleeper = harness.start(["unshare", "-n", "sleep", "60"])
    harness.wait_until(lambda: os.readlink(f"/proc/{sleeper.pid}/ns/net") != os.readlink("/proc/self/ns/net"), 5,
                       "network of a container")
    run(f"ip link add {name} type veth peer name eth0 netns {sleeper.pid}")
    run(f"ip link set {name} addrgenmode none")
    run(f"ip link set {name} master bridge0")
    run(f"nsenter -t {sleeper.pid} -n ip link set eth0 up")
    run(f"ip link set {name} up")


def test_switched_off():
    """With watch-network = off nothing is a change, and a reload switches it on"""
    if WHY_NOT:
        raise harness.Skip(WHY_NOT)
    port = harness.free_port()
    content = f"[listen test]\naddress = 127.0.0.1:{port}\n[upstream default]\nserver = 127.0.0.1:1\n[server]\n"
    config = harness.temporary_file("network.conf", content + "watch-network = off\n")
    process = harness.start([harness.program_path("dnsproxyd"), "-c", config], stdin=subprocess.DEVNULL,
                            stderr=open(harness.temporary_path("network.log"), "wb"))

    def log():
        with open(harness.temporary_path("network.log"), encoding="utf-8") as file:
            return file.read()

    harness.wait_until(lambda: " ready " in log(), 10, "ready daemon")
    ip("route", "add", "198.51.106.0/24", "dev", "out0")
    time.sleep(SETTLED)
    expect("network-changed" in log(), False, "that a change is told")
    harness.temporary_file("network.conf", content + "watch-network = on\n")
    process.send_signal(signal.SIGHUP)
    harness.wait_until(lambda: " reloaded" in log(), 10, "reload")
    time.sleep(0.2)
    ip("route", "del", "198.51.106.0/24")
    harness.wait_until(lambda: "network-changed" in log(), 5, "change")
    process.send_signal(signal.SIGTERM)
    expect(process.wait(10), 0, "the exit status")


def test_no_changes():
    """Neighbours, loopback, renewed lifetimes and repeated settings are no change"""
    upstream, daemon = setup()
    ip("address", "add", "192.0.2.20/24", "dev", "out0", "valid_lft", "1000", "preferred_lft", "1000")
    wait_changes(daemon, 1)
    time.sleep(SETTLED)
    ip("address", "change", "192.0.2.20/24", "dev", "out0", "valid_lft", "2000", "preferred_lft", "2000")
    ip("neighbour", "add", "192.0.2.99", "lladdr", "02:00:00:00:00:01", "dev", "out0")
    ip("address", "add", "127.0.0.77/8", "dev", "lo")
    ip("route", "replace", "192.0.2.0/24", "dev", "out0", "proto", "kernel", "scope", "link", "src", "192.0.2.20")
    ip("link", "set", "out0", "mtu", "1400")
    if HAS_BRIDGE:
        add_container("second")
    time.sleep(SETTLED + 0.5)
    expect(changes(daemon), 1, "the number of changes")
    daemon.stop()
    upstream.close()


def test_cache_is_of_the_past():
    """After a change answers are asked for again; while nobody answers, the old ones serve"""
    upstream, daemon = setup()
    ask(daemon.port)
    ask(daemon.port)
    expect(len(upstream.seen), 1, "the number of queries the upstream saw")
    ip("route", "add", "198.51.103.0/24", "dev", "out0")
    wait_changes(daemon, 1)
    expect(len(ask(daemon.port).answers), 1, "the number of answers")
    expect(len(upstream.seen), 2, "the number of queries the upstream saw after the change")
    ask(daemon.port)
    expect(len(upstream.seen), 2, "the number of queries the upstream saw of the new answer")
    upstream.answer = lambda *_: None
    ip("route", "del", "198.51.103.0/24")
    wait_changes(daemon, 2)
    began = time.monotonic()
    reply = ask(daemon.port)
    expect(1.5 < time.monotonic() - began < 3.5, True, "that the client waited about 1.8 s")
    expect([record.rdata for record in reply.answers], [b"\xc0\0\2\1"], "the stale answer")
    expect(reply.answers[0].ttl, 30, "its TTL")
    expect(reply.options[EDE][:2], b"\0\3", "its EDE")
    daemon.stop()
    upstream.close()


def test_recovery():
    """A server that is in back-off is asked again as soon as the network has changed"""
    upstream, daemon = setup()
    good = upstream.answer
    upstream.answer = lambda *_: None
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        replies = list(pool.map(lambda number: ask(daemon.port, f"lost{number}.example"), range(4)))
    expect({reply.rcode for reply in replies}, {dns.SERVFAIL}, "the RCODEs while it is silent")
    upstream.answer = good
    ip("route", "add", "198.51.104.0/24", "dev", "out0")
    wait_changes(daemon, 1)
    began = time.monotonic()
    expect(ask(daemon.port, "back.example").rcode, dns.NOERROR, "the RCODE of a new name")
    expect(time.monotonic() - began < 0.5, True, "that it came at once")
    # The second that RFC 9520 asks for in any case.
    time.sleep(1)
    expect(ask(daemon.port, "lost0.example").rcode, dns.NOERROR, "the RCODE of one that failed")
    daemon.stop()
    upstream.close()


def test_streams_are_replaced():
    """A connection to a server is not used again after a change, since it may be dead without knowing it"""
    upstream, daemon = setup("tcp://", 1)
    for number in range(3):
        expect(ask(daemon.port, f"s{number}.example").rcode, dns.NOERROR, "the RCODE")
    expect(len({seen.port for seen in upstream.seen}), 1, "the number of connections")
    ip("route", "add", "198.51.105.0/24", "dev", "out0")
    wait_changes(daemon, 1)
    expect(ask(daemon.port, "after.example").rcode, dns.NOERROR, "the RCODE after the change")
    expect(len({seen.port for seen in upstream.seen}), 2, "the number of connections after the change")
    daemon.stop()
    upstream.close()


if not harness.QUICK:
    WHY_NOT = enter()
    HAS_BRIDGE = not WHY_NOT and make_bridge()
harness.run(globals(), tries=2)
