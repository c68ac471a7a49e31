# SPDX-License-Identifier: ISC
"""The network that is measured in: a namespace of its own, with the kernel's own defaults for TCP, whatever the machine has
set. But for congestion control: nothing is lost here, so a loss-based one never limits anything."""

import os
import subprocess
import sys

ISOLATED = "BENCH_ISOLATED"
DEFAULTS = (("tcp_rmem", "4096 131072 6291456"), ("tcp_wmem", "4096 16384 4194304"),
            ("ip_local_port_range", "32768 60999"), ("tcp_tw_reuse", "2"))
# The first that may be chosen. Pacing (bbr) costs timers, on the CPU of whoever is not waited for: so not on loopback.
# Between namespaces it makes the sender send, at a rate; else who acknowledges does the sender's work.
UNPACED = ("cubic", "reno")
PACED = ("bbr", "cubic", "reno")


def inside(namespace, *command):
    return ["ip", "netns", "exec", namespace, *command] if namespace else list(command)


def run(*command, namespace=None):
    subprocess.run(inside(namespace, *command), check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def start(namespace=None, congestion=UNPACED):
    """Loopback and the defaults, in a new namespace."""
    run("ip", "link", "set", "lo", "up", namespace=namespace)
    for name, *values in (*DEFAULTS, ("tcp_congestion_control", *congestion)):
        for value in values:
            try:
                run("sh", "-c", 'echo "$1" >"$2"', "sh", value, f"/proc/sys/net/ipv4/{name}", namespace=namespace)
                break
            except subprocess.CalledProcessError:
                continue
        else:
            print(f"net.ipv4.{name} stays as it is")


def isolate():
    """Go on in a namespace of our own; the program begins anew."""
    if ISOLATED not in os.environ:
        os.environ[ISOLATED] = "yes"
        os.execvp("unshare", ["unshare", "--net", sys.executable, *sys.argv])
    start()
