# SPDX-License-Identifier: ISC
"""What 2,000 bulk flows cost compared with 16, and how evenly they are served. Not part of `make check`: it takes most of
the memory that the kernel gives to TCP, and two minutes.

  make check TESTS= && TOP_BUILDDIR=. python3 tests/integration/flows_cost.py

With root's rights, so that socksd runs as an unprivileged user, which limits its pipes."""

import statistics
import subprocess

import harness

FEW, MANY, ROUNDS = 16, 2000, 5


def bulk_flows(proxy, count, warm_ms, window_ms):
    """Run bulk_flows.c against a proxy; returns its figures."""
    program = f"{harness.TOP_BUILDDIR}/tests/integration/bulk_flows"
    words = [str(word) for word in (program, proxy.port, count, warm_ms, window_ms, proxy.process.pid)]
    line = subprocess.run(words, check=True, stdout=subprocess.PIPE, timeout=60).stdout.decode()
    return {name: int(value) for name, value in (word.split("=") for word in line.split())}


def measure(count):
    """CPU seconds for a gigabyte."""
    proxy = harness.socksd("server.workers=1")
    flows = bulk_flows(proxy, count, 1000, 3000)
    proxy.stop()
    cost = flows["cpu_us"] / 1e6 / (flows["bytes"] / 1e9)
    print(f"{count:5} flows: {cost:.3f} s of CPU per GB, {flows['bytes'] / 3e9:.2f} GB/s; a flow got "
          f"{flows['min'] / 1e6:.2f} to {flows['max'] / 1e6:.2f} MB, p5/p50 {flows['p5'] / max(flows['p50'], 1):.2f}, "
          f"{flows['silent']} nothing", flush=True)
    return cost


def main():
    harness.raise_descriptor_limit()
    costs = [(measure(FEW), measure(MANY)) for _ in range(ROUNDS)]
    ratios = [many / few for few, many in costs]
    print(f"{MANY} flows cost {statistics.median(ratios):.2f} times what {FEW} cost "
          f"({min(ratios):.2f} to {max(ratios):.2f} in {ROUNDS} rounds)")


if __name__ == "__main__":
    main()
