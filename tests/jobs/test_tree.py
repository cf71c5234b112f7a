"""The files of a folder: each once, whatever links, pipes and closed folders it has."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from lvc.errors import UsageError
from lvc.jobs import tree

LVZ = b"\x89LVZ\r\n\x1a\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "videos"
    for name in ("a.lvz", "sub/b.bin", "sub/.hidden.lvz", ".hidden/c.lvz", "out/d.lvz"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(LVZ)
    (folder / "notes.txt").write_text("no video")
    return folder


def found(folder: Path, **more: Any) -> list[str]:
    return [os.path.relpath(path, folder) for path in tree.find(str(folder), "decode", **more).files]


def test_files_are_known_by_their_content(folder: Path) -> None:
    assert found(folder) == ["a.lvz", "out/d.lvz", "sub/b.bin"]
    assert tree.find(str(folder), "decode").others == 1
    assert found(folder, without=str(folder / "out")) == ["a.lvz", "sub/b.bin"]
    assert found(folder, without=str(folder)) == found(folder)  # outputs beside their sources


def test_a_folder_in_itself_is_entered_once(folder: Path) -> None:
    (folder / "sub" / "again").symlink_to(folder)
    os.mkfifo(folder / "pipe.lvz")
    (folder / "gone.lvz").symlink_to(folder / "nothing")
    assert found(folder) == ["a.lvz", "gone.lvz", "out/d.lvz", "sub/b.bin"]  # opening reports what is gone


def test_a_closed_folder_inside_is_passed_over(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scan = os.scandir

    def closed(path: str) -> Any:
        if os.path.basename(path) in shut:
            raise PermissionError(13, "Permission denied", path)
        return scan(path)

    monkeypatch.setattr(os, "scandir", closed)
    shut = {"sub"}
    assert found(folder) == ["a.lvz", "out/d.lvz"]
    shut = {"videos"}
    with pytest.raises(PermissionError):
        found(folder)


def test_a_file_is_no_folder(folder: Path) -> None:
    with pytest.raises(UsageError, match="not a folder"):
        found(folder / "a.lvz")
