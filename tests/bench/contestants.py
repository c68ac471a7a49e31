# SPDX-License-Identifier: ISC
"""The servers that are compared: ours and the peers that Debian packages. Each start_*() returns a Server that answers."""

import os
import random
import shutil
import socket
import time

import measure

HOST = "127.0.0.1"
CACHE_NAMES = 2200000


class Server(measure.Process):
    """A process that serves on host:port."""

    def __init__(self, command, host, port, namespace=None, on_cpus=None):
        super().__init__(command, on_cpus or measure.cpus()[0], namespace)
        self.host, self.port, self.namespace = host, port, namespace

    @property
    def address(self):
        return f"{self.host}:{self.port}"

    def wait_tcp(self):
        end = time.monotonic() + 15
        while time.monotonic() < end and self.child.poll() is None:
            with socket.socket() as sock:
                sock.settimeout(1)
                if self.namespace or sock.connect_ex((self.host, self.port)) == 0:
                    time.sleep(0.5 if self.namespace else 0.1)
                    return self
            time.sleep(0.05)
        raise RuntimeError(f"{' '.join(self.command)} does not serve: {self.tail()}")


def free_port():
    """One that nobody uses, by TCP or UDP, and that the kernel gives to no outgoing connection."""
    while True:
        port = random.randrange(10000, 30000)
        with socket.socket() as stream, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagram:
            try:
                stream.bind((HOST, port))
                datagram.bind((HOST, port))
                return port
            except OSError:
                continue


def configuration(name, text):
    path = os.path.join(measure.Process.scratch(), f"{name}-{time.monotonic_ns()}")
    with open(path, "w", encoding="ascii") as file:
        file.write(text)
    os.chmod(path, 0o644)
    return path


def installed(program):
    return shutil.which(program, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")


# --- SOCKS and TCP --------------------------------------------------------------------------------


def start_socksd(builddir, host=HOST, namespace=None, workers=1, users=None, on_cpus=None, destination="127.0.0.0/8"):
    port = free_port()
    options = [f"server.workers={workers}", "server.user=root", "log.level=warning", f"listen b.address={host}:{port}",
               "listen b.clients=any", "limits.max-sessions-per-client=100000", "rule b.action=allow",
               f"rule b.destination={destination}", "rule b.command=connect, udp",
               *([f"listen b.auth=password", f"listen b.users={users}"] if users else ["listen b.open-proxy=yes"])]
    command = [os.path.join(builddir, "socksd", "socksd"), "-c", configuration("ours", ""),
               *(word for option in options for word in ("-o", option))]
    return Server(command, host, port, namespace, on_cpus).wait_tcp()


def start_danted(_builddir):
    port = free_port()
    path = configuration("danted", f"""
        logoutput: /dev/null
        internal: {HOST} port = {port}
        external: lo
        socksmethod: none
        clientmethod: none
        user.privileged: root
        user.unprivileged: root
        client pass {{ from: 0.0.0.0/0 to: 0.0.0.0/0 }}
        socks pass {{ from: 0.0.0.0/0 to: 0.0.0.0/0 }}
        """)
    return Server([installed("danted"), "-f", path], HOST, port).wait_tcp()


def start_microsocks(_builddir):
    port = free_port()
    return Server([installed("microsocks"), "-i", HOST, "-p", str(port)], HOST, port).wait_tcp()


def start_haproxy(targets, splice, pipe_bytes=1048576, host=HOST, namespace=None):
    """A plain TCP relay to the targets, in turn."""
    port = free_port()
    tuning = f"tune.pipesize {pipe_bytes}" if pipe_bytes else ""
    options = "option splice-request\n option splice-response" if splice else ""
    servers = "\n".join(f" server target{i} {target}" for i, target in enumerate(targets))
    path = configuration("haproxy", f"""
global
 nbthread 1
 maxconn 7500
 maxpipes 600
 tune.maxpollevents 256
 {tuning}
defaults
 mode tcp
 timeout client 1h
 timeout server 1h
 timeout connect 10s
 {options}
listen relay
 bind {host}:{port} backlog 4096
{servers}
""")
    return Server([installed("haproxy"), "-db", *([] if splice else ["-dS"]), "-f", path], host, port, namespace).wait_tcp()


# --- DNS ------------------------------------------------------------------------------------------


def wait_dns(server):
    """Until it answers a question."""
    query = (b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x08n9999999\x05bench\x04zone\x00\x00\x01\x00\x01")
    end = time.monotonic() + 20
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(0.3)
        sock.connect((server.host, server.port))
        while time.monotonic() < end and server.child.poll() is None:
            try:
                sock.send(query)
                answer = sock.recv(512)
                if answer[:2] == query[:2] and answer[3] & 15 == 0:
                    return server
            except OSError:
                pass
            time.sleep(0.1)
    raise RuntimeError(f"{' '.join(server.command)} does not answer: {server.tail()}")


def start_responder(builddir, delay_ms=0, on_cpus=None):
    port = free_port()
    command = [os.path.join(builddir, "tests", "bench", "dns_responder"), f"{HOST}:{port}"]
    return wait_dns(Server(command + ([str(delay_ms)] if delay_ms else []), HOST, port, on_cpus=on_cpus))


def start_dnsproxyd(builddir, upstream, size="1G", workers=1, on_cpus=None):
    port = free_port()
    options = [f"server.workers={workers}", "server.user=root", "log.level=warning", f"listen b.address={HOST}:{port}",
               f"upstream default.server={upstream}", f"cache.size={size}"]
    command = [os.path.join(builddir, "dnsproxyd", "dnsproxyd"), "-c", configuration("ours", ""),
               *(word for option in options for word in ("-o", option))]
    return wait_dns(Server(command, HOST, port, on_cpus=on_cpus))


def start_dnsmasq(upstream):
    host, port = upstream.split(":")
    mine = free_port()
    command = [installed("dnsmasq"), "-k", "-C", os.devnull, "--no-resolv", "--no-hosts", "--no-poll", "--bind-interfaces",
               f"--listen-address={HOST}", f"--port={mine}", f"--server={host}#{port}", f"--cache-size={CACHE_NAMES}",
               "--dns-forward-max=10000", "--user=root", "--pid-file", "--max-ttl=86400"]
    return wait_dns(Server(command, HOST, mine))


def start_unbound(upstream):
    host, port = upstream.split(":")
    mine = free_port()
    path = configuration("unbound", f"""
server:
 interface: {HOST}@{mine}
 num-threads: 1
 so-reuseport: yes
 module-config: "iterator"
 msg-cache-size: 600m
 rrset-cache-size: 900m
 outgoing-range: 8192
 num-queries-per-thread: 4096
 so-rcvbuf: 4m
 so-sndbuf: 4m
 minimal-responses: yes
 qname-minimisation: no
 do-not-query-localhost: no
 chroot: ""
 username: ""
 pidfile: ""
 use-syslog: no
 do-daemonize: no
forward-zone:
 name: "."
 forward-addr: {host}@{port}
remote-control:
 control-enable: no
""")
    return wait_dns(Server([installed("unbound"), "-d", "-c", path], HOST, mine))


def start_dnsdist(upstream):
    mine = free_port()
    path = configuration("dnsdist", f"""
setLocal('{HOST}:{mine}')
setMaxUDPOutstanding(65535)
newServer{{address='{upstream}', sockets=4}}:setUp()
cache = newPacketCache({CACHE_NAMES}, {{maxTTL=86400, numberOfShards=4}})
getPool(''):setCache(cache)
setSecurityPollSuffix('')
""")
    return wait_dns(Server([installed("dnsdist"), "--supervised", "--disable-syslog", "-C", path], HOST, mine))


def start_smartdns(upstream):
    mine = free_port()
    path = configuration("smartdns", f"""
bind {HOST}:{mine}
server {upstream}
cache-size {CACHE_NAMES}
cache-persist no
speed-check-mode none
prefetch-domain no
serve-expired no
dualstack-ip-selection no
response-mode fastest-response
log-level fatal
""")
    return wait_dns(Server([installed("smartdns"), "-f", "-c", path, "-p", "-"], HOST, mine))


def start_knot_resolver(upstream):
    """It validates nothing here, as the others; kresd is the program's name."""
    host, port = upstream.split(":")
    mine = free_port()
    directory = configuration("kresd-state", "")
    os.unlink(directory)
    os.mkdir(directory)
    path = configuration("kresd", f"""
net.listen('{HOST}', {mine}, {{ kind = 'dns' }})
net.bufsize(1232)
cache.size = 600 * MB
trust_anchors.remove('.')
modules.unload('ta_update')
modules.unload('ta_signal_query')
modules.unload('priming')
modules.unload('detect_time_skew')
policy.add(policy.all(policy.FORWARD('{host}@{port}')))
""")
    return wait_dns(Server([installed("kresd"), "-n", "-q", "-c", path, directory], HOST, mine))
