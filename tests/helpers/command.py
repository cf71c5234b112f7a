"""`lvc` as a process of its own: in a folder, with or without the codec of a few lines (`fakecodec`)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from tests.helpers.waiting import PATIENCE

FAKE = Path(__file__).with_name("fakecodec.py")


@dataclass
class Done:
    code: int
    out: bytes
    err: str

    @property
    def text(self) -> str:
        return self.out.decode()

    @property
    def events(self) -> list[dict[str, Any]]:
        """JSON lines of stdout."""
        return [json.loads(line) for line in self.out.decode().splitlines()]


class Process(subprocess.Popen[bytes]):
    """Does not outlive the test, however that ends."""

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        if kind is not None:
            self.kill()
        super().__exit__(kind, error, tb)


class Lvc:
    def __init__(self, program: list[str], folder: Path) -> None:
        self.program = [sys.executable, *program]
        self.folder = folder

    def start(self, *args: object, **kwargs: Any) -> Process:
        env = {**os.environ, **kwargs.pop("env", {})}
        return Process(
            [*self.program, *map(str, args)], cwd=self.folder, env=env,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, **kwargs,
        )  # fmt: skip

    def __call__(self, *args: object, input: bytes | None = None, env: dict[str, str] | None = None) -> Done:
        stdin = subprocess.PIPE if input is not None else subprocess.DEVNULL
        with self.start(*args, stdin=stdin, env=env or {}) as process:
            out, err = process.communicate(input, timeout=PATIENCE)
        return Done(process.returncode, out, err.decode())


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())
