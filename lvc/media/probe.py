"""Is a file a video? By its content: FFmpeg is shown the bytes and not the name."""

from __future__ import annotations

from typing import BinaryIO

import av

from lvc.errors import MediaError
from lvc.media.errors import AV_ERRORS
from lvc.media.source import raw_options
from lvc.media.streams import choose_video

# Pictures, text and lists of other files, which FFmpeg presents as videos.
_NO_VIDEOS = {"image2", "tty", "concat", "hls", "dash", "lrc", "ffmetadata", "bin", "xbin", "adf", "idf"}


def is_video(path: str, file: BinaryIO) -> bool | None:
    """Whether `file`, found at `path`, holds moving pictures; None if FFmpeg cannot read it, as if it is damaged."""
    try:
        if raw_options(path) is not None:
            return True
    except MediaError:
        return None
    try:
        if not file.read(1):
            return None
        file.seek(0)
        with av.open(file, "r", metadata_errors="replace") as container:
            if container.format.name in _NO_VIDEOS or container.format.name.endswith("_pipe"):
                return False
            return choose_video(container, []) is not None
    except (OSError, *AV_ERRORS):
        return None


def frames_in(path: str) -> int | None:
    """How many frames the container says there are (None: it does not say). Raises `OSError` for what is no video."""
    with av.open(f"file:{path}", "r", metadata_errors="replace") as container:
        stream = choose_video(container, [])
        if stream is None:
            raise OSError("holds no video")
        return stream.frames or None
