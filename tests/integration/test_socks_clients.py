# SPDX-License-Identifier: ISC
"""socksd with the clients people use. The web server they reach has a name that only the test's DNS server knows, so
that what resolves it is the proxy.

STILE_BULK_MIB: size of each of the large transfers (1024). STILE_PARALLEL_MIB: size of each of the 64 transfers at once
(16; 1024 makes them as large as the single one).
"""

import functools
import hashlib
import os
import re
import subprocess
import tempfile

import harness
from dns_message import NXDOMAIN, a_record, soa_record
from harness import expect, needs, output_of
from peers import DnsServer, Sshd, TcpTarget, WebServer, blob, blob_digest, echo

MIB = 1 << 20
BULK = int(os.environ.get("STILE_BULK_MIB", "64" if harness.SANITIZED else "1024")) * MIB
PARALLEL = int(os.environ.get("STILE_PARALLEL_MIB", "2" if harness.SANITIZED else "16")) * MIB
PARALLEL_COUNT = 64
HOST = "web.house.example"
PAGE_TEXT = "stile-front-page"


def name_server_answer(message, _transport):
    if message.name.lower() == HOST:
        answers = [a_record(HOST, "127.0.0.1")] if message.type == 1 else []
        return message.answer_bytes(answers, [] if answers else [soa_record(HOST)])
    return message.answer_bytes(authority=[soa_record("example")], rcode=NXDOMAIN)


@functools.lru_cache(maxsize=None)
def name_server():
    return DnsServer(name_server_answer)


@functools.lru_cache(maxsize=None)
def proxy():
    return harness.socksd(f"dns.server={name_server().address}")


@functools.lru_cache(maxsize=None)
def password_proxy():
    users = harness.temporary_path("users")
    output_of(harness.program_path("socksd-passwd"), users, "alice", text_in=b"open sesame\n")
    return harness.socksd("listen test.auth=password", f"listen test.users={users}",
                          f"dns.server={name_server().address}")


@functools.lru_cache(maxsize=None)
def web():
    return WebServer(directory=harness.temporary_directory())


def url(path="/", host=HOST):
    return f"http://{host}:{web().port}{path}"


def expect_page(output):
    expect(PAGE_TEXT in output.decode(errors="replace"), True, f"that {output[-500:]!r} holds the page")


def curl(*arguments, status=0, seconds=60):
    needs("curl")
    return output_of("curl", "-sS", *arguments, status=status, seconds=seconds)


# --- curl -----------------------------------------------------------------------------------------


def test_curl_socks5h():
    """curl socks5h: the proxy resolves"""
    expect_page(curl("-x", f"socks5h://127.0.0.1:{proxy().port}", url()))


def test_curl_socks5():
    """curl socks5: the client resolves"""
    expect_page(curl("-x", f"socks5://127.0.0.1:{proxy().port}", "--resolve", f"{HOST}:{web().port}:127.0.0.1", url()))


def test_curl_ipv6():
    """curl to an IPv6 literal, through the proxy's IPv6 address"""
    if not harness.have_ipv6():
        raise harness.Skip("no IPv6 on loopback")
    server = WebServer("::1")
    expect_page(curl("-g", "-x", f"socks5h://[::1]:{proxy().port}", f"http://[::1]:{server.port}/"))
    server.close()


def test_curl_keepalive():
    """curl fetching four pages over one connection"""
    expect_page(curl("-x", f"socks5h://127.0.0.1:{proxy().port}", url(), url(), url(), url()))


def test_curl_password():
    """curl with the right password"""
    expect_page(curl("-x", f"socks5h://alice:open%20sesame@127.0.0.1:{password_proxy().port}", url()))


def test_curl_wrong_password():
    """curl with a wrong password: exit status 97"""
    curl("-x", f"socks5h://alice:wrong@127.0.0.1:{password_proxy().port}", url(), status=97)


def test_curl_refused():
    """curl to a refused port and to a name nobody has: exit status 97"""
    curl("-x", f"socks5h://127.0.0.1:{proxy().port}", f"http://127.0.0.1:{harness.free_port()}/", status=97)
    curl("-x", f"socks5h://127.0.0.1:{proxy().port}", "http://nowhere.example/", status=97)


# --- other clients --------------------------------------------------------------------------------


def test_ssh():
    """ssh with nc as its ProxyCommand"""
    needs("nc")
    sshd = Sshd()
    printed = output_of("ssh", "-F", "none", "-i", sshd.key, "-p", str(sshd.port), "-l", sshd.user,
                        "-o", f"ProxyCommand=nc -X 5 -x 127.0.0.1:{proxy().port} %h %p",
                        "-o", f"UserKnownHostsFile={sshd.known_hosts}", "-o", "GlobalKnownHostsFile=/dev/null",
                        "-o", "StrictHostKeyChecking=yes", "-o", "BatchMode=yes", "-o", "IdentitiesOnly=yes",
                        HOST, "echo over $((6 * 7)); head -c 3000000 /dev/zero")
    expect(printed[:8], b"over 42\n", "what the command printed first")
    expect(len(printed), 3000008, "how much it printed")
    sshd.close()


def test_git():
    """git clone of a repository over http"""
    needs("git")
    work, bare = harness.temporary_path("work"), harness.temporary_path("work.git")
    quiet = {"env": dict(os.environ, HOME=harness.temporary_directory(), GIT_CONFIG_NOSYSTEM="1")}
    git = ["git", "-c", "user.name=t", "-c", "user.email=t@house.example", "-c", "init.defaultBranch=main"]
    output_of(*git, "init", "-q", work, **quiet)
    content = b"".join(blob(3 * MIB, 7))
    with open(os.path.join(work, "file"), "wb") as file:
        file.write(content)
    output_of(*git, "-C", work, "add", "file", **quiet)
    output_of(*git, "-C", work, "commit", "-q", "-m", "a file", **quiet)
    output_of(*git, "clone", "-q", "--bare", work, bare, **quiet)
    output_of(*git, "-C", bare, "update-server-info", **quiet)
    clone = harness.temporary_path("clone")
    output_of(*git, "-c", f"http.proxy=socks5h://127.0.0.1:{proxy().port}", "clone", "-q", url("/work.git"), clone,
              **quiet)
    with open(os.path.join(clone, "file"), "rb") as file:
        expect(file.read() == content, True, "that the cloned file equals the original")


def expect_netcat(*command):
    """A client of nc's kind sends a line and its FIN to an echo server."""
    target = TcpTarget(echo)
    for host in ("127.0.0.1", HOST):
        expect(output_of(*command, host, str(target.port), text_in=b"a line\n"), b"a line\n", f"the echo from {host}")
    target.close()


def test_nc():
    """nc -X 5, with FIN right behind the data"""
    needs("nc")
    expect_netcat("nc", "-N", "-X", "5", "-x", f"127.0.0.1:{proxy().port}")


def test_ncat():
    """ncat"""
    needs("ncat")
    expect_netcat("ncat", "--proxy", f"127.0.0.1:{proxy().port}", "--proxy-type", "socks5", "--proxy-dns", "remote")


def test_ncat_password():
    """ncat with a password"""
    needs("ncat")
    expect_netcat("ncat", "--proxy", f"127.0.0.1:{password_proxy().port}", "--proxy-type", "socks5", "--proxy-dns",
                  "remote", "--proxy-auth", "alice:open sesame")


def test_proxychains():
    """proxychains4 around curl"""
    needs("proxychains4", "curl")
    config = harness.temporary_file("proxychains.conf", f"""
strict_chain
proxy_dns
remote_dns_subnet 224
tcp_read_time_out 15000
tcp_connect_time_out 8000
[ProxyList]
socks5 127.0.0.1 {proxy().port}
""")
    expect_page(output_of("proxychains4", "-q", "-f", config, "curl", "-sS", url()))


# --- browsers -------------------------------------------------------------------------------------

# The title, once the script has fetched the parts, is what the test looks for.
BROWSER_PAGE = """<!doctype html><title>waiting</title><body><p>stile-front-page</p><script>
Promise.all([...Array(20).keys()].map(i => fetch("/part/" + i).then(r => r.text())))
	.then(parts => { document.title = "got " + parts.join("").length; fetch("/done/" + parts.join("").length); });
</script></body>"""


# What makes a picture when the page has loaded waits for images, not for scripts.
IMAGES_PAGE = "<!doctype html><title>images</title><body>" + "".join(f'<img src="/part/{part}">' for part in range(20))


def browser_pages():
    """A page whose script fetches 20 parts of 1,000 letters, and then /done/20000; one that has them for images."""
    web().pages["/browser"] = BROWSER_PAGE
    web().pages["/images"] = IMAGES_PAGE
    for part in range(20):
        web().pages[f"/part/{part}"] = "x" * 1000
    web().pages["/done/20000"] = "thanks"
    web().requests.clear()


@harness.limit(180)
def test_chromium():
    """headless Chromium shows a page of many parts"""
    needs("chromium")
    browser_pages()
    with tempfile.TemporaryDirectory() as home:
        dom = output_of("chromium", "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
                        "--no-first-run", "--disable-background-networking", "--disable-component-update",
                        f"--user-data-dir={home}/profile", f"--proxy-server=socks5://127.0.0.1:{proxy().port}",
                        "--proxy-bypass-list=<-loopback>", "--virtual-time-budget=20000", "--dump-dom",
                        url("/browser"), seconds=150, env=dict(os.environ, HOME=home)).decode()
    expect(re.findall("<title>(.*?)</title>", dom), ["got 20000"], "the title of the page")


FIREFOX_PREFERENCES = """
user_pref("network.proxy.type", 1);
user_pref("network.proxy.socks", "127.0.0.1");
user_pref("network.proxy.socks_port", %d);
user_pref("network.proxy.socks_version", 5);
user_pref("network.proxy.socks_remote_dns", true);
user_pref("network.proxy.socks5_remote_dns", true);
user_pref("network.proxy.no_proxies_on", "");
user_pref("network.proxy.allow_hijacking_localhost", true);
user_pref("browser.shell.checkDefaultBrowser", false);
user_pref("datareporting.policy.dataSubmissionEnabled", false);
user_pref("app.update.enabled", false);
user_pref("network.captive-portal-service.enabled", false);
user_pref("network.connectivity-service.enabled", false);
"""


@harness.limit(180)
def test_firefox():
    """headless Firefox shows a page of many parts"""
    needs("firefox-esr")
    browser_pages()
    with tempfile.TemporaryDirectory() as home:
        os.mkdir(f"{home}/profile")
        with open(f"{home}/profile/user.js", "w", encoding="ascii") as file:
            file.write(FIREFOX_PREFERENCES % proxy().port)
        output_of("firefox-esr", "--headless", "--no-remote", "--profile", f"{home}/profile",
                  "--screenshot", f"{home}/page.png", url("/images"), seconds=150, env=dict(os.environ, HOME=home))
        expect(os.path.getsize(f"{home}/page.png") > 1000, True, "that there is a picture")
    expect("/images" in web().requests, True, "that the page was asked for")
    expect(len({path for path in web().requests if path.startswith("/part/")}), 20, "the parts asked for")


# --- bulk -----------------------------------------------------------------------------------------


def start_curl(*arguments, **options):
    """curl through the proxy, its output in a pipe and its complaints in a file."""
    with open(harness.temporary_path("curl-errors"), "ab") as errors:
        return harness.start(["curl", "-sS", "-x", f"socks5h://127.0.0.1:{proxy().port}", *arguments],
                             stdout=subprocess.PIPE, stderr=errors, **options)


def expect_curl_succeeded(process):
    if process.wait(30):
        with open(harness.temporary_path("curl-errors"), encoding="utf-8") as errors:
            raise AssertionError(f"curl's exit status is {process.returncode}: {errors.read()[-2000:]}")


@harness.limit(300)
def test_bulk_down():
    """A large download arrives bit-identical"""
    needs("curl")
    download = start_curl(url(f"/blob/{BULK}/1"), stdin=subprocess.DEVNULL)
    digest = hashlib.sha256()
    while True:
        piece = download.stdout.read(MIB)
        if not piece:
            break
        digest.update(piece)
    expect_curl_succeeded(download)
    expect(digest.hexdigest(), web().digests[f"/blob/{BULK}/1"], "the digest")
    print(f"# {BULK // MIB} MiB")


@harness.limit(300)
def test_bulk_up():
    """A large upload arrives bit-identical"""
    needs("curl")
    upload = start_curl("-T", "-", url("/up"), stdin=subprocess.PIPE)
    digest = hashlib.sha256()
    for piece in blob(BULK, 2):
        digest.update(piece)
        upload.stdin.write(piece)
    upload.stdin.close()
    received = upload.stdout.read().decode()
    expect_curl_succeeded(upload)
    expect(received, digest.hexdigest(), "the digest")
    print(f"# {BULK // MIB} MiB")


@harness.limit(1800)
def test_parallel_down():
    """64 downloads at once arrive bit-identical"""
    needs("curl", "sha256sum")
    running = []
    for seed in range(100, 100 + PARALLEL_COUNT):
        download = start_curl(url(f"/blob/{PARALLEL}/{seed}"), stdin=subprocess.DEVNULL)
        digest = harness.start(["sha256sum"], stdin=download.stdout, stdout=subprocess.PIPE)
        download.stdout.close()
        running.append((seed, download, digest))
    for seed, download, digest in running:
        received = digest.stdout.read().decode().split()[0]
        expect_curl_succeeded(download)
        expect(received, web().digests[f"/blob/{PARALLEL}/{seed}"], f"the digest of download {seed}")
    print(f"# {PARALLEL_COUNT} times {PARALLEL // MIB} MiB")


@harness.limit(1800)
def test_parallel_up():
    """64 uploads at once arrive bit-identical"""
    needs("curl")
    path = harness.temporary_path("upload")
    with open(path, "wb") as file:
        for piece in blob(PARALLEL, 3):
            file.write(piece)
    running = [start_curl("-T", path, url("/up"), stdin=subprocess.DEVNULL) for _ in range(PARALLEL_COUNT)]
    wanted = blob_digest(PARALLEL, 3)
    for upload in running:
        received = upload.stdout.read().decode()
        expect_curl_succeeded(upload)
        expect(received, wanted, "the digest")
    print(f"# {PARALLEL_COUNT} times {PARALLEL // MIB} MiB")


if __name__ == "__main__":
    harness.run(globals())
