"""SMPTE timecodes: `01:02:03:04`, with `;` before the frames for drop-frame timecode."""

from __future__ import annotations

import re
from fractions import Fraction

_FORM = re.compile(r"(\d\d):(\d\d):(\d\d)([:;.])(\d{2,3})")


def advanced(timecode: str, rate: Fraction, seconds: Fraction, new_rate: Fraction | None = None) -> str | None:
    """The timecode `seconds` later, counted at `new_rate` if given; `None` for an invalid one."""
    match = _FORM.fullmatch(timecode)
    if match is None or rate <= 0:
        return None
    hours, minutes, whole, frames = (int(match[i]) for i in (1, 2, 3, 5))
    base = round(rate)
    drops = base // 15 if match[4] in ";." and base % 30 == 0 else 0  # numbers skipped each minute, except every tenth
    total_minutes = 60 * hours + minutes
    count = (60 * total_minutes + whole) * base + frames - drops * (total_minutes - total_minutes // 10)
    count += round(seconds * rate)
    if new_rate is not None:
        count = round(count / rate * new_rate)
        base = round(new_rate)
        drops = base // 15 if drops and base % 30 == 0 else 0
    count %= _frames_in(1440, base, drops)
    if drops:
        tens, rest = divmod(count, _frames_in(10, base, drops))
        count += 9 * drops * tens
        if rest >= 60 * base:
            count += drops * ((rest - 60 * base) // (60 * base - drops) + 1)
    seconds_now, frames = divmod(count, base)
    separator = match[4] if drops else ":"
    return f"{seconds_now // 3600:02}:{seconds_now // 60 % 60:02}:{seconds_now % 60:02}{separator}{frames:02}"


def is_countable(timecode: str, rate: Fraction | None) -> bool:
    """Whether a timecode track can begin with it: up to 255 frames per second, drop-frame at NTSC rates only."""
    match = _FORM.fullmatch(timecode)
    if match is None or rate is None or not 1 <= rate <= 255:
        return False
    hours, minutes, seconds, frames = (int(match[i]) for i in (1, 2, 3, 5))
    dropped = match[4] == ":" or (round(rate) % 30 == 0 and rate.denominator == 1001)
    return hours < 24 and minutes < 60 and seconds < 60 and frames < round(rate) and dropped


def _frames_in(minutes: int, base: int, drops: int) -> int:
    return 60 * minutes * base - drops * (minutes - minutes // 10)
