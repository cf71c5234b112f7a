"""LABELS.csv: what videos, or parts of them, show. Columns `file`, `label` and, optionally, `start` and `end`."""

from __future__ import annotations

import csv
import os
import re
from dataclasses import dataclass
from pathlib import Path

from lvc.errors import LimitError, MediaError, UsageError
from lvc.place import Place

COLUMNS = ("file", "label", "start", "end")
MOST_BYTES = 64 * 1024 * 1024
MOST_TAGS = 1000
LONGEST_NAME = 100
"""The most characters of a tag's name."""
_TIME = re.compile(r"(?:(?:(\d+):)?(\d{1,2}):)?(\d+(?:\.\d+)?)")


@dataclass(frozen=True)
class Label:
    """`path` shows `tag` from `start` to `end`, in seconds; `end` `None` means the end of the video. An empty tag: the
    video shows none of the tags. `line` is the line of the CSV file."""

    line: int
    path: str
    tag: str
    start: float = 0.0
    end: float | None = None


def read_labels(csv_file: str | os.PathLike[str]) -> list[Label]:
    """Read a CSV file with a header. Relative paths start at its folder.

    Raises `UsageError`, with the line number, for invalid rows, `MediaError` if there is no such file, and `LimitError`
    above 64 MiB or 1000 tags.
    """
    path = Path(csv_file)
    if not path.is_file():
        raise MediaError("no such file — give a CSV file with the columns file and label")
    if path.stat().st_size > MOST_BYTES:
        raise LimitError(f"has {path.stat().st_size} bytes — the limit for labels is {MOST_BYTES}")
    labels: list[Label] = []
    with path.open(encoding="utf-8-sig", newline="") as file:
        rows = csv.reader(file, strict=True)
        try:
            columns = _columns(next(rows, []))
            for row in rows:
                if any(cell.strip() for cell in row):
                    labels.append(_label(rows.line_num, row, columns, path.parent))
        except csv.Error as error:
            raise UsageError(f"line {rows.line_num}: {error} — write it as CSV, with commas") from error
        except UnicodeDecodeError as error:
            raise UsageError("is not in UTF-8 — save it in that encoding") from error
    tags = {label.tag for label in labels} - {""}
    if not tags:
        raise UsageError("has no labels — write a line for each video, such as: holiday.mp4,beach")
    if len(tags) > MOST_TAGS:
        raise LimitError(f"has {len(tags)} different tags — the limit is {MOST_TAGS}")
    return labels


def is_tag(name: str) -> bool:
    """Whether a text is a valid tag: 1 to 100 printable characters without spaces at either end."""
    return 0 < len(name) <= LONGEST_NAME and name.isprintable() and name == name.strip()


def _columns(header: list[str]) -> list[str]:
    names = [name.strip().lower() for name in header]
    unknown = [name for name in names if name not in COLUMNS]
    if unknown or len(set(names)) < len(names) or not {"file", "label"} <= set(names):
        found = ",".join(header)[:LONGEST_NAME]
        raise UsageError(f"line 1: the header is {found!r} — it has to be file,label or file,label,start,end")
    return names


def _label(line: int, row: list[str], columns: list[str], folder: Path) -> Label:
    if len(row) > len(columns):
        raise UsageError(
            f"line {line}: {len(row)} cells under {len(columns)} columns — quote cells that contain commas"
        )
    cells = {name: cell.strip() for name, cell in zip(columns, row, strict=False)}
    name, tag = cells.get("file", ""), cells.get("label", "")
    if not name:
        raise UsageError(f"line {line}: no file is named — write it in the column file")
    if tag and not is_tag(tag):
        raise UsageError(f"line {line}: the label is too long or cannot be printed — use up to {LONGEST_NAME} letters")
    start, end = _time(line, cells.get("start", "")), _time(line, cells.get("end", ""))
    if end is not None and end <= (start or 0.0):
        raise UsageError(f"line {line}: the range is empty — its end has to be after its start")
    if not tag and (start is not None or end is not None):
        raise UsageError(f"line {line}: a range needs a label — leave out the times, or name what is shown")
    return Label(line, name if Place(name).is_url else str(folder / name), tag, start or 0.0, end)


def _time(line: int, text: str) -> float | None:
    if not text:
        return None
    match = _TIME.fullmatch(text)
    if match is None:
        raise UsageError(f"line {line}: {text[:LONGEST_NAME]!r} is not a time — write it as 90, 1:30 or 0:01:30.5")
    hours, minutes, seconds = match.groups()
    return int(hours or 0) * 3600 + int(minutes or 0) * 60 + float(seconds)
