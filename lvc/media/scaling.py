"""Parses `--resolution` and `--fps`."""

from __future__ import annotations

import re
from fractions import Fraction

from lvc.errors import UsageError

_MAX_SIDE = 16384


def _even(value: Fraction) -> int:
    return max(2, round(value / 2) * 2)


def target_size(wanted: str, width: int, height: int, turned: bool = False) -> tuple[int, int]:
    """The coded size for `WxH`, `Wx`, `xH` or `Np` (N is the shorter side): even, and in proportion where a side is
    left open.

    `turned`: the picture is shown rotated by 90 or 270 degrees, so that the displayed width is the coded height.
    """
    shown_w, shown_h = (height, width) if turned else (width, height)
    text = wanted.strip().lower()
    both = re.fullmatch(r"(\d+)?x(\d+)?", text)
    lines = re.fullmatch(r"(\d+)p", text)
    if lines:
        side = int(lines.group(1))
        w, h = (None, side) if shown_w >= shown_h else (side, None)
    elif both and (both.group(1) or both.group(2)):
        w = int(both.group(1)) if both.group(1) else None
        h = int(both.group(2)) if both.group(2) else None
    else:
        raise UsageError(f"resolution {wanted!r} is not understood — write 1280x720, 720p, x480 or 854x")
    if w is None:
        w = _even(Fraction(shown_w * (h or 0), shown_h))
    if h is None:
        h = _even(Fraction(shown_h * w, shown_w))
    w, h = _even(Fraction(w)), _even(Fraction(h))
    if max(w, h) > _MAX_SIDE:
        raise UsageError(f"resolution {wanted!r} is too large — at most {_MAX_SIDE} samples a side")
    return (h, w) if turned else (w, h)


def scaled_sar(sar: Fraction, old: tuple[int, int], new: tuple[int, int]) -> Fraction:
    """The sample aspect ratio that keeps the shape of the picture; unchanged where the sizes agree within 2 %."""
    stretch = Fraction(old[0] * new[1], old[1] * new[0])
    return sar if abs(stretch - 1) < Fraction(1, 50) else (sar * stretch).limit_denominator(1000)


def target_rate(wanted: str | int | float | Fraction) -> Fraction:
    """Frames per second from 30, 29.97, "30000/1001" …"""
    try:
        rate = Fraction(str(wanted)) if not isinstance(wanted, Fraction) else wanted
    except (ValueError, ZeroDivisionError) as error:
        raise UsageError(f"frame rate {wanted!r} is not understood — write 25, 29.97 or 30000/1001") from error
    ntsc = Fraction(round(rate * Fraction(1001, 1000)) * 1000, 1001)
    if rate.denominator != 1 and abs(rate - ntsc) < Fraction(1, 100) and ntsc > 10:
        rate = ntsc  # 29.97 and 23.976 mean 30000/1001 and 24000/1001
    if not Fraction(1, 1000) <= rate <= 1000:
        raise UsageError(f"frame rate {wanted!r} is out of range — use 0.001 to 1000 frames per second")
    return rate
