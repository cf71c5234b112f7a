"""Servers as processes, and requests to them that may break every rule."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

import pytest

from lvc.files import decode_frames, encode_file
from lvc.files.decode import format_of
from lvc.lvz import LvzReader
from lvc.media.pictures import PictureMaker
from tests.helpers.waiting import PATIENCE

SECRET = b"the content of a file that is not served"
ODD = "<b>Ünïcode & “quotes” #1 100%.lvz"


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes


@dataclass
class Server:
    """A process of `lvc serve`; `address` as it printed it."""

    process: subprocess.Popen[str]
    address: str
    token: str | None
    others: list[str]
    errors: list[str] = field(default_factory=list)
    reader: threading.Thread | None = None

    @property
    def port(self) -> int:
        return int(self.address.split("//")[1].partition("/")[0].rpartition(":")[2])

    def ask(
        self, path: str, method: str = "GET", headers: dict[str, str] | None = None, body: bytes | None = None
    ) -> Answer:
        """One request by a client that sends the path as it is."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)
        with contextlib.closing(connection):
            connection.request(method, path, body, headers or {})
            answer = connection.getresponse()
            return Answer(answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read())

    def raw(self, data: bytes, seconds: float = 30) -> bytes:
        """What comes back for some bytes, until the server hangs up or is silent."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=seconds) as connection:
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                connection.sendall(data)
            got = b""
            with contextlib.suppress(TimeoutError, ConnectionResetError):
                while piece := connection.recv(65536):
                    got += piece
            return got

    def end(self, number: int = signal.SIGINT) -> int:
        self.process.send_signal(number)
        return self.process.wait(60)

    def __enter__(self) -> Server:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        if self.process.poll() is None:  # properly, so that coverage is measured in it
            self.process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(PATIENCE)
            self.process.kill()
        if self.reader is not None:
            self.reader.join(60)
        self.process.__exit__(None, None, None)


def start(*arguments: object, folder: Path | None = None, program: str = "lvc", **env: str) -> Server:
    """`lvc serve --json --port 0 …`, once it listens."""
    command = [sys.executable, "-m", program, "serve", "--json", "--port", "0", *map(str, arguments)]
    process = subprocess.Popen(
        command, cwd=folder, env={**os.environ, **env}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None and process.stderr is not None
    line = process.stdout.readline()
    if not line:
        pytest.fail(f"lvc serve did not start: {process.stderr.read()}")
    event = json.loads(line)
    server = Server(process, event["address"], event["token"], event["others"])
    stderr = process.stderr
    server.reader = threading.Thread(target=lambda: server.errors.extend(stderr), daemon=True)
    server.reader.start()
    return server


def decoded(path: Path) -> list[tuple[float, Any]]:
    """The frames of a `.lvz` as lvc decodes them, with their times in seconds from the first."""
    with path.open("rb") as file:
        tick = LvzReader(file).video.seconds_per_tick
    frames = list(decode_frames(path))
    return [(float((frame.pts - frames[0].pts) * tick), frame) for frame in frames]


def picture_at(path: Path, seconds: float) -> Any:
    """uint8 [H,W,3]: what is shown at a time, upright."""
    with path.open("rb") as file:
        maker = PictureMaker(format_of(LvzReader(file)))
    return maker.rgb([frame for at, frame in decoded(path) if at <= seconds + 1e-6][-1])


def encode(source: Path, target: Path, gop: float = 1, **options: Any) -> Path:
    encode_file(source, target, effort=0, gop=gop, **options)
    return target


Starter = Callable[..., Server]
