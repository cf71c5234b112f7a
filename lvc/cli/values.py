"""Parsers of option values. An invalid value is a usage error (2)."""

from __future__ import annotations

import re
from typing import Annotated, Any

import typer

_TIME = re.compile(r"(?:(?:(\d+):)?(\d{1,2}):)?(\d+(?:\.\d+)?)s?")


_SPAN = re.compile(r"(\d+(?:\.\d+)?)([smhd])")
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def span(text: str) -> float:
    """Parse a duration in seconds: `60s`, `1.5m`, `24h`, `7d`, or as in `seconds`."""
    match = _SPAN.fullmatch(text.strip())
    value = float(match[1]) * _UNITS[match[2]] if match else seconds(text)
    if not value > 0:
        raise typer.BadParameter(f"{text!r} is not a duration; write it as 60s, 10m, 24h or 7d")
    return value


def seconds(text: str) -> float:
    """Parse a time in seconds: `90`, `90.5s`, `1:30`, `0:01:30.5`."""
    match = _TIME.fullmatch(text.strip())
    if not match:
        raise typer.BadParameter(f"{text!r} is not a time; write it as 90, 1:30 or 0:01:30.5")
    hours, minutes, rest = match.groups()
    return int(hours or 0) * 3600 + int(minutes or 0) * 60 + float(rest)


_AMOUNT = re.compile(r"(\d+(?:\.\d+)?)([kKmMgG]?)")
_THOUSANDS = {"": 1, "k": 1e3, "m": 1e6, "g": 1e9}


def amount(text: str) -> float:
    """Parse a number with an optional k, M or G (10^3, 10^6, 10^9): `800k`, `2.5M`."""
    match = _AMOUNT.fullmatch(text.strip())
    value = float(match[1]) * _THOUSANDS[match[2].lower()] if match else 0.0
    if not value > 0:
        raise typer.BadParameter(f"{text!r} is not an amount; write it as 800k or 2.5M")
    return value


MaxMemory = Annotated[
    Any,
    typer.Option(
        metavar="BYTES",
        parser=amount,
        envvar="LVC_MAX_MEMORY",
        help="Refuse pictures that would need more memory: 4G. Default: what the machine has.",
    ),
]


def either(argument: str | None, option: str | None) -> str | None:
    """The output, given as an argument or as an option, not both."""
    if argument is not None and option is not None:
        raise typer.BadParameter("name the output once, as OUT or with --output")
    return option if argument is None else argument
