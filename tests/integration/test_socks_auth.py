# SPDX-License-Identifier: ISC
"""socksd's logins: what they cost, what a flood of wrong ones does to others, what a reload does, who may read the users."""

import functools
import os
import random
import re
import signal
import socket
import statistics
import subprocess
import sys
import time

import harness
import socks_client as socks
from harness import expect
from peers import TcpTarget, echo

USERS = {"alice": b"open sesame\n", "bob": b"open says me\n", "carol": b"let me in\n"}
RIGHT = socks.password_bytes("alice", "open sesame")
FILTER = os.path.join(os.path.dirname(os.path.abspath(__file__)),
                      "../../packaging/fail2ban/filter.d/socksd.conf")
# A flood of wrong logins, each another: port, source address, logins a second, seconds. Prints how many were refused.
FLOOD = """
import os, select, socket, sys, time
port, source, rate, seconds = int(sys.argv[1]), sys.argv[2], int(sys.argv[3]), float(sys.argv[4])
began = time.monotonic()
done, sent, open_socks = 0, 0, {}
poller = select.epoll()
while time.monotonic() - began < seconds:
    while sent < (time.monotonic() - began) * rate:
        sock = socket.socket()
        sock.bind((source, 0))
        sock.connect(("127.0.0.1", port))
        guess = b"%08d" % sent
        sock.sendall(b"\\x05\\x01\\x02\\x01\\x05alice\\x08" + guess)
        open_socks[sock.fileno()] = sock
        poller.register(sock, select.EPOLLIN)
        sent += 1
    for fd, _events in poller.poll(0.001):
        data = open_socks[fd].recv(64)
        if len(data) >= 4 or len(data) == 2 and data[0] == 1 or not data:
            done += data[-2:] == b"\\x01\\x01"
            open_socks.pop(fd).close()
print(done)
"""


def users_file(name="users", users=USERS):
    """A file made by socksd-passwd."""
    path = harness.temporary_path(name)
    for user, password in users.items():
        harness.output_of(harness.program_path("socksd-passwd"), path, user, text_in=password)
    harness.let_daemons_read(path)
    return path


@functools.lru_cache(maxsize=None)
def shared_users_file():
    return users_file()


@functools.lru_cache(maxsize=None)
def echo_target():
    return TcpTarget(echo)


def password_proxy(*options, users=None):
    return harness.socksd("listen test.auth=password", f"listen test.users={users or shared_users_file()}", *options)


def source_address(number):
    return f"127.{1 + number // 62500}.{number // 250 % 250}.{1 + number % 250}"


def open_from(source, proxy):
    """A connection to the proxy from that address, the greeting done."""
    sock = socket.create_connection(("127.0.0.1", proxy.port), timeout=20, source_address=(source, 0))
    sock.sendall(socks.GREETING_PASSWORD)
    expect(socks.receive(sock, 2), b"\x05\x02", "the method")
    return sock


def log_in(source, proxy, message):
    """The status that a login from that address gets, and how long it took."""
    with open_from(source, proxy) as sock:
        began = time.monotonic()
        sock.sendall(message)
        status = socks.receive(sock, 2)[1]
        return status, time.monotonic() - began


def guess(name="alice"):
    return socks.password_bytes(name, f"{random.getrandbits(64):016x}")


def counters_at_end(proxy):
    """auth_hashes, auth_failed and auth_throttled when all sessions have ended: failures count at the end."""
    def ended():
        counters = proxy.counters()
        return counters if counters["sessions_now"] == 0 else None

    counters = harness.wait_until(ended, what="end of all sessions")
    return counters["auth_hashes"], counters["auth_failed"], counters["auth_throttled"]


# --- what logins cost -----------------------------------------------------------------------------


def test_one_hash():
    """64 connections at once with the same right password, on four workers, cost one hash"""
    proxy = password_proxy("server.workers=4")
    with harness.closing_all() as socks_open:
        for number in range(64):
            socks_open.append(open_from(source_address(number % 3), proxy))
        for sock in socks_open:
            sock.sendall(RIGHT)
        for sock in socks_open:
            expect(socks.receive(sock, 2), b"\x01\x00", "version and status")
    expect(proxy.counters()["auth_hashes"], 1, "auth_hashes")
    for number in range(64):
        expect(log_in(source_address(number), proxy, RIGHT)[0], 0, "status")
    counters = proxy.counters()
    expect((counters["auth_hashes"], counters["auth_ok"]), (1, 128), "auth_hashes and auth_ok")
    # What is remembered is forgotten at a reload.
    proxy.send_signal(signal.SIGHUP)
    proxy.wait_log("reloaded")
    expect(log_in(source_address(1), proxy, RIGHT)[0], 0, "status")
    expect(proxy.counters()["auth_hashes"], 2, "auth_hashes after a reload")
    proxy.stop()


def test_wrong_costs_one_hash():
    """The same wrong password again and again costs one hash, and does not keep its client out"""
    proxy = password_proxy()
    wrong = guess()
    for _ in range(100):
        expect(log_in("127.0.0.5", proxy, wrong)[0], 1, "status")
    expect(counters_at_end(proxy), (1, 100, 0), "hashes, failures, throttled ones")
    expect(log_in("127.0.0.5", proxy, RIGHT)[0], 0, "status of the right one")
    proxy.stop()


def test_throttle():
    """A client with too many wrong passwords waits; others, and passwords known to be right, do not"""
    proxy = password_proxy("limits.login-failures=4", "limits.login-failure-interval=1h")
    expect(log_in("127.0.0.6", proxy, RIGHT)[0], 0, "status")
    for _ in range(10):
        expect(log_in("127.0.0.5", proxy, guess("nobody"))[0], 1, "status")
    expect(counters_at_end(proxy), (5, 10, 6), "hashes, failures, throttled ones")
    bob = socks.password_bytes("bob", "open says me")
    expect(log_in("127.0.0.5", proxy, bob)[0], 1, "the throttled client's status")
    expect(log_in("127.0.0.5", proxy, RIGHT)[0], 0, "its status with a password known to be right")
    expect(log_in("127.0.0.6", proxy, bob)[0], 0, "another client's status")
    proxy.wait_log("auth-failed client=127.0.0.5 user=bob why=throttled")
    proxy.stop()


@harness.limit(300)
def test_timing():
    """An unknown user and a wrong password cannot be told apart by time"""
    harness.needs_plain_build()
    proxy = password_proxy()
    for attempt in range(3):
        times = {"alice": [], "nobody": []}
        for number in range(300):
            for name in random.sample(list(times), 2):
                status, seconds = log_in(source_address(1000 * attempt + 2 * number + (name == "alice")), proxy, guess(name))
                expect(status, 1, "status")
                times[name].append(seconds)
        known, unknown = statistics.median(times["alice"]), statistics.median(times["nobody"])
        print(f"# medians: wrong password {known * 1000:.2f} ms, unknown user {unknown * 1000:.2f} ms")
        if abs(known - unknown) < 0.05 * max(known, unknown):
            break
    else:
        raise AssertionError("the medians differ by more than 5 % three times")
    expect(proxy.counters()["auth_hashes"], 600 * (attempt + 1), "auth_hashes")
    proxy.stop()


# --- a flood --------------------------------------------------------------------------------------


def echo_seconds(sock):
    began = time.monotonic()
    sock.sendall(b"ping")
    socks.receive(sock, 4)
    return time.monotonic() - began


def percentile_99(values):
    return sorted(values)[len(values) * 99 // 100]


class Felt:
    """What others than the flood feel: times of right logins, answer times of a session that runs, and, to know what the
    machine adds, those of a session through another socksd, which nobody floods."""

    def __init__(self, proxy, other, seconds):
        self.logins, self.echoes, self.others = [], [], []
        with open_from("127.0.0.3", proxy) as session, \
                socks.connect(other.port, "127.0.0.1", echo_target().port) as calm:
            for sock in (session, calm):
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            session.sendall(RIGHT + socks.request_bytes("127.0.0.1", echo_target().port))
            expect(socks.receive(session, 2), b"\x01\x00", "version and status")
            expect(socks.receive_reply(session)[0], 0, "REP")
            end = time.monotonic() + seconds
            while time.monotonic() < end:
                began = time.monotonic()
                expect(log_in("127.0.0.4", proxy, RIGHT)[0], 0, "status")
                self.logins.append(time.monotonic() - began)
                for _ in range(5):
                    self.echoes.append(echo_seconds(session))
                    self.others.append(echo_seconds(calm))
                    time.sleep(0.001)

    def is_busy(self):
        """Whether the machine has so much else to do that even echoes through the other take long."""
        return max(self.others) > 0.010

    def __str__(self):
        return (f"{len(self.logins)} right logins, p99 {percentile_99(self.logins) * 1000:.1f} ms; echoes p99 "
                f"{percentile_99(self.echoes) * 1000:.1f} ms, longest {max(self.echoes) * 1000:.1f} ms (through "
                f"another: {percentile_99(self.others) * 1000:.1f} and {max(self.others) * 1000:.1f})")


def test_flood():
    """1,000 wrong logins a second from one address leave the logins and sessions of others alone"""
    harness.needs_plain_build()
    proxy, other = password_proxy(), harness.socksd()
    print(f"# without a flood: {Felt(proxy, other, 2)}")
    felt_it = 0
    for _attempt in range(3):
        before = proxy.cpu_seconds()
        flood = subprocess.Popen([sys.executable, "-c", FLOOD, str(proxy.port), source_address(random.randrange(60000)),
                                  "1000", "6"], stdout=subprocess.PIPE)
        time.sleep(0.2)
        felt = Felt(proxy, other, 5)
        refused = int(flood.communicate()[0])
        print(f"# while {refused} wrong logins were refused, for {proxy.cpu_seconds() - before:.2f} s of CPU: {felt}")
        expect(refused >= 4500, True, f"that {refused} is a flood")
        if percentile_99(felt.logins) < 0.050 and max(felt.echoes) < 0.010:
            break
        felt_it += not felt.is_busy()
    else:
        # Decided below: first what does not depend on the time.
        felt = None
    counters = proxy.counters()
    print(f"# {counters['auth_hashes']} hashes, {counters['auth_throttled']} throttled")
    expect(counters["auth_hashes"] < 120, True, f"that {counters['auth_hashes']} hashes are few")
    lines = proxy.log().count("auth-failed")
    expect(20 <= lines <= 200, True, f"that {lines} lines are enough and not too many")
    proxy.stop()
    other.stop()
    if not felt and felt_it < 2:
        raise harness.Skip("the machine is too busy to see stalls; the counters were right")
    expect(bool(felt), True, "that others do not feel the flood")


# --- reload ---------------------------------------------------------------------------------------


def connect_as(proxy, user):
    return socks.connect(proxy.port, "127.0.0.1", echo_target().port, user, USERS[user].decode().strip())


def expect_echo(sock):
    sock.sendall(b"still there?")
    expect(socks.receive(sock, 12), b"still there?", "the echo")


def expect_reset(sock):
    try:
        data = sock.recv(1)
    except ConnectionResetError:
        return
    raise AssertionError(f"{data!r} instead of a reset")


def test_revoked():
    """A reload ends the sessions of users that were removed or have another password, and only those"""
    path = users_file("users-reload")
    proxy = password_proxy(users=path)
    passwd = harness.program_path("socksd-passwd")
    with connect_as(proxy, "alice") as alice, connect_as(proxy, "bob") as bob, connect_as(proxy, "carol") as carol:
        proxy.send_signal(signal.SIGHUP)
        proxy.wait_log("reloaded")
        for sock in (alice, bob, carol):
            expect_echo(sock)
        harness.output_of(passwd, "-d", path, "alice")
        harness.output_of(passwd, path, "bob", text_in=b"another one\n")
        for sock in (alice, bob, carol):
            expect_echo(sock)
        before = len(proxy.log())
        proxy.send_signal(signal.SIGHUP)
        expect_reset(alice)
        expect_reset(bob)
        proxy.wait_log(r"session-end .*user=alice .*end=revoked why=user_removed", before)
        proxy.wait_log(r"session-end .*user=bob .*end=revoked why=password_changed", before)
        proxy.wait_log("reloaded", before)
        expect_echo(carol)
    expect(proxy.counters()["sessions_revoked"], 2, "sessions_revoked")
    expect(log_in("127.0.0.1", proxy, RIGHT)[0], 1, "the removed user's status")
    expect(log_in("127.0.0.1", proxy, socks.password_bytes("bob", "another one"))[0], 0, "the new password's status")
    proxy.stop()


def test_listeners_that_go():
    """A reload that takes a listener's address away touches no session; its users still can be removed"""
    path = users_file("users-listener")
    old, new = harness.free_port(), harness.free_port()
    users = f"auth = password\nusers = {path}\n"
    config = harness.temporary_path("listener.conf")

    def write(text):
        with open(config, "w", encoding="ascii") as file:
            file.write("[server]\nworkers = 1\n" + text)
        os.chmod(config, 0o644)

    def reload(text):
        write(text)
        before = len(proxy.log())
        proxy.send_signal(signal.SIGHUP)
        proxy.wait_log("reloaded", before)

    write(f"[listen lan]\naddress = 127.0.0.1:{old}\n{users}[listen open]\naddress = 127.0.0.2:{old}\n")
    proxy = harness.Daemon("socksd", old, config=config)
    with connect_as(proxy, "alice") as alice, connect_as(proxy, "bob") as bob, connect_as(proxy, "carol") as carol, \
            socks.connect(old, "127.0.0.1", echo_target().port, proxy_host="127.0.0.2") as nobody:
        everybody = (alice, bob, carol, nobody)
        # The same section at another address.
        reload(f"[listen lan]\naddress = 127.0.0.1:{new}\n{users}")
        for sock in everybody:
            expect_echo(sock)
        harness.output_of(harness.program_path("socksd-passwd"), "-d", path, "alice")
        proxy.send_signal(signal.SIGHUP)
        expect_reset(alice)
        for sock in (bob, carol, nobody):
            expect_echo(sock)
        # Another section, with the same users.
        reload(f"[listen wan]\naddress = 127.0.0.2:{new}\n{users}")
        for sock in (bob, carol, nobody):
            expect_echo(sock)
        harness.output_of(harness.program_path("socksd-passwd"), "-d", path, "bob")
        proxy.send_signal(signal.SIGHUP)
        expect_reset(bob)
        # None that knows users.
        reload(f"[listen open]\naddress = 127.0.0.3:{new}\n")
        for sock in (carol, nobody):
            expect_echo(sock)
        expect(proxy.counters()["sessions_revoked"], 2, "sessions_revoked")
    proxy.stop()


def test_users_that_come_back():
    """Whose user is removed while the listener has no users, or is away, is out when it has some again"""
    path = users_file("users-back")
    port = harness.free_port()
    config = harness.temporary_path("back.conf")
    section = f"[listen lan]\naddress = 127.0.0.1:{port}\n"
    users = f"auth = password\nusers = {path}\n"
    other = f"[listen other]\naddress = 127.0.0.2:{port}\n"

    def reload(text):
        with open(config, "w", encoding="ascii") as file:
            file.write("[server]\nworkers = 1\n" + other + text)
        os.chmod(config, 0o644)
        if proxy:
            before = len(proxy.log())
            proxy.send_signal(signal.SIGHUP)
            proxy.wait_log("reloaded", before)

    proxy = None
    reload(section + users)
    proxy = harness.Daemon("socksd", port, config=config)
    for user, meanwhile in (("alice", ""), ("bob", section)):
        with connect_as(proxy, user) as removed, connect_as(proxy, "carol") as carol:
            harness.output_of(harness.program_path("socksd-passwd"), "-d", path, user)
            reload(meanwhile)
            expect_echo(removed)
            reload(section + users)
            expect_reset(removed)
            expect_echo(carol)
    proxy.stop()


# --- the users file -------------------------------------------------------------------------------


def check_mode(mode, key, mentions):
    path = harness.temporary_path("users-mode")
    with open(shared_users_file(), "rb") as source, open(path, "wb") as target:
        target.write(source.read())
    os.chmod(path, mode)
    config = harness.temporary_file("mode.conf", f"[listen lan]\naddress = 127.0.0.1:1080\nauth = password\nusers = {path}\n{key}")
    done = subprocess.run([harness.program_path("socksd"), "-t", "-c", config], stderr=subprocess.PIPE, check=False)
    err = done.stderr.decode()
    if not mentions:
        expect((done.returncode, err), (0, ""), "status and stderr")
        return
    expect(done.returncode, 2, "exit status")
    expect(bool(re.fullmatch(re.escape(config) + r":4: .+ \(.+\)\n", err)), True, f"that {err!r} names the line")
    expect(path in err and mentions in err, True, f"that {err!r} mentions {path} and {mentions!r}")


def test_modes():
    """Users files that everybody can use are refused"""
    world = "users-world-readable = yes\n"
    for mode, key, mentions in ((0o640, "", None), (0o600, "", None), (0o644, "", "read"), (0o604, "", "read"),
                                (0o642, "", "write"), (0o644, world, None), (0o646, world, "write")):
        yield f"mode {mode:o}{' with users-world-readable' if key else ''}: {'refused' if mentions else 'taken'}", \
            functools.partial(check_mode, mode, key, mentions)


def test_unreadable_later():
    """A users file that only root can read is warned of at start"""
    if not harness.IS_ROOT:
        raise harness.Skip("needs root")
    harness.needs_plain_build()
    path = users_file("users-root", {"alice": USERS["alice"]})
    os.chmod(path, 0o600)
    proxy = password_proxy(users=path)
    proxy.wait_log(f"reload-will-fail error=.*{re.escape(path)}.*Permission denied")
    expect(log_in("127.0.0.1", proxy, RIGHT)[0], 0, "status")
    proxy.send_signal(signal.SIGHUP)
    proxy.wait_log("reload-failed")
    expect(log_in("127.0.0.1", proxy, RIGHT)[0], 0, "status after the reload that failed")
    proxy.stop()


# --- fail2ban -------------------------------------------------------------------------------------


def fail_regexp():
    """The filter's expression, with what fail2ban puts in place of <ADDR>."""
    with open(FILTER, encoding="utf-8") as file:
        text = re.search(r"^failregex = (.*)$", file.read(), re.MULTILINE).group(1)
    return re.compile(text.replace("<ADDR>", r"(?P<host>(?:\d{1,3}\.){3}\d{1,3}|[0-9a-fA-F:]*:[0-9a-fA-F:.]*)"))


def hosts(regexp, line):
    """Whom the filter finds in a line of a log file, of fail2ban's rendering of it, and of the journal."""
    stamp, message = re.fullmatch(r"(\S+Z) (.*)", line).groups()
    journal = message.replace("notice ", "box socksd[812]: ", 1)
    found = [match and match.group("host") for match in map(regexp.search, (line, " " + message, journal))]
    expect(len(set(found)), 1, f"the different results for {stamp} ({found})")
    return found[0]


def test_fail2ban():
    """fail2ban's filter finds the clients that guess, and nobody else, whatever they call themselves"""
    proxy = password_proxy("limits.login-failures=6", "log.level=debug")
    regexp = fail_regexp()
    names = ("alice", "", "al ice", 'x" why=wrong', "auth-failed client=203.0.113.9 user=x why=wrong",
             "\n2026-01-01T00:00:00.000Z notice auth-failed client=203.0.113.9 user=x why=wrong suppressed=0\n")
    for number, name in enumerate(names):
        message = guess(name)
        log_in(f"127.0.0.{10 + number}", proxy, message)
        log_in(f"127.0.0.{10 + number}", proxy, message)
    for _ in range(10):
        log_in("127.0.0.30", proxy, guess())
    log_in("127.0.0.40", proxy, RIGHT)
    if harness.have_ipv6():
        with socket.create_connection(("::1", proxy.port), timeout=20) as sock:
            sock.sendall(socks.GREETING_PASSWORD + guess())
            expect(socks.receive(sock, 4), b"\x05\x02\x01\x01", "method and status")
    failures = 2 * len(names) + 10 + harness.have_ipv6()
    expect(counters_at_end(proxy)[1], failures, "auth_failed")
    found = [host for host in (hosts(regexp, line) for line in proxy.log().splitlines() if "Z " in line) if host]
    wanted = [f"127.0.0.{10 + number}" for number in range(len(names))] + ["127.0.0.30"] * 10
    expect(sorted(found), sorted(wanted + ["::1"] * harness.have_ipv6()), "the hosts found")
    proxy.stop()


if __name__ == "__main__":
    harness.run(globals(), tries=2)
