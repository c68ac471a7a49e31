# SPDX-License-Identifier: ISC
"""All cases, in their order, and how they are run against a server."""

import argparse
import itertools

# Importing registers the cases; the order is that of the list.
import cases_greeting  # noqa: F401  pylint: disable=unused-import
import cases_password  # noqa: F401  pylint: disable=unused-import
import cases_request  # noqa: F401  pylint: disable=unused-import
import cases_replies  # noqa: F401  pylint: disable=unused-import
import cases_relay  # noqa: F401  pylint: disable=unused-import
import cases_bind  # noqa: F401  pylint: disable=unused-import
import cases_udp  # noqa: F401  pylint: disable=unused-import
import cases_timers  # noqa: F401  pylint: disable=unused-import
import engine
from context import Context, Server
from fake_dns import FakeDns


def server_from(arguments: argparse.Namespace):
    """The Server that the command line describes; its DNS server is started."""
    dns = None
    if arguments.dns:
        host, port = arguments.dns.rsplit(":", 1)
        dns = FakeDns(host.strip("[]"), int(port))
    return Server(
        host=arguments.host,
        port=arguments.port,
        user=None if arguments.user is None else arguments.user.encode(),
        password=arguments.password.encode(),
        long_account=arguments.long_account,
        dns=dns,
        bind=arguments.server_bind,
        targets=arguments.targets,
        targets6=arguments.targets6,
        handshake_timeout=arguments.handshake_timeout,
        connect_timeout=arguments.connect_timeout,
        idle_timeout=arguments.idle_timeout,
        half_close_timeout=arguments.half_close_timeout,
        stall_timeout=arguments.stall_timeout,
        bind_timeout=arguments.bind_timeout,
        udp_idle_timeout=arguments.udp_idle_timeout,
        has=tuple(arguments.has),
    )


def run(server, cases, jobs=8, on_verdict=lambda verdict: None):
    """Returns the verdicts in the order of the cases."""
    numbers = itertools.count(1)
    return engine.run(cases, lambda known: Context(server, known, next(numbers)), jobs, on_verdict)
