# SPDX-License-Identifier: ISC
"""What is compared. A row starts its contestants, takes one sample of each in turn, ROUNDS times, and says what the
ratios of ours to theirs may be.

Many short samples, and every other round in the opposite order: what the machine does besides comes and goes within
seconds, so neighbours in time compare best."""

import contextlib
import os
import subprocess

import contestants as c
import measure
import network

ROUNDS = 9
SAMPLE_MS = 400
OURS = "stile"


class Row:
    """key: what is shown, and is divided by what of the peer; unit: of that. limits: (peer, key, most), or at least, with a
    minus sign before the key; without peer, of the value; with a plus sign, of the difference; None: no limit."""

    name = title = unit = None
    key = "cost"
    limits = ()
    rounds = ROUNDS
    sample_ms = SAMPLE_MS
    far = ()  # contestants so far from their limits that ROUNDS rounds are enough in any case

    def __init__(self, builddir):
        self.builddir = builddir
        self.stack = contextlib.ExitStack()
        self.servers = {}
        self.helpers = []

    def program(self, name):
        return os.path.join(self.builddir, "tests", "bench", name)

    def needs(self):
        """Programs without which the row is left out."""
        return ()

    def keep(self, process):
        self.stack.callback(process.stop)
        return process

    def target(self, kind, hosts=(c.HOST,), namespace=None):
        """The addresses of a new target, one for each host."""
        port = c.free_port()
        addresses = [f"{host}:{port}" for host in hosts]
        words = [word for address in addresses for word in (kind, address)]
        process = self.keep(measure.Process([self.program("target"), *words], measure.cpus()[1], namespace, talking=True))
        if process.line() != "ready":
            raise RuntimeError("the target is not ready")
        self.helpers.append(process)
        return addresses

    def start(self):
        """Fill self.servers, {name: Server}; self.helpers are what else works for the row."""
        raise NotImplementedError

    def sample(self, name, server):
        """A dict with self.key and what else is worth keeping."""
        raise NotImplementedError

    def load(self, server, *command, namespace=None, scale=1e6):
        """Run a load program; cost is CPU seconds a unit, times scale."""
        report = measure.run_load([self.program(command[0]), *command[1:]], server, self.helpers, namespace)
        report["cost"] = report["cpu"] / report["units"] * scale
        report["rate"] = report["units"] / report["seconds"]
        return report

    def run(self):
        samples = {}
        with self.stack:
            self.start()
            samples = {name: [] for name in self.servers}
            for turn in range(self.rounds):
                for name, server in list(self.servers.items())[:: -1 if turn % 2 else 1]:
                    if turn >= ROUNDS and name in self.far:
                        continue
                    samples[name].append(measure.take_sample(lambda n=name, s=server: self.sample(n, s)))
        return samples


# --- TCP ------------------------------------------------------------------------------------------


class Tcp(Row):
    """The targets have 60 addresses: to one, 28,000 ports are not enough for two seconds of short sessions."""

    kind = "echo"
    hosts = [f"127.0.2.{i}" for i in range(1, 61)]
    mode = None
    connections = 1
    scale = 1e6
    peers = ()

    def needs(self):
        return [{"danted": "danted", "microsocks": "microsocks"}.get(peer, "haproxy") for peer in self.peers]

    def start(self):
        self.targets = self.target(self.kind, self.hosts)
        starts = {
            OURS: lambda: c.start_socksd(self.builddir),
            "danted": lambda: c.start_danted(self.builddir),
            "microsocks": lambda: c.start_microsocks(self.builddir),
            "haproxy": lambda: c.start_haproxy(self.targets, False),
            "haproxy-splice": lambda: c.start_haproxy(self.targets, True),
        }
        for name in (OURS, *self.peers):
            self.servers[name] = self.keep(starts[name]())

    def words(self, name, server):
        plain = name.startswith("haproxy")
        return ["socks_load", self.mode, "--proxy", server.address, "--connections", str(self.connections),
                "--ms", str(self.sample_ms),
                *([] if plain else ["--target", self.targets[0], "--targets", str(len(self.targets))])]

    def sample(self, name, server):
        return self.load(server, *self.words(name, server), scale=self.scale)


class Bulk(Tcp):
    kind, mode, scale, unit = "source", "bulk", 1e9, "CPU s/GB"


class Bulk1(Bulk):
    name, title, connections, rounds = "bulk-1", "Bulk, 1 connection", 1, 35
    peers = ("haproxy-splice",)
    limits = [("haproxy-splice", "cost", 1.10)]


class Bulk16(Bulk):
    """The rate: the load's CPU is the limit, so those who never make it wait are equal, but for chance."""

    name, title, connections, rounds = "bulk-16", "Bulk, 16 connections", 16, 31
    far = ("danted", "microsocks")
    peers = ("haproxy-splice", "danted", "microsocks")
    limits = [("haproxy-splice", "cost", 1.05), ("danted", "cost", 0.45), ("microsocks", "cost", 0.15),
              ("haproxy-splice", "-rate", 0.95)]


class Bulk64(Bulk16):
    name, title, connections = "bulk-64", "Bulk, 64 connections", 64


class Sessions(Tcp):
    name, title, unit = "sessions", "Short sessions, 64 at once", "CPU us/session"
    mode, connections, rounds = "sessions", 64, 31
    peers = ("danted", "microsocks", "haproxy")
    far = ("danted", "microsocks")
    limits = [("danted", "cost", 0.32), ("microsocks", "cost", 0.75), ("haproxy", "cost", 1.15)]


class Logins(Tcp):
    """Ours with a password against ours without."""

    name, title, unit = "logins", "Short sessions with a password, 64 at once", "CPU us/session"
    mode, connections, rounds = "sessions", 64, 31
    limits = [("stile-no-password", "cost", 1.10)]

    def start(self):
        self.targets = self.target(self.kind, self.hosts)
        users = os.path.join(measure.Process.scratch(), "users")
        subprocess.run([os.path.join(self.builddir, "socksd", "socksd-passwd"), users, "bench"], input=b"bench\n",
                       check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.servers[OURS] = self.keep(c.start_socksd(self.builddir, users=users))
        self.servers["stile-no-password"] = self.keep(c.start_socksd(self.builddir))

    def words(self, name, server):
        return super().words(name, server) + (["--login", "bench:bench"] if name == OURS else [])


class Ping(Tcp):
    name, title, unit = "ping", "Ping-pong over 64 sessions", "CPU us/round trip"
    mode, connections, rounds = "ping", 64, 25
    peers = ("haproxy", "microsocks")
    limits = [("haproxy", "cost", 0.95), ("microsocks", "cost", 0.55), ("haproxy", "p99_us", 1.0)]


class Idle(Tcp):
    """Memory, by sessions that do nothing; one sample says it."""

    name, title, unit, rounds = "idle", "Idle sessions, 9,000", "bytes/session", 1
    mode, connections = "idle", 9000
    peers = ("microsocks",)
    limits = [(None, "cost", 1024)]

    def sample(self, name, server):
        before = measure.pss_bytes(server.pid)
        load = measure.Process([self.program("socks_load"), *self.words(name, server)[1:]], measure.cpus()[1],
                               talking=True)
        try:
            if load.line() != "ready":
                raise RuntimeError("the load is not ready")
            return {"cost": (measure.pss_bytes(server.pid) - before) / self.connections}
        finally:
            load.stop()


class Mtu1500(Row):
    """Segments of 1,448 octets come from the target, over veth between network namespaces, and are put together where
    they arrive, as network cards do."""

    name, title, unit = "mtu-1500", "Bulk over Ethernet, MTU 1500, 16 connections", "CPU s/GB"
    rounds = 31
    limits = [("haproxy-64k-pipes", "cost", 0.45), ("haproxy-1M-pipes", "cost", 1.10)]
    names = ("bench-client", "bench-proxy", "bench-target")

    def needs(self):
        return ("ip", "ethtool", "haproxy")

    @staticmethod
    def ip(*words):
        network.run("ip", *words)

    def add_namespace(self, name):
        self.ip("netns", "add", name)
        self.stack.callback(self.ip, "netns", "delete", name)
        network.start(name, network.PACED)

    def join(self, left, right, net):
        """A cable between two namespaces: NET.1 on the left, NET.2 on the right."""
        ends = ((left, f"to-{right[6:]}", f"{net}.1/24"), (right, f"to-{left[6:]}", f"{net}.2/24"))
        self.ip("link", "add", ends[0][1], "netns", left, "type", "veth", "peer", "name", ends[1][1], "netns", right)
        for namespace, link, address in ends:
            self.ip("-n", namespace, "address", "add", address, "dev", link)
            self.ip("-n", namespace, "link", "set", link, "up")

    def start(self):
        client, proxy, target = self.names
        for name in self.names:
            self.add_namespace(name)
        self.join(client, proxy, "10.111.1")
        self.join(proxy, target, "10.111.2")
        network.run("ethtool", "-K", "to-proxy", "tso", "off", "gso", "off", namespace=target)
        network.run("ethtool", "-K", "to-target", "gro", "on", namespace=proxy)
        self.targets = self.target("writer", ["10.111.2.2"], target)
        self.servers[OURS] = self.keep(c.start_socksd(self.builddir, "10.111.1.2", proxy, destination="10.0.0.0/8"))
        self.servers["haproxy-64k-pipes"] = self.keep(c.start_haproxy(self.targets, True, None, "10.111.1.2", proxy))
        self.servers["haproxy-1M-pipes"] = self.keep(c.start_haproxy(self.targets, True, 1048576, "10.111.1.2", proxy))

    def sample(self, name, server):
        words = ["socks_load", "bulk", "--proxy", server.address, "--connections", "16", "--ms", str(self.sample_ms)]
        if name == OURS:
            words += ["--target", self.targets[0]]
        return self.load(server, *words, namespace=self.names[0], scale=1e9)


# --- UDP ------------------------------------------------------------------------------------------


class Datagrams(Row):
    name, title, unit = "udp-1", "UDP ASSOCIATE, 1,200 octets, 1 association", "CPU us/datagram"
    associations = 1
    limits = [("danted", "cost", 0.50)]

    def needs(self):
        return ("danted",)

    def start(self):
        self.targets = self.target("udp-echo")
        self.servers[OURS] = self.keep(c.start_socksd(self.builddir))
        self.servers["danted"] = self.keep(c.start_danted(self.builddir))

    def sample(self, name, server):
        """Each round trip is two datagrams."""
        return self.load(server, "socks_datagrams", "--proxy", server.address, "--target", self.targets[0],
                         "--associations", str(self.associations), "--window", str(max(64, self.associations)),
                         "--ms", str(self.sample_ms), scale=0.5e6)


class Datagrams1000(Datagrams):
    """For information: with a datagram of each at a time there is nothing to send together."""

    name, title, associations = "udp-1000", "UDP ASSOCIATE, 1,200 octets, 1,000 associations", 1000
    limits = [("danted", "cost", None)]


# --- DNS ------------------------------------------------------------------------------------------


class Dns(Row):
    unit = "CPU us/query"
    peers = ()
    delay_ms = 0
    starts = {"unbound": c.start_unbound, "dnsdist": c.start_dnsdist, "dnsmasq": c.start_dnsmasq,
              "smartdns": c.start_smartdns, "knot-resolver": c.start_knot_resolver}

    def needs(self):
        return [{"knot-resolver": "kresd"}.get(peer, peer) for peer in self.peers]

    def upstream(self):
        server = self.keep(c.start_responder(self.builddir, self.delay_ms, measure.cpus()[1]))
        self.helpers.append(server)
        return server.address

    def start(self):
        upstream = self.upstream()
        self.servers[OURS] = self.keep(c.start_dnsproxyd(self.builddir, upstream))
        for peer in self.peers:
            self.servers[peer] = self.keep(self.starts[peer](upstream))

    def ask(self, server, *words):
        return self.load(server, "dns_load", "--server", server.address, "--ms", str(self.sample_ms), *words)


class Hits(Dns):
    names = 1000
    peers = ()

    def start(self):
        super().start()
        self.servers["bare"] = self.keep(c.start_responder(self.builddir))
        for name, server in self.servers.items():
            if name != "bare":
                self.ask(server, "--names", str(self.names), "--order", "sequential", "--count", str(self.names),
                         "--window", "64")

    def sample(self, name, server):
        return self.ask(server, "--names", str(self.names), "--order", "random")


class Hits1k(Hits):
    name, title = "dns-hits-1k", "DNS hits, 1,000 names"
    limits = [("bare", "cost", 1.15)]


class Hits100k(Hits):
    name, title, names = "dns-hits-100k", "DNS hits, 100,000 names", 100000
    peers = ("unbound", "dnsdist", "dnsmasq", "smartdns", "knot-resolver")
    limits = [("bare", "cost", 1.35), ("unbound", "cost", 0.80), ("dnsdist", "cost", 0.90), ("dnsmasq", "cost", 0.45),
              ("smartdns", "cost", 0.35), ("knot-resolver", "cost", None)]


class Misses(Dns):
    """Every name is new to the server."""

    name, title, rounds = "dns-misses", "DNS misses, the server 0 ms away", 15
    peers = ("dnsdist", "unbound", "smartdns", "knot-resolver")
    limits = [("dnsdist", "cost", 1.0), ("unbound", "cost", 0.45), ("smartdns", "cost", 0.75),
              ("knot-resolver", "cost", None)]

    def __init__(self, builddir):
        super().__init__(builddir)
        self.used = {}

    def ask_new(self, name, server, *words):
        first = self.used.get(name, 1)
        report = self.ask(server, "--first", str(first), "--names", "400000", "--order", "sequential", *words)
        self.used[name] = first + report["units"] + report["lost"] + 10000
        return report

    def sample(self, name, server):
        return self.ask_new(name, server)


class Misses20ms(Misses):
    name, title, delay_ms = "dns-misses-20ms", "DNS misses, the server 20 ms away", 20

    def sample(self, name, server):
        return self.ask_new(name, server, "--window", "1024")


class MissDelay(Misses20ms):
    """What we add to the time of the server itself, asked where it is: on the CPU of the load. Half load is what keeps
    half of our CPU busy: asked one by one, questions cost twice what they do in batches."""

    name, title = "dns-added-delay", "DNS misses at half load, p99 over the server's own"
    key, unit, rounds = "p99_us", "us", 7
    peers = ()
    limits = [("bare", "+p99_us", 1000)]

    def start(self):
        super().start()
        self.servers["bare"] = self.keep(c.start_responder(self.builddir, self.delay_ms, measure.cpus()[1]))

    def sample(self, name, server):
        return self.ask_new(name, server, "--rate", "10000", "--window", "4096", "--ms", "3000")


class FullCache(Misses):
    """Misses that push an answer out, against misses that do not."""

    entries, rounds = 1000, 27
    peers = ()
    limits = [("empty", "cost", 1.10)]

    def start(self):
        upstream = self.upstream()
        # Some more than it holds are asked for first; the least size is 64 KiB.
        size = max(65536, self.entries * 110)
        self.servers[OURS] = self.keep(c.start_dnsproxyd(self.builddir, upstream, str(size)))
        self.servers["empty"] = self.keep(c.start_dnsproxyd(self.builddir, upstream, "1G"))
        count = max(self.entries * 5 // 4, 2000)
        self.ask(self.servers[OURS], "--first", "5000000", "--names", str(count), "--order", "sequential", "--count",
                 str(count))


class FullCache1k(FullCache):
    name, title, entries = "dns-full-1k", "DNS misses, cache full at 1,000", 1000


class FullCache100k(FullCache):
    name, title, entries = "dns-full-100k", "DNS misses, cache full at 100,000", 100000


class FullCache1M(FullCache):
    name, title, entries = "dns-full-1M", "DNS misses, cache full at 1,000,000", 1000000


class CacheMemory(Dns):
    name, title, unit, rounds = "dns-memory", "Memory of 1,000,000 answers", "bytes/answer", 1
    peers = ("dnsdist",)
    limits = [(None, "cost", 145)]
    entries = 1000000

    def sample(self, name, server):
        before = measure.pss_bytes(server.pid)
        report = self.ask(server, "--names", str(self.entries), "--order", "sequential", "--count", str(self.entries),
                          "--window", "128")
        return {"cost": (measure.pss_bytes(server.pid) - before) / report["units"]}


# --- two workers ----------------------------------------------------------------------------------


class TwoWorkers:
    """On all CPUs, which the load shares: so CPU a unit is what can be shown."""

    limits = [("one-worker", "cost", 1.10)]
    both = set.union(*measure.cpus())


class SessionsScaling(TwoWorkers, Tcp):
    name, title, unit = "sessions-2", "Short sessions, two workers by one", "CPU us/session"
    mode, connections, rounds = "sessions", 64, 31

    def start(self):
        self.targets = self.target(self.kind, self.hosts)
        for name, workers in ((OURS, 2), ("one-worker", 1)):
            self.servers[name] = self.keep(c.start_socksd(self.builddir, workers=workers, on_cpus=self.both))


class HitsScaling(TwoWorkers, Hits):
    name, title, names = "dns-hits-2", "DNS hits, two workers by one", 100000

    def start(self):
        upstream = self.upstream()
        for name, workers in ((OURS, 2), ("one-worker", 1)):
            server = self.keep(c.start_dnsproxyd(self.builddir, upstream, workers=workers, on_cpus=self.both))
            self.servers[name] = server
            self.ask(server, "--names", str(self.names), "--order", "sequential", "--count", str(self.names),
                     "--window", "64")


ROWS = [Bulk1, Bulk16, Bulk64, Sessions, Logins, Ping, Mtu1500, Idle, Datagrams, Datagrams1000, Hits1k, Hits100k, Misses,
        Misses20ms, MissDelay, FullCache1k, FullCache100k, FullCache1M, CacheMemory, SessionsScaling, HitsScaling]


def named(name):
    return next(row for row in ROWS if row.name == name)
