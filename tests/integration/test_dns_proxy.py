# SPDX-License-Identifier: ISC
"""dnsproxyd asking through a SOCKS5 proxy, our own."""

import socket
import time

import dns_message as dns
import harness
from dns_message import Message, query_bytes
from encrypted_peers import HOST, Dnsdist, certificate
from harness import expect
from peers import ask_udp
from scripted_dns import ScriptedServer

QUICK = "upstream default.timeout=500ms"


def ask(daemon, name):
    return Message(ask_udp(query_bytes(name, opt=dns.opt_record()), daemon.port))


def addresses(reply):
    return [socket.inet_ntoa(record.rdata) for record in reply.answers if record.type == dns.A]


def through(proxy, servers, *options):
    return harness.dnsproxyd(servers, f"upstream default.proxy=socks5://127.0.0.1:{proxy.port}", QUICK, *options)


def test_plain():
    """Servers that would be asked by UDP are asked by TCP, through the proxy, and without it not at all."""
    server = ScriptedServer()
    proxy = harness.socksd()
    daemon = through(proxy, server.address)
    for number in range(20):
        expect(addresses(ask(daemon, f"plain{number}.example")), ["192.0.2.7"], "answer")
    expect({query.transport for query in server.seen}, {"tcp"}, "transports")
    expect(1 <= server.connection_count <= 2, True, "that there is one connection for each worker")
    proxy.stop()
    asked = len(server.seen)
    connections = server.connection_count
    expect(ask(daemon, "gone.example").rcode, dns.SERVFAIL, "rcode without the proxy")
    expect((len(server.seen), server.connection_count), (asked, connections), "what the server saw then")
    daemon.stop()
    server.close()


def test_encrypted():
    """TLS and HTTPS go through the proxy, which looks up the names of servers."""
    names = ScriptedServer(lambda query: query.reply(query.good("127.0.0.1") if query.message.type == dns.A else
                                                     query.message.answer_bytes()))
    proxy = harness.socksd(f"dns.server={names.address}")
    server = Dnsdist()
    for url in (f"tls://{HOST}:{server.tls_port}", f"https://{HOST}:{server.https_port}/dns-query",
                f"tls://127.0.0.1:{server.tls_port}#{HOST}", server.https()):
        daemon = through(proxy, url, f"upstream default.ca={certificate('ca.pem')}")
        expect(addresses(ask(daemon, f"e{time.monotonic_ns()}.example")), ["192.0.2.7"], f"answer by {url}")
        expect(daemon.counters()["bootstraps"], 0, "lookups of our own")
        daemon.stop()
    expect({query.name for query in names.seen}, {HOST}, "what the proxy has looked up")
    proxy.stop()
    server.close()
    names.close()


def test_password():
    """With a password, the right one only."""
    server = ScriptedServer()
    users = harness.temporary_path("users")
    harness.output_of(harness.program_path("socksd-passwd"), users, "me", text_in=b"secret\n")
    harness.let_daemons_read(users)
    proxy = harness.socksd("listen test.auth=password", f"listen test.users={users}")
    for password, rcode in (("secret", dns.NOERROR), ("other", dns.SERVFAIL)):
        daemon = harness.dnsproxyd(server.address, f"upstream default.proxy=socks5://me:{password}@127.0.0.1:{proxy.port}",
                                   QUICK)
        expect(ask(daemon, f"{password}.example").rcode, rcode, f"rcode with the password {password}")
        expect(password in daemon.log(), False, "that the log has the password")
        daemon.stop()
    proxy.stop()
    server.close()


def refused_config(*options):
    command = [harness.program_path("dnsproxyd"), "-t", "-c", harness.temporary_file("empty.conf")]
    for option in options:
        command += ["-o", option]
    process = harness.start(command, stdout=-1, stderr=-2)
    text = process.communicate(timeout=20)[0].decode()
    expect(process.returncode, 2, "exit status")
    return text


def test_config():
    """What would leave without the proxy is refused."""
    proxy = "upstream default.proxy=socks5://127.0.0.1:1080"
    for options, why in (
            ((proxy,), "no server"),
            ((proxy, "upstream default.server=9.9.9.9", "upstream default.bootstrap=9.9.9.9"), "directly"),
            (("upstream default.proxy=socks5://proxy.example", "upstream default.server=9.9.9.9"), "no proxy"),
            ((proxy, "upstream default.server=sdns://AQMAAAAAAAAADjE5Mi4wLjIuMTo4NDQzIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxg"
              "ZGhscHR4fGzIuZG5zY3J5cHQtY2VydC5leGFtcGxlLmNvbQ"), "DNSCrypt")):
        text = refused_config(*options)
        expect(why in text, True, f"that {text!r} says {why!r}")


if __name__ == "__main__":
    harness.run(globals(), tries=2)
