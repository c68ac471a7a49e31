# SPDX-License-Identifier: ISC
"""Clients of others that speak more of SOCKS5 than CONNECT: how they are told where the proxy is."""

import os
import subprocess

import harness
from harness import needs


def socksify_environment(server, method="none"):
    """What dante's client library reads."""
    config = harness.temporary_file(f"socks-{server.port}.conf", f"""
route {{
	from: 0.0.0.0/0 to: 0.0.0.0/0 via: 127.0.0.1 port = {server.port}
	proxyprotocol: socks_v5
	command: connect bind udpassociate
	protocol: tcp udp
	method: {method}
}}
""")
    return dict(os.environ, SOCKS_CONF=config, SOCKS_AUTOADD_LANROUTES="no")


def node_environment():
    """Where Debian's node-socks is, and where npm install --prefix puts the package."""
    needs("node")
    places = ["/usr/share/nodejs", os.path.join(harness.TOP_BUILDDIR, "node_modules")]
    environment = dict(os.environ, NODE_PATH=":".join(places))
    if subprocess.run(["node", "-e", "require('socks')"], env=environment, stderr=subprocess.DEVNULL,
                      check=False).returncode:
        raise harness.Skip("the node package socks is not installed")
    return environment
