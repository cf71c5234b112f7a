"""`--max-bitrate`: the written file, sent at that rate and played after `--buffer` seconds, never runs dry."""

from __future__ import annotations

from pathlib import Path

import pytest

from lvc.lvz import Clip, LvzReader
from tests.helpers.command import Lvc, names


def clips_of(path: Path) -> list[tuple[float, int]]:
    """Seconds at which each clip is first shown, and its bits."""
    with path.open("rb") as file:
        reader = LvzReader(file)
        tick = float(reader.video.seconds_per_tick)
        clips = [r for r in reader.records_from(packets=False) if isinstance(r, Clip)]
    return [(float((c.pts[0] - clips[0].pts[0]) * tick), 8 * len(c.payload)) for c in clips]


def ahead(clips: list[tuple[float, int]], rate: float) -> float:
    """The most seconds that any stretch of clips takes longer to send than it is shown."""
    return max(
        sum(bits for _, bits in clips[i : j + 1]) / rate - (clips[j][0] - clips[i][0])
        for i in range(len(clips))
        for j in range(i, len(clips))
    )


@pytest.mark.slow
def test_no_stretch_of_a_file_passes_the_rate(lvc: Lvc, carphone: Path) -> None:
    common = "encode", carphone, "--duration", "4", "--quality", "70", "--gop", "1", "--no-features", "-f"
    assert lvc(*common, "free.lvz").code == 0
    free = clips_of(lvc.folder / "free.lvz")
    rate = 0.6 * sum(bits for _, bits in free) / 4
    assert ahead(free, rate) > 1.0
    done = lvc(*common, "held.lvz", "--max-bitrate", f"{rate:.0f}", "--buffer", "0.8")
    assert done.code == 0, done.err
    held = clips_of(lvc.folder / "held.lvz")
    assert ahead(held, rate) <= 0.8 + 1e-6
    assert sum(bits for _, bits in held) > 0.5 * rate * 4  # and what may be spent mostly is
    assert lvc("verify", "--full", "held.lvz").code == 0


@pytest.mark.slow
def test_what_cannot_be_held_is_said_and_nothing_is_left(lvc: Lvc, carphone: Path) -> None:
    done = lvc("encode", carphone, "a.lvz", "--duration", "1", "--max-bitrate", "2k", "--buffer", "0.5")
    assert done.code == 2 and "--buffer" in done.err and not names(lvc.folder)
    done = lvc("encode", carphone, "a.lvz", "--buffer", "3")
    assert done.code == 2 and "--max-bitrate" in done.err
