"""What a file is, by its first bytes and by its ending.

This protects files that a command would not have written, and lets messages name what was given.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence

from lvc.errors import OutputExistsError

HEAD_BYTES = 64

VIDEO_ENDINGS = frozenset(
    ".264 .265 .3g2 .3gp .asf .avi .f4v .flv .gif .h264 .h265 .hevc .ivf .m2ts .m4v .mkv .mov .mp4 .mpeg .mpg .mts .mxf"
    " .nut .obu .ogv .ts .vob .webm .wmv .y4m .yuv".split()
)
"""What people name videos: in folders, such a file is taken for one."""

LVZ, MP4, MATROSKA, Y4M, SAFETENSORS = "lvz", "mp4", "matroska", "y4m", "safetensors"
NPZ, PARQUET = "npz", "parquet"
VIDEOS = (MP4, MATROSKA, Y4M)
"""What `decode` and `interpolate` write."""
TABLES = (NPZ, PARQUET)
"""What `features` writes."""

# kind -> its name with an article, its file endings
_KINDS = {
    LVZ: ("a .lvz", "lvz"),
    MP4: ("an MP4 or QuickTime video", "mp4 m4v mov qt"),
    MATROSKA: ("a Matroska or WebM video", "mkv webm"),
    Y4M: ("a Y4M video", "y4m"),
    SAFETENSORS: ("a safetensors file", "safetensors"),
    NPZ: ("a .npz or another ZIP archive", "npz"),
    PARQUET: ("a Parquet table", "parquet"),
    "avi": ("an AVI video", "avi"),
    "mpegts": ("an MPEG transport stream", "ts mts m2ts"),
    "picture": ("a picture", "png jpg jpeg gif webp"),
}
_SIGNATURES = (
    (0, b"\x89LVZ", LVZ),
    (4, b"ftyp", MP4),
    (4, b"moov", MP4),
    (4, b"mdat", MP4),
    (4, b"wide", MP4),
    (0, b"\x1aE\xdf\xa3", MATROSKA),
    (0, b"YUV4MPEG", Y4M),
    (8, b'{"', SAFETENSORS),
    (0, b"PK\x03\x04", NPZ),
    (0, b"PAR1", PARQUET),
    (8, b"AVI ", "avi"),
    (8, b"WEBP", "picture"),
    (0, b"\x89PNG", "picture"),
    (0, b"\xff\xd8\xff", "picture"),
    (0, b"GIF8", "picture"),
)


def kind_of(head: bytes) -> str | None:
    """The kind of file that begins with these bytes (`HEAD_BYTES` suffice); None if it is unknown."""
    for offset, signature, kind in _SIGNATURES:
        if head.startswith(signature, offset):
            return kind
    return "mpegts" if len(head) < 189 and head.startswith(b"\x47\x40") else None


def kind_of_file(path: str) -> str | None:
    """The kind of a regular file; None for anything else. Raises `OSError`."""
    if not os.path.isfile(path):
        return None
    with open(path, "rb") as file:
        return kind_of(file.read(HEAD_BYTES))


def kind_by_name(path: str) -> str | None:
    """The kind that a file's ending promises."""
    ending = os.path.splitext(path)[1].lower().removeprefix(".")
    return next((kind for kind, (_, endings) in _KINDS.items() if ending in endings.split()), None)


def called(kind: str) -> str:
    """The name of a kind, with an article."""
    return _KINDS[kind][0]


def endings(kinds: Iterable[str]) -> tuple[str, ...]:
    """`.mp4`, `.m4v` and so on: those of files of these kinds."""
    return tuple(f".{ending}" for kind in kinds for ending in _KINDS[kind][1].split())


def refuse_foreign(head: bytes, writes: Sequence[str] | None) -> None:
    """Raises `OutputExistsError` for a target that the command would not have written. `head`: its first bytes."""
    kind = kind_of(head)
    if writes is None or not head or kind in writes:
        return
    found = "something that this command does not write" if kind is None else called(kind)
    raise OutputExistsError(f"is {found}, which --force does not overwrite — choose another output, or remove it first")
