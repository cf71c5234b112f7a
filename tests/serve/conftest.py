"""Real server processes on loopback, over a folder of real files with traps in it."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.helpers.server import ODD, SECRET, Server, Starter, encode, start


@pytest.fixture(scope="session")
def silent(tmp_path_factory: pytest.TempPathFactory, carphone: Path) -> Path:
    """carphone as .lvz: 75 frames at 29.97 fps, a GOP a second, no sound."""
    return encode(carphone, tmp_path_factory.mktemp("silent") / "carphone.lvz", duration=2.5)


@pytest.fixture(scope="session")
def sounding(tmp_path_factory: pytest.TempPathFactory, bunny: Path) -> Path:
    """bunny as .lvz, small, with AAC: about five seconds in GOPs of a second."""
    return encode(bunny, tmp_path_factory.mktemp("sounding") / "bunny.lvz", resolution="160x90")


@pytest.fixture(scope="session")
def tree(tmp_path_factory: pytest.TempPathFactory, silent: Path, sounding: Path) -> Path:
    """A folder as people have them, and what must not be reached from it beside it."""
    top = tmp_path_factory.mktemp("tree")
    outside = top / "outside"
    outside.mkdir()
    (outside / "secret.txt").write_bytes(SECRET)
    (outside / "secret.lvz").write_bytes(SECRET)
    root = top / "videos"
    (root / "trips" / "sea").mkdir(parents=True)
    (root / ".hidden").mkdir()
    (root / "empty").mkdir()
    (root / "carphone.lvz").write_bytes(silent.read_bytes())
    (root / "trips" / "bunny.lvz").write_bytes(sounding.read_bytes())
    (root / "trips" / "sea" / ODD).write_bytes(silent.read_bytes())
    (root / "cut.lvz").write_bytes(silent.read_bytes()[:2000])
    (root / "junk.lvz").write_bytes(os.urandom(3000))
    (root / "notes.txt").write_bytes(SECRET)
    (root / ".hidden" / "hidden.lvz").write_bytes(SECRET)
    (root / ".dot.lvz").write_bytes(SECRET)
    (root / "out.lvz").symlink_to(outside / "secret.lvz")
    (root / "out").symlink_to(outside)
    (root / "in.lvz").symlink_to(root / "carphone.lvz")
    (root / "dangling.lvz").symlink_to(root / "nothing.lvz")
    (root / "folder.lvz").mkdir()
    os.mkfifo(root / "pipe.lvz")
    return root


@pytest.fixture(scope="session")
def server(tree: Path) -> Iterator[Server]:
    with start(tree) as running:
        yield running


@pytest.fixture(scope="session")
def hasty(tree: Path) -> Iterator[Server]:
    """One that soon hangs up on who says nothing."""
    with start(tree, program="tests.helpers.hasty_lvc") as running:
        yield running


@pytest.fixture
def started() -> Iterator[Starter]:
    """Starts servers that end with the test."""
    with contextlib.ExitStack() as stack:
        yield lambda *arguments, **more: stack.enter_context(start(*arguments, **more))
