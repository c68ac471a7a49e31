# SPDX-License-Identifier: ISC
"""UDP ASSOCIATE with clients of others: socksify of dante-client around nc and kdig, DNS over QUIC among them, and the node
package socks.

No client in Debian 12 speaks HTTP/3 through a SOCKS5 proxy: curl has no HTTP/3, Chromium and Firefox do not use QUIC when
a SOCKS proxy is set. kdig speaks QUIC and knotd answers it, by XDP only, so that case needs root and a network of its own.
dig and host do not work with socksify: they send without the header of SOCKS, which the counters show.
"""

import socket
import subprocess
import threading

import harness
from dns_message import NXDOMAIN, a_record, soa_record
from harness import expect, needs, output_of
from namespaces import Network
from peers import DnsServer
from socks_tools import node_environment, socksify_environment


class Echo:
    """A UDP socket that sends back what it gets, and remembers it."""

    def __init__(self, host="127.0.0.1"):
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.sock.bind((host, 0))
        self.port = self.sock.getsockname()[1]
        self.seen = []
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        while True:
            data, source = self.sock.recvfrom(65536)
            self.seen.append(data)
            self.sock.sendto(data, source)


def answer(message, _transport):
    if message.name.lower() != "www.house.example":
        return message.answer_bytes(authority=[soa_record("example")], rcode=NXDOMAIN)
    return message.answer_bytes([a_record(message.name, "192.0.2.33")] if message.type == 1 else [])


def expect_counted(server, up, down):
    counters = harness.wait_until(lambda: (seen := server.counters())["udp_associations_now"] == 0 and seen,
                                  what="end of the association")
    expect((counters["udp_datagrams_up"], counters["udp_datagrams_down"]), (up, down), "datagrams")
    dropped = {name: count for name, count in counters.items() if name.startswith("udp_drop") and count}
    expect(dropped, {}, "dropped datagrams")


def test_nc():
    """socksify nc -u: a line goes to an echo server and comes back"""
    needs("socksify", "nc")
    server, echo = harness.socksd(), Echo()
    process = harness.start(["socksify", "nc", "-u", "127.0.0.1", str(echo.port)], stdin=subprocess.PIPE,
                            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=socksify_environment(server))
    process.stdin.write(b"a line by UDP\n")
    process.stdin.flush()
    expect(process.stdout.readline(), b"a line by UDP\n", "the echo")
    harness.kill_group(process)
    expect_counted(server, 1, 1)
    server.stop()


def test_kdig():
    """socksify kdig: DNS by UDP"""
    needs("socksify", "kdig")
    server, dns = harness.socksd(), DnsServer(answer)
    printed = output_of("socksify", "kdig", "@127.0.0.1", "-p", dns.address.rsplit(":", 1)[1], "+short", "+time=5",
                        "+retry=0", "www.house.example", "A", env=socksify_environment(server))
    expect(printed, b"192.0.2.33\n", "the answer")
    expect_counted(server, 1, 1)
    server.stop()


KNOT_QUIC = """
server:
  rundir: %(directory)s
  listen: 10.78.0.2@53
  user: root
database:
  storage: %(directory)s
xdp:
  listen: eth0@5353
  quic: on
  quic-port: 853
log:
  - target: stderr
    any: info
zone:
  - domain: quic.example
    file: %(directory)s/quic.zone
    journal-content: none
"""
QUIC_ZONE = """$TTL 60
@ SOA ns admin 1 3600 600 86400 60
@ NS ns
ns A 192.0.2.1
www A 192.0.2.33
""" + "".join(f"big TXT \"{number} {'x' * 200}\"\n" for number in range(40))


def quic_network():
    """A network with knotd in the namespace "server"; socksd and its client are meant for "client"."""
    needs("socksify", "kdig", "knotd")
    net = Network("client", "server")
    net.join("client", "server", "eth0", "eth0")
    for number, name in ((1, "client"), (2, "server")):
        net.ip(name, f"address add 10.78.0.{number}/24 dev eth0")
        net.ip(name, "link set eth0 up")
    directory = harness.temporary_directory()
    harness.temporary_file("quic.zone", QUIC_ZONE)
    config = harness.temporary_file("quic.conf", KNOT_QUIC % {"directory": directory})
    log_path = harness.temporary_path("knot-quic.log")
    with open(log_path, "wb") as log:
        knot = harness.start([*net.wrapper("server"), "knotd", "-c", config], stdin=subprocess.DEVNULL, stdout=log,
                             stderr=log)

    def log_text():
        with open(log_path, encoding="utf-8") as log:
            return log.read()

    harness.wait_until(lambda: knot.poll() is not None or "server started" in log_text(), what="knotd")
    if knot.poll() is not None:
        raise harness.Skip(f"no QUIC by XDP here: {log_text()[-300:]}")
    return net


def test_quic():
    """socksify kdig +quic: DNS over QUIC (RFC 9250), a short answer and one of 8,000 bytes"""
    net = quic_network()
    server = harness.Daemon("socksd", 1080, ["listen test.address=127.0.0.1:1080"], wrapper=net.wrapper("client"))
    client = (*net.wrapper("client"), "socksify", "kdig", "+quic", "@10.78.0.2", "+time=5", "+retry=0")
    environment = socksify_environment(server)
    expect(output_of(*client, "+short", "www.quic.example", "A", env=environment), b"192.0.2.33\n", "the answer")
    printed = output_of(*client, "big.quic.example", "TXT", env=environment)
    expect((b"QUIC session (QUICv1)" in printed, printed.count(b"x" * 200)), (True, 40), f"QUIC, records ({printed[:300]!r})")
    counters = server.counters()
    print(f"# {counters['udp_datagrams_up']} datagrams up, {counters['udp_datagrams_down']} down")
    expect(counters["udp_datagrams_down"] >= 10, True, "that they passed through the proxy")
    dropped = {name: count for name, count in counters.items() if name.startswith("udp_drop") and count}
    expect(dropped, {}, "dropped datagrams")
    server.stop()
    net.close()


NODE_ASSOCIATE = """
const { SocksClient } = require('socks');
const dgram = require('dgram');
const [port, host, echo] = process.argv.slice(2);
const client = new SocksClient({
	proxy: { host: '127.0.0.1', port: Number(port), type: 5 },
	command: 'associate', destination: { host: '0.0.0.0', port: 0 },
});
client.on('error', error => { console.log('error', error.message); process.exit(1); });
client.on('established', info => {
	const sock = dgram.createSocket('udp4');
	let left = 20;
	const next = () => sock.send(SocksClient.createUDPFrame({
		remoteHost: { host, port: Number(echo) }, data: Buffer.from('datagram ' + left),
	}), info.remoteHost.port, info.remoteHost.host);
	sock.on('message', message => {
		const frame = SocksClient.parseUDPFrame(message);
		console.log(frame.remoteHost.host, frame.remoteHost.port, frame.data.toString());
		if (--left === 0) {
			sock.close();
			info.socket.destroy();
		} else {
			next();
		}
	});
	next();
});
client.connect();
"""


def test_node():
    """The node package socks: 20 datagrams to an address and 20 to a name, and their answers"""
    environment, dns, echo = node_environment(), DnsServer(local_answer), Echo()
    server = harness.socksd(f"dns.server={dns.address}")
    script = harness.temporary_file("associate.js", NODE_ASSOCIATE)
    for host in ("127.0.0.1", "echo.house.example"):
        printed = output_of("node", script, str(server.port), host, str(echo.port), env=environment)
        wanted = "".join(f"127.0.0.1 {echo.port} datagram {left}\n" for left in range(20, 0, -1))
        expect(printed.decode(), wanted, f"what it printed for {host}")
    expect_counted(server, 40, 40)
    server.stop()


def local_answer(message, _transport):
    return message.answer_bytes([a_record(message.name, "127.0.0.1")] if message.type == 1 else [])


if __name__ == "__main__":
    harness.run(globals())
