"""Servers that send without end, too slowly, or nonsense: an error in a bounded time, and a bounded number of bytes."""

from __future__ import annotations

import itertools
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing

import pytest

from lvc.errors import MediaError
from lvc.remote import http, retry
from lvc.remote.open import open_remote
from lvc.remote.store import HEAD_BYTES

Answer = Callable[[], Iterator[bytes]]
BLOCK = b"x" * 65536


class Server:
    """Answers every request with the pieces that `answer` gives, as long as somebody takes them."""

    def __init__(self) -> None:
        self.answer: Answer = lambda: iter(())
        self.sent = self.requests = 0
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.address = f"http://127.0.0.1:{self._listening.getsockname()[1]}/a.lvz"
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        while True:
            try:
                connection, _ = self._listening.accept()
            except OSError:
                return
            with closing(connection):
                if self._ended.is_set():
                    return
                self._serve(connection)

    def _serve(self, connection: socket.socket) -> None:
        try:
            request = b""
            while b"\r\n\r\n" not in request:
                got = connection.recv(65536)
                if not got:
                    return
                request += got
            self.requests += 1
            for piece in self.answer():
                if self._ended.is_set():
                    return
                connection.sendall(piece)
                self.sent += len(piece)
        except OSError:
            return

    def close(self) -> None:
        self._ended.set()
        with closing(socket.create_connection(self._listening.getsockname())):
            pass
        self._thread.join()
        self._listening.close()


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setattr(retry, "ATTEMPTS", 2)
    one = Server()
    yield one
    one.close()


def fixed(*pieces: bytes) -> Answer:
    return lambda: iter(pieces)


def endless(head: bytes, piece: bytes = BLOCK) -> Answer:
    return lambda: itertools.chain([head], itertools.repeat(piece))


def slowly(head: bytes) -> Answer:
    def pieces() -> Iterator[bytes]:
        for n in itertools.count():
            yield head[n : n + 1] if n < len(head) else b"x"
            time.sleep(0.01)

    return pieces


def answer(status: str, *headers: str, body: bytes = b"") -> bytes:
    return "\r\n".join([f"HTTP/1.1 {status}", *headers, "", ""]).encode("latin-1") + body


def ranged(content_range: str, *headers: str) -> bytes:
    return answer("206 Partial Content", f"Content-Range: {content_range}", *headers)


FIRST = f"bytes 0-{HEAD_BYTES - 1}/1000000"
ENDLESS = {
    "a first range of 8 GiB": endless(ranged("bytes 0-8589934591/8589934592", "Content-Length: 8589934592")),
    "a range of that size, chunked": endless(
        ranged("bytes 0-8589934591/8589934592", "Transfer-Encoding: chunked") + b"200000000\r\n"
    ),
    "100 Continue": endless(b"", answer("100 Continue") * 100),
    "one header": endless(b"HTTP/1.1 200 OK\r\nX: "),
    "headers": endless(b"HTTP/1.1 200 OK\r\n", b"X: y\r\n" * 1000),
    "a status line": endless(b"HTTP/1.1 200 "),
    "no line at all": endless(b""),
    "a body of 404": endless(answer("404 Not Found")),
    "a body of 302": endless(answer("302 Found", "Location: /other")),
    "a body of 503": endless(
        answer("503 Later", "Transfer-Encoding: chunked") + b"10000\r\n", BLOCK + b"\r\n10000\r\n"
    ),
    "a line of a chunk": endless(ranged(FIRST, "Transfer-Encoding: chunked") + b"1;"),
    "chunks of one byte with a comment": endless(
        ranged(FIRST, "Transfer-Encoding: chunked"), b"1;" + b"c" * 60000 + b"\r\nx\r\n"
    ),
    "a chunk of negative size": endless(ranged(FIRST, "Transfer-Encoding: chunked") + b"-1\r\n"),
}


@pytest.mark.parametrize("kind", ENDLESS)
def test_what_is_sent_without_end_is_not_read_without_end(server: Server, kind: str) -> None:
    server.answer = ENDLESS[kind]
    with pytest.raises(MediaError):
        open_remote(server.address)
    assert server.sent < 64 << 20  # of which most lies in buffers of the system


@pytest.mark.parametrize(
    "tail",
    [
        lambda: itertools.repeat(b"10000\r\n" + BLOCK + b"\r\n"),
        lambda: itertools.chain([b"0\r\n"], itertools.repeat(b"X: y\r\n" * 1000)),
    ],
    ids=["chunks", "trailer"],
)
def test_a_tail_without_end_is_left_alone(server: Server, tail: Answer) -> None:
    head = ranged(FIRST, "Transfer-Encoding: chunked") + b"%x\r\n" % HEAD_BYTES + bytes(HEAD_BYTES) + b"\r\n"
    server.answer = lambda: itertools.chain([head], tail())
    try:
        with open_remote(server.address) as file:
            assert file.read(4) == bytes(4)
    except MediaError:  # it may also be refused
        pass
    assert server.sent < 64 << 20


def test_an_empty_file_may_have_an_endless_page_that_says_so(server: Server) -> None:
    server.answer = endless(answer("416 Range Not Satisfiable"))
    with open_remote(server.address) as file:
        assert file.read() == b""


def test_a_stream_whose_trailer_has_no_end(server: Server) -> None:
    head = answer("200 OK", "Transfer-Encoding: chunked") + b"4\r\nabcd\r\n0\r\n"
    server.answer = endless(head, b"X: y\r\n" * 1000)
    with open_remote(server.address) as file, pytest.raises(MediaError):
        while file.read(100):
            pass


@pytest.mark.parametrize(
    "head",
    [b"", b"HTTP/1.1 200 OK\r\nX: ", ranged(FIRST, f"Content-Length: {HEAD_BYTES}")],
    ids=["status", "header", "body"],
)
def test_one_byte_after_the_other_comes_to_an_end(server: Server, head: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each byte comes in time; all of them together do not."""
    monkeypatch.setattr(http, "LEAST_SPEED", 1 << 30)
    server.answer = slowly(head)
    with pytest.raises(MediaError, match="timed out"):
        open_remote(server.address, options={"timeout": 0.2})


def test_a_slow_stream_comes_to_an_end_too(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "LEAST_SPEED", 1 << 30)
    server.answer = lambda: itertools.chain([answer("200 OK")], slowly(b"")())
    with open_remote(server.address, options={"timeout": 0.2}) as file, pytest.raises(MediaError, match="timed out"):
        while file.read(100):
            pass


DIGITS = "9" * 5000


@pytest.mark.parametrize(
    "reply",
    [
        ranged("bytes 0-²/³", "Content-Length: 4"),
        ranged(f"bytes 0-{DIGITS}/{DIGITS}", "Content-Length: 4"),
        ranged("bytes 0--1/4"),
        ranged(FIRST, "Content-Length: ²"),
        ranged(FIRST, f"Content-Length: {DIGITS}"),
        ranged(FIRST, "Content-Length: 4, 5"),
        ranged(FIRST, "Content-Length: -4"),
        ranged(FIRST, "Transfer-Encoding: chunked") + b"\xb2\r\n",
        ranged(FIRST, "Transfer-Encoding: chunked") + b"9" * 5000 + b"\r\n",
        answer("503 Later", "Retry-After: ²", "Content-Length: 0"),
        answer("503 Later", f"Retry-After: {DIGITS}", "Content-Length: 0"),
        answer("503 Later", "Retry-After: Mon, 99 Jan 99999 00:00:00 +9999", "Date: no", "Content-Length: 0"),
        answer("429 Later", f"Content-Length: {DIGITS}"),
        answer("²00 OK"),
        answer(f"{DIGITS} OK"),
        answer("099 OK"),
        answer("200 OK", "Content-Encoding: \xff\xfe"),
        b"\0" * 100,
        b"HTTP/9.9 200 OK\r\n\r\n",
        b"",
        *(
            answer("302 Found", f"Location: {where}", "Content-Length: 0")
            for where in (
                "http://[::1/", "http://[::1]x/", "http://a..b/", f"http://{'a' * 64}.example/", "http://x:²/",
                f"http://x:{DIGITS}/", "http://x:99999/", "http://\xff\xfe..\xff/", "ftp://x/", "file:///etc/passwd",
                "", "//", "http://", "http:///x", "http://x\\@y/", "http://%zz/", "javascript:0",
            )
        ),
    ],
)  # fmt: skip
def test_nonsense_is_an_error_of_lvcs(server: Server, reply: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retry, "_sleep", lambda seconds: None)
    server.answer = fixed(reply)
    with pytest.raises(MediaError) as found:
        open_remote(server.address, options={"timeout": 5.0})
    assert len(str(found.value)) < 300


@pytest.mark.parametrize(
    "address",
    ["http://a..b/x", f"http://{'a' * 64}.example/x", "http://[::1/x", "http://x:²/", f"http://x:{DIGITS}/", "http://ü..b/"]
    + ["http://.x/", "http://" + "a." * 200 + "b/", "https://us\0er@x:y:z/"],
)  # fmt: skip
def test_odd_addresses_are_an_error_of_lvcs_and_not_repeated(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retry, "_sleep", lambda seconds: None)
    with pytest.raises(MediaError) as found:
        open_remote(address)
    assert address[7:20] not in str(found.value)


def test_addresses_of_version_6(monkeypatch: pytest.MonkeyPatch) -> None:
    url = http._Url.of("https://user:p%40ss@[::1]:8443/a b?c#d")
    assert url.address == "https://[::1]:8443/a%20b?c" and url.origin == ("https", "[::1]", 8443)
    assert http._Url.of("http://bücher.example/ü").address == "http://xn--bcher-kva.example/%C3%BC"
