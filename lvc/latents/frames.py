"""The latents of a file of lvc's own codec: frame by frame, and all of them as a file of named arrays."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import closing

import numpy as np
import numpy.typing as npt

from lvc import codec
from lvc.codec import LatentFrame
from lvc.errors import CorruptError, UsageError
from lvc.latents.arrays import NPZ, SAFETENSORS, rows_of, specs_of, written
from lvc.lvz import Clip, LvzReader
from lvc.models import Model, model_of_file
from lvc.output import about, opened_input
from lvc.results import UnpackResult

Progress = Callable[[int, int, int, int | None], object]
VERSION = "1"


def latents_of(
    reader: LvzReader,
    model: Model,
    start: float | None = None,
    end: float | None = None,
    *,
    intra: bool = False,
    threads: int | None = None,
) -> Generator[LatentFrame]:
    """Of the groups of clips that show something from `start` to `end`, in seconds from the first frame, in order of
    display."""
    tail = reader.tail
    clips = _clips(reader, start, end)
    first = next(clips, None)
    if first is None:
        raise UsageError("no frame lies in that range — lvc info shows its length")
    origin = first.pts[0] if tail is None else tail.start_pts

    def all_clips() -> Iterator[Clip]:
        yield first
        yield from clips

    return codec.latents(all_clips(), reader.video, model, threads, reader.limits, intra, origin)


def unpack_video(
    source: str,
    target: str,
    *,
    start: float | None = None,
    end: float | None = None,
    intra: bool = False,
    threads: int | None = None,
    force: bool = False,
    progress: Progress | None = None,
) -> UnpackResult:
    """`unpack_latents` of a file of lvc's own codec."""
    if not target.endswith((NPZ, SAFETENSORS)):
        raise UsageError(f"holds a video, whose latents go into one file: name OUT{SAFETENSORS} or OUT{NPZ}")
    started = time.monotonic()
    with opened_input(source) as file, about(source):
        reader = LvzReader(file)
        model = model_of_file(reader.header, reader.model_chunk)
        keys, frames = _counts(reader, start, end)
        specs = specs_of(reader.video.geometry, keys, frames - keys, intra)
        text = {"lvc.latents": VERSION, "lvc.model": reader.header.model_id}
        done = taken = 0
        with about(target), written(target, specs, text, force) as arrays:
            g, video = reader.video.geometry, reader.video
            arrays.add("size", _numbers(g.height, g.width, g.padded_height, g.padded_width))
            arrays.add("time_base", _numbers(*video.time_base))
            arrays.add("model_sha256", np.frombuffer(reader.header.model_sha256, np.uint8))
            with about(source), closing(latents_of(reader, model, start, end, intra=intra, threads=threads)) as found:
                for frame in found:
                    if (taken := taken + frame.key) > keys or (done := done + 1) > frames:
                        raise CorruptError("has more frames than its index says")
                    with about(target):
                        for name, row in rows_of(frame):
                            arrays.add(name, row)
                    if progress is not None:
                        progress(done, os.path.getsize(source), 0, frames)
                if (taken, done) != (keys, frames):
                    raise CorruptError("has fewer frames than its index says")
    size = os.path.getsize(target)
    return UnpackResult(target, len(specs), 1, reader.size or 0, size, time.monotonic() - started, frames)


def _numbers(*values: int) -> npt.NDArray[np.int64]:
    return np.array(values, np.int64)


def _clips(reader: LvzReader, start: float | None, end: float | None) -> Iterator[Clip]:
    ranged = start is not None or end is not None
    records = reader.records_from(start or 0, end, packets=False, from_first=True) if ranged else reader.records()
    return (record for record in records if isinstance(record, Clip))


def _counts(reader: LvzReader, start: float | None, end: float | None) -> tuple[int, int]:
    """Key frames and frames in all: from the index, or by reading the part that is wanted once before."""
    if start is None and end is None and reader.index is not None and reader.tail is not None:
        return len(reader.index.gops), reader.tail.frame_count
    keys = frames = 0
    for clip in _clips(reader, start, end):
        keys, frames = keys + clip.key, frames + clip.n_frames
    return keys, frames
