"""Every clip of the validation set: read, written, read again."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.helpers.clips import Read, validation_clips

CLIPS = validation_clips()


@pytest.mark.slow
@pytest.mark.skipif(not CLIPS, reason="no validation footage here (LVC_DATA)")
@pytest.mark.parametrize("clip", CLIPS, ids=lambda path: path.name)
def test_round_trip(tmp_path: Path, clip: Path) -> None:
    source = Read(clip, duration=3)
    assert source.frames
    path = tmp_path / "again.mp4"
    assert source.write(path, preset="ultrafast", crf=35).notices == []
    again = Read(path)
    assert again.times == source.times
    assert again.durations == source.durations
    assert [p.data for p in again.packets] == [p.data for p in source.packets]
    for number in range(len(source.copied)):
        assert again.packet_times(number) == source.packet_times(number)
    for name in ("width", "height", "sar", "rotation", "hflip", "primaries", "transfer", "matrix", "color_range"):
        assert getattr(again.video, name) == getattr(source.video, name), name
