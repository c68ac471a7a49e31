# SPDX-License-Identifier: ISC
"""The examples of README and of the manual pages, and the sample configurations: what users copy must work."""

import os
import re
import subprocess

import harness
from harness import expect

TOP = os.environ.get("srcdir", os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", ".."))
PAGES = ("socksd.8", "socksd.conf.5", "dnsproxyd.8", "dnsproxyd.conf.5")
# Those that are for systemd.
FOREIGN = re.compile(r"^\[(Unit|Service|Socket|Install|Resolve)\]$", re.M)
PLACES = re.compile(r"/etc/socksd/")


def source_text(*path):
    with open(os.path.join(TOP, *path), encoding="utf-8") as file:
        return file.read()


def readme_examples():
    """(daemon, text) of each indented block of README that has a section; the daemon is the one last named above it."""
    daemon = None
    for block in re.split(r"\n\s*\n", source_text("README")):
        names = re.findall(r"\b(socksd|dnsproxyd)(?:\.conf|'s)", block)
        daemon = names[-1] if names else daemon
        lines = [line.strip() for line in block.splitlines() if line.startswith("  ")]
        if lines and lines[0].startswith("["):
            yield daemon, "\n".join(lines) + "\n"


def page_examples(page):
    """The same of a manual page: what stands between .nf and .fi, but for the table of keys."""
    text = re.sub(r'\.\\" BEGIN KEYS.*?\.\\" END KEYS', "", source_text("packaging", "man", page), flags=re.S)
    for block in re.findall(r"^\.nf\n(.*?)^\.fi$", text, flags=re.M | re.S):
        if block.startswith("[") and not FOREIGN.search(block):
            yield page.split(".")[0], block.replace("\\-", "-")


def check_config(daemon, text):
    """The daemon takes this as its configuration; the files it names are made for it."""
    folder = harness.temporary_directory()
    subprocess.run([harness.program_path("socksd-passwd"), os.path.join(folder, "users"), "alice"], input=b"secret\n",
                   check=True, timeout=60, stderr=subprocess.PIPE)
    with open(os.path.join(folder, "block.list"), "w", encoding="utf-8") as file:
        file.write("ads.example\n203.0.113.0/24\n")
    config = os.path.join(folder, "example.conf")
    with open(config, "w", encoding="utf-8") as file:
        file.write(PLACES.sub(lambda _: folder + "/", text))
    done = subprocess.run([harness.program_path(daemon), "-t", "-c", config], stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=20, check=False)
    expect(done.returncode, 0, f"the status of {daemon} -t ({done.stdout.decode()!r}) for:\n{text}")


def test_readme():
    """the configurations in README are valid"""
    examples = list(readme_examples())
    expect([daemon for daemon, _ in examples], ["socksd", "dnsproxyd", "socksd", "socksd"],
           "the daemons README configures")
    for daemon, text in examples:
        check_config(daemon, text)


def test_pages():
    """the configurations in the manual pages are valid"""
    examples = [example for page in PAGES for example in page_examples(page)]
    expect(len(examples) >= 4, True, "that there are examples")
    for daemon, text in examples:
        check_config(daemon, text)


def print_config(daemon, text):
    """What a configuration comes to: the lines of --print-config, but for what marks a default."""
    config = os.path.join(harness.temporary_directory(), "sample.conf")
    with open(config, "w", encoding="utf-8") as file:
        file.write(text)
    out = subprocess.run([harness.program_path(daemon), "--print-config", "-c", config], stdin=subprocess.DEVNULL,
                         stdout=subprocess.PIPE, timeout=20, check=True).stdout.decode()
    return [re.sub(r" *; default$", "", line) for line in out.splitlines()]


def test_samples():
    """the sample configurations change nothing, with or without their comment marks"""
    for daemon in ("socksd", "dnsproxyd"):
        sample = source_text("packaging", f"{daemon}.conf")
        default = print_config(daemon, "")
        expect(print_config(daemon, sample), default, f"what {daemon} makes of its sample")
        # Sections named NAME have no default; a key that ends in "=" has none either.
        bare = re.sub(r"^;\[\w+ NAME\]$.*?(?=^;\[|\Z)", "", sample, flags=re.M | re.S)
        bare = re.sub(r"^;(?!.*=$)", "", bare, flags=re.M)
        expect(print_config(daemon, bare), default, f"what {daemon} makes of its sample without the marks")
        expect(len(re.findall(r"^;", bare, flags=re.M)) < len(re.findall(r"^\w", bare, flags=re.M)), True,
               "that most keys have defaults")


if __name__ == "__main__":
    harness.run(globals())
