# SPDX-License-Identifier: ISC
"""A steady flow of questions, each for another name, and what became of each."""

import itertools
import socket
import threading
import time

import dns_message as dns
from dns_message import Message, query_bytes

_numbers = itertools.count()


class Flow:
    """Asks a daemon by UDP, rate times a second, until .stop(). .results: (when asked, how long it took or None, rcode)."""

    def __init__(self, daemon, rate=50, names=None, patience=5):
        self._names = names or (f"flow{next(_numbers)}.example" for _ in itertools.count())
        self._patience = patience
        self._port = daemon.port
        self._rate = rate
        self._stopping = threading.Event()
        self._lock = threading.Lock()
        self._asked = {}
        self.results = []
        self._sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._sock.connect(("127.0.0.1", daemon.port))
        self._sock.settimeout(0.2)
        self._threads = [threading.Thread(target=function, daemon=True) for function in (self._ask, self._listen)]
        for thread in self._threads:
            thread.start()

    def _ask(self):
        due = time.monotonic()
        for ident, name in enumerate(self._names):
            if self._stopping.wait(max(0, due - time.monotonic())):
                return
            due += 1 / self._rate
            with self._lock:
                self._asked[ident] = time.monotonic()
            self._sock.send(query_bytes(name, ident=ident, opt=dns.opt_record()))

    def _listen(self):
        deadline = None
        while True:
            with self._lock:
                if self._stopping.is_set():
                    deadline = deadline or time.monotonic() + self._patience
                    if not self._asked or time.monotonic() > deadline:
                        return
            try:
                reply = Message(self._sock.recv(65535))
            except (socket.timeout, ConnectionRefusedError):
                continue
            with self._lock:
                began = self._asked.pop(reply.ident, None)
                if began is not None:
                    self.results.append((began, time.monotonic() - began, reply.rcode))

    def stop(self):
        """Wait for the answers; returns the results in the order of asking."""
        self._stopping.set()
        for thread in self._threads:
            thread.join()
        self._sock.close()
        self.results += [(began, None, None) for began in self._asked.values()]
        self.results.sort(key=lambda result: result[0])
        return self.results

    def failures(self):
        return [result for result in self.results if result[2] != dns.NOERROR]

    def first_success_after(self, moment):
        """Seconds from the moment to the first good answer to a question asked after it; None: there was none."""
        ends = [began + took - moment for began, took, rcode in self.results if began >= moment and rcode == dns.NOERROR]
        return min(ends, default=None)
