# SPDX-License-Identifier: ISC
"""What the integration tests share: cases in TAP, daemons that are started and always stopped, ports, temporary files.

A test file defines functions test_*() and ends with harness.run(globals()). A function is one case, named by the first
line of its docstring; it passes unless it raises. A generator is many: it yields (name, callable).

From the environment: TOP_BUILDDIR, where the daemons are (default: the working directory); STILE_SANITIZED, not empty
when they are built with sanitizers; STILE_QUICK, not empty to skip everything here.
"""

import atexit
import contextlib
import inspect
import os
import pwd
import random
import re
import resource
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import traceback

TOP_BUILDDIR = os.path.abspath(os.environ.get("TOP_BUILDDIR", "."))
SANITIZED = bool(os.environ.get("STILE_SANITIZED"))
QUICK = bool(os.environ.get("STILE_QUICK"))
IS_ROOT = os.geteuid() == 0
CASE_SECONDS = 120
_HERE = os.path.dirname(os.path.abspath(__file__))

# Ports below the range from which the kernel takes those of outgoing connections.
PORTS = range(10240, 32768)


class Skip(Exception):
    """Raised by a case that cannot run here."""


def needs(*commands):
    """Skip the case unless all the commands are installed."""
    for command in commands:
        if not shutil.which(command, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin"):
            raise Skip(f"{command} is not installed")


def needs_plain_build():
    """Skip the case when sanitizers change what it measures."""
    if SANITIZED:
        raise Skip("measured without sanitizers only")


def limit(seconds):
    """Give a case another time limit than CASE_SECONDS."""

    def mark(function):
        function.limit_seconds = seconds
        return function

    return mark


def expect(actual, wanted, what="value"):
    if actual != wanted:
        raise AssertionError(f"{what} is {actual!r}, not {wanted!r}")


def wait_until(condition, seconds=10, what="condition"):
    """Wait for condition() to be true; returns what it returned."""
    deadline = time.monotonic() + seconds
    while True:
        result = condition()
        if result:
            return result
        if time.monotonic() > deadline:
            raise AssertionError(f"no {what} within {seconds} s")
        time.sleep(0.02)


# --- files and ports ------------------------------------------------------------------------------

_directory = None


def temporary_directory():
    """One directory for this process, removed at the end. Daemons that dropped their privileges can read it."""
    global _directory
    if not _directory:
        _directory = tempfile.mkdtemp(prefix="stile-")
        os.chmod(_directory, 0o755)
        atexit.register(shutil.rmtree, _directory, ignore_errors=True)
    return _directory


def temporary_path(name):
    return os.path.join(temporary_directory(), name)


def temporary_file(name, content="", mode=0o644):
    """Write a file there; returns its path. content is text or bytes."""
    path = temporary_path(name)
    with open(path, "wb") as file:
        file.write(content.encode() if isinstance(content, str) else content)
    os.chmod(path, mode)
    return path


def let_daemons_read(path):
    """Let daemons that dropped their privileges read a file that not everybody may read, such as one of users."""
    if IS_ROOT:
        os.chown(path, -1, pwd.getpwnam("nobody").pw_gid)


def have_ipv6():
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as probe:
            probe.bind(("::1", 0))
        return True
    except OSError:
        return False


def _port_is_free(port):
    places = [(socket.AF_INET, "127.0.0.1")]
    if have_ipv6():
        places.append((socket.AF_INET6, "::1"))
    for family, host in places:
        for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
            with socket.socket(family, kind) as probe:
                try:
                    probe.bind((host, port))
                except OSError:
                    return False
    return True


def free_port():
    """A port that nobody uses on loopback, neither by TCP nor by UDP."""
    return next(port for port in random.sample(PORTS, 1000) if _port_is_free(port))


def listen_addresses(port):
    """The value of a listener's address key: the port on both loopback addresses."""
    return f"127.0.0.1:{port},[::1]:{port}" if have_ipv6() else f"127.0.0.1:{port}"


# --- processes ------------------------------------------------------------------------------------

_processes = []


def start(command, **options):
    """subprocess.Popen in a process group of its own, which is killed at the end if it still runs."""
    process = subprocess.Popen(command, start_new_session=True, **options)
    _processes.append(process)
    return process


def kill_group(process):
    """Kill a process that start() started, and what it started itself."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@atexit.register
def _kill_processes():
    for process in _processes:
        kill_group(process)


def output_of(*command, status=0, seconds=60, text_in=b"", **options):
    """Run a client to its end; returns what it printed (stdout). status None: any."""
    process = start(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options)
    try:
        printed, complaints = process.communicate(text_in, seconds)
    except subprocess.TimeoutExpired:
        kill_group(process)
        raise
    if status is not None and process.returncode != status:
        raise AssertionError(f"{' '.join(command)}: exit status {process.returncode}, not {status}\n"
                             f"{printed[-2000:].decode(errors='replace')}{complaints[-2000:].decode(errors='replace')}")
    return printed


def accepts(port, host="127.0.0.1"):
    try:
        socket.create_connection((host, port), timeout=1).close()
        return True
    except OSError:
        return False


def program_path(program):
    return os.path.join(TOP_BUILDDIR, program.split("-")[0], program)


class Daemon:
    """One of our daemons, running. Its log is what it wrote to stderr."""

    _all = []

    def __init__(self, program, port, options=(), config=None, wrapper=(), wait_seconds=10):
        """options: texts for -o; config: a path for -c; wrapper: the words of a command that runs the daemon."""
        self.program = program
        self.port = port
        self.log_path = temporary_path(f"{program}-{port}-{len(Daemon._all)}.log")
        command = [*wrapper, program_path(program)]
        # Never the configuration of this machine.
        command += ["-c", config or temporary_file("empty.conf")]
        if program == "dnsproxyd" and not any(option.startswith("server.watch-network=") for option in options):
            # What else happens to the network of this machine is not part of the test.
            options = ["server.watch-network=off", *options]
        if SANITIZED and IS_ROOT:
            # At exit LeakSanitizer looks at its own process with ptrace, which a process that changed its user cannot.
            options = ["server.user=root", *options]
        for option in options:
            command += ["-o", option]
        with open(self.log_path, "wb") as log_file:
            self.process = start(command, stdin=subprocess.DEVNULL, stderr=log_file)
        self.stopping = False
        Daemon._all.append(self)
        try:
            wait_until(lambda: self.process.poll() is not None or self.is_ready(), wait_seconds, f"{program} on {port}")
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.log()[-2000:]}") from error
        if self.process.poll() is not None:
            raise AssertionError(f"{program} ended with {self.process.returncode}:\n{self.log()[-2000:]}")

    def is_ready(self):
        """Whether it has said so; its ports are open even before, when it may still be root."""
        return bool(re.search(r"[ >]ready( |$)", self.log(), re.MULTILINE))

    def log(self):
        with open(self.log_path, encoding="utf-8", errors="replace") as file:
            return file.read()

    def wait_log(self, pattern, start=0, seconds=10):
        """Wait for a match in the log from the offset start on; returns the match."""
        return wait_until(lambda: re.search(pattern, self.log()[start:], re.MULTILINE), seconds,
                          f"log line {pattern!r}")

    def send_signal(self, number):
        self.process.send_signal(number)

    def counters(self):
        """All counters, as SIGUSR1 has them logged."""
        before = len(self.log())
        self.send_signal(signal.SIGUSR1)
        self.wait_log(r"[ >]counters .*\n", before)
        return {name: int(value) for line in self.log()[before:].splitlines() if re.search("[ >]counters ", line)
                for name, value in re.findall(r" ([a-z0-9_]+)=(-?\d+)", line)}

    def status_field(self, name):
        """A line of /proc/PID/status."""
        with open(f"/proc/{self.process.pid}/status", encoding="ascii") as file:
            return re.search(f"^{name}:\\s*(.*)$", file.read(), re.MULTILINE).group(1)

    def rss_bytes(self):
        return int(self.status_field("VmRSS").split()[0]) * 1024

    def descriptor_count(self):
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    def cpu_seconds(self):
        with open(f"/proc/{self.process.pid}/stat", encoding="ascii") as file:
            fields = file.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def stop(self, number=signal.SIGTERM, seconds=30):
        """Stop it, wait for it, and see that it went cleanly."""
        self.stopping = True
        if self.process.poll() is None:
            self.send_signal(number)
        try:
            status = self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            kill_group(self.process)
            raise AssertionError(f"{self.program} did not end within {seconds} s of signal {number}") from None
        self.check_log()
        expect(status, 0, f"{self.program}'s exit status")

    def check_log(self):
        """No sanitizer has found anything."""
        found = re.search(r"^.*(ERROR: \w+Sanitizer|runtime error:|Assertion .* failed)", self.log(), re.MULTILINE)
        if found:
            raise AssertionError(self.log()[found.start():][:6000])

    @classmethod
    def stop_all(cls):
        """Stop those that still run; the last case of every file that started any."""
        for daemon in cls._all:
            if not daemon.stopping:
                daemon.stop()

    @classmethod
    def logs(cls):
        """The logs so far, by path."""
        return {daemon.log_path: daemon.log() for daemon in cls._all}


def socksd(*options, port=None, **more):
    """socksd on a free port (its attribute .port) of both loopback addresses."""
    port = port or free_port()
    return Daemon("socksd", port, [f"listen test.address={listen_addresses(port)}", *options], **more)


def dnsproxyd(upstream, *options, port=None, **more):
    """dnsproxyd likewise; upstream is the value of its server key, None for none."""
    port = port or free_port()
    servers = [f"upstream default.server={upstream}"] if upstream else []
    return Daemon("dnsproxyd", port, [f"listen test.address={listen_addresses(port)}", *servers, *options], **more)


def raise_descriptor_limit():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


# --- cases ----------------------------------------------------------------------------------------


class _Tap:
    def __init__(self):
        self.count = 0

    def result(self, ok, name, note=""):
        self.count += 1
        print(f"{'ok' if ok else 'not ok'} {self.count} - {name.replace('#', '')}{note}", flush=True)

    def say(self, text):
        for line in text.splitlines():
            print(f"# {line}", flush=True)

    def case(self, name, function, tries=1):
        """Run a case; one that fails is tried again while tries are left, and its first failure is told all the same."""
        began = time.monotonic()
        logs_before = Daemon.logs()
        seconds = getattr(function, "limit_seconds", CASE_SECONDS)
        signal.setitimer(signal.ITIMER_REAL, seconds)
        try:
            function()
        except Skip as reason:
            self.result(True, name, f" # SKIP {reason}")
        except Exception:  # pylint: disable=broad-except
            signal.setitimer(signal.ITIMER_REAL, 0)
            if tries > 1:
                self.say(f"first try of: {name}\n{_describe_failure()}")
                self.case(name, function, tries - 1)
                return
            self.result(False, name)
            self.say(_describe_failure())
            for path, log in Daemon.logs().items():
                news = log[len(logs_before.get(path, "")):]
                if news:
                    self.say(f"{os.path.basename(path)} since then:\n" + "\n".join(news.splitlines()[-10:]))
        else:
            self.result(True, name)
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
        if time.monotonic() - began > 5:
            self.say(f"{time.monotonic() - began:.0f} s")


def _describe_failure():
    """The exception at hand, and where in the tests it came up."""
    kind, error, trace = sys.exc_info()
    places = [f"{os.path.basename(frame.filename)}:{frame.lineno}: {frame.line}"
              for frame in traceback.extract_tb(trace) if os.path.dirname(os.path.abspath(frame.filename)) == _HERE]
    return "".join(traceback.format_exception_only(kind, error)) + "\n".join(places[1:])


def _on_alarm(_number, _frame):
    raise TimeoutError("the case took too long")


def run(names, tries=1):
    """Run the cases of a file and exit. Arguments on the command line: only the functions with these names. tries: 2 for
    cases that measure how soon something happens, which a busy machine may delay."""
    if QUICK:
        print("1..0 # SKIP quick run")
        sys.exit(0)
    for program in ("socksd", "socksd-passwd", "dnsproxyd"):
        if not os.path.exists(program_path(program)):
            print(f"Bail out! {program_path(program)} is not built")
            sys.exit(1)
    raise_descriptor_limit()
    signal.signal(signal.SIGALRM, _on_alarm)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    tap = _Tap()
    for name, function in list(names.items()):
        if not name.startswith("test_") or (len(sys.argv) > 1 and name not in sys.argv[1:]):
            continue
        if inspect.isgeneratorfunction(function):
            for case_name, case in function():
                tap.case(case_name, case, tries)
        else:
            tap.case((function.__doc__ or name).splitlines()[0].rstrip("."), function, tries)
    if Daemon._all:
        tap.case("the daemons end cleanly", Daemon.stop_all)
    print(f"1..{tap.count}")
    # The failures are told above; a status would count as one more.
    sys.exit(0)


@contextlib.contextmanager
def closing_all():
    """A list; what is appended to it is closed at the end of the block."""
    things = []
    try:
        yield things
    finally:
        for thing in things:
            thing.close()
