# SPDX-License-Identifier: ISC
"""UDP ASSOCIATE with clients of others: socksify of dante-client around nc and kdig, and the node package socks.

Of the clients in Debian 12 none speaks HTTP/3 through a SOCKS5 proxy: curl has no HTTP/3, Chromium and Firefox do not use
QUIC when a SOCKS proxy is set. kdig +quic does speak QUIC through socksify, but nothing in Debian 12 answers it: knotd has
QUIC over XDP only. What can be seen is that its first packet, 1,200 bytes, comes out of the proxy as QUIC.
"""

import socket
import subprocess
import threading

import harness
from dns_message import NXDOMAIN, a_record, soa_record
from harness import expect, needs, output_of
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


def test_kdig_quic():
    """socksify kdig +quic: its first packet comes out as QUIC (RFC 9000: a long header, 1,200 bytes at least)"""
    needs("socksify", "kdig")
    server, echo = harness.socksd(), Echo()
    output_of("socksify", "kdig", "+quic", "@127.0.0.1", "-p", str(echo.port), "+time=1", "+retry=0",
              "www.house.example", env=socksify_environment(server), status=None)
    if not echo.seen:
        raise harness.Skip("this kdig has no QUIC")
    first = echo.seen[0]
    expect((first[0] & 0xC0, first[1:5] != bytes(4), len(first) >= 1200), (0xC0, True, True),
           f"form, version and size of {first[:8].hex()}... ({len(first)} bytes)")
    server.stop()


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
