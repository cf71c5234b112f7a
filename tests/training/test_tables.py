"""Tables of symbols, counted while footage is coded."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from lvc.codec import EncodeSettings, decode, encode
from lvc.lvz import Clip, VideoDescriptor
from lvc.models import load_model
from lvc.training import footage, tables
from lvc.training.export import gaussian_tables
from tests.helpers.small_models import frame, video


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Footage as `footage.build` writes it: one clip of 18 frames."""
    path = tmp_path_factory.mktemp("clips") / "clips"
    made = [frame(n, 96, 96, shift=n) for n in range(18)]
    y, uv = np.stack([f.y for f in made]), np.stack([np.stack([f.u, f.v]) for f in made])
    path.with_suffix(".bin").write_bytes(y.tobytes() + uv.tobytes())
    path.with_suffix(".json").write_text(json.dumps([["a.mkv", *y.shape, 0]]))
    return path


def test_nothing_counted_leaves_the_gaussians() -> None:
    made, given = tables.counted(np.zeros((64, 4000))), gaussian_tables()
    np.testing.assert_array_equal(made.reach, given.reach)
    assert np.abs(made.frequencies.astype(int) - given.frequencies.astype(int)).max() <= 8


def test_what_was_counted_becomes_likelier() -> None:
    counts, given = np.zeros((64, 4000)), gaussian_tables()
    reach = int(given.reach[20])
    counts[20, reach + 1] = 1e6  # the symbol 1, never −1
    rows = tables.counted(counts).rows()
    assert rows[20][reach + 1] == pytest.approx(32768, rel=0.01) == rows[20][reach - 1]
    for row, before in zip(rows[1:], given.rows()[1:], strict=True):
        assert sum(row) == 65536 and min(row) >= 1 and len(row) == len(before)


def test_every_symbol_of_the_stream_is_counted(cache: Path) -> None:
    """Coded by the counted tables the same symbols take fewer bits; a stream says how many there were."""
    model = load_model()
    counts = tables.count(model, footage.Clips(cache), groups=2, crop=64)
    made, given = tables.counted(counts), model.programs.tables
    assert given is not None and counts[0].sum() == 0 and counts.sum() > 1000
    bits = [
        -sum((counts[i, : len(row)] * np.log2(np.array(row) / 65536)).sum() for i, row in enumerate(t.rows()) if i)
        for t in (made, given)
    ]
    assert bits[0] < bits[1]


def test_the_file_keeps_its_name_and_codes(cache: Path, tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    default = load_model()
    assert default.path is not None
    path.write_bytes(default.path.read_bytes())
    tables.count_into(path, cache, groups=1, crop=64)
    model = load_model(path)
    assert model.sha256 != default.sha256 and [p.name for p in tmp_path.iterdir()] == [path.name]
    frames = [frame(n, 48, 64, shift=n / 2) for n in range(6)]
    made, first = [], 0
    for c in encode(iter(frames), video(48, 64), model, EncodeSettings(threads=1)):
        made.append(Clip(first, c.key, c.pts, c.durations, None, c.payload))
        first += len(c.pts)
    descriptor = VideoDescriptor(64, 48, model.planes, 5, time_base=(1, 25), frame_rate=(25, 1))
    shown = list(decode(made, descriptor, model, 1))
    assert max(float(np.abs(a.y.astype(int) - b.y).mean()) for a, b in zip(shown, frames, strict=True)) < 12
