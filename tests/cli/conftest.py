"""The command line as real processes: with the codec of a few lines (`fake`), or as it is (`lvc`)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import pytest

from ..waiting import PATIENCE, Turns

FAKE = Path(__file__).resolve().parent.parent / "fakecodec.py"
sys.path.insert(0, str(FAKE.parent))


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


@pytest.fixture
def fake(tmp_path: Path) -> Lvc:
    return Lvc([str(FAKE)], tmp_path)


@pytest.fixture
def lvc(tmp_path: Path) -> Lvc:
    return Lvc(["-m", "lvc"], tmp_path)


@pytest.fixture(scope="session")
def encoded(tmp_path_factory: pytest.TempPathFactory, carphone: Path) -> Path:
    """carphone as .lvz: 120 frames in groups of 8, a second or so of them in each of 4 groups."""
    folder = tmp_path_factory.mktemp("encoded")
    done = Lvc([str(FAKE)], folder)("encode", carphone, "carphone.lvz", "--packing", "zstd", "--gop", "1")
    assert done.code == 0, done.err
    return folder / "carphone.lvz"


@pytest.fixture(scope="session")
def with_sound(tmp_path_factory: pytest.TempPathFactory, bunny: Path) -> Path:
    """bunny, small, as .lvz."""
    folder = tmp_path_factory.mktemp("encoded")
    done = Lvc([str(FAKE)], folder)(
        "encode", bunny, "bunny.lvz", "--packing", "zstd", "--gop", "1", "--resolution", "160x90"
    )
    assert done.code == 0, done.err
    return folder / "bunny.lvz"


@pytest.fixture
def turns(tmp_path_factory: pytest.TempPathFactory) -> Turns:
    return Turns(tmp_path_factory.mktemp("turns") / "here")


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())
