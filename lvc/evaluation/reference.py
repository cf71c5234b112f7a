"""The input file of all codecs in a comparison: the source, or a lossless copy of the cut or scaled frames.

The copy is raw video in NUT, which keeps the time base and costs next to nothing to read. So lvc and the anchors start
from the same bytes, and reading them is part of all times.
"""

from __future__ import annotations

from pathlib import Path

from lvc.evaluation.planes import NATIVE, to_frame
from lvc.evaluation.source import Source
from lvc.media.open import open_output
from lvc.media.planes import PIX_FMT


def make_reference(clip: Path, work: Path, *, frames: int | None = None, max_height: int | None = None) -> Source:
    """A Source on `clip`, or on a copy in `work` where the frames are not the file's own. Raises MediaError."""
    source = Source(clip, frames=frames, max_height=max_height)
    if frames is None and not source.scaled and source.pix_fmt in NATIVE and clip.suffix != ".yuv":
        return source
    path = work / f"reference-{clip.stem}.nut"
    video = source.format
    with open_output(f"file:{path}", "nut") as container:
        stream = container.add_stream("rawvideo", rate=video.rate)
        stream.width, stream.height, stream.pix_fmt = video.width, video.height, PIX_FMT[video.bit_depth]
        stream.codec_context.time_base = video.time_base
        for picture in source:
            frame = to_frame(picture, video.full_range)
            frame.pts, frame.time_base = picture.pts, video.time_base
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return Source(path)
