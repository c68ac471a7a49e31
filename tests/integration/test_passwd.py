#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""socksd-passwd as people and scripts use it: pipes, terminals, links, several at once. Prints TAP.

TOP_BUILDDIR tells where the program is (default: the working directory).
"""

import ctypes
import ctypes.util
import fcntl
import os
import pty
import re
import select
import signal
import stat
import subprocess
import sys
import tempfile
import termios
import time
import traceback

PROGRAM = os.path.join(os.path.abspath(os.environ.get("TOP_BUILDDIR", ".")), "socksd", "socksd-passwd")
TIMEOUT_S = 30
ENTRY = re.compile(r"^([^:#]+):(\$argon2id\$v=19\$m=19456,t=2,p=1\$[A-Za-z0-9+/]+\$[A-Za-z0-9+/]+)$")
OTHER = "other:$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$AAAAAAAAAAAAAAAAAAAAAA\n"


def run(*args, password=None):
    """Run with the password on a pipe."""
    return subprocess.run([PROGRAM, *args], input=password, capture_output=True, timeout=TIMEOUT_S)


def check(condition, what):
    if not condition:
        raise AssertionError(what)


def check_fails(result, message, code=1):
    """Failed with one line that holds the message."""
    text = result.stderr.decode()
    check(result.returncode == code, f"exit code {result.returncode}, stderr {text!r}")
    check(message in text and text.count("\n") == 1, f"stderr {text!r}")


def read(path):
    with open(path, encoding="utf-8") as file:
        return file.read()


def write(path, text, mode=0o600):
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)
    os.chmod(path, mode)


def hashes(path):
    """The users that the program wrote."""
    found = (ENTRY.match(line) for line in read(path).splitlines())
    return {entry.group(1): entry.group(2) for entry in found if entry}


def password_fits(text, password):
    """Ask libsodium itself; where it cannot be loaded, believe."""
    name = ctypes.util.find_library("sodium")
    if not name:
        return True
    verify = ctypes.CDLL(name).crypto_pwhash_str_verify
    buffer = ctypes.create_string_buffer(text.encode(), 128)
    return verify(buffer, password, ctypes.c_ulonglong(len(password))) == 0


class Terminal:
    """The program on a terminal of its own, and what it showed there."""

    def __init__(self, *args):
        self.master, self.slave = pty.openpty()
        self.shown = b""
        self.process = subprocess.Popen(
            [PROGRAM, *args], stdin=self.slave, stdout=self.slave, stderr=self.slave,
            start_new_session=True, preexec_fn=self.become_foreground)

    @staticmethod
    def become_foreground():
        """As a shell would start it, whatever was ignored where the test was started."""
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)
        for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_DFL)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self.master)
        os.close(self.slave)

    def read_some(self, seconds):
        if select.select([self.master], [], [], seconds)[0]:
            self.shown += os.read(self.master, 4096)
            return True
        return False

    def expect(self, text):
        deadline = time.monotonic() + TIMEOUT_S
        while text not in self.shown:
            check(time.monotonic() < deadline, f"no {text!r} in {self.shown!r}")
            self.read_some(0.1)

    def type(self, keys):
        os.write(self.master, keys)

    def echoes(self):
        return bool(termios.tcgetattr(self.slave)[3] & termios.ECHO)

    def finish(self):
        code = self.process.wait(TIMEOUT_S)
        while self.read_some(0):
            pass
        return code


def test_usage(_):
    """options, usage and exit codes"""
    result = run("-h")
    check(result.returncode == 0 and b"Usage: socksd-passwd [-d] FILE NAME" in result.stdout, result)
    result = run("-V")
    check(result.returncode == 0 and re.match(rb"socksd-passwd \d+\.\d+", result.stdout), result)
    for args in [(), ("users",), ("users", "a", "b"), ("-x", "users", "a")]:
        result = run(*args, password=b"x\n")
        check(result.returncode == 2 and b"Usage:" in result.stderr, (args, result))
    check_fails(run("users", "a:b", password=b"x\n"), "colon in user name", code=2)
    check_fails(run("users", "", password=b"x\n"), "empty user name", code=2)


def test_pipe(path):
    """one line from a pipe"""
    for password in [b"secret\n", b"secret", b"secret\nsecond line\n"]:
        check(run(path, "alice", password=password).returncode == 0, password)
        check(password_fits(hashes(path)["alice"], b"secret"), password)
    check(not password_fits(hashes(path)["alice"], b"secret\n"), "newline is part of the password")
    check(run(path, "bob", password=b" with spaces \xc3\xbc\0 \n").returncode == 0, "bytes")
    check(password_fits(hashes(path)["bob"], b" with spaces \xc3\xbc\0 "), "bytes")
    check(list(hashes(path)) == ["alice", "bob"], read(path))


def test_pipe_leaves_the_rest(path):
    """what follows the line stays in the pipe"""
    result = subprocess.run(["sh", "-c", '"$0" "$1" alice && cat', PROGRAM, path], input=b"secret\nrest\n",
                            capture_output=True, timeout=TIMEOUT_S)
    check(result.returncode == 0 and result.stdout == b"rest\n", result)


def test_pipe_refusals(path):
    """empty and too long passwords"""
    check_fails(run(path, "alice", password=b"\n"), "the password is empty")
    check_fails(run(path, "alice", password=b""), "the password is empty")
    check_fails(run(path, "alice", password=b"x" * 256 + b"\n"), "longer than 255 bytes")
    check_fails(run(path, "alice", password=b"x" * 100000), "longer than 255 bytes")
    check(not os.path.exists(path), "a file was made")
    check(run(path, "alice", password=b"x" * 255 + b"\n").returncode == 0, "255 bytes")
    check(password_fits(hashes(path)["alice"], b"x" * 255), "255 bytes")


def test_salt(path):
    """the same password gives different hashes"""
    for name in ["alice", "bob"]:
        check(run(path, name, password=b"same\n").returncode == 0, name)
    check(hashes(path)["alice"] != hashes(path)["bob"], read(path))


def test_terminal(path):
    """typed twice, shown never"""
    with Terminal(path, "alice") as terminal:
        terminal.expect(b"Password: ")
        check(not terminal.echoes(), "echo is on")
        terminal.type(b"hunter2\n")
        terminal.expect(b"again: ")
        check(not terminal.echoes(), "echo is on")
        terminal.type(b"hunter2\n")
        check(terminal.finish() == 0, terminal.shown)
        check(b"hunter2" not in terminal.shown, terminal.shown)
        check(terminal.echoes(), "echo is off")
    check(password_fits(hashes(path)["alice"], b"hunter2"), read(path))


def test_terminal_refusals(path):
    """mismatch, empty and too long on a terminal"""
    for first, second, message in [(b"one\n", b"two\n", b"the passwords differ"),
                                   (b"one\n", b"ones\n", b"the passwords differ"),
                                   (b"one\n", b"\n", b"the password is empty"),
                                   (b"\n", None, b"the password is empty"),
                                   (b"\x04", None, b"the password is empty"),
                                   (b"x" * 300 + b"\n", None, b"longer than 255 bytes")]:
        with Terminal(path, "alice") as terminal:
            terminal.expect(b"Password: ")
            terminal.type(first)
            if second:
                terminal.expect(b"again: ")
                terminal.type(second)
            check(terminal.finish() == 1, terminal.shown)
            check(message in terminal.shown, terminal.shown)
            check(terminal.echoes(), "echo is off")
    check(not os.path.exists(path), "a file was made")


def test_terminal_signals(path):
    """a signal finds the terminal as it was"""
    for number, how in [(signal.SIGINT, lambda t: t.type(b"\x03")),
                        (signal.SIGQUIT, lambda t: t.type(b"\x1c")),
                        (signal.SIGTERM, lambda t: t.process.terminate()),
                        (signal.SIGHUP, lambda t: t.process.send_signal(signal.SIGHUP))]:
        for prompt in [b"Password: ", b"again: "]:
            with Terminal(path, "alice") as terminal:
                terminal.expect(b"Password: ")
                if prompt != b"Password: ":
                    terminal.type(b"hunter2\n")
                    terminal.expect(prompt)
                terminal.type(b"hun")
                how(terminal)
                check(terminal.finish() == -number, (number, terminal.shown))
                check(terminal.echoes(), f"echo is off after signal {number}")
    check(not os.path.exists(path), "a file was made")


def test_delete(path):
    """-d removes one user and nothing else"""
    write(path, "# ours\n" + OTHER)
    check(run(path, "alice", password=b"x\n").returncode == 0, "set")
    check(run("-d", path, "alice").returncode == 0, "delete")
    check(read(path) == "# ours\n" + OTHER, read(path))
    check_fails(run("-d", path, "alice"), "no such user")
    check_fails(run("-d", path + "-none", "alice"), "No such file")
    check(read(path) == "# ours\n" + OTHER, read(path))


def test_mode(path):
    """0640 for a new file, an old one keeps its mode"""
    saved = os.umask(0)
    try:
        for umask in [0o000, 0o077]:
            os.umask(umask)
            check(run(path, "alice", password=b"x\n").returncode == 0, "set")
            check(stat.S_IMODE(os.stat(path).st_mode) == 0o640, oct(os.stat(path).st_mode))
            os.unlink(path)
    finally:
        os.umask(saved)
    for mode in [0o600, 0o644, 0o660]:
        write(path, OTHER, mode)
        check(run(path, "alice", password=b"x\n").returncode == 0, "set")
        check(stat.S_IMODE(os.stat(path).st_mode) == mode, oct(os.stat(path).st_mode))


def test_broken_file(path):
    """a file that would not load is left alone, with file and line"""
    write(path, OTHER + "nonsense\n")
    check_fails(run(path, "alice", password=b"x\n"), f"{path}:2: no colon in the line")
    check(read(path) == OTHER + "nonsense\n", read(path))


def test_symlink(path):
    """a link stays a link, its target is changed"""
    os.mkdir(path + ".d")
    target = os.path.join(path + ".d", "real")
    write(target, OTHER)
    os.symlink(target, path)
    check(run(path, "alice", password=b"x\n").returncode == 0, "set")
    check(os.path.islink(path), "the link was replaced")
    check(list(hashes(target)) == ["alice"] and OTHER in read(target), read(target))
    check(os.listdir(path + ".d") == ["real"], os.listdir(path + ".d"))


def test_relative_path(path):
    """a name without a directory"""
    result = subprocess.run([PROGRAM, "here", "alice"], input=b"x\n", cwd=os.path.dirname(path), timeout=TIMEOUT_S)
    check(result.returncode == 0, result)
    check(list(hashes(os.path.join(os.path.dirname(path), "here"))) == ["alice"], "not written")


def test_concurrent(path):
    """several at once: nothing is lost, and readers see whole files"""
    write(path, OTHER)
    names = [f"user{number}" for number in range(12)]
    running = []
    for name in names:
        process = subprocess.Popen([PROGRAM, path, name], stdin=subprocess.PIPE)
        process.stdin.write(b"x\n")
        process.stdin.close()
        running.append(process)
    deadline = time.monotonic() + TIMEOUT_S
    while any(process.poll() is None for process in running) and time.monotonic() < deadline:
        text = read(path)
        check(text.startswith(OTHER) and text.endswith("\n"), text)
        check(all(ENTRY.match(line) for line in text.splitlines()[1:]), text)
        time.sleep(0.005)
    check([process.wait(TIMEOUT_S) for process in running] == [0] * len(names), "one failed")
    check(sorted(hashes(path)) == sorted(names), read(path))
    check(os.listdir(os.path.dirname(path)) == [os.path.basename(path)], os.listdir(os.path.dirname(path)))


def test_lock(path):
    """a run waits for another, but not for a dead one"""
    write(path, OTHER)
    directory = os.open(os.path.dirname(path), os.O_RDONLY)
    fcntl.flock(directory, fcntl.LOCK_EX)
    with subprocess.Popen([PROGRAM, path, "alice"], stdin=subprocess.PIPE) as waiting:
        waiting.stdin.write(b"x\n")
        waiting.stdin.close()
        try:
            waiting.wait(1)
            check(False, "did not wait for the lock")
        except subprocess.TimeoutExpired:
            check(read(path) == OTHER, read(path))
        os.close(directory)
        check(waiting.wait(TIMEOUT_S) == 0, "failed after the wait")
    check(list(hashes(path)) == ["alice"], read(path))
    holder = subprocess.Popen(
        [sys.executable, "-c", "import fcntl, os, sys, time\n"
         "fcntl.flock(os.open(sys.argv[1], os.O_RDONLY), fcntl.LOCK_EX)\n"
         "print(flush=True)\ntime.sleep(60)", os.path.dirname(path)], stdout=subprocess.PIPE)
    holder.stdout.readline()
    holder.kill()
    holder.communicate()
    check(run(path, "bob", password=b"x\n").returncode == 0, "a stale lock")


def main():
    tests = [(name, test) for name, test in globals().items() if name.startswith("test_")]
    failed = 0
    print(f"1..{len(tests)}")
    for number, (_, test) in enumerate(tests, 1):
        with tempfile.TemporaryDirectory() as directory:
            try:
                test(os.path.join(directory, "users"))
                print(f"ok {number} - {test.__doc__}", flush=True)
            except Exception:
                failed += 1
                print("".join(f"# {line}\n" for line in traceback.format_exc().splitlines()), end="")
                print(f"not ok {number} - {test.__doc__}", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
