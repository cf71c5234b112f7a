"""What went wrong, and what to do: the messages that people meet first."""

from __future__ import annotations

import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from typer.testing import CliRunner

from lvc.cli import app
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


STREAM = "rtsp://127.0.0.1:9/1"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["encode", STREAM, "out.lvz", "--start", "1"], "leave out --start"),
        (["encode", STREAM, "out.lvz", "--verify"], "--verify"),
        (["encode", STREAM, "out.lvz", "--target-size", "1M"], "cannot have a target"),
        (["encode", STREAM, "out.lvz", "--target-bitrate", "1M"], "cannot have a target"),
        (["encode", STREAM, "out.lvz", "--embed-model"], "leave out --embed-model"),
        (["encode", STREAM, "out.lvz", "--close-gaps"], "leave out --close-gaps"),
        (["encode", STREAM, "out.lvz", "--strict"], "leave out --strict"),
        (["encode", STREAM, "out.lvz", "--dry-run"], "--dry-run is for a folder"),
        (["encode", "a.mp4", "--segment", "10s"], "--segment is for streams"),
        (["encode", "a.mp4", "--max-latency", "5s"], "--max-latency is for streams"),
        (["encode", "a.mp4", "c.lvz", "--address", "node:1"], "--address is for a folder"),
        (["decode", "a.lvz", "c.mp4", "--engine", "ray"], "--engine is for a folder"),
        (["encode", "videos", "out.lvz"], "--output-dir"),
        (["encode", "videos", "--output-dir", "out", "--resume", "--force"], "contradict"),
        (["encode", "videos", "--output-dir", "out", "--watch", "--dry-run"], "--watch cannot be combined"),
        (["encode", "videos", "--output-dir", "out", "--address", "node:1"], "add --engine ray"),
        (["decode", "a.lvz", "out.mp4", "--follow", "--salvage"], "--follow and --salvage"),
        (["decode", "a.lvz", "out.mp4", "--latents", "a.npz", "--salvage"], "--latents cannot be combined"),
        (["decode", "a.lvz", "out.mp4", "--latents", "a.npz", "--follow"], "--latents cannot be combined"),
        (["decode", "a.lvz", "b.lvz", "--latents", "a.npz"], "--latents belongs to one file"),
    ],
)
def test_options_that_do_not_go_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], said: str
) -> None:
    """They are refused before anything is opened, and nothing is written."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "videos").mkdir()
    for name in ("a.mp4", "a.lvz", "b.lvz", "a.npz"):
        (tmp_path / name).touch()
    before = sorted(tmp_path.iterdir())
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 2 and said in " ".join(done.stderr.split()), done.stderr
    assert sorted(tmp_path.iterdir()) == before and list((tmp_path / "videos").iterdir()) == []
