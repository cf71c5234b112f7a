"""Small libraries of real and drawn clips."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.helpers.clips import BIKES, CARPHONE, excerpt, real_clip


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
    excerpt(bikes, folder / "more" / "excerpt.mkv", 3, 5, mirrored=True)
    (folder / "notes.txt").write_text("no video")
    (folder / ".hidden.mp4").write_bytes(b"no video either")
    return folder
