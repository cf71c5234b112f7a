"""Requests that nobody would send by accident: nothing leaves the folders, nothing hangs, nothing falls over."""

from __future__ import annotations

import socket
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.helpers.server import SECRET, Server, Starter
from tests.helpers.waiting import PATIENCE

SECURITY = {
    "content-security-policy",
    "cross-origin-opener-policy",
    "cross-origin-embedder-policy",
    "cross-origin-resource-policy",
    "x-content-type-options",
    "x-frame-options",
    "referrer-policy",
    "permissions-policy",
}
PREFIXES = (
    "/files/", "/thumbs/", "/watch/", "/mp4/", "/hls/", "/browse/", "/static/0/", "/player/0/", "/static/",
    "/player/", "/models/",
)  # fmt: skip
WAYS_OUT = (
    "../outside/secret.lvz", "..%2foutside%2fsecret.lvz", "%2e%2e/outside/secret.lvz", "%2e%2e%2foutside%2fsecret.txt",
    "..%252foutside%252fsecret.txt", "%252e%252e%252foutside/secret.txt", "trips/../../outside/secret.txt",
    "....//....//outside/secret.txt", "..\\outside\\secret.txt", "..%5coutside%5csecret.txt",
    "..%c0%afoutside/secret.txt",
    "%c0%ae%c0%ae/outside/secret.txt", "%ef%bc%8e%ef%bc%8e/outside/secret.txt", "..;/outside/secret.txt",
    "out.lvz", "out/secret.lvz", "out/secret.txt", "dangling.lvz", "folder.lvz", "pipe.lvz", ".dot.lvz",
    ".hidden/hidden.lvz", "notes.txt", "carphone.lvz%00.txt", "carphone.lvz%00", "carphone.lvz/", "carphone.lvz/.",
    "./carphone.lvz", "trips//bunny.lvz", "//etc/passwd", "/etc/passwd", "%2fetc%2fpasswd", "file:///etc/passwd",
    "C:%5cWindows%5cwin.ini", "proc/self/environ", "%2fproc%2fself%2fmem", "%2fdev%2fzero", "~root", "con", "a" * 4000,
    "%f0%28%8c%28", "%u002e%u002e/", "carphone.lvz:stream", "*.lvz", "[c]arphone.lvz", "carphone.lvz%20",
    "%0d%0aX-Evil: 1",
    "carphone.LVZ", "../run.py", "..%2frun.py", "templates/base.html", "__init__.py",
)  # fmt: skip


def test_no_way_leads_out(server: Server, tree: Path) -> None:
    asked = 0
    for prefix in PREFIXES:
        for way in WAYS_OUT:
            path = prefix + way
            line = path.encode("latin-1", "replace") if way.isascii() else quote(path).encode()
            got = server.raw(
                b"GET " + line.replace(b" ", b"%20") + b" HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
            )
            status = int(got.split(b" ", 2)[1])
            assert status in (303, 307, 400, 404, 405, 422), (path, got[:200])
            assert SECRET not in got and b"root:" not in got and b"X-Evil" not in got.partition(b"\r\n\r\n")[0], path
            asked += 1
    assert asked > 400
    assert_alive(server, tree)


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "CONNECT", "PROPFIND", "BREW", "get"])
def test_only_reading(server: Server, method: str) -> None:
    answer = server.ask("/files/carphone.lvz", method)
    assert answer.status == 405 and answer.headers["allow"] == "GET, HEAD"


def test_posting_changes_nothing(server: Server, tree: Path) -> None:
    before = sorted(str(path) for path in tree.rglob("*"))
    for path in ("/", "/files/carphone.lvz", "/files/new.lvz", "/static/0/watch.js"):
        assert server.ask(path, "POST", body=b"x" * 100_000).status == 405
    assert sorted(str(path) for path in tree.rglob("*")) == before


@pytest.mark.parametrize(
    "host",
    ["evil.example", "evil.example:80", "127.0.0.1.evil.example", "localhost.evil.example", "",
    "localhost@evil.example",
     "192.168.1.5", "8.8.8.8:80", "[::ffff:8.8.8.8]", "0x7f000001", "2130706433", "local host", "[", "]", ":",
     "a" * 3000],
)  # fmt: skip
def test_other_names_are_refused(server: Server, host: str) -> None:
    got = server.raw(f"GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
    assert got.split(b" ", 2)[1] in (b"421", b"400") and b"<html" not in got


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST:{port}", "127.0.0.1:{port}", "127.0.0.1", "[::1]:{port}", "[::1]"]
)
def test_names_of_this_machine(server: Server, host: str) -> None:
    host = host.format(port=server.port)
    assert server.raw(f"HEAD / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode()).startswith(
        b"HTTP/1.1 200"
    )


GET = b"GET / HTTP/1.1\r\nHost: localhost\r\n"
RUBBISH = {
    "no host": b"GET / HTTP/1.1\r\n\r\n",
    "two hosts": b"GET / HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n\r\n",
    "no http": b"hello\r\n\r\n",
    "tls": bytes.fromhex("16030100a5010000a10303") + bytes(160),
    "zeros": bytes(100_000),
    "a huge header": b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"a" * 1_000_000 + b"\r\n\r\n",
    "many headers": b"GET / HTTP/1.1\r\nHost: localhost\r\n" + b"X: y\r\n" * 100_000 + b"\r\n",
    "a huge address": b"GET /" + b"a" * 1_000_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "a huge cookie": GET + b"Cookie: " + b"a=b; " * 2500 + b"\r\nConnection: close\r\n\r\n",
    "a folded header": b"GET / HTTP/1.1\r\nHost: localhost\r\nX: a\r\n b\r\nConnection: close\r\n\r\n",
    "smuggled": GET + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /",
    "a bad length": b"GET / HTTP/1.1\r\nHost: localhost\r\nContent-Length: -5\r\n\r\n",
    "two lengths": b"POST" + GET[3:] + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello!",
    "an absolute address": b"GET http://evil.example/ HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
    "no path": b"GET * HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
    "HTTP/9": b"GET / HTTP/9.9\r\nHost: localhost\r\n\r\n",
    "HTTP/0.9": b"GET /\r\n",
    "not ASCII": "GET /ünï HTTP/1.1\r\nHost: localhost\r\n\r\n".encode(),
    "a null in the address": b"GET /\x00 HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "a websocket": b"GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n",
    "a bad chunk": b"POST /api/search HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    "pipelined": b"GET /static/0/icon.svg HTTP/1.1\r\nHost: localhost\r\n\r\n" * 200,
}  # fmt: skip


@pytest.fixture(scope="module")
def answers(hasty: Server) -> dict[str, bytes]:
    """What comes back for each kind of rubbish; all are sent at once, because to some the server listens for long."""
    with ThreadPoolExecutor(len(RUBBISH)) as pool:
        return dict(zip(RUBBISH, pool.map(hasty.raw, RUBBISH.values()), strict=True))


@pytest.mark.parametrize("what", RUBBISH)
def test_rubbish(answers: dict[str, bytes], hasty: Server, tree: Path, what: str) -> None:
    got = answers[what]
    assert SECRET not in got and b"Traceback" not in got
    assert not got or got.startswith(b"HTTP/1.1 ")
    assert_alive(hasty, tree)


QUERIES = ("t=1e9", "t=-1", "t=nan", "t=inf", "t=99999999", "t=" + "9" * 5000, "t=1&t=2", "t=%00", "page=-1",
    "page=1e9",
           "q=" + "%25" * 2000, "q=%ff%fe", "sort=../../x", "v=%0d%0a", "start=-5", "start=nan", "start=1e308",
           "&&&===")  # fmt: skip


@pytest.mark.parametrize("query", QUERIES)
def test_queries(server: Server, query: str) -> None:
    for path in ("/", "/watch/carphone.lvz", "/thumbs/carphone.lvz", "/browse/trips"):
        assert server.ask(f"{path}?{query}").status in (200, 400, 404), path


@pytest.mark.parametrize(
    "path", ["/", "/nothing", "/files/carphone.lvz", "/files/nothing", "/thumbs/carphone.lvz", "/thumbs/junk.lvz",
    "/static/0/style.css",
             "/watch/carphone.lvz", "/models/x.decoder"],
)  # fmt: skip
def test_every_answer_has_the_security_headers(server: Server, path: str) -> None:
    for method in ("GET", "HEAD", "DELETE"):
        headers = server.ask(path, method).headers
        assert set(headers) >= SECURITY
        assert "server" not in headers and "access-control-allow-origin" not in headers
        policy = headers["content-security-policy"]
        assert (
            "'unsafe-inline'" not in policy
            and "'unsafe-eval'" not in policy
            and "http" not in policy
            and "*" not in policy
        )
        assert "script-src 'self' 'wasm-unsafe-eval'" in policy and "worker-src 'self'" in policy


def test_slow_and_silent_connections_leave_room(hasty: Server, tree: Path) -> None:
    waiting = []
    for number in range(100):
        connection = socket.create_connection(("127.0.0.1", hasty.port))
        connection.sendall(b"GET / HTTP/1.1\r\nHost: local"[: 1 + number % 28])
        waiting.append(connection)
    try:
        assert_alive(hasty, tree)
        waiting[0].settimeout(PATIENCE)
        assert waiting[0].recv(100) == b""  # it is hung up on
    finally:
        for connection in waiting:
            connection.close()


@pytest.mark.slow
def test_a_client_that_leaves(server: Server, tree: Path) -> None:
    for _ in range(30):
        with socket.create_connection(("127.0.0.1", server.port)) as connection:
            connection.sendall(b"GET /files/carphone.lvz HTTP/1.1\r\nHost: localhost\r\n\r\n")
    time.sleep(0.1)
    assert_alive(server, tree)


@pytest.mark.slow
def test_a_file_that_is_replaced_by_a_link(started: Starter, tmp_path: Path, silent: Path) -> None:
    (tmp_path / "secret.lvz").write_bytes(SECRET)
    folder = tmp_path / "served"
    folder.mkdir()
    (folder / "film.lvz").write_bytes(silent.read_bytes())
    server = started(folder)
    assert server.ask("/files/film.lvz").body == silent.read_bytes()
    (folder / "film.lvz").unlink()
    (folder / "film.lvz").symlink_to(tmp_path / "secret.lvz")
    for _ in range(60):  # before and after the folders are walked again
        answer = server.ask("/files/film.lvz")
        assert answer.status in (404, 422) and SECRET not in answer.body
        time.sleep(0.1)


def assert_alive(server: Server, tree: Path) -> None:
    assert server.ask("/files/carphone.lvz").body == (tree / "carphone.lvz").read_bytes()
    assert server.process.poll() is None
