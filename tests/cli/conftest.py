"""The command line as real processes: with the codec of a few lines (`fake`), or as it is (`lvc`)."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.helpers.command import FAKE, Lvc
from tests.helpers.waiting import Turns


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
