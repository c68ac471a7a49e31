# SPDX-License-Identifier: ISC
"""Networks made of Linux network namespaces, for root; all of them are removed at the end."""

import atexit
import contextlib
import ctypes
import os
import subprocess

import harness

CLONE_NEWNET = 0x40000000


def _run(*command, text=None):
    done = subprocess.run(command, input=text, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=20,
                          check=False)
    if done.returncode:
        raise AssertionError(f"{' '.join(command)}: {done.stdout}")


class Network:
    """Namespaces by short names; inside, each has its loopback."""

    def __init__(self, *names):
        harness.needs("ip", "nft")
        if not harness.IS_ROOT:
            raise harness.Skip("not root")
        self.prefix = f"stile-{os.getpid()}-"
        self.names = []
        atexit.register(self.close)
        try:
            for name in names:
                self._add(name)
        except AssertionError as error:
            raise harness.Skip(f"no network namespaces here: {error}") from None

    def _add(self, name):
        _run("ip", "netns", "add", self.prefix + name)
        self.names.append(name)
        self.ip(name, "link set lo up")

    def ip(self, name, words):
        _run("ip", "-n", self.prefix + name, *words.split())

    def wrapper(self, name):
        """The words that run a command there."""
        return ("ip", "netns", "exec", self.prefix + name)

    def nft(self, name, rules):
        _run(*self.wrapper(name), "nft", "-f", "-", text=rules)

    def sysctl(self, name, path, value):
        _run(*self.wrapper(name), "sh", "-c", f"echo {value} >/proc/sys/{path}")

    def join(self, one, two, one_interface, two_interface):
        """A cable between two namespaces."""
        _run("ip", "link", "add", one_interface, "netns", self.prefix + one, "type", "veth", "peer", "name",
             two_interface, "netns", self.prefix + two)

    @contextlib.contextmanager
    def inside(self, name):
        """Sockets that are opened in the block belong there, wherever they are used later."""
        libc = ctypes.CDLL(None, use_errno=True)
        with open("/proc/self/ns/net", "rb") as home, open(f"/run/netns/{self.prefix}{name}", "rb") as there:
            if libc.setns(there.fileno(), CLONE_NEWNET):
                raise OSError(ctypes.get_errno(), "setns")
            try:
                yield
            finally:
                if libc.setns(home.fileno(), CLONE_NEWNET):
                    os.abort()  # nothing that follows could be trusted

    def close(self):
        while self.names:
            subprocess.run(["ip", "netns", "delete", self.prefix + self.names.pop()], stderr=subprocess.DEVNULL,
                           check=False)
