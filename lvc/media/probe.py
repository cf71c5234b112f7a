"""Whether a file is a video, by its content: FFmpeg sees the bytes and not the name."""

from __future__ import annotations

from typing import BinaryIO

from lvc.errors import MediaError
from lvc.media.errors import AV_ERRORS
from lvc.media.open import NOTHING, is_list, open_input
from lvc.media.source import SNIFF, open_file, raw_options
from lvc.media.streams import choose_video


def is_video(path: str, file: BinaryIO) -> bool | None:
    """Whether `file`, found at `path`, contains video; `None` if FFmpeg cannot read it, for example if it is
    damaged."""
    try:
        if raw_options(path) is not None:
            return True
    except MediaError:
        return None
    try:
        head = file.read(SNIFF)
        if not head:
            return None
        file.seek(0)
        with open_input(file, NOTHING, head=head) as container:
            return not container.format.name.endswith("_pipe") and choose_video(container, []) is not None
    except MediaError:
        # text, which FFmpeg presents as video; a playlist under the name of a video is one that cannot be read
        return None if is_list(head) else False
    except (OSError, *AV_ERRORS):
        return None


def frames_in(path: str) -> int | None:
    """Number of frames according to the container (`None` if it does not say). Raises `OSError` for a file without
    video."""
    with open_file(path) as container:
        stream = choose_video(container, [])
        if stream is None:
            raise OSError("holds no video")
        return stream.frames or None
