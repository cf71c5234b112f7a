"""One owner of a claim, and what is left of killed ones."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from lvc import output
from lvc.jobs import claims
from lvc.jobs.task import Task
from lvc.jobs.work import _why_not_decoded
from lvc.media import y4m
from lvc.options import DecodeOptions


def test_one_owner(tmp_path: Path) -> None:
    target = str(tmp_path / "a.lvz")
    with claims.claim(target) as mine, claims.claim(target) as other:
        assert (mine, other) == (True, False)
        assert claims.sweep_all([str(tmp_path)]) == 0
    assert list(tmp_path.iterdir()) == []


def test_a_claim_that_is_swept_away_is_nobodys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between finding an abandoned claim and removing it, another process wants it: it must not get the old file."""
    target = str(tmp_path / "a.lvz")
    with claims.claim(target):
        left = next(tmp_path.iterdir())
    left.touch()
    got: list[Any] = []
    unlink = os.unlink

    def slowly(path: Any, **options: Any) -> None:
        monkeypatch.setattr(os, "unlink", unlink)
        # the sweeper still holds the lock: whoever comes now sees that somebody is at it
        with claims.claim(target) as mine:
            got.append(mine)
        unlink(path, **options)

    monkeypatch.setattr(os, "unlink", slowly)
    assert output.sweep(tmp_path) == 1 and got == [False]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("content", "frames"),
    [
        (b"YUV4MPEG2 W4 H2 F25:1 Ip A1:1 C420jpeg\n" + 3 * (b"FRAME\n" + bytes(12)), 3),
        (b"YUV4MPEG2 W5 H3 F25:1\n" + 2 * (b"FRAME\n" + bytes(15 + 2 * 3 * 2)), 2),
        (b"YUV4MPEG2 W4 H2 F25:1\n" + 3 * (b"FRAME\n" + bytes(12)) + b"FRAME\n", None),
        (b"YUV4MPEG2 W4 H2 F25:1\n", None),
        (b"YUV4MPEG2 W4 F25:1\n" + bytes(18), None),
        (b"a diary", None),
        (b"", None),
    ],
)
def test_frames_of_a_y4m(tmp_path: Path, content: bytes, frames: int | None) -> None:
    path = tmp_path / "a.y4m"
    path.write_bytes(content)
    if frames is None:
        with pytest.raises(OSError):
            y4m.frames_in(str(path))
    else:
        assert y4m.frames_in(str(path)) == frames


def test_a_y4m_that_is_not_whole_is_not_done(tmp_path: Path) -> None:
    vectors = Path(__file__).resolve().parents[2] / "formats" / "vectors"
    target = tmp_path / "a.y4m"
    target.write_bytes(b"YUV4MPEG2 W4 H2 F25:1\n" + 77 * (b"FRAME\n" + bytes(12)))
    reason = _why_not_decoded(Task(str(vectors / "good-a-chunk-each.lvz"), str(target)), DecodeOptions())
    assert reason is not None and "77 frames instead of" in reason
    target.write_bytes(b"anything")
    reason = _why_not_decoded(Task(str(vectors / "good-a-chunk-each.lvz"), str(target)), DecodeOptions())
    assert reason is not None and "cannot be read" in reason
