"""The latents of a file of lvc's own codec, frame by frame or all in one file of named arrays."""

from __future__ import annotations

import itertools
import os
import time
import weakref
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from lvc import codec
from lvc.codec import FrameIntegers, LatentFrame
from lvc.errors import CorruptError, UnsupportedError, UsageError
from lvc.latents.arrays import NPZ, SAFETENSORS, rows_of, specs_of, written
from lvc.lvz import PACKING_ZSTD, Clip, LvzReader, Sample
from lvc.models import Model, model_of_file
from lvc.output import about, opened_input
from lvc.results import UnpackResult

if TYPE_CHECKING:
    import torch

Progress = Callable[[int, int, int, int | None], object]
Notice = Callable[[str], object]
VERSION = "1"


def is_video(source: str) -> bool:
    """Return whether a `.lvz` is of lvc's own codec."""
    with opened_input(source) as file, about(source):
        return LvzReader(file).tensors is None


def latents_of(
    reader: LvzReader,
    model: Model,
    start: float | None = None,
    end: float | None = None,
    *,
    intra: bool = False,
    threads: int | None = None,
) -> Generator[LatentFrame]:
    """Yield the frames of the groups of clips that overlap `start` to `end` (seconds from the first frame), in display
    order."""
    clips, origin = _begun(reader, start, end)
    return codec.latents(clips, reader.video, model, threads, reader.limits, intra, origin)


def _begun(reader: LvzReader, start: float | None, end: float | None) -> tuple[Iterator[Clip], int]:
    """Return the clips, and the pts of the video's first frame. Raises `UsageError` if there is no frame."""
    clips = _clips(reader, start, end)
    first = next(clips, None)
    if first is None:
        raise UsageError("no frame lies in this range — lvc info shows the length")
    return itertools.chain([first], clips), first.pts[0] if reader.tail is None else reader.tail.start_pts


def _model_of(reader: LvzReader, intra: bool, notice: Notice | None) -> Model | None:
    """Return the model; None if it is not installed and the integers can be read without it. Raises `UnsupportedError`
    if they cannot."""
    try:
        return model_of_file(reader.header, reader.model_chunk)
    except UnsupportedError as error:
        if reader.video.packing != PACKING_ZSTD or intra:
            raise
        if notice is not None:
            notice(f"{error}. Without it there are integers and no dequantised latents")
        return None


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
    notice: Notice | None = None,
) -> UnpackResult:
    """`unpack_latents` of a file of lvc's own codec."""
    if not target.endswith((NPZ, SAFETENSORS)):
        raise UsageError(f"holds a video, whose latents go into one file: name OUT{SAFETENSORS} or OUT{NPZ}")
    started = time.monotonic()
    with opened_input(source) as file, about(source):
        reader = LvzReader(file)
        header, video, g = reader.header, reader.video, reader.video.geometry
        model = _model_of(reader, intra, notice)
        keys, frames = _counts(reader, start, end)
        specs = specs_of(g, keys, frames - keys, intra, model is not None)
        text = {"lvc.latents": VERSION, "lvc.model": header.model_id}
        done = taken = 0
        with about(target), written(target, specs, text, force) as arrays, about(source):
            arrays.add("size", _numbers(g.height, g.width, g.padded_height, g.padded_width))
            arrays.add("time_base", _numbers(*video.time_base))
            arrays.add("model_sha256", np.frombuffer(header.model_sha256, np.uint8))
            found: Generator[FrameIntegers] | Generator[LatentFrame]
            if model is None:
                clips, origin = _begun(reader, start, end)
                found = codec.integers_of(clips, video, reader.limits, origin)
            else:
                found = latents_of(reader, model, start, end, intra=intra, threads=threads)
            with closing(found):
                for frame in found:
                    if (taken := taken + frame.intra_coded) > keys or (done := done + 1) > frames:
                        raise CorruptError("has more frames than its index says")
                    with about(target):
                        for name, row in rows_of(frame):
                            arrays.add(name, row)
                    if progress is not None:
                        progress(done, reader.size or 0, 0, frames)
            if (taken, done) != (keys, frames):
                raise CorruptError("has fewer frames than its index says")
    size = os.path.getsize(target)
    return UnpackResult(target, len(specs), 1, reader.size or 0, size, time.monotonic() - started, frames)


class VideoLatents:
    """Replaces `LatentFile` for a file of lvc's own codec: each group of clips counts as a float32 tensor `CTHW` of its
    key frame (T is 1) or, with `intra`, of all its frames, each with the latents that it would have as a key frame.
    `models`: those already loaded, by hash. Not safe for use by several threads at once. Raises `CorruptError`,
    `UnsupportedError` (the model is not installed), `LimitError`, `OSError`."""

    def __init__(
        self, path: str | os.PathLike[str], *, intra: bool = False, models: dict[bytes, Model] | None = None
    ) -> None:
        self.path, self.intra = os.fspath(path), intra
        self._models = {} if models is None else models
        self._file = open(self.path, "rb")
        weakref.finalize(self, self._file.close)
        with about(self.path):
            self.reader = LvzReader(self._file)
            index, tail = self.reader.index, self.reader.tail
            if index is None or tail is None:
                raise CorruptError("has no valid index: it was cut off — get another copy")
            starts = [gop.first_frame for gop in index.gops] + [tail.frame_count]
            spec = next(p for p in self.reader.video.planes if p.name == "key_latent")
        _, rows, columns = self.reader.video.geometry.plane_shape(spec)
        stem = os.path.splitext(os.path.basename(self.path))[0]
        self.samples = tuple(
            Sample(f"{stem}-{a}", "CTHW", b - a if intra else 1, rows, columns) for a, b in itertools.pairwise(starts)
        )

    def __len__(self) -> int:
        return len(self.samples)

    def _model(self) -> Model:
        sha256 = self.reader.header.model_sha256
        if sha256 not in self._models:
            self._models[sha256] = model_of_file(self.reader.header, self.reader.model_chunk)
        return self._models[sha256]

    def frames(self, number: int, *, all_frames: bool = True) -> list[LatentFrame]:
        """Return the integers and latents of the frames of group `number`; without `all_frames` only of its key
        frame."""
        with about(self.path):
            clips = self.reader.gop(number)
            origin = 0 if self.reader.tail is None else self.reader.tail.start_pts
            part = iter(clips if all_frames else clips[:1])
            return list(codec.latents(part, self.reader.video, self._model(), 1, intra=self.intra, origin=origin))

    def read(self, number: int) -> torch.Tensor:
        import torch

        frames = self.frames(number, all_frames=self.intra)
        found = [f.dequantised_intra if self.intra else f.dequantised for f in frames]
        return torch.from_numpy(np.stack([a for a in found if a is not None], 1))

    def close(self) -> None:
        self._file.close()


def _numbers(*values: int) -> npt.NDArray[np.int64]:
    return np.array(values, np.int64)


def _clips(reader: LvzReader, start: float | None, end: float | None) -> Iterator[Clip]:
    ranged = start is not None or end is not None
    records = reader.records_from(start or 0, end, packets=False, from_first=True) if ranged else reader.records()
    return (record for record in records if isinstance(record, Clip))


def _counts(reader: LvzReader, start: float | None, end: float | None) -> tuple[int, int]:
    """Return the number of intra-coded frames, and of all frames. The index has both if the whole file is wanted and
    has no intra-coded anchors; otherwise the wanted part is read once in advance."""
    if reader.video.packing == PACKING_ZSTD and start is end is None and reader.index and reader.tail:
        return len(reader.index.gops), reader.tail.frame_count
    keys = frames = 0
    for clip in _clips(reader, start, end):
        keys, frames = keys + codec.intra_coded_in(clip, reader.video), frames + clip.n_frames
    return keys, frames
