# SPDX-License-Identifier: ISC
"""The AppArmor profiles: the parser takes them, and they allow what the daemons do, as strace sees it. No kernel is asked, so
this works where AppArmor is not in use; what strace cannot see (capabilities, signals) is not looked at."""

import os
import re
import signal

import harness
import socks_client as socks
from dns_message import TC, Message, a_record, query_bytes
from harness import expect, needs, output_of
from peers import DnsServer, TcpTarget, ask_tcp, ask_udp, echo

TOP = os.environ.get("srcdir", os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", ".."))
CALLS = "execve,open,openat,creat,rename,renameat,unlink,unlinkat,mkdir,connect,socket"
FAMILIES = {"AF_INET": "inet", "AF_INET6": "inet6", "AF_NETLINK": "netlink"}
KINDS = {"SOCK_STREAM": "stream", "SOCK_DGRAM": "dgram", "SOCK_RAW": "raw"}


def parse(profile, *options):
    needs("apparmor_parser")
    return output_of("/sbin/apparmor_parser", *options, os.path.join(TOP, "packaging", "apparmor", profile)).decode()


def test_parser():
    """apparmor_parser compiles the profiles"""
    for profile in ("socksd", "dnsproxyd"):
        parse(profile, "--skip-kernel-load", "--skip-cache", "--abort-on-error", "--warn=all")


# --- what a profile allows ------------------------------------------------------------------------


class Profile:
    """The rules about files and sockets of a profile. The paths of a test are what they would be after an installation:
    places are pairs of a path of the test and of one that is installed."""

    def __init__(self, name, places):
        self.variables = {}
        self.files = []  # (pattern, permissions)
        self.networks = set()
        self.places = places
        for line in re.sub(r"#.*", "", parse(name, "--preprocess")).splitlines():
            self._take(line.strip())

    def _take(self, line):
        assignment = re.match(r"@\{(\w+)\}\s*\+?=\s*(.*)$", line)
        rule = re.match(r"(?:owner )?([/@]\S*)\s+([a-zA-Z]+),$", line)
        network = re.match(r"network (\w+) (\w+),$", line)
        if assignment:
            self.variables.setdefault(assignment.group(1), []).extend(assignment.group(2).split())
        elif rule:
            self.files.append((re.compile(self._pattern(rule.group(1)) + r"\Z"), rule.group(2)))
        elif network:
            self.networks.add(network.groups())

    def _pattern(self, glob):
        """A regular expression for a path with wildcards (apparmor.d(5), GLOBBING)."""
        while True:
            variable = re.search(r"@\{(\w+)\}", glob)
            if not variable:
                break
            values = "{" + ",".join(self.variables[variable.group(1)]) + "}"
            glob = glob[:variable.start()] + values + glob[variable.end():]
        glob = re.sub(r"/+", "/", glob)
        words = {"**": ".*", "*": "[^/]*", "?": "[^/]", "{": "(?:", "}": ")", ",": "|"}
        # A variable that ends in a slash, as @{PROC}, may be followed by one.
        return re.sub(r"/\)/", "/)/?", "".join(
            words.get(part, part if part.startswith("[") else re.escape(part))
            for part in re.findall(r"\*\*|\[[^]]*\]|.", glob)))

    def installed(self, path):
        for place, installed in self.places:
            if path.startswith(place):
                return installed + path[len(place):]
        return path

    def allows_file(self, path, permission):
        return any(permission in permissions and pattern.match(path) for pattern, permissions in self.files)


def traced_accesses(trace):
    """(path or network, permission) of each call in the output of strace -y that names a path in full."""
    accesses = set()
    for line in trace.splitlines():
        call = re.match(r"(?:\d+ +)?(\w+)\((.*)\) += (.*)$", line)
        if not call:
            continue
        name, arguments, result = call.groups()
        paths = re.findall(r'"(/[^"]*)"', arguments)
        opened = re.search(r"<(/[^>]*)>", result)
        if name == "socket":
            family, kind = re.match(r"(\w+), (\w+)", arguments).groups()
            if family != "AF_UNIX":
                accesses.add(((FAMILIES[family], KINDS[kind]), "network"))
        elif name == "connect":
            accesses.update((path, "w") for path in re.findall(r'sun_path="(/[^"]*)"', arguments))
        elif name == "execve":
            accesses.update((path, "r") for path in paths[:1])
        elif name in ("rename", "renameat"):
            accesses.update((path, permission) for path in paths for permission in "rw")
        elif paths and "O_PATH" not in arguments:
            path = opened.group(1) if opened else paths[0]
            path += "/" if "O_DIRECTORY" in arguments and path[-1] != "/" else ""
            accesses.update((path, "r") for _ in re.findall("O_RDONLY|O_RDWR", arguments))
            accesses.update((path, "w") for _ in re.findall("O_WRONLY|O_RDWR|unlink", name + arguments))
    return accesses


def check_trace(name, path, places):
    """All that the daemon did is allowed."""
    profile = Profile(name, places)
    with open(path, encoding="utf-8", errors="replace") as file:
        trace = file.read()
    # What came before the daemon is of the programs that started it.
    trace = trace[trace.index(f'execve("{harness.program_path(name)}"'):]
    accesses = traced_accesses(trace)
    denied = sorted({f"{profile.installed(path)} {permission}" for path, permission in accesses
                     if permission != "network" and not profile.allows_file(profile.installed(path), permission)})
    denied += sorted(" ".join(network) for network, permission in accesses
                     if permission == "network" and network not in profile.networks)
    expect(denied, [], f"what the profile does not allow of {len(accesses)} accesses")
    expect(len(accesses) > 15, True, f"that {len(accesses)} accesses are many enough")
    expect(profile.allows_file("/etc/shadow", "r"), False, "whether the profile allows everything")


def traced(trace_path):
    """A wrapper: as a user without rights, which the units' users are, under strace."""
    needs("strace", "setpriv")
    harness.needs_plain_build()
    as_nobody = ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups"] if harness.IS_ROOT else []
    return ["strace", "-f", "-y", "-qq", "-s", "4096", "-o", trace_path, "-e", f"trace={CALLS}", *as_nobody]


def end(daemon):
    """A reload and the end, told to the daemon and not to strace."""
    pid = int(re.search(r" pid=(\d+)", daemon.log()).group(1))
    os.kill(pid, signal.SIGHUP)
    daemon.wait_log("[ >]reloaded ")
    os.kill(pid, signal.SIGTERM)
    expect(daemon.process.wait(20), 0, "exit status")
    daemon.stopping = True


def test_socksd():
    """socksd does nothing that its profile does not allow: users, lists, DNS, reload"""
    trace = harness.temporary_path("socksd.trace")
    folder = harness.temporary_path("etc-socksd")
    os.mkdir(folder)
    users = os.path.join(folder, "users")
    output_of(harness.program_path("socksd-passwd"), users, "alice", text_in=b"secret\n")
    harness.let_daemons_read(users)
    harness.temporary_file("etc-socksd/block.list", "ads.example\n")
    config = harness.temporary_file("etc-socksd/socksd.conf", "[rule ads]\naction = deny\n"
                                    f"destination = @{folder}/block.list\n")
    name_server = DnsServer(lambda message, transport: message.answer_bytes([a_record(message.name, "127.0.0.1")]))
    target = TcpTarget(echo)
    daemon = harness.socksd("listen test.auth=password", f"listen test.users={users}",
                            f"dns.server={name_server.address}", config=config, wrapper=traced(trace))
    with socks.connect(daemon.port, "web.example", target.port, user="alice", password="secret") as sock:
        sock.sendall(b"hello")
        expect(sock.recv(5), b"hello", "echo")
    end(daemon)
    check_trace("socksd", trace, [(folder, "/etc/socksd"), (harness.program_path("socksd"), "/usr/sbin/socksd")])
    target.close()
    name_server.close()


def test_dnsproxyd():
    """dnsproxyd does nothing that its profile does not allow: resolv.conf, upstream by UDP and TCP, cache file, reload"""
    trace = harness.temporary_path("dnsproxyd.trace")
    folder = harness.temporary_path("cache-dnsproxyd")
    os.mkdir(folder)
    os.chmod(folder, 0o777)
    config = harness.temporary_file("dnsproxyd.conf", f"[cache]\nfile = {folder}/cache\n")
    places = [(folder, "/var/cache/dnsproxyd"), (config, "/etc/dnsproxyd/dnsproxyd.conf"),
              (harness.program_path("dnsproxyd"), "/usr/sbin/dnsproxyd")]
    name_server = DnsServer(lambda message, transport: message.answer_bytes(
        [a_record(message.name, "192.0.2.1")], flags=TC if transport == "udp" else 0))
    # The second reads what the first has saved, and /etc/resolv.conf, whose servers are not asked about localhost.
    for server, name in ((name_server.address, "www.example"), (None, "localhost")):
        daemon = harness.dnsproxyd(server, config=config, wrapper=traced(trace))
        for ask in (ask_udp, ask_tcp):
            expect(len(Message(ask(query_bytes(name), daemon.port)).answers), 1, "number of answers")
        end(daemon)
        check_trace("dnsproxyd", trace, places)
    name_server.close()


if __name__ == "__main__":
    harness.run(globals())
