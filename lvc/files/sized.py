"""`--target-size`: encodes repeatedly until the size fits. A file can be read more than once, and a constant quality
looks better than single-pass rate control."""

from __future__ import annotations

import math
import os
from dataclasses import replace

from lvc.errors import UsageError
from lvc.files.common import Notice, Progress
from lvc.files.encode import encode_once
from lvc.kinds import LVZ
from lvc.lvz import Origin
from lvc.notices import each_once
from lvc.options import EncodeOptions
from lvc.output import check_output, publish_file, workspace
from lvc.place import STREAM, Place
from lvc.results import EncodeResult

LEAST = 0.97
"""Share of the target size that is close enough."""
TRIES = 6
OCTAVES_PER_QUALITY = 0.04
"""Assumed growth of the size per point of quality, in octaves, until two sizes are known."""


def encode_to_size(
    source: str,
    target: str,
    options: EncodeOptions,
    *,
    force: bool = False,
    origin: Origin | None = None,
    progress: Progress | None = None,
    notice: Notice | None = None,
) -> EncodeResult:
    """Encode at the quality that gives at most `options.target_size` bytes, and at least 97 % of them if possible.

    Takes two to six passes. Raises `UsageError` for streams, or if even quality 0 is larger; else as `encode_file`.
    """
    if options.target_size is None:
        raise ValueError("target_size is not set")
    size, options = int(options.target_size), replace(options, target_size=None)
    if source == STREAM or not Place(target).is_local:
        raise UsageError(
            "--target-size needs several passes, and standard input can be read only once — use --target-bitrate"
        )
    check_output(source, target, force=force, writes=[LVZ])
    say = each_once(notice)
    low, high = 0.0, 100.0
    sizes: dict[float, int] = {}
    best: EncodeResult | None = None
    with workspace(target) as folder:
        quality = 50.0
        for _ in range(TRIES):
            trial = folder / "trial.lvz"
            result = encode_once(
                source, str(trial), replace(options, quality=quality), force=True, origin=origin, progress=progress,
                notice=say,
            )  # fmt: skip
            sizes[quality] = result.bytes_out
            if result.bytes_out <= size:
                low = quality
                if best is None or result.bytes_out > best.bytes_out:
                    os.replace(trial, folder / "best.lvz")
                    best = result
                if result.bytes_out >= LEAST * size or quality == 100:
                    break
            else:
                high = quality
                if quality == 0:
                    break
            quality = _next(sizes, size, low, high)
        if best is None:
            sound = f", {result.audio_bytes:,} of them sound" if result.audio_bytes else ""
            advice = "scale it with --resolution"
            if result.audio_bytes:
                advice = "code the sound with --audio opus:48k or drop it with --audio none" + (
                    f", or {advice}" if result.audio_bytes < size else ""
                )
            raise UsageError(f"even at the lowest quality it has {min(sizes.values()):,} bytes{sound} — {advice}")
        publish_file(folder / "best.lvz", target, force=force)
    return replace(best, output=target)


def _next(sizes: dict[float, int], size: int, low: float, high: float) -> float:
    """Return the quality to try next, between `low` (too small a file) and `high` (too large)."""
    known = sorted(sizes, key=lambda q: abs(math.log(sizes[q] / size)))
    q = known[0]
    slope = OCTAVES_PER_QUALITY
    if len(known) > 1 and known[1] != q and sizes[known[1]] != sizes[q]:
        slope = max(math.log2(sizes[q] / sizes[known[1]]) / (q - known[1]), 0.005)
    # aim slightly below: a file that is too large is useless, one slightly too small is not
    guess = q + math.log2(0.985 * size / sizes[q]) / slope
    if low in sizes and high in sizes:
        return min(max(guess, low + 0.05 * (high - low)), high - 0.05 * (high - low))
    return min(max(guess, 0.0 if low not in sizes else low + 0.5), 100.0 if high not in sizes else high - 0.5)
