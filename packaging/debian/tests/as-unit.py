# SPDX-License-Identifier: ISC
"""as-unit.py UNIT...: become what the unit would start: its ExecStart, as its user, without capabilities, with the
sockets of the .socket unit of its name when that is given too. For where no systemd runs."""

import os
import re
import socket
import sys

FIRST_FD = 3


def values(unit, key):
    """All values of a key of an installed unit, in order."""
    with open(f"/lib/systemd/system/{unit}", encoding="utf-8") as file:
        return re.findall(rf"^{key}=(.*)$", file.read(), flags=re.M)


def open_sockets(unit):
    """Listen as the .socket unit says. Returns the sockets."""
    opened = []
    for key, kind in (("ListenDatagram", socket.SOCK_DGRAM), ("ListenStream", socket.SOCK_STREAM)):
        for text in values(unit, key):
            host, port = text.rsplit(":", 1)
            family = socket.AF_INET6 if host.startswith("[") else socket.AF_INET
            if family == socket.AF_INET6 and not os.path.exists("/proc/net/if_inet6"):
                continue
            sock = socket.socket(family, kind)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            sock.bind((host.strip("[]"), int(port)))
            if kind == socket.SOCK_STREAM:
                sock.listen(128)
            opened.append(sock)
    return opened


def main():
    service = next(unit for unit in sys.argv[1:] if unit.endswith(".service"))
    environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}
    opened = [sock for unit in sys.argv[1:] if unit.endswith(".socket") for sock in open_sockets(unit)]
    # First out of the way of the numbers they are to get.
    spare = [os.dup2(sock.fileno(), 100 + index) for index, sock in enumerate(opened)]
    for index, descriptor in enumerate(spare):
        os.dup2(descriptor, FIRST_FD + index)
        os.close(descriptor)
    if opened:
        environment.update(LISTEN_FDS=str(len(opened)), LISTEN_PID=str(os.getpid()))
    user = values(service, "User")[-1]
    if values(service, "AmbientCapabilities")[-1] or values(service, "CapabilityBoundingSet")[-1]:
        raise SystemExit(f"{service} has capabilities by now: give them here too")
    command = values(service, "ExecStart")[-1].split()
    os.execve("/usr/bin/setpriv", ["setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups", "--no-new-privs",
                                   "--bounding-set=-all", "--inh-caps=-all", "--ambient-caps=-all", "--", *command],
              environment)


if __name__ == "__main__":
    main()
