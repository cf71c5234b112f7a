"""The command: exit codes, signals, tokens, what it prints."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers.server import Server, Starter

HIDE = "import sys; sys.modules[{hidden!r}] = None; from lvc.cli import main; main()"


def run(*arguments: object, code: str | None = None) -> subprocess.CompletedProcess[str]:
    program = ["-m", "lvc"] if code is None else ["-c", code]
    command = [sys.executable, *program, "serve", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_ends_it(started: Starter, tree: Path, number: int) -> None:
    server = started(tree)
    assert server.ask("/").status == 200
    assert server.end(number) == 0
    assert not [line for line in server.errors if "rror" in line]


@pytest.mark.slow
@pytest.mark.parametrize("path", ["/thumbs/carphone.lvz", "/mp4/trips/bunny.lvz.mp4", "/hls/carphone.lvz/0.ts"])
def test_an_interrupt_during_answers(started: Starter, tree: Path, path: str) -> None:
    server = started(tree)
    with socket.create_connection(("127.0.0.1", server.port)) as connection:
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        assert server.end() == 0
    assert not [line for line in server.errors if "Traceback" in line]


@pytest.mark.slow
def test_a_missing_path() -> None:
    done = run("nowhere.lvz", "--port", "0")
    assert done.returncode == 3 and "nowhere.lvz: no such file or folder" in done.stderr


@pytest.mark.slow
def test_a_file_that_is_no_lvz(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("hello")
    done = run(tmp_path / "notes.txt", "--port", "0")
    assert done.returncode == 4 and "is not a .lvz file" in done.stderr


@pytest.mark.slow
def test_a_taken_port(server: Server, tree: Path) -> None:
    done = run(tree, "--port", server.port)
    assert done.returncode == 3 and f"port {server.port} is taken" in done.stderr and "--port" in done.stderr


@pytest.mark.slow
def test_an_address_of_another_machine(tree: Path) -> None:
    done = run(tree, "--host", "192.0.2.77", "--port", "0")
    assert done.returncode == 3 and "--host" in done.stderr
    assert run(tree, "--port", "70000").returncode == 2


@pytest.mark.slow
@pytest.mark.parametrize("hidden", ["uvicorn", "starlette"])
def test_without_the_library(tree: Path, hidden: str) -> None:
    done = run(tree, code=HIDE.format(hidden=hidden))
    assert done.returncode == 5 and f"needs {hidden} — pip install 'lvc[serve]'" in done.stderr


@pytest.mark.slow
def test_what_people_read(tree: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "lvc", "serve", str(tree), "--port", "0"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        line = process.stdout.readline()
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)
    assert line.startswith("6 videos at http://127.0.0.1:") and process.returncode == 0
    assert "Ctrl-C" in said and "Traceback" not in said


def test_beyond_loopback_a_token_is_needed(started: Starter, tree: Path) -> None:
    server = started(tree, "--host", "0.0.0.0")
    token = server.token
    assert token is not None and len(token) >= 20 and server.address.endswith(f"/?token={token}")
    assert all(address.endswith(f"/?token={token}") for address in server.others)
    for path in ("/", "/files/carphone.lvz", "/thumbs/carphone.lvz", "/static/0/style.css", "/nothing"):
        for wrong in ("", "?token=", f"?token={token}x", f"?token={token[:-1]}", f"?Token={token}", "?token=%ff"):
            answer = server.ask(path + wrong)
            assert answer.status == 403 and token.encode() not in answer.body
        assert server.ask(path, headers={"Cookie": f"lvc-{server.port}=wrong"}).status == 403
        assert server.ask(path, headers={"Cookie": "=;;;\x01=" + "x" * 5000}).status in (400, 403)
    entered = server.ask(f"/?token={token}&q=a", headers={"Accept": "text/html"})
    assert (entered.status, entered.headers["location"]) == (303, "/?q=a")
    cookie = entered.headers["set-cookie"]
    assert "HttpOnly" in cookie and "SameSite=strict" in cookie
    inside = server.ask("/", headers={"Cookie": cookie.partition(";")[0]})
    assert inside.status == 200 and token.encode() not in inside.body
    assert server.ask(f"/files/carphone.lvz?token={token}").body == (tree / "carphone.lvz").read_bytes()
    off_site = server.ask(f"//evil.example/?token={token}", headers={"Accept": "text/html"})
    assert off_site.status == 303 and off_site.headers["location"] == "/evil.example/"
    assert server.ask("/", headers={"Host": "evil.example", "Cookie": cookie.partition(";")[0]}).status == 421
    assert server.ask(f"/?token={token}", headers={"Host": "192.168.7.7"}).status == 200


@pytest.mark.slow
def test_tokens_differ(started: Starter, tree: Path) -> None:
    assert started(tree, "--host", "0.0.0.0").token != started(tree, "--host", "0.0.0.0").token


@pytest.mark.slow
def test_on_loopback_there_is_none(server: Server) -> None:
    assert server.token is None and server.others == [] and server.address == f"http://127.0.0.1:{server.port}/"


@pytest.mark.slow
def test_no_torch(tree: Path) -> None:
    code = (
        "import sys\nclass No:\n    def find_spec(self, name, path=None, target=None):\n"
        "        assert name.partition('.')[0] != 'torch'\nsys.meta_path.insert(0, No())\n"
        "from lvc.cli import main; main()"
    )
    command = [sys.executable, "-c", code, "serve", "--json", "--port", "0", str(tree)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        event = json.loads(process.stdout.readline())
        server = Server(process, event["address"], None, [])
        assert server.ask("/").status == server.ask("/thumbs/carphone.lvz").status == 200
        server.end()
