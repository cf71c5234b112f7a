"""What went wrong, and what to do: the messages that people meet first."""

from __future__ import annotations

import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from lvc.errors import UsageError, explained
from lvc.files.coding import model_of
from lvc.lvz import Header
from tests.helpers.command import Lvc, names


@pytest.mark.slow
def test_the_other_command_is_named(fake: Lvc, with_sound: Path, carphone: Path) -> None:
    shutil.copy(with_sound, fake.folder / "a.lvz")
    done = fake("encode", "a.lvz", "b.lvz")
    assert done.code == 3 and "is a .lvz already" in done.err and "lvc decode" in done.err
    for command in ("decode", "verify", "info"):
        done = fake(command, carphone)
        assert done.code == 3 and "MP4" in done.err and "lvc encode" in done.err, command
    assert names(fake.folder) == ["a.lvz"]


@pytest.mark.slow
def test_a_folder_without_a_lvz_is_not_verified(fake: Lvc, carphone: Path) -> None:
    shutil.copy(carphone, fake.folder / "a.mp4")
    done = fake("verify", ".")
    assert done.code == 3 and "nothing was checked" in done.err


@pytest.mark.slow
def test_a_psnr_that_is_missed_is_said(fake: Lvc, carphone: Path) -> None:
    arguments = ("encode", carphone, "a.lvz", "--duration", "0.5", "--force", "--target-psnr")
    assert "99.0 instead of 40 dB" in fake(*arguments, "40").err


@pytest.mark.slow
def test_sound_that_alone_is_too_large_is_named(fake: Lvc, bunny: Path) -> None:
    done = fake("encode", bunny, "a.lvz", "--resolution", "32x18", "--duration", "2", "--target-size", "60k")
    assert done.code == 2 and "of them sound" in done.err and "--audio" in done.err
    assert names(fake.folder) == []


@pytest.mark.slow
def test_nobody_answers(fake: Lvc) -> None:
    done = fake("encode", "http://127.0.0.1:9/a.mp4", "a.lvz")
    assert done.code == 3 and "refused" in done.err and "damaged" not in done.err


@pytest.mark.slow
def test_numbered_pictures(fake: Lvc) -> None:
    done = fake("encode", "seq%04d.png", "a.lvz")
    assert done.code == 2 and "ffmpeg" in done.err


@pytest.mark.slow
def test_a_folder_that_was_deleted(fake: Lvc, with_sound: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = fake.folder / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    code, message = explained(FileNotFoundError(2, "No such file or directory"))
    assert code == 3 and "working directory has been deleted" in message


def test_packed_latents_are_unpacked() -> None:
    packed: Any = SimpleNamespace(header=Header("latents"))
    with pytest.raises(UsageError, match="lvc unpack"):
        model_of(packed, None, None)
