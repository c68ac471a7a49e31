# SPDX-License-Identifier: ISC
"""The list of cases, and running it: several at a time, each within its time, none able to stop the others."""

import collections
import fnmatch
import queue
import sys
import threading
import time
import traceback

GRACE_SECONDS = 5  # beyond its limit a case is given up

Case = collections.namedtuple("Case", "name cite expect function level seconds alone")
Verdict = collections.namedtuple("Verdict", "case status note seconds")  # status: pass, fail, skip


class Failed(Exception):
    """What was seen instead of what the case expects."""


class Skipped(Exception):
    """Why the server, or this machine, cannot be asked."""


CASES = []


def case(name, cite, expect, level="must", seconds=8, alone=False):
    """Register a function of a Context as the case `name`, GROUP/WORDS.

    cite: the section of the RFC, and the rule where the RFC leaves it open; expect: what has to be seen; level: "must"
    is what an RFC asks for or what loses data, "should" good practice; seconds: how long it may take; alone: measures
    time, so nothing else runs beside it.
    """

    def register(function):
        if any(known.name == name for known in CASES):
            raise ValueError(f"two cases are called {name}")
        CASES.append(Case(name, cite, expect, function, level, seconds, alone))
        return function

    return register


def select(patterns):
    """The cases whose names match one of the patterns; all, without any."""
    return [known for known in CASES
            if not patterns or any(fnmatch.fnmatchcase(known.name, pattern) for pattern in patterns)]


def _where(error):
    """The line of the suite that raised, for errors that are no verdicts."""
    frame = traceback.extract_tb(error.__traceback__)[-1]
    return f"{frame.filename.rsplit('/', 1)[-1]}:{frame.lineno}"


def _run_one(known, make_context):
    began = time.monotonic()
    status, note = "pass", ""
    context = make_context(known)
    try:
        known.function(context)
    except Skipped as reason:
        status, note = "skip", str(reason)
    except Failed as seen:
        status, note = "fail", str(seen)
    except Exception as error:  # pylint: disable=broad-except
        status, note = "fail", f"{type(error).__name__}: {error} ({_where(error)})"
    finally:
        context.close()
    return Verdict(known, status, note, time.monotonic() - began)


class _Crew:
    """Threads that take cases from a queue. One that a case has caught is replaced."""

    def __init__(self, cases, make_context):
        self.waiting = queue.SimpleQueue()
        self.done = queue.SimpleQueue()
        self.make_context = make_context
        self.running = {}
        self.left = {known.name: known for known in cases}
        for known in cases:
            self.waiting.put(known)

    def start_worker(self):
        threading.Thread(target=self._work, daemon=True).start()

    def _work(self):
        while True:
            try:
                known = self.waiting.get_nowait()
            except queue.Empty:
                return
            self.running[known.name] = time.monotonic()
            self.done.put(_run_one(known, self.make_context))

    def verdicts(self):
        while self.left:
            try:
                verdict = self.done.get(timeout=0.5)
            except queue.Empty:
                yield from self._give_up()
                continue
            self.running.pop(verdict.case.name, None)
            if self.left.pop(verdict.case.name, None):
                yield verdict

    def _give_up(self):
        now = time.monotonic()
        for name, began in list(self.running.items()):
            if name in self.left and now - began > self.left[name].seconds + GRACE_SECONDS:
                del self.running[name]
                self.start_worker()
                yield Verdict(self.left.pop(name), "fail", "the case itself hung", now - began)


def run(cases, make_context, jobs, on_verdict=lambda verdict: None):
    """Run the cases; returns their verdicts in the order of the list."""
    verdicts = {}
    for alone in (False, True):
        group = [known for known in cases if known.alone == alone]
        # The longest first: then nothing is left to wait for at the end.
        group.sort(key=lambda known: -known.seconds)
        crew = _Crew(group, make_context)
        for _ in range(1 if alone else jobs):
            crew.start_worker()
        for verdict in crew.verdicts():
            verdicts[verdict.case.name] = verdict
            on_verdict(verdict)
    return [verdicts[known.name] for known in cases]


# --- output ---------------------------------------------------------------------------------------


def print_list(cases):
    for known in cases:
        print(f"{known.name:<44} {known.level:<6} {known.cite}\n    {known.expect}")
    print(f"{len(cases)} cases")


def print_tap(verdicts):
    print(f"1..{len(verdicts)}")
    for number, verdict in enumerate(verdicts, 1):
        skip = f" # SKIP {verdict.note}" if verdict.status == "skip" else ""
        title = f"{verdict.case.name}: {verdict.case.expect}".replace("#", "")
        print(f"{'not ok' if verdict.status == 'fail' else 'ok'} {number} - {title}{skip}")
        if verdict.status == "fail":
            print(f"# {verdict.case.name} ({verdict.case.cite}, {verdict.case.level}): {verdict.note}")


def summary(verdicts):
    count = collections.Counter(verdict.status for verdict in verdicts)
    return f"{count['pass']} passed, {count['fail']} failed, {count['skip']} skipped"


def print_table(verdicts):
    for verdict in verdicts:
        print(f"{verdict.status:<5} {verdict.case.level:<6} {verdict.seconds:5.1f} s  {verdict.case.name}")
        if verdict.status == "fail":
            print(f"        expected: {verdict.case.expect} ({verdict.case.cite})\n        seen:     {verdict.note}")
        elif verdict.status == "skip":
            print(f"        {verdict.note}")
    print(summary(verdicts))
    sys.stdout.flush()
