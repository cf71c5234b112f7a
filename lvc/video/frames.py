"""`lvc.open` and what it gives."""

from __future__ import annotations

import contextlib
import math
import os
import sys
import threading
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple

from lvc.errors import TruncatedError, UsageError
from lvc.lvz import Clip, LvzReader
from lvc.output import about
from lvc.threads import with_own_threads
from lvc.video.opened import Opened

if TYPE_CHECKING:
    from lvc.codec import LatentFrame
    from lvc.media import Frame
    from lvc.models import Model

_BATCH_BYTES = 256 << 20  # of pictures that wait for their turn in `frames`


class VideoFrame(NamedTuple):
    """`time` in seconds from the first frame. `image`: see `lvc.open`."""

    time: float
    image: Any


class Planes(NamedTuple):
    """One picture as coded: `y` uint8 `[H, W]`, `u` and `v` uint8 `[ceil(H/2), ceil(W/2)]`."""

    y: Any
    u: Any
    v: Any


def open(  # noqa: A001 - lvc.open
    source: str | os.PathLike[str],
    *,
    output: str = "numpy",
    pixels: str = "rgb",
    model: str | Model | None = None,
    threads: int | None = None,
    device: str | None = None,
    options: Mapping[str, Any] | None = None,
) -> Video:
    """The `.lvz` at a path or an address; of an address only those bytes are fetched that are needed.

    `output` is `numpy` or `torch`, `pixels` is `rgb` or `yuv`. Images are uint8: RGB as shown, `[H, W, 3]` for numpy
    and `[3, H, W]` for torch; or `Planes` as coded. `threads` is 1 in the workers of a `DataLoader`, else the number of
    cores. `options` are those of the address's file system (fsspec); for HTTP `headers` and `timeout`.

    Nothing is read yet. Methods raise every kind of `LvcError`, and `OSError`.
    """
    return Video(source, output=output, pixels=pixels, model=model, threads=threads, device=device, options=options)


class Video:
    """A `.lvz` to take frames from. `lvc.open` says what the arguments mean.

        video[12.5:20.0]            an iterator over the frames of these 7.5 seconds
        video[-5:]                  of the last five
        video[0:60:0.5]             the frames shown at 0, 0.5, 1, …
        video[12.5]                 the frame shown at that time
        video.frames(at=[9, 3.2])   the frames shown at these times, in this order; each group is decoded once

    Threads and processes may share one.
    """

    def __init__(
        self,
        source: str | os.PathLike[str],
        *,
        output: str = "numpy",
        pixels: str = "rgb",
        model: str | Model | None = None,
        threads: int | None = None,
        device: str | None = None,
        options: Mapping[str, Any] | None = None,
    ) -> None:
        if output not in ("numpy", "torch"):
            raise UsageError(f"output {output!r} is not known — use numpy or torch")
        if pixels not in ("rgb", "yuv"):
            raise UsageError(f"pixels {pixels!r} are not known — use rgb or yuv")
        self.source = os.fspath(source)
        self._output, self._pixels = output, pixels
        self._model, self._threads, self._device = model, threads, device
        self._options = dict(options or {})
        self._opened: Opened | None = None
        self._lock = threading.Lock()

    # ---------------------------------------------------------------- what it is

    @property
    def width(self) -> int:
        """Columns of an image (of the luma plane, for `yuv`)."""
        return self._size()[0]

    @property
    def height(self) -> int:
        return self._size()[1]

    @property
    def duration(self) -> float | None:
        """In seconds; None for a file without its end (one that is still being written)."""
        tail, video = self._state().tail, self._state().video
        return None if tail is None else float((tail.end_pts - tail.start_pts) * video.seconds_per_tick)

    @property
    def frame_count(self) -> int | None:
        tail = self._state().tail
        return None if tail is None else tail.frame_count

    @property
    def fps(self) -> float | None:
        """Frames per second; an average where they come irregularly, None if nobody said."""
        rate = self._state().video.frame_rate
        return rate[0] / rate[1] if rate[1] else None

    @property
    def tags(self) -> dict[str, str]:
        return dict(self._state().tags)

    def __repr__(self) -> str:
        return f"lvc.open({self.source!r})"

    # ---------------------------------------------------------------- frames

    def __iter__(self) -> Iterator[VideoFrame]:
        return self._range(None, None)

    def __getitem__(self, when: float | slice) -> Any:
        """A `VideoFrame` for a time, an iterator over them for a slice. Times below 0 count from the end."""
        if not isinstance(when, slice):
            return next(self.frames(at=[when]))
        start, stop = (None if t is None else self._from_end(t) for t in (when.start, when.stop))
        if when.step is None:
            return self._range(start, stop)
        if when.step <= 0:
            raise UsageError("the step of a range has to be above 0")
        if stop is None:
            stop = self._length()
        return self.frames(at=_steps(start or 0.0, min(stop, self._length()), float(when.step)))

    def frames(self, at: Iterable[float]) -> Iterator[VideoFrame]:
        """The frames shown at the times `at`, in that order. Their own times come with them.

        Times are taken in batches of up to 256 MiB of images, and in each every group of clips is decoded once.
        Raises `UsageError` for a time at which nothing is shown.
        """
        wanted = iter(at)
        width, height = self._size()
        batch = max(16, _BATCH_BYTES // (3 * width * height))
        while times := list(islice(wanted, batch)):
            yield from self._shown_at([self._from_end(time) for time in times])

    def every(self, n: int, start: float | None = None, stop: float | None = None) -> Iterator[VideoFrame]:
        """The file's frames 0, n, 2n …, from `start` to `stop`. Of the others only those are decoded that these need:
        with lvc's own codec every 2nd, 4th, 8th frame takes about a half, a quarter, an eighth of the time."""
        if n < 1:
            raise UsageError("every which frame is a number from 1 on")
        return self._range(start, stop, n)

    def _range(self, start: float | None, stop: float | None, every: int = 1) -> Iterator[VideoFrame]:
        state = self._state()
        from lvc.files.decode import frames_of

        with about(self.source), state.reader() as reader:
            maker = self._maker()
            threads = self._cores()
            for frame in frames_of(reader, start, stop, model=self._loaded(state), threads=threads, every=every):
                if state.origin is None:
                    state.origin = frame.pts
                yield maker(frame, frame.pts - state.origin)

    def _shown_at(self, times: list[float]) -> Iterator[VideoFrame]:
        state = self._state()
        with about(self.source), state.reader() as reader:
            done: dict[int, VideoFrame] = {}
            turn = 0
            for group in state.groups(times):
                for number, frame in self._of_group(reader, state, group):
                    done[number] = frame
                while turn in done:
                    yield done.pop(turn)
                    turn += 1

    def _of_group(
        self, reader: LvzReader, state: Opened, group: list[tuple[int, int]]
    ) -> Iterator[tuple[int, VideoFrame]]:
        """(number of the time, frame) for `group`: (pts at which something is shown, number), ascending, one GOP."""
        from lvc.files.common import codec_of

        tick = state.video.seconds_per_tick
        last = group[-1][0]
        clips: list[Clip] = []
        # a recording that is still being written has no end: what is shown now is its last frame
        with contextlib.suppress(*([TruncatedError] if state.tail is None else [])):
            for clip in reader.records_from(group[0][0] * tick, last * tick + tick, packets=False):
                if isinstance(clip, Clip):
                    if clip.pts[0] > last and clips:
                        break
                    clips.append(clip)
        pts = [p for clip in clips for p in clip.pts]
        numbers: dict[int, list[int]] = {}
        for wanted, number in group:
            place = bisect_right(pts, wanted) - 1
            if place < 0:
                raise UsageError("nothing is shown at that time — lvc info shows how long the video is")
            numbers.setdefault(pts[place], []).append(number)
        maker, origin = self._maker(), state.origin or 0
        model = self._loaded(state)
        sought = set(numbers)
        decoded = codec_of(model).decode(
            iter(clips), state.video, model, threads=self._cores(), wanted=lambda _, pts: pts in sought
        )
        frames = with_own_threads(decoded)
        with contextlib.closing(frames):
            for frame in frames:
                if frame.pts in numbers:
                    for number in numbers.pop(frame.pts):
                        yield number, maker(frame, frame.pts - origin)
                    if not numbers:
                        return

    def _maker(self) -> Callable[[Frame, int], VideoFrame]:
        """Makes a `VideoFrame` of a decoded frame and its ticks since the first one."""
        from lvc.media.pictures import PictureMaker
        from lvc.media.types import VideoFormat

        state = self._state()
        tick = state.video.seconds_per_tick
        fields = {name: getattr(state.video, name) for name in VideoFormat.__dataclass_fields__}
        pictures = PictureMaker(VideoFormat(**fields))

        def image(frame: Frame) -> Any:
            if self._output == "numpy":
                return Planes(frame.y, frame.u, frame.v) if self._pixels == "yuv" else pictures.rgb(frame)
            import torch

            if self._pixels == "yuv":
                return Planes(*(torch.from_numpy(plane) for plane in (frame.y, frame.u, frame.v)))
            return torch.from_numpy(pictures.rgb(frame)).permute(2, 0, 1).contiguous()

        return lambda frame, ticks: VideoFrame(float(ticks * tick), image(frame))

    def latents(
        self, start: float | None = None, stop: float | None = None, *, intra: bool = False
    ) -> Iterator[LatentFrame]:
        """What the file says of each frame from `start` to `stop` (`lvc.codec.LatentFrame`): integers, dequantised
        latents, motion, masks. Only of lvc's own codec. Those of a frame that is predicted are residuals, given its
        prediction; with `intra` each frame has also the latents that its picture would have as a key frame, which
        takes longer. Raises `UsageError` for a file without such latents."""
        from lvc.latents.frames import latents_of

        state = self._state()
        start, stop = (None if t is None else self._from_end(t) for t in (start, stop))
        with about(self.source), state.reader() as reader:
            if reader.tensors is not None:
                raise UsageError("holds no video of lvc's own codec — lvc.latents.LatentDataset reads its tensors")
            found = latents_of(reader, self._loaded(state), start, stop, intra=intra, threads=self._cores())
            with contextlib.closing(found):
                for frame in found:
                    if stop is not None and frame.time >= stop:
                        return
                    if start is None or frame.time >= start:
                        yield frame

    # ---------------------------------------------------------------- times

    def _length(self) -> float:
        duration = self.duration
        if duration is None:
            raise UsageError(f"{self.source} lacks its end, so that nothing can be counted from there")
        return duration

    def _from_end(self, time: float) -> float:
        time = float(time)
        if not math.isfinite(time):
            raise UsageError(f"{time} is no time")
        return time if time >= 0 else max(0.0, self._length() + time)

    def _size(self) -> tuple[int, int]:
        video = self._state().video
        turned = self._pixels == "rgb" and video.rotation % 180
        return (video.height, video.width) if turned else (video.width, video.height)

    # ---------------------------------------------------------------- opening

    def _state(self) -> Opened:
        with self._lock:
            if self._opened is None or self._opened.pid != os.getpid():
                with about(self.source):
                    self._opened = Opened(self.source, self._options)
            return self._opened

    def _loaded(self, state: Opened) -> Model:
        from lvc.files.common import model_of

        with self._lock:
            if state.model is None:
                with state.reader() as reader:
                    state.model = model_of(reader, self._model, self._device)
            return state.model

    def _cores(self) -> int | None:
        if self._threads is not None:
            return self._threads
        data = sys.modules.get("torch.utils.data")
        return 1 if data is not None and data.get_worker_info() is not None else None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_opened": None, "_lock": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._lock = threading.Lock()

    def close(self) -> None:
        """Lets go of files and connections; what is used afterwards opens them again."""
        with self._lock:
            opened, self._opened = self._opened, None
        if opened is not None and opened.pid == os.getpid():
            opened.close()

    def __enter__(self) -> Video:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _steps(start: float, stop: float, step: float) -> Iterator[float]:
    number = 0
    while (time := start + number * step) < stop:
        yield time
        number += 1
