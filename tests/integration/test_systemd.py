# SPDX-License-Identifier: ISC
"""The daemons under a service manager: readiness, reload, watchdog, passed sockets."""

import ctypes
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time

import harness
import socks_client as socks
from dns_message import Message, a_record, query_bytes
from harness import expect, wait_until
from peers import DnsServer, TcpTarget, ask_tcp, ask_udp, echo

PTRACE_SEIZE = 0x4206
PTRACE_INTERRUPT = 0x4207
PTRACE_DETACH = 17

# Opens TCP listeners and UDP sockets as PID 1 would, and becomes the daemon with them; $MORE more are counted than there are.
PASS_SOCKETS = """
import os, socket, sys
end = sys.argv.index("--")
socks = []
for spec in sys.argv[1:end]:
    kind, host, port = spec.split(",")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    s = socket.socket(family, socket.SOCK_STREAM if kind == "tcp" else socket.SOCK_DGRAM)
    if kind == "tcp":
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    s.bind((host, int(port)))
    if kind == "tcp":
        s.listen(128)
    socks.append(s)
keep = [os.dup(s.fileno()) for s in socks]
high = [os.dup2(fd, 100 + i) for i, fd in enumerate(keep)]
for i, fd in enumerate(high):
    os.dup2(fd, 3 + i, inheritable=True)
os.closerange(3 + len(socks), 300)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS=str(len(socks) + int(os.environ.get("MORE", 0))))
os.execv(sys.argv[end + 1], sys.argv[end + 1:])
"""


class Manager:
    """Receives what a daemon says to $NOTIFY_SOCKET."""

    def __init__(self, name):
        self.path = harness.temporary_path(name)
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.sock.bind(self.path)
        os.chmod(self.path, 0o777)
        self.messages = []  # (time, lines)
        threading.Thread(target=self._receive, daemon=True).start()

    def _receive(self):
        while True:
            lines = self.sock.recv(4096).decode().split("\n")
            self.messages.append((time.monotonic(), lines))

    def said(self, line, after=0):
        return [when for when, lines in self.messages if line in lines and when > after]

    def wait_for(self, line, after=0, seconds=5):
        return wait_until(lambda: self.said(line, after), seconds, f"message {line}")[0]

    def wrapper(self, *more):
        return ["env", f"NOTIFY_SOCKET={self.path}", *more]


def test_ready_reload_stop():
    """READY when it serves; RELOADING and READY around a reload; STOPPING at the end"""
    for program in ("socksd", "dnsproxyd"):
        manager = Manager(f"{program}.notify")
        start = harness.socksd if program == "socksd" else lambda **more: harness.dnsproxyd("127.0.0.1:9", **more)
        daemon = start(wrapper=manager.wrapper())
        ready = manager.wait_for("READY=1")
        expect(harness.accepts(daemon.port), True, "that it accepts once it is ready")
        daemon.send_signal(signal.SIGHUP)
        reloading = manager.wait_for("RELOADING=1", ready)
        stamps = [line for when, lines in manager.messages if when == reloading for line in lines
                  if line.startswith("MONOTONIC_USEC=")]
        now_usec = time.monotonic_ns() // 1000
        expect(0 <= now_usec - int(stamps[0].split("=")[1]) < 10_000_000, True, "that the time of the reload is now")
        manager.wait_for("READY=1", reloading)
        daemon.stop()
        manager.wait_for("STOPPING=1", reloading)


def test_watchdog():
    """WATCHDOG while all loops turn, and not when one worker hangs"""
    manager = Manager("watchdog.notify")
    daemon = harness.socksd("server.workers=2", wrapper=manager.wrapper("WATCHDOG_USEC=400000"))
    wait_until(lambda: len(manager.said("WATCHDOG=1")) >= 5, 5, "five signs of life")
    worker = next(int(tid) for tid in os.listdir(f"/proc/{daemon.process.pid}/task")
                  if "/1" in open(f"/proc/{daemon.process.pid}/task/{tid}/comm", encoding="ascii").read())
    libc = ctypes.CDLL(None, use_errno=True)
    libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
    if libc.ptrace(PTRACE_SEIZE, worker, None, None) < 0:
        raise harness.Skip("ptrace is not allowed")
    libc.ptrace(PTRACE_INTERRUPT, worker, None, None)
    os.waitpid(worker, 0x40000000)  # __WALL
    hung = time.monotonic()
    time.sleep(1.5)
    expect(len(manager.said("WATCHDOG=1", hung + 0.5)), 0, "signs of life while a worker hangs")
    libc.ptrace(PTRACE_DETACH, worker, None, None)
    manager.wait_for("WATCHDOG=1", time.monotonic())
    daemon.stop()


def test_socksd_takes_passed_sockets():
    """socksd serves the sockets it was passed, on all workers, and says when one is for nobody"""
    port, other = harness.free_port(), harness.free_port()
    target = TcpTarget(echo)
    try:
        daemon = harness.Daemon("socksd", port, [f"listen test.address=127.0.0.1:{port}", "server.workers=2"],
                                wrapper=[sys.executable, "-c", PASS_SOCKETS, f"tcp,127.0.0.1,{port}",
                                         f"tcp,127.0.0.1,{other}", "--"])
        for _ in range(20):
            with socks.connect(port, "127.0.0.1", target.port) as sock:
                sock.sendall(b"hello")
                expect(sock.recv(5), b"hello", "echo")
        daemon.wait_log(rf"passed-socket-unused address=127\.0\.0\.1:{other} ")
        daemon.stop()
    finally:
        target.close()


def test_sockets_that_were_not_passed():
    """A daemon that is told of more sockets than it was passed says so and does not start"""
    port = harness.free_port()
    for program in ("socksd", "dnsproxyd"):
        for passed, more in ((0, 1), (0, 2), (0, 4), (1, 1), (1, 3), (2, 1000)):
            command = ["env", f"MORE={more}", sys.executable, "-c", PASS_SOCKETS,
                       *[f"{kind},127.0.0.1,{port}" for kind in ("tcp", "udp")[:passed]], "--",
                       harness.program_path(program), "-c", harness.temporary_file("empty.conf"),
                       "-o", f"listen test.address=127.0.0.1:{port}"]
            if program == "dnsproxyd":
                command += ["-o", "upstream default.server=127.0.0.1:9"]
            done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                  text=True, timeout=20, check=False)
            what = f"{program} with {passed} sockets and {more} more:\n{done.stdout}"
            expect(done.returncode, 1, f"the exit status of {what}")
            expect("LISTEN_FDS counts more sockets than were passed" in done.stdout, True, f"the reason, of {what}")
            expect(len(done.stdout.splitlines()), 1, f"the number of lines of {what}")


def test_a_socket_without_a_section():
    """On a passed socket that no section has, or none any more, clients are refused at once instead of waiting"""
    port, other = harness.free_port(), harness.free_port()
    target = TcpTarget(echo)
    path = harness.temporary_file("sections.conf", "")

    def configure(*ports):
        with open(path, "w", encoding="ascii") as file:
            file.write("[server]\nworkers = 2\n")
            for number in ports:
                file.write(f"[listen l{number}]\naddress = 127.0.0.1:{number}\n")

    def reload(*ports):
        configure(*ports)
        before = len(daemon.log())
        daemon.send_signal(signal.SIGHUP)
        daemon.wait_log("reloaded", before)

    def expect_refused():
        for _ in range(20):
            try:
                with socket.create_connection(("127.0.0.1", other), timeout=5) as sock:
                    sock.sendall(socks.GREETING_OPEN)
                    data = sock.recv(1)
            except ConnectionResetError:  # as early as in connect(), on a busy machine
                data = None
            expect(data, None, "what came instead of a reset")

    def expect_served(number):
        for _ in range(20):
            socks.connect(number, "127.0.0.1", target.port).close()

    try:
        configure(port)
        daemon = harness.Daemon("socksd", port, config=path,
                                wrapper=[sys.executable, "-c", PASS_SOCKETS, f"tcp,127.0.0.1,{port}",
                                         f"tcp,127.0.0.1,{other}", "--"])
        expect_refused()
        reload(port, other)
        expect_served(other)
        with socks.connect(other, "127.0.0.1", target.port) as running:
            reload(port)
            expect_refused()
            expect_served(port)
            running.sendall(b"hello")
            expect(running.recv(5), b"hello", "the echo of a session whose section is gone")
        reload(other, port)
        expect_served(other)
        expect(daemon.counters()["passed_refused"], 40, "passed_refused")
        cpu = daemon.cpu_seconds()
        time.sleep(0.5)
        expect(daemon.cpu_seconds() - cpu < 0.1, True, "that nothing spins")
        daemon.stop()
    finally:
        target.close()


# What keeps the sockets while the daemon comes and goes, as PID 1 would. Ends when the file $0 is there, or when the daemon
# fails. Sockets are only taken by the process that they are meant for.
KEEP_RUNNING = """
set -e
until [ -e "$0" ]; do
    sh -c 'LISTEN_PID=$$ exec "$@"' sh "$@"
done
"""
RESTART_RATE = 200
RESTARTS = 5


class Activated:
    """A daemon on sockets that systemd-socket-activate has opened and that outlive it; started by the first client."""

    def __init__(self, program, kinds, options):
        harness.needs("systemd-socket-activate")
        self.port = harness.free_port()
        self.stop_path = harness.temporary_path(f"{program}-{self.port}.stop")
        self.log_path = harness.temporary_path(f"{program}-{self.port}.log")
        command = []
        for kind in kinds:  # each passes on what the one before has opened
            command += ["systemd-socket-activate", *(["--datagram"] if kind == "udp" else []), "-l",
                        f"127.0.0.1:{self.port}"]
        command += ["sh", "-c", KEEP_RUNNING, self.stop_path, harness.program_path(program), "-c",
                    harness.temporary_file("empty.conf")]
        if harness.SANITIZED and harness.IS_ROOT:
            options = ["server.user=root", *options]
        for option in [f"listen test.address=127.0.0.1:{self.port}", *options]:
            command += ["-o", option]
        with open(self.log_path, "wb") as log_file:
            self.process = harness.start(command, stdin=harness.subprocess.DEVNULL, stderr=log_file)
        wait_until(lambda: self._log().count("Listening on ") == 1, what="systemd-socket-activate")

    def _log(self):
        with open(self.log_path, encoding="utf-8", errors="replace") as file:
            return file.read()

    def ready_pids(self):
        """One for each start that succeeded."""
        return [int(pid) for pid in re.findall(r"[ >]ready .*pid=(\d+)", self._log())]

    def restart(self):
        """End the daemon as systemctl does; returns once the next one is ready."""
        starts = len(self.ready_pids())
        os.kill(self.ready_pids()[-1], signal.SIGTERM)
        wait_until(lambda: len(self.ready_pids()) > starts or self.process.poll() is not None, 10, "next start")

    def stop(self):
        harness.temporary_file(os.path.basename(self.stop_path))
        os.kill(self.ready_pids()[-1], signal.SIGTERM)
        expect((self.process.wait(10), "passed-socket-unused" in self._log()), (0, False),
               f"exit status, and whether a socket was for nobody, after:\n{self._log()[-2000:]}")


def ask_while_restarting(daemon, ask):
    """Call ask(number) RESTART_RATE times a second, each on a thread of its own, while the daemon restarts RESTARTS times.
    All of them must succeed; in time, not after a repetition of theirs."""
    failures = []
    threads = []
    stop = threading.Event()

    def client(number):
        try:
            ask(number)
        except Exception as error:  # pylint: disable=broad-except
            failures.append((number, repr(error)))

    def pace():
        began = time.monotonic()
        while not stop.is_set():
            threads.append(threading.Thread(target=client, args=(len(threads),), daemon=True))
            threads[-1].start()
            time.sleep(max(0, began + len(threads) / RESTART_RATE - time.monotonic()))

    ask(0)
    wait_until(daemon.ready_pids, what="first start")
    pacer = threading.Thread(target=pace)
    began = time.monotonic()
    pacer.start()
    for _ in range(RESTARTS):
        time.sleep(0.4)
        daemon.restart()
    time.sleep(0.4)
    stop.set()
    pacer.join()
    seconds = time.monotonic() - began
    for thread in threads:
        thread.join(20)
    daemon.stop()
    expect(len(set(daemon.ready_pids())), RESTARTS + 1, "processes that have served")
    expect(failures[:10], [], f"failures of {len(threads)} clients")
    expect(len(threads) > RESTART_RATE * seconds * 0.9, True, f"that {len(threads)} in {seconds:.1f} s were many enough")


def test_socksd_restarts_behind_its_socket():
    """While socksd restarts, no one of 200 connections a second is refused or cut"""
    target = TcpTarget(echo)

    def ask(number):
        with socks.connect(daemon.port, "127.0.0.1", target.port) as sock:
            sock.sendall(b"%d" % number)
            sock.shutdown(socket.SHUT_WR)
            expect(socks.receive_all(sock), b"%d" % number, "echo")

    try:
        daemon = Activated("socksd", ["tcp"], ["log.level=notice"])
        ask_while_restarting(daemon, ask)
    finally:
        target.close()


def test_dnsproxyd_restarts_behind_its_sockets():
    """While dnsproxyd restarts, no one of 200 queries a second is lost, by UDP or TCP"""
    upstream = DnsServer(lambda message, transport: message.answer_bytes([a_record(message.name, "192.0.2.1")]))

    def ask(number):
        # Half of them by TCP, as the first must come that wakes both; half of them for a name that may be cached by then.
        name = f"n{number}.example" if number & 2 else f"often{number & 12}.example"
        answer = Message((ask_udp if number & 1 else ask_tcp)(query_bytes(name, 1), daemon.port))
        expect((answer.rcode, len(answer.answers)), (0, 1), "rcode and number of answers")

    try:
        daemon = Activated("dnsproxyd", ["tcp", "udp"], [f"upstream default.server={upstream.address}"])
        ask_while_restarting(daemon, ask)
    finally:
        upstream.close()


def test_dnsproxyd_takes_passed_sockets():
    """dnsproxyd answers on the sockets it was passed"""
    port = harness.free_port()
    upstream = DnsServer(lambda message, transport: message.answer_bytes([a_record(message.name, "192.0.2.1")]))
    try:
        daemon = harness.Daemon(
            "dnsproxyd", port,
            [f"listen test.address=127.0.0.1:{port}", f"upstream default.server=127.0.0.1:{upstream.port}"],
            wrapper=[sys.executable, "-c", PASS_SOCKETS, f"udp,127.0.0.1,{port}", f"tcp,127.0.0.1,{port}", "--"])
        for number in range(20):
            answer = Message(ask_udp(query_bytes(f"n{number % 5}.example", 1), port))
            expect(answer.rcode, 0, "rcode")
        expect("passed-socket-unused" in daemon.log(), False, "whether a socket was for nobody")
        daemon.stop()
    finally:
        upstream.close()


if __name__ == "__main__":
    harness.run(globals(), tries=2)
