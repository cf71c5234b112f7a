"""HTML: templates that escape everything, and the texts and numbers in them."""

from __future__ import annotations

import datetime
import os
from pathlib import Path
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from lvc import __version__
from lvc.serve.library import Details, Item

_HERE = Path(__file__).parent
_LEFT_OUT = ("title", "creation_time", "encoder", "major_brand", "minor_version", "compatible_brands")
_UNITS = ("bytes", "kB", "MB", "GB", "TB")


def address(prefix: str, name: str = "", **query: object) -> str:
    """A path on this server. Names that are not UTF-8 keep their bytes."""
    words = [
        f"{quote(key)}={quote(os.fsencode(str(value)))}" for key, value in query.items() if value not in (None, "")
    ]
    return prefix + quote(os.fsencode(name)) + ("?" + "&".join(words) if words else "")


def shown(text: str) -> str:
    """A name as it can be displayed: bytes that are not UTF-8 become question marks."""
    return text.encode("utf-8", "replace").decode("utf-8")


def clock(seconds: float | None) -> str:
    """1:02:03, 4:05; empty if unknown."""
    if seconds is None:
        return ""
    whole = round(seconds)
    hours, rest = divmod(whole, 3600)
    return f"{hours}:{rest // 60:02}:{rest % 60:02}" if hours else f"{rest // 60}:{rest % 60:02}"


def spoken(seconds: float | None) -> str:
    """A length for screen readers: 1 hour, 2 minutes, 3 seconds."""
    if seconds is None:
        return "unknown length"
    whole = round(seconds)
    parts = ((whole // 3600, "hour"), (whole % 3600 // 60, "minute"), (whole % 60, "second"))
    return ", ".join(f"{n} {word}{'' if n == 1 else 's'}" for n, word in parts if n) or "0 seconds"


def size(count: int) -> str:
    """12.3 MB."""
    value, unit = float(count), 0
    while value >= 999.5 and unit < len(_UNITS) - 1:
        value, unit = value / 1000, unit + 1
    return f"{count} bytes" if unit == 0 else f"{value:.3g} {_UNITS[unit]}"


def date(nanoseconds: int) -> str:
    try:
        return datetime.datetime.fromtimestamp(nanoseconds / 1e9).strftime("%Y-%m-%d")
    except (ValueError, OverflowError, OSError):
        return ""


def card(item: Item, details: Details, where: str = "") -> dict[str, Any]:
    """What the gallery shows of a video. `where`: its folder, or a time in the video."""
    return {
        "title": shown(details.tags.get("title") or item.title),
        "file": shown(item.name),
        "watch": address("/watch/", item.name),
        "thumb": address("/thumbs/", item.name, v=item.version),
        "length": clock(details.seconds),
        "spoken": spoken(details.seconds),
        "size": size(item.size),
        "picture": f"{details.width}×{details.height}" if details.width else "",
        "where": shown(where),
        "error": None if details.error is None else shown(details.error),
    }


def facts(item: Item, details: Details) -> list[tuple[str, str]]:
    """What the page of a video says about it."""
    rate = f", {details.fps:.5g} fps" if details.fps else ""
    speed = f", {8 * item.size / details.seconds / 1000:,.0f} kbit/s" if details.seconds else ""
    lines = [
        ("Picture", f"{details.width}×{details.height}{rate}"),
        ("Length", clock(details.seconds) or "unknown: it is being recorded, or was cut off"),
        ("Size", f"{size(item.size)}{speed}"),
        ("Sound", "; ".join(details.sounds) or "none"),
        ("Subtitles", str(details.subtitles) if details.subtitles else ""),
        ("Changed", date(item.changed)),
    ]
    for key, value in details.tags.items():
        # com.apple.quicktime.make and make-eng repeat make
        if key not in _LEFT_OUT and "." not in key and key.partition("-")[0] not in details.tags.keys() - {key}:
            lines.append((key.replace("_", " ").capitalize(), value))
    return [(shown(key), shown(value)) for key, value in lines if value]


class Pages:
    def __init__(self) -> None:
        self._templates = Environment(
            loader=FileSystemLoader(_HERE / "templates"), autoescape=True, undefined=StrictUndefined,
            trim_blocks=True, lstrip_blocks=True,
        )  # fmt: skip
        self._templates.globals["version"] = __version__

    def page(self, name: str, **values: Any) -> str:
        return self._templates.get_template(f"{name}.html").render(**values)
