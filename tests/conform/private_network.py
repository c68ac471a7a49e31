# SPDX-License-Identifier: ISC
"""A network of this process's own (Linux namespaces, root): nothing but loopback, any port free, and addresses that
fail in each of the ways the replies tell apart."""

import ctypes
import os
import subprocess
import tempfile

CLONE_NEWNS, CLONE_NEWNET = 0x00020000, 0x40000000
MS_BIND, MS_REC, MS_PRIVATE = 0x1000, 0x4000, 1 << 18

COMMANDS = (
    "ip link set lo up",
    "ip route add unreachable 198.51.100.0/24",
    "ip route add prohibit 203.0.113.0/24",
)


def _check(result, what):
    if result != 0:
        error = ctypes.get_errno()
        raise OSError(error, f"{what}: {os.strerror(error)}")


def _libc():
    return ctypes.CDLL(None, use_errno=True)


def enter(mounts=False):
    """Move this process there, before it has threads; OSError where that cannot be. mounts: into mounts of its own,
    too."""
    _check(_libc().unshare(CLONE_NEWNET | (CLONE_NEWNS if mounts else 0)), "unshare")
    if mounts:
        _check(_libc().mount(b"none", b"/", None, MS_REC | MS_PRIVATE, None), "mount")
    for command in COMMANDS:
        subprocess.run(command.split(), check=True)


def replace_file(path, content, mode=0o644):
    """Another content for a file, seen by this process and its children only."""
    with tempfile.NamedTemporaryFile("w") as file:
        file.write(content)
        file.flush()
        os.chmod(file.name, mode)
        _check(_libc().mount(file.name.encode(), path.encode(), None, MS_BIND, None), f"mount over {path}")
