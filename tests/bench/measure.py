# SPDX-License-Identifier: ISC
"""Processes on their CPUs, what they used, and the samples of a comparison."""

import json
import os
import shutil
import signal
import statistics
import subprocess
import tempfile
import time

import network

TICK = os.sysconf("SC_CLK_TCK")
# More foreign work than this (in CPUs) while a sample was taken: it is taken again, so often at most.
FOREIGN_MAX = 0.15
RETRIES = 2


# --- processes ------------------------------------------------------------------------------------


def cpus():
    """(for the servers, for load and targets): one CPU each, or everything on a machine with one."""
    usable = sorted(os.sched_getaffinity(0))
    return ({usable[0]}, {usable[-1]}) if len(usable) > 1 else (set(usable), set(usable))


class Process:
    """A child on given CPUs; its output goes to a file, or through a pipe when it is `talking`."""

    alive = []
    directory = None

    def __init__(self, command, on_cpus, namespace=None, talking=False):
        command = network.inside(namespace, *command)
        self.command = command
        with open(os.path.join(self.scratch(), "output"), "ab") as output:
            self.child = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE if talking else output, stderr=output,
                start_new_session=True, preexec_fn=lambda: os.sched_setaffinity(0, on_cpus))
        self.alive.append(self)

    @classmethod
    def scratch(cls):
        if not cls.directory:
            cls.directory = tempfile.mkdtemp(prefix="bench-")
            os.chmod(cls.directory, 0o755)
        return cls.directory

    @property
    def pid(self):
        return self.child.pid

    def line(self):
        """What it says next."""
        line = self.child.stdout.readline().decode().strip()
        if not line:
            self.child.wait(5)
            raise RuntimeError(f"{' '.join(self.command)} ended with status {self.child.returncode}: {self.tail()}")
        return line

    def say(self, text):
        self.child.stdin.write(text.encode() + b"\n")
        self.child.stdin.flush()

    def tail(self):
        with open(os.path.join(self.scratch(), "output"), "rb") as file:
            return file.read()[-400:].decode(errors="replace")

    def stop(self):
        if self in self.alive:
            self.alive.remove(self)
        try:
            os.killpg(self.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.child.wait()
        for pipe in (self.child.stdin, self.child.stdout):
            if pipe:
                pipe.close()

    @classmethod
    def stop_all(cls):
        for process in list(cls.alive):
            process.stop()
        if cls.directory:
            shutil.rmtree(cls.directory, ignore_errors=True)


def _parent(pid):
    with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as file:
        return int(file.read().rsplit(")", 1)[1].split()[1])


def _cpu_seconds(pid):
    """Of all its threads, also of those that have ended, to the nanosecond: what clock_getcpuclockid(3) makes of a pid."""
    process_clock, all_of_it = ~pid << 3, 2
    return time.clock_gettime(process_clock | all_of_it)


def tree_of(pid):
    """The process and its descendants."""
    parents = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                parents[int(name)] = _parent(int(name))
            except (OSError, IndexError):
                continue
    found = {pid}
    grew = True
    while grew:
        more = {child for child, parent in parents.items() if parent in found} - found
        found |= more
        grew = bool(more)
    return found


def cpu_seconds(pids):
    total = 0.0
    for pid in pids:
        try:
            total += _cpu_seconds(pid)
        except (OSError, IndexError):
            pass
    return total


def kernel_threads():
    """Those that do what is left over of a server's network work."""
    found = set()
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with open(f"/proc/{name}/comm", encoding="ascii", errors="replace") as file:
                    if file.read().startswith("ksoftirqd/"):
                        found.add(int(name))
            except OSError:
                continue
    return found


def machine_busy_seconds():
    with open("/proc/stat", encoding="ascii") as file:
        fields = [int(word) for word in file.readline().split()[1:]]
    user, nice, system, _idle, _iowait, irq, softirq = fields[:7]
    return (user + nice + system + irq + softirq) / TICK


def pss_bytes(pid):
    """Memory of the process tree, shared pages divided by who shares them."""
    total = 0
    for one in tree_of(pid):
        try:
            with open(f"/proc/{one}/smaps_rollup", encoding="ascii") as file:
                total += sum(int(line.split()[1]) for line in file if line.startswith("Pss:"))
        except OSError:
            pass
    return total * 1024


# --- samples --------------------------------------------------------------------------------------


def run_load(command, server, others=(), namespace=None):
    """Run a load against `server`. Returns what it reports, with the server's CPU seconds as cpu and what others than
    the load, the server and `others` used of the machine, in CPUs, as foreign."""
    load = Process(command, cpus()[1], namespace, talking=True)
    try:
        if load.line() != "ready":
            raise RuntimeError(f"{command[0]} is not ready")
        servers = tree_of(server.pid)
        known = servers | {load.pid} | tree_of(load.pid) | {other.pid for other in others} | kernel_threads()
        before = cpu_seconds(servers), cpu_seconds(known), machine_busy_seconds(), time.monotonic()
        load.say("go")
        report = json.loads(load.line())
        after = cpu_seconds(servers), cpu_seconds(known), machine_busy_seconds(), time.monotonic()
    finally:
        load.stop()
    report["cpu"] = after[0] - before[0]
    report["foreign"] = max(0.0, (after[2] - before[2] - (after[1] - before[1])) / (after[3] - before[3]))
    if report["units"] == 0:
        raise RuntimeError(f"{' '.join(command)}: nothing was done")
    return report


def take_sample(take):
    """take() until the machine had little else to do; the last one counts in any case, and says so by `foreign`."""
    for _attempt in range(RETRIES + 1):
        sample = take()
        if sample.get("foreign", 0) <= FOREIGN_MAX:
            break
    return sample


def median_of_ratios(samples, peers, key):
    """Ours by the peer's in the same round."""
    return statistics.median(ours[key] / theirs[key] for ours, theirs in zip(samples, peers))


def spread(samples, key):
    values = [sample[key] for sample in samples]
    return statistics.median(values), min(values), max(values)
