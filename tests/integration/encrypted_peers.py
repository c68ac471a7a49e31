# SPDX-License-Identifier: ISC
"""Servers for encrypted DNS: dnsdist with DNSCrypt, DoT and DoH in front of a scripted server, and what it takes to name
them: certificates, stamps."""

import base64
import functools
import hashlib
import os
import select
import shutil
import socket
import subprocess
import threading
import time

import harness
from scripted_dns import ScriptedServer

HOST = "dns.example"
PROVIDER = "2.dnscrypt-cert.dns.example"
_TOP_SRCDIR = os.path.abspath(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", ".."))


@functools.cache
def certificates():
    """A folder with the certificates of tests/certs/make-certs; good.pem is for HOST and 127.0.0.1, by ca.pem."""
    harness.needs("openssl")
    directory = harness.temporary_path("certificates")
    os.mkdir(directory)
    subprocess.run(["sh", os.path.join(_TOP_SRCDIR, "tests", "certs", "make-certs"), directory], check=True,
                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    for name in os.listdir(directory):
        if name.endswith(".key"):
            os.chmod(os.path.join(directory, name), 0o640)
            harness.let_daemons_read(os.path.join(directory, name))
    return directory


def certificate(name):
    return os.path.join(certificates(), name)


def _prefixed(data):
    return bytes([len(data)]) + data


def _stamp(binary):
    return "sdns://" + base64.urlsafe_b64encode(binary).rstrip(b"=").decode()


def dnscrypt_stamp(address, key, provider=PROVIDER):
    return _stamp(b"\1" + bytes(8) + _prefixed(address.encode()) + _prefixed(key) + _prefixed(provider.encode()))


def https_stamp(address, host=HOST, path="/dns-query", digest=b""):
    return _stamp(b"\2" + bytes(8) + _prefixed(address.encode()) + _prefixed(digest) + _prefixed(host.encode()) +
                  _prefixed(path.encode()))


def certificate_digest(path):
    """SHA-256 of the signed part of a PEM certificate, as stamps have it."""
    text = harness.output_of("openssl", "x509", "-in", path, "-outform", "DER")
    # SEQUENCE { tbsCertificate SEQUENCE ... }: the first element, with its header.
    def header(data, at):
        length = data[at + 1]
        if length < 0x80:
            return 2, length
        count = length & 0x7f
        return 2 + count, int.from_bytes(data[at + 2:at + 2 + count], "big")

    outer, _ = header(text, 0)
    inner, length = header(text, outer)
    return hashlib.sha256(text[outer:outer + inner + length]).digest()


class Dnsdist:
    """dnsdist in front of a ScriptedServer (.backend). .dnscrypt_port, .https_port, .tls_port; .stop() and .start() it
    again with .serial counted up, so that certificates are others."""

    def __init__(self, script=None, certificate_name="good"):
        harness.needs("dnsdist")
        self.backend = ScriptedServer(script)
        self.dnscrypt_port, self.https_port, self.tls_port = (harness.free_port() for _ in range(3))
        self.certificate_name = certificate_name
        self.directory = harness.temporary_path(f"dnsdist-{self.dnscrypt_port}")
        os.mkdir(self.directory)
        self.serial = 0
        self.cipher = "XChaCha20Poly1305"
        self.lifetime = (-3600, 86400)
        self.process = None
        self.start()

    def _config(self):
        begin, end = (int(time.time()) + offset for offset in self.lifetime)
        path = self.directory
        keys = "" if os.path.exists(f"{path}/provider.pub") else \
            f'generateDNSCryptProviderKeys("{path}/provider.pub", "{path}/provider.key")\n'
        pair = f'"{certificate(self.certificate_name + ".pem")}", "{certificate(self.certificate_name + ".key")}"'
        return f"""
setSecurityPollSuffix("")
setACL("127.0.0.0/8")
newServer({{address="{self.backend.address}", useClientSubnet=false}})
getServer(0):setUp()
{keys}generateDNSCryptCertificate("{path}/provider.key", "{path}/{self.serial}.cert", "{path}/{self.serial}.key", \
{self.serial}, {begin}, {end}, DNSCryptExchangeVersion.{"VERSION2" if "XChaCha" in self.cipher else "VERSION1"})
addDNSCryptBind("127.0.0.1:{self.dnscrypt_port}", "{PROVIDER}", "{path}/{self.serial}.cert", "{path}/{self.serial}.key")
addTLSLocal("127.0.0.1:{self.tls_port}", {pair})
addDOHLocal("127.0.0.1:{self.https_port}", {pair}, {{"/dns-query"}})
"""

    def start(self):
        self.serial += 1
        config = harness.temporary_file(f"dnsdist-{self.dnscrypt_port}/dnsdist-{self.serial}.conf", self._config())
        log = open(os.path.join(self.directory, "log"), "ab")
        self.process = harness.start([shutil.which("dnsdist", path=os.environ.get("PATH", "") + ":/usr/sbin"),
                                      "--supervised", "--disable-syslog", "-C", config],
                                     stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.directory)
        harness.wait_until(lambda: harness.accepts(self.https_port) and harness.accepts(self.dnscrypt_port) and
                           harness.accepts(self.tls_port), what="dnsdist")

    def stop(self):
        harness.kill_group(self.process)

    def key(self):
        with open(os.path.join(self.directory, "provider.pub"), "rb") as file:
            return file.read()

    def stamp(self):
        return dnscrypt_stamp(f"127.0.0.1:{self.dnscrypt_port}", self.key())

    def https(self):
        return f"https://127.0.0.1:{self.https_port}/dns-query#{HOST}"

    def close(self):
        self.stop()
        self.backend.close()


class Nginx:
    """nginx with HTTP/2 in front of a DoH server. location: directives for /dns-query."""

    def __init__(self, location, server=""):
        harness.needs("nginx")
        self.port = harness.free_port()
        directory = harness.temporary_path(f"nginx-{self.port}")
        os.mkdir(directory)
        config = harness.temporary_file(f"nginx-{self.port}/nginx.conf", f"""
daemon off;
worker_processes 1;
{"user root;" if harness.IS_ROOT else ""}
pid {directory}/pid;
error_log {directory}/error.log;
events {{ }}
http {{
    access_log off;
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    server {{
        listen 127.0.0.1:{self.port} ssl http2;
        ssl_certificate {certificate("good.pem")};
        ssl_certificate_key {certificate("good.key")};
        {server}
        location /dns-query {{ {location} }}
    }}
}}
""")
        self.process = harness.start([shutil.which("nginx", path=os.environ.get("PATH", "") + ":/usr/sbin"), "-c", config,
                                      "-e", f"{directory}/error.log"],
                                     stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        harness.wait_until(lambda: harness.accepts(self.port), what="nginx")

    def https(self):
        return f"https://127.0.0.1:{self.port}/dns-query#{HOST}"

    def close(self):
        harness.kill_group(self.process)


class Link:
    """The way to a server on a port of this host, by UDP and TCP, which can be .cut(): then whatever is sent vanishes, and
    connections of that time stay dead after it is .mended(), as after a redial."""

    def __init__(self, port):
        self.target = ("127.0.0.1", port)
        self.is_cut = False
        self.closed = False
        self.port = harness.free_port()
        self._listener = socket.create_server(("127.0.0.1", self.port))
        self._udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._udp.bind(("127.0.0.1", self.port))
        self._sockets = [self._listener, self._udp]
        threading.Thread(target=self._accept, daemon=True).start()
        threading.Thread(target=self._relay_datagrams, daemon=True).start()

    def cut(self):
        self.is_cut = True

    def mend(self):
        self.is_cut = False

    def _accept(self):
        while not self.closed:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._relay_stream, args=(client,), daemon=True).start()

    def _relay_stream(self, client):
        server = socket.create_connection(self.target)
        self._sockets += [client, server]
        dead = False
        try:
            while True:
                for source in select.select([client, server], [], [])[0]:
                    data = source.recv(65536)
                    dead = dead or self.is_cut
                    if not data:
                        return
                    if not dead:
                        (server if source is client else client).sendall(data)
        except (OSError, ValueError):
            pass
        finally:
            client.close()
            server.close()

    def _relay_datagrams(self):
        ways = {}
        while not self.closed:
            try:
                readable = select.select([self._udp, *ways], [], [])[0]
                for sock in readable:
                    data, peer = sock.recvfrom(65536)
                    if self.is_cut:
                        continue
                    if sock is self._udp:
                        way = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
                        way.connect(self.target)
                        way.send(data)
                        ways[way] = peer
                    else:
                        self._udp.sendto(data, ways.pop(sock))
                        sock.close()
            except ConnectionRefusedError:
                ways.pop(sock).close()
            except (OSError, ValueError):
                return

    def close(self):
        self.closed = True
        for sock in self._sockets:
            try:
                sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            sock.close()
