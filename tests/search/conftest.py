"""Small libraries of real and drawn clips."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from lvc.media import Frame, MediaReader, MediaWriter

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from clips import BIKES, CARPHONE, real_clip  # noqa: E402


def copied(source: Path, target: Path, start: float, duration: float, crf: int = 30, mirrored: bool = False) -> Path:
    """A part of a clip as x264 at a quarter of the area."""
    with MediaReader(source, start=start, duration=duration, audio="none", resolution="160x") as reader:
        with MediaWriter(target, reader.video, crf=crf) as writer:
            for frame in reader:
                if isinstance(frame, Frame):
                    if mirrored:
                        y, u, v = (np.ascontiguousarray(p[:, ::-1]) for p in (frame.y, frame.u, frame.v))
                        frame = replace(frame, y=y, u=u, v=v)
                    writer.write(frame)
    return target


@pytest.fixture(scope="session")
def bikes() -> Path:
    return real_clip(BIKES)


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory, bikes: Path) -> Path:
    """bikes and carphone, and in a folder an excerpt of bikes, 3 to 8 s, small and mirrored."""
    folder = tmp_path_factory.mktemp("library")
    (folder / "bikes.mp4").symlink_to(bikes)
    (folder / "carphone.mp4").symlink_to(real_clip(CARPHONE))
    (folder / "more").mkdir()
    copied(bikes, folder / "more" / "excerpt.mkv", 3, 5, mirrored=True)
    (folder / "notes.txt").write_text("no video")
    (folder / ".hidden.mp4").write_bytes(b"no video either")
    return folder
