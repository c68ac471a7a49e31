# SPDX-License-Identifier: ISC
"""User name and password (RFC 1929). Everything here needs --user and --password."""

import threading
import time

from context import password_bytes, request_bytes, show
from engine import Failed, case

RFC = "RFC 1929 2"
LONG = 255


def asked(t):
    """A connection on which the server waits for the password."""
    t.need_password()
    conn = t.open()
    conn.send(b"\x05\x01\x02")
    conn.expect(b"\x05\x02", "method")
    return conn


def expect_no(t, conn):
    """A status that is not 00, then the end."""
    expect_status_no(t, conn)
    conn.expect_end()


def expect_status_no(t, conn):
    version, status = conn.receive(2, "status of the password")
    t.equal("the version of the status", version, 1)
    t.true(status != 0, "status 00: let in")


# --- right ----------------------------------------------------------------------------------------


@case("password/right", RFC, "01 00, and served")
def right(t):
    t.need_password()
    t.expect_served()


@case("password/byte-at-a-time", f"{RFC}; TCP has no messages", "01 00, as if sent at once")
def byte_at_a_time(t):
    conn = asked(t)
    for byte in password_bytes(t.server.user, t.server.password):
        conn.send(bytes([byte]))
        time.sleep(0.005)
    conn.expect(b"\x01\x00", "status of the password")


@case("password/all-splits", f"{RFC}; TCP has no messages", "01 00, wherever the message is cut in two", seconds=20)
def all_splits(t):
    t.need_password()
    message = password_bytes(t.server.user, t.server.password)
    for cut in range(1, len(message)):
        conn = asked(t)
        conn.send(message[:cut])
        time.sleep(0.003)
        conn.send(message[cut:])
        conn.expect(b"\x01\x00", f"status of the password cut at {cut}")
        conn.close()


@case("password/with-greeting", f"{RFC}; TCP has no messages", "a password in the greeting's segment is read")
def with_greeting(t):
    t.need_password()
    conn = t.open()
    conn.send(t.hello())
    conn.expect(b"\x05\x02\x01\x00", "method and status")


@case("password/pipelined", f"{RFC}; TCP has no messages", "a request sent with the password is answered after 01 00")
def pipelined(t):
    t.need_password()
    target, conn = t.listen(), asked(t)
    conn.send(password_bytes(t.server.user, t.server.password) + request_bytes(target.host, target.port) + b"early")
    conn.expect(b"\x01\x00", "status of the password")
    t.expect_reply(conn, 0)
    target.accept().expect(b"early", "early data")


@case("password/32-at-once", RFC, "32 right passwords at the same time are all let in", seconds=15)
def many_at_once(t):
    conns = [asked(t) for _ in range(32)]
    for conn in conns:
        conn.send(password_bytes(t.server.user, t.server.password))
    for conn in conns:
        conn.expect(b"\x01\x00", "status of the password")


@case("password/255-right", f"{RFC}: ULEN and PLEN 1 to 255", "a user and a password of 255 bytes are let in")
def long_right(t):
    t.need_password()
    t.need(t.server.long_account, "the server was not said to have the long account (--long-account)")
    conn = asked(t)
    conn.send(password_bytes(b"u" * LONG, b"p" * LONG))
    conn.expect(b"\x01\x00", "status of the password")


# --- wrong ----------------------------------------------------------------------------------------


def wrong(name, expect, credentials, cite=RFC):
    """Refused with a status, whatever credentials(user, password) are; and never by a bare close."""

    @case(f"password/{name}", cite, expect)
    def run(t):
        conn = asked(t)
        conn.send(password_bytes(*credentials(t.server.user, t.server.password)))
        expect_no(t, conn)


NO = "status other than 00, then closed"
BYTES = f"{RFC}: lengths delimit the strings"
wrong("wrong-password", NO, lambda user, password: (user, b"not " + password[:200]))
wrong("unknown-user", NO, lambda user, password: (b"nobody-" + user[:200], password))
wrong("password-cut", NO, lambda user, password: (user, password[:-1]))
wrong("password-longer", NO, lambda user, password: (user, (password + b"x")[-LONG:]))
wrong("password-case", NO, lambda user, password: (user, password.swapcase()))
wrong("swapped", NO, lambda user, password: (password, user))
wrong("empty-user", NO, lambda user, password: (b"", password), f"{RFC}: 1 to 255, in the field also 0")
wrong("empty-password", NO, lambda user, password: (user, b""), f"{RFC}: 1 to 255, in the field also 0")
wrong("both-empty", NO, lambda user, password: (b"", b""), f"{RFC}: 1 to 255, in the field also 0")
wrong("255-wrong", "both read to their ends, a status other than 00",
      lambda user, password: (b"a" * LONG, b"b" * LONG))
wrong("user-nul-behind", "NUL does not end the user's name", lambda user, password: (user + b"\0", password), BYTES)
wrong("user-nul-inside", "NUL does not end the user's name", lambda user, password: (user + b"\0x", password), BYTES)
wrong("password-nul-behind", "NUL does not end the password", lambda user, password: (user, password + b"\0"), BYTES)
wrong("password-nul-inside", "NUL does not end the password", lambda user, password: (user, password + b"\0x"), BYTES)
wrong("user-newline", NO, lambda user, password: (user + b"\r\n", password), BYTES)
wrong("user-not-utf8", NO, lambda user, password: (b"\xff\xfe\x80", password), BYTES)
wrong("user-colon", NO, lambda user, password: (user + b":" + password, b""), BYTES)
wrong("user-escape", NO, lambda user, password: (b"\x1b[2J%s%n", password), BYTES)


def bad_version(version):
    @case(f"password/version-{version:02x}", RFC, NO, "should" if version == 5 else "must")
    def run(t):
        conn = asked(t)
        conn.send(password_bytes(t.server.user, t.server.password, version))
        expect_no(t, conn)


for _version in (0x00, 0x02, 0x05, 0xFF):
    bad_version(_version)


@case("password/request-instead", RFC, "a request where the password was asked for: refused, the target left alone")
def request_instead(t):
    target, conn = t.listen(), asked(t)
    conn.send(request_bytes(target.host, target.port))
    conn.fin()
    data, _how = conn.end()
    t.true(len(data) <= 2 and data[1:] != b"\x00", f"{show(data)} came")
    target.expect_nobody(0.1)


@case("password/not-offered", "RFC 1928 3", "05 FF to a client that offers only 00 where a password is needed")
def not_offered(t):
    t.need_password()
    conn = t.open()
    conn.send(b"\x05\x01\x00")
    conn.expect(b"\x05\xff", "method")
    conn.expect_end()


@case("password/skipped", "RFC 1928 3", "a client that ignores 05 FF and sends its request anyway reaches nobody")
def skipped(t):
    t.need_password()
    target, conn = t.listen(), t.open()
    conn.send(b"\x05\x01\x00" + request_bytes(target.host, target.port))
    conn.expect(b"\x05\xff", "method")
    conn.expect_end()
    target.expect_nobody()


@case("password/failure-discards-request", RFC, "a request sent with a wrong password is not carried out")
def failure_discards_request(t):
    target, conn = t.listen(), asked(t)
    conn.send(password_bytes(t.server.user, b"wrong") + request_bytes(target.host, target.port))
    expect_no(t, conn)
    target.expect_nobody()


def failure_arrives(name, expect, behind, pause=0.0):
    @case(f"password/{name}", f"{RFC}; RFC 1122 4.2.2.13", expect)
    def run(t):
        conn = asked(t)
        conn.send(password_bytes(t.server.user, b"wrong") + behind)
        time.sleep(pause)
        expect_status_no(t, conn)
        conn.expect_gentle_end()


failure_arrives("failure-pipelined", "status and FIN, though a request came with the password",
                request_bytes("127.0.0.1", 9))
failure_arrives("failure-pipelined-16k", "status and FIN, though 16 KiB came with the password", bytes(16384))
failure_arrives("failure-slow-reader", "status and FIN for a client that reads 0.3 s later", bytes(100), 0.3)


@case("password/no-second-try", RFC, "after a failure the connection is closed: no second password on it")
def no_second_try(t):
    conn = asked(t)
    conn.send(password_bytes(t.server.user, b"wrong") + password_bytes(t.server.user, t.server.password))
    expect_no(t, conn)


# --- who leaves, and who waits --------------------------------------------------------------------


@case("password/client-leaves", "robustness", "20 clients that reset while their password is looked at do no harm")
def client_leaves(t):
    for _ in range(20):
        conn = asked(t)
        conn.send(password_bytes(t.server.user, t.server.password))
        conn.reset()
    t.expect_served()


@case("password/fin-behind", "RFC 9293 3.6", "FIN right behind the password: 01 00, then closed")
def fin_behind(t):
    conn = asked(t)
    conn.send(password_bytes(t.server.user, t.server.password))
    conn.fin()
    data, _how = conn.end()
    t.true(data in (b"", b"\x01\x00"), f"{show(data)} came")


@case("password/fin-inside", "RFC 9293 3.6", "FIN in the middle of the password: closed, no 01 00")
def fin_inside(t):
    conn = asked(t)
    conn.send(password_bytes(t.server.user, t.server.password)[:-1])
    conn.fin()
    data, _how = conn.end()
    t.true(data != b"\x01\x00", "let in")


@case("password/wrong-beside-right", RFC, "wrong passwords from elsewhere do not keep a right one out", seconds=12)
def wrong_beside_right(t):
    t.need_password()
    t.need(t.server.host.startswith("127."), "needs a second client address: --host in 127.0.0.0/8")
    stop, problems = threading.Event(), []

    def guess():
        while not stop.is_set():
            try:
                conn = t.open(source="127.76.0.1")
                conn.send(b"\x05\x01\x02")
                conn.receive(2)
                conn.send(password_bytes(b"guess", b"guess"))
                conn.end()
                conn.close()
            except Failed as error:
                problems.append(str(error))
                return

    thread = threading.Thread(target=guess, daemon=True)
    thread.start()
    try:
        for _ in range(3):
            t.expect_served()
    finally:
        stop.set()
        thread.join(5)
    t.equal("what the guesser saw", problems, [])
