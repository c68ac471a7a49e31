# SPDX-License-Identifier: ISC
"""socksd's rules, guard and egresses: what clients can reach, from where, and what --explain says about it."""

import functools
import os
import re
import signal
import socket
import statistics
import subprocess
import time

import harness
import socks_client as socks
from dns_message import NXDOMAIN, a_record, soa_record
from harness import expect
from peers import DnsServer, TcpTarget, echo

OK, FAILED, DENIED, UNREACHABLE, NO_HOST = 0, 1, 2, 3, 4
BLOCK_LIST_ENTRIES = 100000

# The addresses of names, by DNS; all other names under "example" do not exist.
ADDRESSES = {
    "good.example": ["127.0.0.1"],
    "www.good.example": ["127.0.0.1"],
    "second.example": ["127.0.0.2"],
    "both.example": ["127.0.0.2", "127.0.0.1"],
    "zero.example": ["0.0.0.0"],
    "metadata.example": ["169.254.169.254"],
    "lan.example": ["10.99.99.99"],
}


def name_server_answer(message, _transport):
    name = message.name.lower()
    if name.endswith(".slow.example"):
        time.sleep(0.3)
        return message.answer_bytes([a_record(message.name, "127.0.0.1")] if message.type == 1 else [])
    if name not in ADDRESSES:
        return message.answer_bytes(authority=[soa_record("example")], rcode=NXDOMAIN)
    answers = [a_record(message.name, address) for address in ADDRESSES[name]] if message.type == 1 else []
    return message.answer_bytes(answers, [] if answers else [soa_record("example")])


@functools.lru_cache(maxsize=None)
def name_server():
    return DnsServer(name_server_answer)


@functools.lru_cache(maxsize=None)
def target(host="127.0.0.1"):
    return TcpTarget(echo, host)


def tell_peer(sock):
    """A target that says from where the connection comes."""
    sock.sendall(sock.getpeername()[0].encode())


def lan_address():
    """An address of this host that is not loopback, or skip. A client that comes from it is none of this host's
    loopback, as the guard sees it."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
            address = probe.getsockname()[0]
        except OSError:
            address = "127.0.0.1"
    if address.startswith("127."):
        raise harness.Skip("this host has no address but loopback")
    return address


class Proxy:
    """socksd with these rules, as lines of its configuration; and the same file for --explain."""

    def __init__(self, rules, listen="", log="", dns="", host="127.0.0.1"):
        self.port = harness.free_port()
        self.host = host
        self.listen = f"[listen test]\naddress = {host}:{self.port}\nclients = any\n" + (listen or "open-proxy = yes\n")
        self.head = f"[log]\nlevel = info\n{log}[dns]\nserver = {name_server().address}\n{dns}"
        self.path = harness.temporary_path(f"rules-{self.port}.conf")
        self.write(rules)
        # harness.Daemon looks for it on loopback.
        probe = [] if host == "127.0.0.1" else [f"listen probe.address=127.0.0.1:{self.port}"]
        self.daemon = harness.Daemon("socksd", self.port, probe, config=self.path)
        self.daemon.wait_log(" ready .*\n")

    def write(self, rules):
        with open(self.path, "w", encoding="utf-8") as file:
            file.write(self.head + self.listen + rules)
        os.chmod(self.path, 0o644)

    def reload(self, rules):
        self.write(rules)
        before = len(self.daemon.log())
        self.daemon.send_signal(signal.SIGHUP)
        return self.daemon.wait_log(r"(reloaded|reload-failed) .*", before).group(0)

    def rep(self, host, port, user=None, password=None):
        """The reply code of a request; what was connected works as an echo."""
        try:
            with socks.connect(self.port, host, port, user, password, proxy_host=self.host) as sock:
                sock.sendall(b"hello")
                expect(socks.receive(sock, 5), b"hello", "the echo")
            return OK
        except socks.Refused as refused:
            return refused.rep

    def explain(self, destination, **words):
        """(exit status, what was printed) of --explain."""
        arguments = [f"{key}={value}" for key, value in words.items()]
        done = subprocess.run([harness.program_path("socksd"), "-c", self.path, "--explain", *arguments,
                               f"destination={destination}"], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              timeout=20, check=False)
        return done.returncode, done.stdout.decode() + done.stderr.decode()


# --- conditions -----------------------------------------------------------------------------------

CONDITIONS = """
[rule mail]
action = deny
port = 25, 6000-6063
[rule name]
action = deny
destination = www.good.example, .second.example
[rule user]
action = allow
user = alice
destination = 127.0.0.2
[rule net]
action = deny
destination = 127.0.0.2/31
[rule guests]
action = deny
client = 127.0.0.77
[rule bind]
action = deny
command = bind, udp
"""


@functools.lru_cache(maxsize=None)
def conditions_proxy():
    return Proxy(CONDITIONS)


def check_condition(host, port, wanted, rule):
    """The session and --explain agree, and the log names the rule."""
    proxy = conditions_proxy()
    before = len(proxy.daemon.log())
    expect(proxy.rep(host, port), wanted, "REP")
    line = proxy.daemon.wait_log(r"session-end .* destination=[^-].*", before).group(0)
    status, printed = proxy.explain(f"[{host}]:{port}" if ":" in host else f"{host}:{port}")
    expect(status, {OK: 0, DENIED: 3, NO_HOST: 1}[wanted], f"--explain's exit status ({printed!r})")
    if rule:
        expect(f" why=rule rule={rule}" in line, True, f"that {line!r} names the rule")
        line_number = (proxy.head + proxy.listen + CONDITIONS).split("\n").index(f"[rule {rule}]") + 1
        expect(printed.endswith(f": [rule {rule}] at {proxy.path}:{line_number}\n"), True,
               f"that {printed!r} names the rule and its line")


def test_conditions():
    """Rules by name, suffix, network and port"""
    port = target().port
    second = target("127.0.0.2").port
    for what, host, to_port, wanted, rule in (
            ("an address", "127.0.0.1", port, OK, None),
            ("a name", "good.example", port, OK, None),
            ("a port", "127.0.0.1", 25, DENIED, "mail"),
            ("a port of a range", "127.0.0.1", 6063, DENIED, "mail"),
            ("a port of a name", "good.example", 6000, DENIED, "mail"),
            ("an exact name", "www.good.example", port, DENIED, "name"),
            ("an exact name in capitals", "WWW.Good.Example.", port, DENIED, "name"),
            ("a suffix itself", "second.example", second, DENIED, "name"),
            ("a name below a suffix", "x.y.second.example", second, DENIED, "name"),
            ("a network", "127.0.0.2", second, DENIED, "net"),
            ("the last of a network", "127.0.0.3", second, DENIED, "net"),
            ("a mapped address in a network", "::ffff:127.0.0.2", second, DENIED, "net"),
            ("a name with one allowed address", "both.example", port, OK, None),
            ("a name that does not exist", "nothing.example", port, NO_HOST, None)):
        yield what, functools.partial(check_condition, host, to_port, wanted, rule)


def test_denied_name_is_not_resolved():
    """DNS never hears of a name that a rule denies"""
    expect(conditions_proxy().rep("never-asked.second.example", 80), DENIED, "REP")
    expect([name for name in name_server().names() if "never-asked" in name], [], "the queries for it")


def test_both_addresses_denied():
    """Of a name's addresses only those allowed are connected to"""
    # both.example is 127.0.0.2 (denied) and 127.0.0.1; only the target on 127.0.0.2 has this port.
    expect(conditions_proxy().rep("both.example", target("127.0.0.2").port) in (DENIED, 5), True, "refused")


def test_client():
    """A rule by client"""
    with socket.socket() as sock:
        sock.settimeout(10)
        sock.bind(("127.0.0.77", 0))
        sock.connect(("127.0.0.1", conditions_proxy().port))
        sock.sendall(socks.GREETING_OPEN + socks.request_bytes("127.0.0.1", target().port))
        expect(socks.receive(sock, 2), b"\x05\x00", "the method")
        expect(socks.receive_reply(sock)[0], DENIED, "REP")
    status, printed = conditions_proxy().explain(f"127.0.0.1:{target().port}", client="127.0.0.77")
    expect((status, "[rule guests]" in printed), (3, True), f"--explain ({printed!r})")


def test_commands():
    """--explain knows of commands"""
    for command, wanted in (("connect", 0), ("bind", 3), ("udp", 3)):
        status, printed = conditions_proxy().explain("127.0.0.1:80", command=command)
        expect(status, wanted, f"--explain's exit status ({printed!r})")


def test_user():
    """A rule by user, who must have given his password"""
    users = harness.temporary_path("users")
    for name in ("alice", "bob"):
        harness.output_of(harness.program_path("socksd-passwd"), users, name, text_in=b"open sesame\n")
    harness.let_daemons_read(users)
    proxy = Proxy(CONDITIONS, listen=f"auth = password\nusers = {users}\n")
    second = target("127.0.0.2").port
    expect(proxy.rep("127.0.0.2", second, "alice", "open sesame"), OK, "alice's REP")
    expect(proxy.rep("127.0.0.2", second, "bob", "open sesame"), DENIED, "bob's REP")
    expect(proxy.explain(f"127.0.0.2:{second}", user="alice")[0], 0, "--explain for alice")
    expect(proxy.explain(f"127.0.0.2:{second}", user="bob")[0], 3, "--explain for bob")
    expect(proxy.explain(f"127.0.0.2:{second}")[0], 3, "--explain for nobody")


# --- the guard ------------------------------------------------------------------------------------


@functools.lru_cache(maxsize=None)
def lan_proxy():
    """For a client that does not come from loopback. 127.0.0.0/7 and a name are allowed, which is not enough."""
    return Proxy("[rule wide]\naction = allow\ndestination = 126.0.0.0/7, 0.0.0.0/0\n"
                 "[rule names]\naction = allow\ndestination = .example\n", host=lan_address())


def check_guarded(host, port, token):
    proxy = lan_proxy()
    before = len(proxy.daemon.log())
    expect(proxy.rep(host, port), DENIED, "REP")
    line = proxy.daemon.wait_log(r"session-end .* destination=[^-].*", before).group(0)
    expect(f" why={token} " in line, True, f"that {line!r} says why")
    status, printed = proxy.explain(f"[{host}]:{port}" if ":" in host else f"{host}:{port}", client=proxy.host)
    expect((status, token in printed), (3, True), f"--explain ({printed!r})")


def test_guard():
    """The guard stands, whatever names resolve to and however addresses are written"""
    try:
        lan_address()
    except harness.Skip as reason:
        yield "the guard", functools.partial(skip, str(reason))
        return
    port = target().port
    for what, host, token in (
            ("a name rebound to loopback", "good.example", "loopback"),
            ("loopback", "127.0.0.1", "loopback"),
            ("all of loopback", "127.9.8.7", "loopback"),
            ("mapped loopback", "::ffff:127.0.0.1", "loopback"),
            ("IPv6 loopback", "::1", "loopback"),
            ("0.0.0.0", "0.0.0.0", "unspecified"),
            ("::", "::", "unspecified"),
            ("a name for 0.0.0.0", "zero.example", "unspecified"),
            ("a name for a metadata service", "metadata.example", "metadata"),
            ("a metadata service", "169.254.169.254", "metadata"),
            ("NAT64 of loopback", "64:ff9b::7f00:1", "embedded"),
            ("6to4 of loopback", "2002:7f00:1::", "embedded")):
        yield what, functools.partial(check_guarded, host, port, token)
    yield "our own listener", lambda: check_guarded(lan_proxy().host, lan_proxy().port, "own_listener")


def test_wildcard_listener():
    """A wildcard listener is our own under every address of this host"""
    port = harness.free_port()
    options = [f"listen all.address=0.0.0.0:{port}"]
    daemon = harness.Daemon("socksd", port, options)
    for address in ("127.0.0.1", "127.3.2.1", lan_address()):
        try:
            socks.connect(port, address, port).close()
            raise AssertionError(f"{address} was reached")
        except socks.Refused as refused:
            expect(refused.rep, DENIED, f"REP for {address}")
        done = subprocess.run([harness.program_path("socksd"), "-o", options[0], "--explain",
                               f"destination={address}:{port}"], stdout=subprocess.PIPE, timeout=20, check=False)
        expect((done.returncode, b"own_listener" in done.stdout), (3, True), f"--explain for {address}")
    socks.connect(port, lan_address(), target(lan_address()).port).close()
    daemon.stop()


def skip(reason):
    raise harness.Skip(reason)


def test_guard_overruled():
    """A rule that names loopback opens it, but not our listener"""
    proxy = Proxy("[rule local]\naction = allow\ndestination = 127.0.0.0/8\n", host=lan_address())
    expect(proxy.rep("127.0.0.1", target().port), OK, "REP for 127.0.0.1")
    expect(proxy.rep("::ffff:127.0.0.1", target().port), OK, "REP for the mapped form")
    expect(proxy.rep("good.example", target().port), OK, "REP for a name")
    expect(proxy.rep("::1", target().port), DENIED, "REP for ::1")
    expect(proxy.rep("127.0.0.1", proxy.port), DENIED, "REP for our own listener")


# --- egress ---------------------------------------------------------------------------------------


def peer_seen(proxy, host, port):
    """The address from which the target was reached."""
    with socks.connect(proxy.port, host, port) as sock:
        return socks.receive_all(sock).decode()


def test_egress_address():
    """A rule's egress is the address that the target sees"""
    proxy = Proxy("[egress five]\naddress = 127.0.0.5\ninterface = lo\n[egress six]\naddress = 127.0.0.6\n"
                  "tcp-fast-open = yes\n"
                  "[rule good]\naction = allow\ndestination = .good.example\negress = five\n"
                  "[rule second]\naction = allow\ndestination = 127.0.0.2\negress = six\n")
    first, second = TcpTarget(tell_peer), TcpTarget(tell_peer, "127.0.0.2")
    expect(peer_seen(proxy, "good.example", first.port), "127.0.0.5", "the peer of a name")
    expect(peer_seen(proxy, "127.0.0.2", second.port), "127.0.0.6", "the peer of an address")
    expect(peer_seen(proxy, "second.example", second.port), "127.0.0.6", "the peer of a name with that address")
    expect(peer_seen(proxy, "127.0.0.1", first.port), "127.0.0.1", "the peer of what no rule names")
    status, printed = proxy.explain("good.example:80")
    expect((status, printed.endswith(", egress five\n")), (0, True), f"--explain ({printed!r})")


def test_egress_family():
    """A target of a family that the egress lacks is unreachable: REP 03"""
    proxy = Proxy("[egress six]\naddress = ::1\n[rule all]\naction = allow\negress = six\n")
    expect(proxy.rep("127.0.0.1", target().port), UNREACHABLE, "REP for IPv4")
    if harness.have_ipv6():
        expect(proxy.rep("::1", target("::1").port), OK, "REP for IPv6")
    expect("no address of this family" in proxy.explain("127.0.0.1:80")[1], True, "that --explain says so")


def test_egress_broken():
    """An egress whose address is not ours is a failure of ours: REP 01, a log line and a counter"""
    proxy = Proxy("[egress gone]\naddress = 192.0.2.77\n[rule all]\naction = allow\negress = gone\n")
    expect(proxy.rep("127.0.0.1", target().port), FAILED, "REP")
    proxy.daemon.wait_log(r"egress-failed egress=gone error=.*address")
    expect(proxy.daemon.counters()["dial_egress_failed"], 1, "the counter")


def test_egress_many_connections():
    """One egress address serves many connections to several targets at once"""
    proxy = Proxy("[egress five]\naddress = 127.0.0.5\n[rule all]\naction = allow\negress = five\n")
    with harness.closing_all() as socks_open:
        for number in range(200):
            host = ("127.0.0.1", "127.0.0.2")[number % 2]
            socks_open.append(socks.connect(proxy.port, host, target(host).port))
        for sock in socks_open:
            sock.sendall(b"x")
        for sock in socks_open:
            expect(socks.receive(sock, 1), b"x", "the echo")


def test_capabilities():
    """Started as root, exactly the capabilities that an egress needs are kept"""
    if not harness.IS_ROOT:
        raise harness.Skip("not root")
    harness.needs_plain_build()
    admin, raw = 1 << 12, 1 << 13
    with open("/proc/self/status", encoding="ascii") as file:
        ours = int(re.search(r"^CapEff:\s*(\w+)", file.read(), re.MULTILINE).group(1), 16)
    for keys, wanted in (("address = 127.0.0.5\n", 0), ("fwmark = 7\n", admin), ("interface = lo\n", raw),
                         ("fwmark = 7\ninterface = lo\n", admin | raw)):
        proxy = Proxy(f"[egress out]\n{keys}[rule all]\naction = allow\negress = out\n")
        there = wanted & ours
        for field, bits in (("CapPrm", there), ("CapEff", there), ("CapInh", 0), ("CapAmb", 0)):
            expect(int(proxy.daemon.status_field(field), 16), bits, f"{field} with {keys!r}")
        expect("capabilities-missing" in proxy.daemon.log(), there != wanted, "whether the lack of some is logged")
        expect(proxy.rep("127.0.0.1", target().port), OK if there == wanted else FAILED, f"REP with {keys!r}")
        proxy.daemon.stop()


# --- reload ---------------------------------------------------------------------------------------


def test_reload():
    """SIGHUP changes the rules; sessions that run go on; a bad file keeps the old rules"""
    proxy = Proxy("[rule none]\naction = deny\ndestination = 127.0.0.2\n")
    with socks.connect(proxy.port, "127.0.0.1", target().port) as running:
        expect("reloaded" in proxy.reload("[rule none]\naction = deny\ndestination = 127.0.0.1, good.example\n"), True,
               "that it reloaded")
        expect(proxy.rep("127.0.0.1", target().port), DENIED, "REP by the new rules")
        expect(proxy.rep("127.0.0.2", target("127.0.0.2").port), OK, "REP for what the old rules denied")
        running.sendall(b"still here")
        expect(socks.receive(running, 10), b"still here", "the echo of the old session")
        expect("reload-failed" in proxy.reload("[rule none]\naction = dny\n"), True, "that a bad file is refused")
        expect(proxy.rep("127.0.0.1", target().port), DENIED, "REP after a bad file")


# --- names ----------------------------------------------------------------------------------------


def test_name_cache():
    """A name is asked for once, by its TTL, and once for all that ask at the same time"""
    proxy = Proxy("", dns="cache = 100\n")
    proxy.daemon.counters()
    before = len(name_server().seen)
    with harness.closing_all() as waiting:
        # More than there are workers: some must share one.
        for _ in range(32):
            sock = socks.open_proxy(proxy.port)
            sock.sendall(socks.GREETING_OPEN + socks.request_bytes("once.slow.example", target().port))
            waiting.append(sock)
        for sock in waiting:
            expect(socks.receive(sock, 2), b"\x05\x00", "the method")
            expect(socks.receive_reply(sock)[0], OK, "REP")
    workers = int(proxy.daemon.wait_log(r" workers=(\d+)").group(1))
    asked = [name for name in name_server().names()[before:] if name == "once.slow.example"]
    expect(len(asked) <= 2 * workers, True, f"that {len(asked)} queries are A and AAAA for each worker")
    for _ in range(32):
        expect(proxy.rep("once.slow.example", target().port), OK, "REP")
    again = [name for name in name_server().names()[before:] if name == "once.slow.example"]
    expect(len(again) <= 2 * workers, True, f"that {len(again)} queries are still A and AAAA for each worker")
    counters = proxy.daemon.counters()
    expect(counters["names_asked"], len(again), "the counter of lookups")
    expect(counters["names_asked"] + counters["names_joined"] + counters["names_cached"], 128, "all lookups")


def test_negative_cache():
    """A name that does not exist is not asked for again at once"""
    proxy = Proxy("")
    before = len(name_server().seen)
    for _ in range(20):
        expect(proxy.rep("nowhere.example", 80), NO_HOST, "REP")
    workers = int(proxy.daemon.wait_log(r" workers=(\d+)").group(1))
    asked = name_server().names()[before:].count("nowhere.example")
    expect(asked <= 2 * workers, True, f"that {asked} queries are A and AAAA for each worker")


def test_reload_forgets_names():
    """After a reload with another DNS server, what the old one said is forgotten"""
    proxy = Proxy("")
    other = DnsServer(lambda message, _: message.answer_bytes(
        [a_record(message.name, "127.0.0.2")] if message.type == 1 else [], rcode=0))
    second = target("127.0.0.2").port
    expect(proxy.rep("good.example", target().port), OK, "REP by the old server")
    proxy.head = proxy.head.replace(name_server().address, other.address)
    expect("reloaded" in proxy.reload(""), True, "that it reloaded")
    expect(proxy.rep("good.example", second), OK, "REP by the new server")
    expect("good.example" in other.names(), True, "that the new server was asked")
    other.close()


def test_no_cache():
    """cache = 0 asks each time"""
    proxy = Proxy("", dns="cache = 0\nfamily = ipv4\n")
    before = len(name_server().seen)
    for _ in range(5):
        expect(proxy.rep("good.example", target().port), OK, "REP")
    expect(name_server().names()[before:].count("good.example"), 5, "the queries")


# --- privacy --------------------------------------------------------------------------------------


def check_privacy(log, client, destination, culprit):
    users = harness.temporary_path("privacy-users")
    if not os.path.exists(users):
        harness.output_of(harness.program_path("socksd-passwd"), users, "alice", text_in=b"open sesame\n")
        harness.let_daemons_read(users)
    proxy = Proxy("", listen=f"auth = password\nusers = {users}\n", log=log)
    expect(proxy.rep("good.example", target().port, "alice", "open sesame"), OK, "REP")
    line = proxy.daemon.wait_log(r"session-end .* end=finished.*").group(0)
    expect(bool(re.search(f" client={client} ", line)), True, f"the client in {line!r}")
    expect(f" destination={destination} " in line, True, f"the destination in {line!r}")
    try:
        proxy.rep("good.example", target().port, "alice", "wrong")
    except PermissionError:
        pass
    line = proxy.daemon.wait_log(r"auth-failed .*").group(0)
    expect(f" client={culprit} user=alice" in line, True, f"the client in {line!r}")


def test_privacy():
    """What the log shows"""
    full = f"good.example:{target().port}"
    for log, client, destination, culprit in (
            ("", r"127\.0\.0\.1:\d+", full, "127.0.0.1"),
            ("clients = network\n", r"127\.0\.0\.0/24", full, "127.0.0.1"),
            ("clients = none\n", "-", full, "-"),
            ("destinations = none\n", r"127\.0\.0\.1:\d+", "-", "127.0.0.1")):
        yield log.strip() or "by default", functools.partial(check_privacy, log, client, destination, culprit)


# --- lists and errors -----------------------------------------------------------------------------


@functools.lru_cache(maxsize=None)
def block_list():
    """A rule with a list of 100,000 names and networks, in a file."""
    lines = [f".tracker{number}.example\n10.{number // 256 % 256}.{number % 256}.0/24 # a network\n"
             for number in range(BLOCK_LIST_ENTRIES // 2)]
    path = harness.temporary_file("block.list", "# made for a test\n\n" + "".join(lines))
    return f"[rule ads]\naction = deny\ndestination = @{path}, 127.0.0.2\n"


def sessions_cpu_us(proxy, count):
    """CPU time that a session takes, with an echo."""
    clock = (~proxy.daemon.process.pid << 3) | 2  # clock_getcpuclockid(3)
    began = time.clock_gettime(clock)
    for _ in range(count):
        expect(proxy.rep("127.0.0.1", target().port), OK, "REP")
    return (time.clock_gettime(clock) - began) * 1e6 / count


def test_list_file_cost():
    """100,000 names and networks are loaded in less than a second, in less than 16 MiB; sessions cost what they did"""
    harness.needs_plain_build()
    plain, listed = Proxy(""), Proxy(block_list())
    before = plain.daemon.rss_bytes()
    memory = listed.daemon.rss_bytes() - before
    took = []
    for proxy in (plain, listed):
        command = [harness.program_path("socksd"), "-t", "-c", proxy.path]
        began = time.monotonic()
        harness.output_of(*command)
        took.append(time.monotonic() - began)
    pairs = [(sessions_cpu_us(plain, 200), sessions_cpu_us(listed, 200)) for _ in range(5)]
    ratio = statistics.median(second / first for first, second in pairs)
    print(f"# {BLOCK_LIST_ENTRIES} entries: {took[1] - took[0]:.3f} s, {memory / 1048576:.1f} MiB; a session costs "
          f"{statistics.median(first for first, _ in pairs):.0f} us without, {ratio:.2f} times that with them")
    expect(took[1] - took[0] < 1, True, "that loading takes less than a second")
    expect(memory < 16 << 20, True, f"that {memory} bytes are less than 16 MiB")
    # A scan of the list would cost many times that.
    expect(ratio < 1.5, True, f"that the ratio of paired runs ({ratio:.2f}) is what a busy machine adds")


def test_list_file():
    """A list of 100,000 names and networks, in a file"""
    proxy = Proxy(block_list())
    expect(proxy.rep("www.tracker49999.example", 80), DENIED, "REP for a name of the list")
    expect(proxy.rep("lan.example", 80), DENIED, "REP for an address of the list")
    expect(proxy.rep("127.0.0.2", 80), DENIED, "REP for what stands beside the list")
    expect(proxy.rep("good.example", target().port), OK, "REP for what is not in it")


def test_unreadable_list():
    """A list that only root may read: a warning at start, as no reload could read it"""
    if not harness.IS_ROOT:
        raise harness.Skip("not root")
    harness.needs_plain_build()
    path = harness.temporary_file("secret.list", ".ads.example\n", 0o600)
    proxy = Proxy(f"[rule ads]\naction = deny\ndestination = @{path}\n")
    proxy.daemon.wait_log(f"reload-will-fail error=.*{re.escape(path)}")
    expect(proxy.rep("ads.example", 80), DENIED, "REP")


# What, the text from line 1, the line to blame (None: in the list), what the error must mention.
BAD_RULES = (
    ("a rule without an action", "[rule a]\nport = 25\n", 1, ["action"]),
    ("an unknown action", "[rule a]\naction = alow\n", 2, ["alow", "allow"]),
    ("an unknown command", "[rule a]\naction = deny\ncommand = conect\n", 3, ["conect", "connect"]),
    ("a port that is none", "[rule a]\naction = deny\nport = 0\n", 3, ["0"]),
    ("a range upside down", "[rule a]\naction = deny\nport = 9-1\n", 3, ["9-1", "lower"]),
    ("a destination with host bits", "[rule a]\naction = deny\ndestination = 10.0.0.1/8\n", 3, ["10.0.0.1/8"]),
    ("half an address", "[rule a]\naction = deny\ndestination = 10.0.0\n", 3, ["10.0.0"]),
    ("a wildcard", "[rule a]\naction = deny\ndestination = *.example\n", 3, ["*.example"]),
    ("a client that is a name", "[rule a]\naction = deny\nclient = x.example\n", 3, ["x.example"]),
    ("an unknown egress", "[egress home]\nfwmark = 7\n[rule a]\naction = allow\negress = hime\n", 5, ["hime", "home"]),
    ("an egress where there is none", "[rule a]\naction = allow\negress = home\n", 3, ["home"]),
    ("an egress in a rule that denies", "[egress home]\nfwmark = 7\n[rule a]\naction = deny\negress = home\n", 5, ["denies"]),
    ("an egress that does nothing", "[egress home]\n", 1, ["home"]),
    ("two addresses of a family", "[egress home]\naddress = 127.0.0.1, 127.0.0.2\n", 2, ["127.0.0.2"]),
    ("an egress from everywhere", "[egress home]\naddress = 0.0.0.0\n", 2, ["0.0.0.0"]),
    ("an interface with too long a name", "[egress home]\ninterface = abcdefghijklmnop\n", 2, ["abcdefghijklmnop"]),
    ("an fwmark of 0", "[egress home]\nfwmark = 0\n", 2, ["fwmark"]),
    ("a list that is not there", "[rule a]\naction = deny\ndestination = @/nonexistent/list\n", 3, ["/nonexistent/list"]),
    ("a list that is a directory", "[rule a]\naction = deny\ndestination = @/tmp\n", 3, ["/tmp"]),
    ("a list with a relative path", "[rule a]\naction = deny\ndestination = @list\n", 3, ["list"]),
)


def check_bad_rules(text, line, mentions):
    path = harness.temporary_file("bad-rules.conf", text)
    done = subprocess.run([harness.program_path("socksd"), "-t", "-c", path], stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, timeout=20, check=False)
    error = done.stderr.decode()
    expect((done.returncode, len(error.splitlines())), (2, 1), f"status and lines ({error!r})")
    expect(error.startswith(f"{path}:{line}: "), True, f"that {error!r} names line {line}")
    for word in mentions:
        expect(word in error, True, f"that {error!r} mentions {word!r}")


def test_bad_rules():
    """Bad rules end with exit status 2 and one line"""
    for what, text, line, mentions in BAD_RULES:
        yield what, functools.partial(check_bad_rules, text, line, mentions)


def test_bad_list():
    """An error in a list names the list and its line"""
    path = harness.temporary_file("bad.list", "# fine\ngood.example\n\nbad entry\n")
    config = harness.temporary_file("bad-list.conf", f"[rule a]\naction = deny\ndestination = @{path}\n")
    done = subprocess.run([harness.program_path("socksd"), "-t", "-c", config], stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, timeout=20, check=False)
    expect((done.returncode, done.stderr.decode().startswith(f"{path}:4: ")), (2, True),
           f"status and place ({done.stderr!r})")


def test_explain_usage():
    """--explain refuses what it does not understand with exit status 2"""
    for words in ((), ("destination=x",), ("destination=x:0",), ("destination=:80",), ("destination=a b:80",),
                  ("client=x", "destination=a:80"), ("clint=127.0.0.1", "destination=a:80"),
                  ("command=listen", "destination=a:80"), ("destination",)):
        done = subprocess.run([harness.program_path("socksd"), "--explain", *words], stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, timeout=20, check=False)
        expect((done.returncode, done.stdout, len(done.stderr.splitlines())), (2, b"", 1), f"the result for {words}")


if __name__ == "__main__":
    harness.run(globals())
