# SPDX-License-Identifier: ISC
"""The examples of README and of the manual pages, and the sample configurations: what users copy must work.

An example is a block of its own: indented in README, between .nf and .fi in a manual page. One that starts with a section
is a configuration; one whose lines start with "$ " is commands. Commands run here, with ports, files and servers of the
test in the places of those they name; for those that cannot, CANNOT_RUN says why, and what is checked instead.
"""

import functools
import os
import re
import shutil
import shlex
import subprocess

import harness
import tls_server
from dns_message import a_record
from harness import expect
from peers import DnsServer, WebServer

TOP = os.environ.get("srcdir", os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", ".."))
PAGES = ("socksd.8", "socksd.conf.5", "socksd-passwd.1", "dnsproxyd.8", "dnsproxyd.conf.5")
PROGRAMS = ("socksd", "socksd-passwd", "dnsproxyd")
# Those that are for systemd and NetworkManager.
FOREIGN = re.compile(r"^\[(Unit|Service|Socket|Install|Resolve|main)\]$", re.M)
PLACES = re.compile(r"/etc/(socksd|dnsproxyd)/")


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
        if lines and lines[0].startswith("[") and not FOREIGN.search(lines[0]):
            yield daemon, "\n".join(lines) + "\n"


def page_blocks(page):
    """What stands between .nf and .fi of a manual page, but for the table of keys."""
    text = re.sub(r'\.\\" BEGIN KEYS.*?\.\\" END KEYS', "", source_text("packaging", "man", page), flags=re.S)
    return [block.replace("\\-", "-") for block in re.findall(r"^\.nf\n(.*?)^\.fi$", text, flags=re.M | re.S)]


def page_examples(page):
    """The same of a manual page."""
    return [(page.split(".")[0], block) for block in page_blocks(page)
            if block.startswith("[") and not FOREIGN.search(block)]


def check_config(daemon, text):
    """The daemon takes this as its configuration; the files it names are made for it."""
    folder = harness.temporary_directory()
    subprocess.run([harness.program_path("socksd-passwd"), os.path.join(folder, "users"), "alice"], input=b"secret\n",
                   check=True, timeout=60, stderr=subprocess.PIPE)
    with open(os.path.join(folder, "block.list"), "w", encoding="utf-8") as file:
        file.write("ads.example\n203.0.113.0/24\n")
    if "cert.pem" in text:
        shutil.copy(tls_server.certificate("good"), os.path.join(folder, "cert.pem"))
        shutil.copy(tls_server.key("good"), os.path.join(folder, "key.pem"))
    config = os.path.join(folder, "example.conf")
    with open(config, "w", encoding="utf-8") as file:
        file.write(PLACES.sub(lambda _: folder + "/", text))
    done = subprocess.run([harness.program_path(daemon), "-t", "-c", config], stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=20, check=False)
    expect(done.returncode, 0, f"the status of {daemon} -t ({done.stdout.decode()!r}) for:\n{text}")


def test_readme():
    """the configurations in README are valid"""
    examples = list(readme_examples())
    expect([daemon for daemon, _ in examples], ["socksd", *["dnsproxyd"] * 3, *["socksd"] * 3],
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


# --- commands -------------------------------------------------------------------------------------


def readme_commands():
    """The commands of README. Every indented line whose first word is a program, and no entry of a list, must be one."""
    commands = []
    for line in source_text("README").splitlines():
        if line.startswith("  $ "):
            commands.append(line[4:])
        elif re.match(rf"  ({'|'.join(PROGRAMS)}|\./dev|curl|dig|systemctl|journalctl|apt)(?! {{2}})\b", line):
            raise AssertionError(f"README: a command without a mark: {line!r}")
    return commands


def page_commands(page):
    """Those of a manual page: of its blocks, and programs with arguments in bold."""
    commands = []
    for block in page_blocks(page):
        if block.startswith("["):
            continue
        for line in block.splitlines():
            expect(line[:2], "$ ", f"the mark of a command in {page}, {line!r}")
            commands.append(line[2:])
    for bold in re.findall(r'^\.BR? (.*)$', source_text("packaging", "man", page).replace("\\-", "-"), flags=re.M):
        words = shlex.split(bold)
        command = words[0] if bold.startswith('"') else " ".join(words)
        if re.match(rf"({'|'.join(PROGRAMS)}|systemctl) [a-z-]", command):
            commands.append(command)
    return commands


def check_syntax(command):
    harness.output_of("sh", "-n", "-c", command)


def check_dev(command):
    """./dev knows the word."""
    words = shlex.split(command)
    known = re.findall(r"^\t\t  ([a-z-]+)", source_text("dev"), flags=re.M)
    expect(words[1] in known, True, f"that {words[1]} is one of {known}")


def check_systemctl(command):
    """systemctl knows the verb, and the units are ours."""
    _, verb, *rest = shlex.split(command, comments=True)
    expect(verb in ("disable", "edit", "enable", "kill", "reload", "restart", "start", "status", "stop"), True,
           f"that {verb} is a verb")
    check_units(word for word in rest if not word.startswith("-"))


def check_journalctl(command):
    """The units are ours."""
    check_units(re.findall(r"-u (\S+)", command))


def check_units(units):
    for unit in units:
        name = unit if "." in unit else unit + ".service"
        name = re.sub(r"@[^.]+", "@", name)
        expect(os.path.exists(os.path.join(TOP, "packaging", "systemd", name)), True, f"that there is a unit {name}")


def check_group(command):
    """The group is one that a package makes."""
    group = shlex.split(command)[1]
    expect(f"u {group} " in source_text("packaging", "systemd", f"{group}.sysusers"), True, f"that there is a group {group}")


def check_packages(command):
    """apt is asked for packages that are built here."""
    names = re.findall(r"^Package: (.*)$", source_text("packaging", "debian", "control"), flags=re.M)
    for path in shlex.split(command)[2:]:
        expect(os.path.basename(path).split("_")[0] in names, True, f"that {path} is a package")


def check_profile(command):
    """The profile is one that a package has."""
    name = os.path.basename(shlex.split(command)[2])
    expect(os.path.exists(os.path.join(TOP, "packaging", "apparmor", name)), True, f"that there is a profile {name}")


# Pattern of a command: why it is not run; what is checked instead, besides its syntax.
CANNOT_RUN = {
    r"\./dev ": ("builds and installs", check_dev),
    r"autoreconf -i && \./configure && make check && make install$": ("builds and installs", None),
    r"apparmor_parser -r ": ("loads into the kernel", check_profile),
    r"apt install ": ("installs", check_packages),
    r"chgrp ": ("the group is made when the package is installed", check_group),
    r"echo nameserver 127\.0\.0\.1 \| resolvconf -a lo\.dnsproxyd$": ("changes this machine's resolv.conf", None),
    r"journalctl ": ("reads the journal of this machine", check_journalctl),
    r"systemctl ": ("talks to the service manager of this machine", check_systemctl),
}


@functools.lru_cache(maxsize=None)
def name_server():
    """Every name is 192.0.2.1, but for the web server's."""
    return DnsServer(lambda message, transport: message.answer_bytes(
        [a_record(message.name, "127.0.0.1" if message.name.lower() == "www.example.com" else "192.0.2.1")]
        if message.type == 1 else []))


@functools.lru_cache(maxsize=None)
def web():
    return WebServer()


@functools.lru_cache(maxsize=None)
def proxy():
    return harness.socksd(f"dns.server={name_server().address}")


@functools.lru_cache(maxsize=None)
def resolver():
    return harness.dnsproxyd(name_server().address)


def run(words, text_in=b"", status=0):
    """Run a program of ours or another."""
    if words[0] in PROGRAMS:
        words = [harness.program_path(words[0]), *words[1:]]
    else:
        harness.needs(words[0])
    return harness.output_of(*words, status=status, text_in=text_in).decode()


def run_passwd(words):
    """A user that the file has afterwards."""
    path, name = words[-2:]
    run(words, text_in=b"secret\n")
    with open(path, encoding="utf-8") as file:
        expect(any(line.startswith(name + ":") for line in file), True, f"that {path} has the user {name}")


def run_daemon(words):
    """-t is content, --print-config prints, --explain decides; without any of them the daemon gets ready and ends."""
    program = words[0]
    if "-c" not in words:
        words = [program, "-c", harness.temporary_file("empty.conf"), *words[1:]]
    if "--print-config" in words:
        expect("\n[limits]\n" in run(words), True, "that there are keys")
    elif "--explain" in words:
        options = ["-o", f"dns.server={name_server().address}"]
        decision = run([*words[:3], *options, *words[3:]], status=None)
        expect(re.match(r"(allow|deny) [0-9.]+:\d+: ", decision) is not None, True, f"a decision in {decision!r}")
    elif "-t" in words:
        run(words)
    else:
        options = [words[index + 1] for index, word in enumerate(words) if word == "-o"]
        expect(len(words), 3 + 2 * len(options), f"number of words of {words}")
        port = harness.free_port()
        harness.Daemon(program, port, [f"listen test.address=127.0.0.1:{port}", *options]).stop()


def run_curl(words):
    """The page comes through the proxy."""
    words = [word.replace("127.0.0.1:1080", f"127.0.0.1:{proxy().port}") for word in words]
    words = [re.sub(r"^https?://www\.example\.com/", f"http://www.example.com:{web().port}/", word) for word in words]
    before = proxy().counters()["sessions_accepted"]
    expect("stile-front-page" in run([words[0], "-sS", *words[1:]]), True, "that the page came")
    expect(proxy().counters()["sessions_accepted"], before + 1, "sessions of socksd")


def run_dig(words):
    """There is an answer."""
    shown = run([words[0], "-p", str(resolver().port), *words[1:]])
    expect("status: NOERROR" in shown and "ANSWER: 1" in shown, True, f"an answer in {shown!r}")


RUNNERS = {
    "socksd": run_daemon,
    "dnsproxyd": run_daemon,
    "socksd-passwd": run_passwd,
    "curl": run_curl,
    "dig": run_dig,
}


def check_command(command):
    """It runs, or it is known why it cannot."""
    check_syntax(command)
    for pattern, (_why, check) in CANNOT_RUN.items():
        if re.match(pattern, command):
            if check:
                check(command)
            return
    words = shlex.split(command, comments=True)
    runner = RUNNERS.get(words[0])
    if not runner:
        raise AssertionError(f"no way to run {words[0]}, and no reason why not: add it to RUNNERS or to CANNOT_RUN")
    folder = harness.temporary_directory() + "/"
    sample = os.path.join(TOP, "packaging", f"{words[0]}.conf")
    runner([sample if word == "FILE" else PLACES.sub(folder, word) for word in words])


def test_commands():
    """the commands in README and in the manual pages do what they are shown for"""
    sources = {"README": readme_commands(), **{page: page_commands(page) for page in PAGES}}
    seen = {command.split()[0] for commands in sources.values() for command in commands}
    expect(seen >= set(RUNNERS), True, f"that {seen} has all of {set(RUNNERS)}")
    for source, commands in sources.items():
        for command in commands:
            yield f"{source}: {command}", functools.partial(check_command, command)


if __name__ == "__main__":
    harness.run(globals())
