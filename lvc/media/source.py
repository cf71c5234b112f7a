"""Opens sources: files, pipes, file objects, cameras, addresses, raw YUV."""

from __future__ import annotations

import os
import re
import shutil
import stat
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, BinaryIO

from lvc.errors import NOWHERE, MediaError, nowhere
from lvc.media.errors import AV_ERRORS, reason
from lvc.media.open import CAMERA, FILE, NOTHING, RAW, Access, access_to, access_to_playlist, open_input, scheme_of

STDIN = "-"
_HEAD = 1 << 16
_BUFFER = 1 << 18
SNIFF = 512
_RAW_NAME = re.compile(r"(?<!\d)(\d{2,5})x(\d{2,5})(?!\d)(?:[_@-](\d{1,3}(?:\.\d+)?)(?:fps|hz)?(?!\d))?", re.IGNORECASE)
_RAW_FORMATS = {"yuv": "yuv420p", "i420": "yuv420p", "nv12": "nv12"}


@dataclass(frozen=True)
class Live:
    """A live source: `arrival` returns the milliseconds with which frames are stamped, and a read that takes `timeout`
    seconds ends the stream."""

    arrival: Callable[[], int]
    timeout: float = 10.0

    def options(self, address: object) -> dict[str, str]:
        """Options: probe for a second, and use TCP for RTSP, which loses nothing."""
        options = {"analyzeduration": "1000000", "probesize": "1000000"}
        if isinstance(address, str) and address.startswith(("rtsp:", "rtsps:")):
            options["rtsp_transport"] = "tcp"
        return options


class PipeInput:
    """A stream without seeking, with the interface that PyAV reads. Short reads are passed on at once, for live input.

    `head` holds the bytes that were read already.
    """

    def __init__(self, raw: BinaryIO, head: bytes = b"") -> None:
        self._read = getattr(raw, "read1", raw.read)
        self._head = head

    def read(self, size: int) -> bytes:
        if self._head:
            part, self._head = self._head[:size], self._head[size:]
            return part
        return self._read(size) or b""


def _is_seekable(raw: Any) -> bool:
    try:
        return bool(raw.seekable())
    except (AttributeError, OSError, ValueError):
        return False


def _index_comes_last(head: bytes) -> bool:
    """Whether these first bytes are an MP4 or MOV whose index comes after its data, which a pipe cannot provide."""
    position, brand = 0, False
    while position + 8 <= len(head):
        size = int.from_bytes(head[position : position + 4], "big")
        kind = head[position + 4 : position + 8]
        if kind in (b"ftyp", b"wide", b"free", b"skip"):
            brand = True
        elif kind == b"mdat":
            return brand or position == 0
        else:
            return False
        if size < 8:
            return False
        position += size
    return False


def _from_pipe(raw: BinaryIO, notices: list[str]) -> Any:
    head = b""
    while len(head) < _HEAD:
        part = raw.read(_HEAD - len(head))
        if not part:
            break
        head += part
        if not head[4:8] == b"ftyp":  # only MP4 and MOV need more bytes
            break
    if not head:
        raise MediaError("the input is empty — check the command before the pipe")
    if not _index_comes_last(head):
        return PipeInput(raw, head)
    notices.append("MP4 with its index at the end came through a pipe: kept in a temporary file until it is complete")
    spool = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the reader
    spool.write(head)
    shutil.copyfileobj(raw, spool, 1 << 20)
    spool.seek(0)
    return spool


def raw_options(path: str) -> tuple[str, dict[str, str]] | None:
    """Raw YUV carries no header: its size (and rate) come from its name, as in `cars_320x240_30.yuv`."""
    extension = path.rpartition(".")[2].lower()
    if extension not in _RAW_FORMATS:
        return None
    match = _RAW_NAME.search(os.path.basename(path))
    if not match:
        raise MediaError(
            "raw YUV without a picture size in its name — name it like clip_320x240_30.yuv (width, height, frame rate)"
        )
    return "rawvideo", {
        "video_size": f"{match.group(1)}x{match.group(2)}",
        "pixel_format": _RAW_FORMATS[extension],
        "framerate": match.group(3) or "25",
    }


def _stdin() -> BinaryIO:
    """Without Python's buffer, whose lock a blocked reading thread would hold on to at exit."""
    if sys.stdin is None:
        raise MediaError("there is no standard input — give a file")
    return open(sys.stdin.fileno(), "rb", buffering=0, closefd=False)


class Source:
    """An open input container and what to close with it."""

    def __init__(self, container: Any, owned: list[Any], seekable: bool) -> None:
        self.container = container
        self.seekable = seekable
        self._owned = owned

    def close(self) -> None:
        self.container.close()
        for item in self._owned:
            item.close()


@dataclass(frozen=True)
class _Spelled:
    """A path or an address as FFmpeg is to open it. `head`: the first bytes of a file."""

    name: str
    access: Access
    form: str | None = None
    options: dict[str, str] = field(default_factory=dict)
    head: bytes = b""


def _spelled(path: str, allow_playlists: bool) -> _Spelled:
    if os.path.exists(path):
        if path.startswith("/dev/video") and stat.S_ISCHR(os.stat(path).st_mode):
            return _Spelled(path, CAMERA, "v4l2")
        if os.path.isdir(path):
            raise MediaError("is a folder — name a video file")
        # "file:" keeps FFmpeg from reading a protocol or a number pattern into the name
        name = f"file:{path}"
        raw = raw_options(path)
        if raw is not None:
            return _Spelled(name, RAW, *raw)
        head = _head_of(path)
        if _is_animated_webp(head):
            raise MediaError("is an animated WebP, which FFmpeg cannot decode — convert it to GIF or video first")
        return _Spelled(name, access_to_playlist() if allow_playlists else FILE, head=head)
    if scheme_of(path):
        return _Spelled(path, access_to(path, allow_playlists))
    if re.search(r"%0?\d*d|[*?]", path):
        raise MediaError(
            "no such file, and numbered pictures cannot be read — make a video of them first: "
            "ffmpeg -i PATTERN -c:v ffv1 pictures.mkv"
        )
    raise MediaError(f"no such file — {NOWHERE if nowhere() else 'check the name'}")


def _head_of(path: str) -> bytes:
    """The first bytes of a regular file; empty for a pipe, which can be read only once."""
    try:
        if not os.path.isfile(path):
            return b""
        with open(path, "rb") as file:
            return file.read(SNIFF)
    except OSError:
        return b""


def _is_animated_webp(head: bytes) -> bool:
    return head[:4] == b"RIFF" and head[8:16] == b"WEBPVP8X" and bool(head[20:21]) and bool(head[20] & 2)


def open_file(path: str | os.PathLike[str], form: str | None = None, options: dict[str, str] | None = None) -> Any:
    """Open a local file for code with simpler needs than `MediaReader`. `form`: the only demuxer;
    `rawvideo` with its `options` for pictures without a header. Raises `MediaError`, and PyAV's errors."""
    name = os.fspath(path)
    access = RAW if form == "rawvideo" else FILE
    return open_input(f"file:{name}", access, form=form, options=options, head=_head_of(name))


def open_source(
    path: str | os.PathLike[str] | BinaryIO,
    notices: list[str],
    live: Live | None = None,
    allow_playlists: bool = False,
) -> Source:
    """Open `path` (a path, an address, `-` for standard input, or a binary file object). Raises `MediaError`."""
    owned: list[Any] = []
    target: Any
    spelled = _Spelled("", NOTHING)
    if isinstance(path, (str, os.PathLike)) and os.fspath(path) != STDIN:
        spelled = _spelled(os.fspath(path), allow_playlists)
        target, seekable = spelled.name, True
    else:
        raw = _stdin() if isinstance(path, (str, os.PathLike)) else path
        seekable = _is_seekable(raw)
        target = raw if seekable else _from_pipe(raw, notices)
        if target is not raw and not isinstance(target, PipeInput):
            seekable = True
            owned.append(target)
    try:
        container = open_input(
            target, spelled.access, form=spelled.form, head=spelled.head, buffer_size=_BUFFER,
            options={**({} if live is None else live.options(target)), **spelled.options},
            timeout=None if live is None else live.timeout,
        )  # fmt: skip
    except (OSError, MediaError, *AV_ERRORS) as error:
        for item in owned:
            item.close()
        if isinstance(error, MediaError):
            raise
        if isinstance(error, PermissionError):
            raise MediaError("permission denied — check the file's permissions") from error
        if isinstance(error, (ConnectionError, TimeoutError)):
            raise MediaError(f"no answer ({reason(error)}) — check the URL, the server and the network") from error
        raise MediaError(
            f"not a video that FFmpeg can read ({reason(error)}) — it may be damaged, cut off, or not a video"
        ) from error
    return Source(container, owned, seekable)
