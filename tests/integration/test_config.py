# SPDX-License-Identifier: ISC
"""Configuration and life of both daemons: what they refuse and how they say it, reload, signals, privileges."""

import functools
import os
import pwd
import re
import shutil
import signal
import socket
import subprocess
import time

import harness
import socks_client as socks
from dns_message import Message, a_record, query_bytes
from harness import expect
from peers import DnsServer, TcpTarget, ask_udp, echo

ERROR_LINE = re.compile(r"^[^:]+:\d+: .+ \(.+\)$")
DAEMONS = ("socksd", "dnsproxyd")
SOCKSD_GOOD = "[listen lan]\naddress = 127.0.0.1:1080\n"
LISTEN_PASSWORD = SOCKSD_GOOD + "auth = password\nusers = {}\n"


def run_daemon(program, *arguments, command=(), **options):
    """Run a daemon that is to end by itself: (status, stdout, stderr)."""
    done = subprocess.run([*command, harness.program_path(program), *arguments], stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=20, check=False, **options)
    return done.returncode, done.stdout.decode(), done.stderr.decode()


def expect_one_error(program, arguments, place, mentions=()):
    """Exit status 2, nothing on stdout, and one line "PLACE: what (what was expected)" on stderr."""
    status, out, err = run_daemon(program, *arguments)
    lines = err.splitlines()
    expect(status, 2, f"the exit status (stderr: {err!r})")
    expect(out, "", "stdout")
    expect(len(lines), 1, f"the number of lines on stderr ({err!r})")
    expect(bool(ERROR_LINE.match(lines[0])), True, f"that {lines[0]!r} is FILE:LINE: what (what was expected)")
    expect(lines[0].startswith(place + ": "), True, f"that {lines[0]!r} names {place}")
    for word in mentions:
        expect(word in lines[0], True, f"that {lines[0]!r} mentions {word!r}")
    # Hostile bytes of a file are not to reach a terminal as they are.
    expect([char for char in lines[0] if not char.isprintable()], [], "the unprintable characters")


# --- bad configurations ---------------------------------------------------------------------------

# What, the file's content, the number of the line to blame, what the error must mention.
BAD_FOR_BOTH = (
    ("an unknown section", "[serber]\nworkers = 1\n", 1, ["serber", "server"]),
    ("an unknown section, no key in it", "\n\n[nonsense]\n", 3, ["nonsense"]),
    ("an unknown key", "[server]\nworkers = 1\nworkerz = 2\n", 3, ["workerz", "workers"]),
    ("a key of another section", "[server]\nlevel = info\n", 2, ["level"]),
    ("a key before any section", "workers = 2\n", 1, ["workers"]),
    ("a duplicate key", "[server]\nworkers = 1\n; between\nworkers = 1\n", 4, ["workers"]),
    ("a section opened twice", "[log]\nlevel = info\n[server]\n[log]\nlevel = info\n", 4, ["log"]),
    ("a number that is none", "[server]\nworkers = many\n", 2, ["many"]),
    ("a negative number", "[server]\nworkers = -1\n", 2, ["-1"]),
    ("a number with something behind it", "[server]\nworkers = 2 two\n", 2, []),
    ("a number over its range", "[server]\nworkers = 1000000\n", 2, ["1000000"]),
    ("a number over 64 bits", "[server]\nworkers = 18446744073709551617\n", 2, ["workers"]),
    ("an empty value", "[server]\nworkers =\n", 2, ["workers"]),
    ("a key without a value", "[server]\nworkers\n", 2, []),
    ("a value without a key", "[server]\n= 3\n", 2, []),
    ("an unknown word", "[log]\nlevel = chatty\n", 2, ["chatty", "debug"]),
    ("a word in the wrong case of a typing error", "[log]\nlevel = inffo\n", 2, ["inffo", "info"]),
    ("a section header that is not closed", "[server\nworkers = 1\n", 1, []),
    ("text behind a section header", "[server] workers = 1\n", 1, []),
    ("an empty section name", "[]\n", 1, []),
    ("a name for a section that takes none", "[server one]\nworkers = 1\n", 1, ["server"]),
    ("no name for a section that needs one", "[listen]\naddress = 127.0.0.1:1080\n", 1, ["listen"]),
    ("a named section that comes twice",
     "[listen a]\naddress = 127.0.0.1:1080\n[listen a]\naddress = 127.0.0.1:1081\n", 3, ["listen a"]),
    ("an address that is none", "[listen a]\naddress = 127.0.0.256:1080\n", 2, ["127.0.0.256"]),
    ("an address with port 0", "[listen a]\naddress = 127.0.0.1:0\n", 2, []),
    ("an address with a port over 65535", "[listen a]\naddress = 127.0.0.1:65536\n", 2, ["65536"]),
    ("an IPv6 address that is not closed", "[listen a]\naddress = [::1:1080\n", 2, []),
    ("a multicast address", "[listen a]\naddress = 224.0.0.1:1080\n", 2, ["224.0.0.1:1080", "one host"]),
    ("a multicast IPv6 address", "[listen a]\naddress = [ff02::1%lo]:1080\n", 2, ["ff02::1%lo"]),
    ("the broadcast address", "[listen a]\naddress = 255.255.255.255:1080\n", 2, ["255.255.255.255:1080"]),
    ("an IPv4 address twice, once as IPv6", "[listen a]\naddress = 127.0.0.1:1080, [::ffff:127.0.0.1]:1080\n", 2,
     ["127.0.0.1:1080", "twice"]),
    ("an empty item in a list", "[listen a]\naddress = 127.0.0.1:1080,,127.0.0.1:1081\n", 2, []),
    ("a network that is none", "[listen a]\naddress = 127.0.0.1:1080\nclients = 10.0.0.0/33\n", 3, ["10.0.0.0/33"]),
    ("a line of 5,000 bytes", "[server]\n; fine\nuser = " + "x" * 5000 + "\n", 3, []),
    ("an error behind a comment of 5,000 bytes", ";" + "x" * 5000 + "\n[server]\nworkers = 0x2\n", 3, ["0x2"]),
    ("NUL in a value", "[server]\nuser = no\0body\n", 2, []),
    ("NUL in a comment", "[server]\n; no\0body\nworkers = 1\n", 2, []),
    ("an indented line that would continue the last", "[listen a]\naddress = 127.0.0.1:1080\n  127.0.0.1:1081\n", 3, []),
    ("terminal escapes in a key", "[server]\n\x1b[31mred = 1\n", 2, []),
    ("bytes that are not UTF-8", b"[server]\nw\xf6rkers = 1\n", 2, []),
    ("no newline at the end, wrong key", "[server]\nworkerz = 2", 2, ["workerz"]),
    ("Windows line ends, wrong key", "[server]\r\nworkers = 1\r\nworkerz = 2\r\n", 3, ["workerz"]),
    ("a key of 300 bytes", "[server]\n" + "k" * 300 + " = 1\n", 2, []),
    ("a section name of 300 bytes", "[listen " + "n" * 300 + "]\naddress = 127.0.0.1:1\n", 1, []),
)
BAD_FOR_SOCKSD = (
    ("a misspelt limit", "[limits]\nmax-session = 5\n", 2, ["max-session", "max-sessions"]),
    ("a limit of 0", "[limits]\nmax-sessions = 0\n", 2, ["max-sessions"]),
    ("a duration without a unit", "[limits]\nidle-timeout = 10\n", 2, ["10"]),
    ("a duration with an unknown unit", "[limits]\nidle-timeout = 10y\n", 2, ["10y"]),
    ("a duration over its range", "[limits]\nhandshake-timeout = 1000000d\n", 2, ["handshake-timeout"]),
    ("an unknown authentication", SOCKSD_GOOD + "auth = maybe\n", 3, ["maybe", "password"]),
    ("passwords without users", SOCKSD_GOOD + "auth = password\n", None, ["users"]),
    ("a users file with a relative path", LISTEN_PASSWORD.format("users"), 4, ["users"]),
    ("a users file that does not exist", LISTEN_PASSWORD.format("/nonexistent/users"), None, ["/nonexistent/users"]),
    ("a users file that is a directory", LISTEN_PASSWORD.format("/tmp"), None, ["/tmp"]),
    ("an open proxy", "[listen a]\naddress = 127.0.0.1:1080\nclients = any\n", None, ["open-proxy"]),
    ("a family that is none", "[dns]\nfamily = ipv5\n", 2, ["ipv5"]),
    ("a server that is multicast", "[dns]\nserver = 224.0.0.251\n", 2, ["224.0.0.251"]),
    ("a server that is a name", "[dns]\nserver = dns.example\n", 2, ["dns.example"]),
    ("dnsproxyd's section", "[cache]\nsize = 1M\n", 1, ["cache"]),
)
BAD_FOR_DNSPROXYD = (
    ("a misspelt upstream key", "[upstream default]\nservers = 127.0.0.1\n", 2, ["servers", "server"]),
    ("a size without a number", "[cache]\nsize = M\n", 2, ["size"]),
    ("a size with an unknown unit", "[cache]\nsize = 32Q\n", 2, ["32Q"]),
    ("a size over its range", "[cache]\nsize = 99999999G\n", 2, ["size"]),
    ("a size over 64 bits", "[cache]\nsize = 17179869185G\n", 2, ["size"]),
    ("a TTL with an unknown unit", "[cache]\nmax-ttl = 1w\n", 2, ["1w"]),
    ("a minimum over the maximum", "[cache]\nmin-ttl = 1h\nmax-ttl = 1m\n", None, ["min-ttl"]),
    ("an upstream that is multicast", "[upstream default]\nserver = tcp://[ff02::fb%lo]\n", 2, ["ff02::fb%lo"]),
    ("an upstream that is a name", "[upstream default]\nserver = dns.example\n", 2, ["dns.example"]),
    ("an upstream with a port over 65535", "[upstream default]\nserver = 127.0.0.1:70000\n", 2, ["70000"]),
    ("an upstream that is our own listener",
     "[listen a]\naddress = 127.0.0.1:5353\n[upstream default]\nserver = 127.0.0.1:5353\n", 4, ["127.0.0.1:5353"]),
    ("an upstream that our own wildcard listener reaches",
     "[listen a]\naddress = 0.0.0.0:5353\n[upstream default]\nserver = 127.0.0.7:5353\n", 4, ["127.0.0.7:5353"]),
    ("socksd's section", "[dns]\nfamily = ipv4\n", 1, ["dns"]),
    ("socksd's limit", "[limits]\nmax-sessions = 5\n", 2, ["max-sessions"]),
    ("socksd's key", "[listen a]\naddress = 127.0.0.1:53\nauth = none\n", 3, ["auth"]),
)


def check_bad_file(program, number, content, line, mentions):
    path = harness.temporary_file(f"bad-{program}-{number}.conf", content)
    if line is None:
        # A check across keys may blame either of them.
        status, _out, err = run_daemon(program, "-t", "-c", path)
        place = err.split(": ")[0]
        expect((status, bool(re.fullmatch(re.escape(path) + r":\d+", place))), (2, True),
               f"exit status and whether a line is named ({err!r})")
    else:
        place = f"{path}:{line}"
    # Wrong is wrong, whether it is only to be checked or to be served.
    expect_one_error(program, ["-t", "-c", path], place, mentions)
    expect_one_error(program, ["-c", path], place, mentions)


def test_bad_files():
    """Every bad configuration file ends with exit status 2 and one line"""
    for program, special in zip(DAEMONS, (BAD_FOR_SOCKSD, BAD_FOR_DNSPROXYD)):
        for number, (what, content, line, mentions) in enumerate(BAD_FOR_BOTH + special):
            yield f"{program} refuses {what}", functools.partial(check_bad_file, program, number, content, line,
                                                                  mentions)


def check_bad_path(program, path):
    status, out, err = run_daemon(program, "-t", "-c", path)
    expect((status, out, len(err.splitlines())), (2, "", 1), f"status, stdout and lines of stderr ({err!r})")
    expect(err.startswith(f"{path}:"), True, f"that {err!r} names the file")
    expect(bool(ERROR_LINE.match(err.rstrip("\n"))), True, f"that {err!r} is FILE:LINE: what (what was expected)")


def as_nobody(program):
    """A copy of the daemon that an unprivileged user can run, and the arguments that make it his."""
    if not harness.IS_ROOT:
        return harness.program_path(program), {}
    copy = harness.temporary_path(f"{program}-copy")
    if not os.path.exists(copy):
        shutil.copy(harness.program_path(program), copy)
        os.chmod(copy, 0o755)
    nobody = pwd.getpwnam("nobody")
    return copy, {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}


def check_unreadable(program, content_of, secret):
    """content_of(path) is a configuration that makes the unreadable file be read."""
    path = content_of(secret)
    copy, identity = as_nobody(program)
    done = subprocess.run([copy, "-t", "-c", path], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, timeout=20, check=False, cwd="/", **identity)
    err = done.stderr.decode()
    expect((done.returncode, len(err.splitlines())), (2, 1), f"status and lines of stderr ({err!r})")
    expect(bool(ERROR_LINE.match(err.rstrip("\n"))), True, f"that {err!r} is FILE:LINE: what (what was expected)")
    expect(secret in err and "ermission denied" in err, True, f"that {err!r} says why")


def test_bad_paths():
    """Files that are missing, directories, or not readable"""
    secret = harness.temporary_file("secret", "alice:x\n", 0o000)
    for program in DAEMONS:
        yield f"{program} refuses a missing file", functools.partial(check_bad_path, program, "/nonexistent/x.conf")
        yield f"{program} refuses a directory", functools.partial(check_bad_path, program, "/tmp")
        yield f"{program} refuses a device without end", functools.partial(check_bad_path, program, "/dev/zero")
        yield f"{program} refuses an unreadable file", functools.partial(check_unreadable, program,
                                                                         lambda path: path, secret)
    yield "socksd refuses an unreadable users file", functools.partial(
        check_unreadable, "socksd",
        lambda path: harness.temporary_file("needs-secret.conf", LISTEN_PASSWORD.format(path)), secret)


BAD_USERS = (
    ("a line without a hash", "alice\n", 1),
    ("a hash that is none", "alice:secret\n", 1),
    ("an empty name", ":$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$aGFzaGhhc2g\n", 1),
)


def check_bad_users(number, content, line):
    users = harness.temporary_file(f"users-{number}", content, 0o640)
    config = harness.temporary_file(f"users-{number}.conf", LISTEN_PASSWORD.format(users))
    expect_one_error("socksd", ["-t", "-c", config], f"{users}:{line}")


def test_bad_users():
    """A users file with an error is named with its line"""
    for number, (what, content, line) in enumerate(BAD_USERS):
        yield f"socksd refuses a users file with {what}", functools.partial(check_bad_users, number, content, line)


BAD_OPTIONS = (
    ("an unknown section", ["serber.workers=1"], 1, ["serber"]),
    ("an unknown key", ["server.workers=1", "server.workerz=1"], 2, ["workerz", "workers"]),
    ("a value out of range", ["server.workers=1000000"], 1, ["1000000"]),
    ("no value", ["server.workers"], 1, []),
    ("an empty value", ["server.workers="], 1, []),
    ("no key", ["server=1"], 1, []),
    ("nothing at all", [""], 1, []),
    ("a listener without a name", ["listen.address=127.0.0.1:1"], 1, ["listen"]),
    ("a bad address", ["listen a.address=127.0.0.1:1,nowhere"], 1, ["nowhere"]),
)


def test_bad_options():
    """Every bad -o likewise"""
    for program in DAEMONS:
        for what, options, number, mentions in BAD_OPTIONS:
            arguments = ["-t"]
            for option in options:
                arguments += ["-o", option]
            yield f"{program} refuses -o with {what}", functools.partial(
                expect_one_error, program, arguments, f"-o:{number}", mentions)


def test_bad_usage():
    """Unknown options, and words that are none, are usage errors: exit status 2"""
    for program in DAEMONS:
        for arguments in (["-x"], ["--nonsense"], ["-c"], ["-o"], ["-t", "word"]):
            status, out, err = run_daemon(program, *arguments)
            expect((status, out, bool(err)), (2, "", True), f"status, stdout, stderr of {arguments}")


# --- good ones ------------------------------------------------------------------------------------

GOOD = {
    "socksd": """; a comment
[server]
workers = 2
[log]
level = debug   ; behind a value too
[listen lan]
address = 127.0.0.1:1080, 127.0.0.1:1081
address = [::1]:1080
auth = none
clients = local, 203.0.113.0/24
[listen other]
address = 127.0.0.1:1082
[limits]
max-sessions = 100
handshake-timeout = 250ms
idle-timeout = 1h
[dns]
server = 127.0.0.1:5353
family = ipv4
""",
    "dnsproxyd": """# a comment of the other kind
[server]
workers = auto
[log]
level = warning
[listen lan]
address = 127.0.0.1:5300
address = [::1]:5300
clients = 127.0.0.0/8
[upstream default]
server = 192.0.2.1
server = 192.0.2.2:5353, [2001:db8::1]:53
timeout = 1500ms
[cache]
size = 1M
min-ttl = 5s
max-ttl = 2h
negative-max-ttl = 30m
""",
}


def check_good(program):
    path = harness.temporary_file(f"good-{program}.conf", GOOD[program])
    empty = harness.temporary_file("empty.conf")
    for arguments in (["-t", "-c", path], ["-t", "-c", path, "-o", "server.workers=3"], ["-t", "-c", empty]):
        status, _out, err = run_daemon(program, *arguments)
        expect((status, err), (0, ""), f"status and stderr of {arguments}")


def check_round_trip(program):
    path = harness.temporary_file(f"good-{program}.conf", GOOD[program])
    empty = harness.temporary_file("empty.conf")
    for number, arguments in enumerate((["-c", empty], ["-c", path], ["-c", path, "-o", "server.workers=7"])):
        status, first, err = run_daemon(program, *arguments, "--print-config")
        expect((status, err), (0, ""), f"status and stderr of {arguments}")
        again = harness.temporary_file(f"again-{program}-{number}.conf", first)
        status, second, err = run_daemon(program, "-c", again, "--print-config")
        expect((status, err), (0, ""), "status and stderr of the second run")
        # A value that was a default is now said explicitly: compare without comments.
        plain = [[re.sub(r"\s*[;#].*", "", line) for line in text.splitlines()] for text in (first, second)]
        expect(plain[1], plain[0], f"what {arguments} prints, read back and printed")
        if number == 2:
            expect(bool(re.search(r"^workers = 7\b", first, re.MULTILINE)), True, "that -o shows")


def test_good():
    """Good configurations"""
    for program in DAEMONS:
        yield f"{program} -t accepts what is right", functools.partial(check_good, program)
        yield f"{program} --print-config, read back, prints the same", functools.partial(check_round_trip, program)


def test_version_and_help():
    """-V and -h print and exit with 0"""
    for program in DAEMONS:
        for option in ("-V", "-h"):
            status, out, err = run_daemon(program, option)
            expect((status, program in out, err), (0, True, ""), f"status, stdout, stderr of {program} {option}")


# --- life -----------------------------------------------------------------------------------------


@functools.lru_cache(maxsize=None)
def echo_target():
    return TcpTarget(echo)


@functools.lru_cache(maxsize=None)
def name_server():
    return DnsServer(lambda message, _: message.answer_bytes([a_record(message.name, "192.0.2.7")]))


def expect_serves(daemon):
    if daemon.program == "socksd":
        with socks.connect(daemon.port, "127.0.0.1", echo_target().port) as sock:
            sock.sendall(b"ping")
            expect(socks.receive(sock, 4), b"ping", "the echo")
    else:
        name = f"serves{time.monotonic_ns()}.example"
        expect(len(Message(ask_udp(query_bytes(name), daemon.port)).answers), 1, "the number of answers")


def start_from_file(program, extra=""):
    """A daemon with a configuration file, and that file's path and good content."""
    port = harness.free_port()
    content = f"[listen test]\naddress = {harness.listen_addresses(port)}\n"
    if program == "dnsproxyd":
        content += f"[upstream default]\nserver = {name_server().address}\n"
    content += extra
    path = harness.temporary_file(f"{program}-{port}.conf", content)
    return harness.Daemon(program, port, config=path), path, content


def rewrite(path, content):
    with open(path, "w", encoding="ascii") as file:
        file.write(content)


def check_reload_broken(program):
    daemon, path, content = start_from_file(program)
    expect_serves(daemon)
    for broken in (content + "[server]\nworkerz = 1\n", "[listen test]\naddress = nonsense\n", "[", None):
        before = len(daemon.log())
        if broken is None:
            os.unlink(path)
        else:
            rewrite(path, broken)
        daemon.send_signal(signal.SIGHUP)
        daemon.wait_log(re.escape(os.path.basename(path)) + r":\d+", before)
        expect(daemon.process.poll(), None, "the exit status")
        expect_serves(daemon)
    before = len(daemon.log())
    rewrite(path, content)
    daemon.send_signal(signal.SIGHUP)
    daemon.wait_log("reload", before)
    expect_serves(daemon)
    daemon.stop()


def test_reload_broken():
    """SIGHUP with a broken file"""
    for program in DAEMONS:
        yield f"{program} keeps serving when a reload finds a broken file", functools.partial(
            check_reload_broken, program)


def test_reload_changes():
    """SIGHUP changes handshake-timeout, and leaves sessions alone"""
    daemon, path, content = start_from_file("socksd", "[limits]\nhandshake-timeout = 60s\n")
    with socks.connect(daemon.port, "127.0.0.1", echo_target().port) as session:
        with socks.open_proxy(daemon.port) as sock:
            sock.settimeout(2)
            try:
                expect(sock.recv(1), None, "what a handshake within its time gets")
            except TimeoutError:
                pass
        before = len(daemon.log())
        rewrite(path, content.replace("60s", "1s"))
        daemon.send_signal(signal.SIGHUP)
        daemon.wait_log("reload", before)
        began = time.monotonic()
        with socks.open_proxy(daemon.port) as sock:
            try:
                expect(sock.recv(1), b"", "what a slow handshake gets")
            except ConnectionResetError:
                pass
        took = time.monotonic() - began
        expect(0.7 < took < 4, True, f"that {took:.1f} s are about 1 s")
        session.sendall(b"still here")
        expect(socks.receive(session, 10), b"still here", "the echo of a session from before")
    daemon.stop()


def test_reload_restart_keys():
    """SIGHUP says which keys need a restart"""
    for program in DAEMONS:
        daemon, path, content = start_from_file(program, "[server]\nworkers = 1\n")
        before = len(daemon.log())
        rewrite(path, content.replace("workers = 1", "workers = 2"))
        daemon.send_signal(signal.SIGHUP)
        daemon.wait_log(r"server\.workers", before)
        expect_serves(daemon)
        daemon.stop()


def test_reload_under_load():
    """20 reloads while sessions come and go lose none"""
    for program in DAEMONS:
        daemon, _path, _content = start_from_file(program)
        for _ in range(20):
            daemon.send_signal(signal.SIGHUP)
            for _ in range(5):
                expect_serves(daemon)
        daemon.stop()


def test_drain():
    """SIGTERM lets a session end by itself, and takes no new ones"""
    daemon, _path, _content = start_from_file("socksd")
    with socks.connect(daemon.port, "127.0.0.1", echo_target().port) as session:
        daemon.send_signal(signal.SIGTERM)
        harness.wait_until(lambda: not harness.accepts(daemon.port), what="end of accepting")
        session.sendall(b"ping")
        expect(socks.receive(session, 4), b"ping", "the echo while draining")
        expect(daemon.process.poll(), None, "the exit status while draining")
    daemon.process.wait(10)
    daemon.stop()


def test_drain_timeout():
    """drain-timeout ends what does not end by itself"""
    daemon, _path, _content = start_from_file("socksd", "[limits]\ndrain-timeout = 1s\n")
    with socks.connect(daemon.port, "127.0.0.1", echo_target().port):
        began = time.monotonic()
        daemon.stop(seconds=10)
        took = time.monotonic() - began
    expect(0.7 < took < 5, True, f"that {took:.1f} s are about 1 s")


def check_at_once(first, second):
    daemon, _path, _content = start_from_file("socksd")
    with socks.connect(daemon.port, "127.0.0.1", echo_target().port):
        if first:
            daemon.send_signal(first)
            time.sleep(0.5)
            expect(daemon.process.poll(), None, "the exit status after the first signal")
        began = time.monotonic()
        daemon.stop(second, seconds=10)
        took = time.monotonic() - began
    expect(took < 2, True, f"that {took:.1f} s are less than 2 s")


def test_exit_at_once():
    """Signals that end it at once, with a session open"""
    for name, first, second in (("SIGTERM twice", signal.SIGTERM, signal.SIGTERM),
                                ("SIGTERM, then SIGINT", signal.SIGTERM, signal.SIGINT),
                                ("SIGINT", None, signal.SIGINT)):
        yield f"{name} ends socksd at once", functools.partial(check_at_once, first, second)


def test_dns_stop():
    """dnsproxyd ends at SIGTERM and at SIGINT within a second"""
    for number in (signal.SIGTERM, signal.SIGINT):
        daemon, _path, _content = start_from_file("dnsproxyd")
        expect_serves(daemon)
        began = time.monotonic()
        daemon.stop(number)
        took = time.monotonic() - began
        expect(took < 1.5, True, f"that {took:.1f} s are less than 1.5 s")


def check_port_taken(program):
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen(1)
        port = holder.getsockname()[1]
        status, out, err = run_daemon(program, "-o", f"listen test.address=127.0.0.1:{port}")
    expect((status, out), (1, ""), f"exit status and stdout (stderr: {err!r})")
    errors = [line for line in err.splitlines() if " error " in line]
    expect(len(errors), 1, f"the number of errors logged ({err!r})")
    expect(str(port) in errors[0] and "in use" in errors[0], True, f"that {errors[0]!r} says what is taken")


def check_port_taken_by_itself(program):
    daemon, _path, _content = start_from_file(program)
    status, _out, err = run_daemon(program, "-o", f"listen test.address=127.0.0.1:{daemon.port}")
    expect((status, "in use" in err), (1, True), f"status and message ({err!r})")
    expect_serves(daemon)
    daemon.stop()


def test_port_taken():
    """A port that is taken"""
    for program in DAEMONS:
        yield f"{program} says which port is taken", functools.partial(check_port_taken, program)
        yield f"a second {program} does not share the first one's port", functools.partial(
            check_port_taken_by_itself, program)


def check_privileges(program):
    if not harness.IS_ROOT:
        raise harness.Skip("not root")
    harness.needs_plain_build()
    daemon, _path, _content = start_from_file(program)
    names = [entry.pw_name for entry in pwd.getpwall()]
    user = pwd.getpwnam(program if program in names else "nobody")
    expect(daemon.status_field("Uid").split(), [str(user.pw_uid)] * 4, "Uid")
    expect(daemon.status_field("Gid").split(), [str(user.pw_gid)] * 4, "Gid")
    expect([group for group in daemon.status_field("Groups").split() if group == "0"], [], "root's groups")
    for field in ("CapInh", "CapPrm", "CapEff", "CapAmb"):
        expect(int(daemon.status_field(field), 16), 0, field)
    # All threads, not only the first.
    for task in os.listdir(f"/proc/{daemon.process.pid}/task"):
        with open(f"/proc/{daemon.process.pid}/task/{task}/status", encoding="ascii") as file:
            expect(f"Uid:\t{user.pw_uid}\t" in file.read(), True, f"that thread {task} has dropped them too")
    expect_serves(daemon)
    daemon.stop()


def test_privileges():
    """Started as root"""
    for program in DAEMONS:
        yield f"{program} gives up root and all capabilities", functools.partial(check_privileges, program)


def test_unknown_user():
    """A user that does not exist is refused"""
    if not harness.IS_ROOT:
        raise harness.Skip("not root")
    for program in DAEMONS:
        status, _out, err = run_daemon(program, "-o", "server.user=no-such-user", "-o",
                                       f"listen test.address=127.0.0.1:{harness.free_port()}")
        expect((status in (1, 2), "no-such-user" in err), (True, True), f"status and message ({status}, {err!r})")


def test_counters():
    """SIGUSR1 logs counters that go up"""
    for program in DAEMONS:
        daemon, _path, _content = start_from_file(program)
        before = daemon.counters()
        expect(len(before) > 3, True, f"that {before} are some counters")
        for _ in range(5):
            expect_serves(daemon)
        after = daemon.counters()
        expect(sorted(after), sorted(before), "the counters' names")
        rises = [name for name in after if after[name] - before[name] == 5]
        expect(rises != [], True, f"that a counter rose by 5 ({before} -> {after})")
        daemon.stop()


# --- socksd-passwd --------------------------------------------------------------------------------


def passwd(*arguments, text_in=b"", status=0):
    return harness.output_of(harness.program_path("socksd-passwd"), *arguments, text_in=text_in, status=status)


def test_passwd():
    """socksd-passwd adds, replaces and deletes, with mode 0640"""
    path = harness.temporary_path("passwd")
    passwd(path, "alice", text_in=b"first\n")
    passwd(path, "bob", text_in=b"second")
    expect(os.stat(path).st_mode & 0o7777, 0o640, "the mode")
    with open(path, encoding="ascii") as file:
        old = file.read().splitlines()
    expect([line.split(":")[0] for line in old], ["alice", "bob"], "the names")
    expect([line.split(":")[1].startswith("$argon2id$") for line in old], [True, True], "that they are Argon2id")
    passwd(path, "alice", text_in=b"third\n")
    with open(path, encoding="ascii") as file:
        new = file.read().splitlines()
    expect((len(new), new[0] != old[0], new[1] == old[1]), (2, True, True), "lines, alice changed, bob unchanged")
    passwd("-d", path, "alice")
    with open(path, encoding="ascii") as file:
        expect(file.read().splitlines(), [old[1]], "what is left")
    expect([name for name in os.listdir(harness.temporary_directory()) if name.startswith("passwd")], ["passwd"],
           "the files beside it")


def test_passwd_refuses():
    """socksd-passwd refuses bad names, an empty password, and to delete whom it does not know"""
    path = harness.temporary_path("passwd-refuses")
    for arguments, text in (((path, "a:b"), b"x\n"), ((path, ""), b"x\n"), ((path, "a" * 256), b"x\n"),
                            ((path, "a\nb"), b"x\n"), ((path, "alice"), b"\n"), ((path, "alice"), b""),
                            ((path, "alice"), b"x" * 256 + b"\n"), (("-d", path, "nobody"), b""), ((), b"")):
        done = subprocess.run([harness.program_path("socksd-passwd"), *arguments], input=text, capture_output=True,
                              timeout=20, check=False)
        expect((done.returncode in (1, 2), bool(done.stderr)), (True, True), f"status and stderr for {arguments}")
    expect(os.path.exists(path), False, "that there is a file now")


if __name__ == "__main__":
    harness.run(globals())
