"""Values that options take. A bad one is a usage error (2)."""

from __future__ import annotations

import re

import typer

_TIME = re.compile(r"(?:(?:(\d+):)?(\d{1,2}):)?(\d+(?:\.\d+)?)s?")


def seconds(text: str) -> float:
    """`90`, `90.5s`, `1:30` and `0:01:30.5` in seconds."""
    match = _TIME.fullmatch(text.strip())
    if not match:
        raise typer.BadParameter(f"{text!r} is no time; write it as 90, 1:30 or 0:01:30.5")
    hours, minutes, rest = match.groups()
    return int(hours or 0) * 3600 + int(minutes or 0) * 60 + float(rest)
