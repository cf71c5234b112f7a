"""`lvc.open` and `lvc.decode`: the frames of a `.lvz`, by number, by time, or one after the other."""

from __future__ import annotations

import contextlib
import io
import math
import operator
import os
import sys
import threading
from bisect import bisect_right
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from itertools import chain, islice
from typing import TYPE_CHECKING, Any, BinaryIO, overload

from lvc.errors import NoFrameError, TruncatedError, UsageError
from lvc.files.coding import OwnModel, VideoModel, model_of
from lvc.files.common import opened as opened_file
from lvc.files.decode import Decoding, check_size, format_of, frames_of
from lvc.lvz import Clip, LvzReader
from lvc.media.types import Frame as CodedFrame
from lvc.media.types import VideoFormat
from lvc.output import about
from lvc.threads import with_own_threads
from lvc.video.frame import Frame, shown_at
from lvc.video.opened import Opened, Source, name_of

if TYPE_CHECKING:
    from lvc.codec import LatentFrame
    from lvc.models import Model

_BATCH_BYTES = 256 << 20  # of planes that wait for their turn when frames are asked for in any order


def open(  # noqa: A001 - lvc.open
    source: Source,
    *,
    model: str | os.PathLike[str] | Model | None = None,
    threads: int | None = None,
    device: str | None = None,
    options: Mapping[str, Any] | None = None,
) -> Video:
    """Open a `.lvz` to take frames from, by number or by time.

    Nothing is read yet; what is wrong with the file is raised by the first use.

    Args:
        source: A path, an address (`https://…`, `s3://…`: only those bytes are fetched that are needed), the file's
            bytes, or a seekable binary file object, which is read from its beginning and not closed.
        model: A loaded model, a path or a name, if lvc does not find the file's model by itself.
        threads: Cores to use. None takes all, and one in the workers of a `DataLoader`.
        device: Where torch runs another project's VAE, as `cuda`.
        options: Of the address's file system (fsspec); for HTTP `headers` and `timeout`.

    Returns:
        The video: a context manager, which can be shared by threads and (but for a file object) pickled.
    """
    return Video(source, model=model, threads=threads, device=device, options=options)


def decode(
    source: Source,
    *,
    start: float | None = None,
    end: float | None = None,
    every: int = 1,
    salvage: bool = False,
    follow: bool = False,
    model: str | os.PathLike[str] | Model | None = None,
    threads: int | None = None,
    device: str | None = None,
    max_memory: float | None = None,
) -> Iterator[Frame]:
    """The frames of a `.lvz`, one after the other, in memory that does not grow.

    Args:
        source: The file's bytes, a path, an address, or a binary file object. A pipe will do; a seekable file object is
            read from its beginning.
        start: Seconds from the first frame to begin at.
        end: Seconds from the first frame to stop before.
        every: Take frames 0, n, 2n … alone, each shown until the next; a power of 2 is decoded that much faster.
        salvage: Leave out what is damaged, instead of a `CorruptError`.
        follow: Go on while the file at a path is being written.
        model: A loaded model, a path or a name, if lvc does not find the file's model by itself.
        threads: Cores to use. None takes all.
        device: Where torch runs another project's VAE, as `cuda`.
        max_memory: Bytes that pictures may take. None allows what the machine has.

    Yields:
        Frames in the order of their times.

    Raises:
        UsageError: An argument is out of its range, or no frame lies in the range.
        CorruptError: The file is damaged (`TruncatedError`: cut off). What comes before has been given.
        UnsupportedError: The file needs a newer lvc, or a model that is not here.
        LimitError: Pictures are larger than memory or the limits allow.
        OSError: The disk or the network failed.

    What is wrong is raised when the frame is asked for, the first one at the earliest.
    """
    if follow and not isinstance(source, (str, os.PathLike)):
        raise UsageError("only a file at a path can be followed")
    with about(name_of(source)), _opened(source, salvage, follow) as reader:
        check_size(reader, max_memory)
        format = format_of(reader)
        decoding = Decoding(
            reader, start, end, salvage, with_packets=False, from_zero=False, follow=follow, every=every
        )
        for frame in frames_of(decoding, model_of(reader, model, device), threads):
            yield shown_at(frame, decoding.origin or 0, format)


@contextlib.contextmanager
def _opened(source: Source, salvage: bool, follow: bool) -> Iterator[LvzReader]:
    if isinstance(source, (str, os.PathLike)):
        with opened_file(os.fspath(source), salvage, follow=follow) as reader:
            yield reader
        return
    file: BinaryIO = io.BytesIO(source) if isinstance(source, (bytes, bytearray, memoryview)) else source
    if file.seekable():
        file.seek(0)
    yield LvzReader(file, salvage=salvage)


class Video:
    """A `.lvz` to take frames from; `lvc.open` makes one. Whole numbers are frames, times are seconds.

        video[10]                   the frame of that number, from 0 on; below 0 from the end
        video[10:20], video[::4]    an iterator over these frames
        video[[9, 3, 5]]            the same in any order; each group of pictures is decoded once
        video.at(12.5)              the frame shown at that time
        video.at([9.0, 3.2])        an iterator over the frames shown at these times, in this order
        video.between(12.5, 20.0)   an iterator over the frames of these 7.5 seconds
        for frame in video          all of them
        len(video)                  how many there are

    A frame depends on those before it, back to its group's key frame: taking frames one after the other, or asking for
    many at once, decodes less than asking for them one by one.

    All of this raises `CorruptError` for damage, `UnsupportedError` for what this lvc does not know, `LimitError` for
    what is too large, `NoFrameError` where there is no frame, and `OSError`.
    """

    def __init__(
        self,
        source: Source,
        *,
        model: str | os.PathLike[str] | Model | None = None,
        threads: int | None = None,
        device: str | None = None,
        options: Mapping[str, Any] | None = None,
    ) -> None:
        self.source = source
        self._name = name_of(source)
        self._model, self._threads, self._device = model, threads, device
        self._options = dict(options or {})
        self._opened: Opened | None = None
        self._lock = threading.Lock()

    # ---------------------------------------------------------------- what it is

    @property
    def format(self) -> VideoFormat:
        """Size as coded, colour, rotation, frame rate."""
        return self._state().format

    @property
    def width(self) -> int:
        """Columns of a picture as it is shown (`Frame.to_rgb`)."""
        return self._size()[0]

    @property
    def height(self) -> int:
        """Rows of a picture as it is shown (`Frame.to_rgb`)."""
        return self._size()[1]

    @property
    def duration(self) -> float | None:
        """Seconds; None for a file without its end (one that is still being written)."""
        tail, tick = self._state().tail, self.format.seconds_per_tick
        return None if tail is None else float((tail.end_pts - tail.start_pts) * tick)

    @property
    def frame_count(self) -> int | None:
        """How many frames there are; None for a file without its end."""
        tail = self._state().tail
        return None if tail is None else tail.frame_count

    @property
    def fps(self) -> float | None:
        """Frames per second: an average where they come irregularly, None where nobody said."""
        rate = self.format.rate
        return None if rate is None else float(rate)

    @property
    def tags(self) -> dict[str, str]:
        """The file's tags, as `title`."""
        return dict(self._state().tags)

    def __len__(self) -> int:
        count = self.frame_count
        if count is None:
            raise _LengthUnknown(f"{self._name} has lost its end, so its frames cannot be counted")
        return count

    def __repr__(self) -> str:
        return f"lvc.open({self._name!r})"

    # ---------------------------------------------------------------- frames by number

    def __iter__(self) -> Iterator[Frame]:
        return self.between()

    @overload
    def __getitem__(self, which: int) -> Frame: ...
    @overload
    def __getitem__(self, which: slice | Iterable[int]) -> Iterator[Frame]: ...

    def __getitem__(self, which: int | slice | Iterable[int]) -> Frame | Iterator[Frame]:
        """Frames by number; see the class.

        Args:
            which: A number, a slice of numbers, or several numbers in any order. Below 0 they count from the end.

        Returns:
            A `Frame` for a number, else an iterator over `Frame`s.

        Raises:
            NoFrameError: There is no frame of that number. It is an `IndexError` too.
            UsageError: It is no whole number.
        """
        if isinstance(which, slice):
            return self._sliced(which)
        if isinstance(which, Iterable):
            return self._in_batches((self._number(n) for n in which), lambda state, part: state.numbered(part))
        return next(self._in_batches(iter([self._number(which)]), lambda state, part: state.numbered(part)))

    def _number(self, number: Any) -> int:
        try:
            wanted = operator.index(number)
        except TypeError:
            hint = f" — video.at({number}) is the frame shown at that time" if isinstance(number, float) else ""
            raise UsageError(f"{number!r} is not the number of a frame{hint}") from None
        count = self.frame_count
        if wanted < 0 or count is not None:
            there = len(self)
            if not -there <= wanted < there:
                raise NoFrameError(f"there is no frame {wanted} — {self._name} has {there}")
            wanted %= there
        return wanted

    def _sliced(self, which: slice) -> Iterator[Frame]:
        start, stop, step = (None if n is None else self._whole(n) for n in (which.start, which.stop, which.step))
        if step == 0:
            raise UsageError("the step of a slice is not 0")
        if self.frame_count is None and (step or 1) > 0 and (start or 0) >= 0 and (stop or 0) >= 0:
            return self._ascending(start or 0, stop, step or 1)
        numbers = range(*slice(start, stop, step).indices(len(self)))
        if numbers.step < 0:
            return self._in_batches(iter(numbers), lambda state, part: state.numbered(part))
        return self._ascending(numbers.start, numbers.stop, numbers.step)

    @staticmethod
    def _whole(number: Any) -> int:
        try:
            return operator.index(number)
        except TypeError:
            raise UsageError(
                f"{number!r} is not the number of a frame — video.between(start, end) takes seconds"
            ) from None

    def _ascending(self, start: int, stop: int | None, step: int) -> Iterator[Frame]:
        if stop is not None and start >= stop:
            return
        state = self._state()
        with about(self._name), state.reader() as reader:
            begin = state.start_of_group(start) * state.video.seconds_per_tick
            clips = _from_frame(reader.records_from(begin, packets=False), start, stop)

            def wanted(number: int, _: int) -> bool:
                return number >= start and (stop is None or number < stop) and (number - start) % step == 0

            for frame in self._decoded(clips, state, wanted):
                yield shown_at(frame, state.start(), state.format)

    # ---------------------------------------------------------------- frames by time

    @overload
    def at(self, time: float) -> Frame: ...
    @overload
    def at(self, time: Iterable[float]) -> Iterator[Frame]: ...

    def at(self, time: float | Iterable[float]) -> Frame | Iterator[Frame]:
        """The frame shown at a time, or the frames shown at several, in that order. A frame's own time finds it again.

        Args:
            time: Seconds from the first frame, below 0 from the end; or an iterable of them. They are taken in batches
                of up to 256 MiB of pictures, and in each every group of pictures is decoded once.

        Returns:
            A `Frame`, or an iterator over `Frame`s.

        Raises:
            NoFrameError: Nothing is shown at that time.
            UsageError: It is no finite number, or is counted from the end of a file that lacks it.
        """
        if isinstance(time, Iterable):
            return self._in_batches((self._from_end(t) for t in time), lambda state, part: state.at_times(part), True)
        wanted = iter([self._from_end(time)])
        return next(self._in_batches(wanted, lambda state, part: state.at_times(part), True))

    def latents(
        self, start: float | None = None, end: float | None = None, *, intra: bool = False
    ) -> Iterator[LatentFrame]:
        """What the file says of each frame: integers, dequantised latents, motion, masks. Those of a predicted frame
        are residuals, given its prediction.

        Args:
            start: Seconds from the first frame, below 0 from the end. None begins with the first.
            end: Seconds to stop before, below 0 from the end. None goes on to the last.
            intra: Give each frame also the latents that its picture would have as a key frame, which takes longer.

        Yields:
            `lvc.codec.LatentFrame`s in the order of their times.

        Raises:
            UsageError: The file is not of lvc's own codec, or no frame lies in the range.
        """
        from lvc.latents.frames import latents_of

        state = self._state()
        start, end = (None if t is None else self._from_end(t) for t in (start, end))
        with about(self._name), state.reader() as reader:
            if reader.tensors is not None or not isinstance(model := self._loaded(state), OwnModel):
                raise UsageError("holds no video of lvc's own codec — lvc.latents.LatentDataset reads its tensors")
            found = latents_of(reader, model.model, start, end, intra=intra, threads=self._cores())
            with contextlib.closing(found):
                for frame in found:
                    if end is not None and frame.time >= end:
                        return
                    if start is None or frame.time >= start:
                        yield frame

    def between(self, start: float | None = None, end: float | None = None) -> Iterator[Frame]:
        """The frames whose time lies in a range.

        Args:
            start: Seconds from the first frame, below 0 from the end. None begins with the first.
            end: Seconds to stop before, below 0 from the end. None goes on to the last.

        Yields:
            `Frame`s in the order of their times.

        Raises:
            UsageError: The range is empty, or no frame lies in it.
        """
        start, end = (None if time is None else self._from_end(time) for time in (start, end))
        state = self._state()
        with about(self._name), state.reader() as reader:
            decoding = Decoding(reader, start, end, False, with_packets=False, from_zero=False)
            for frame in frames_of(decoding, self._loaded(state), self._cores()):
                if state.origin is None:
                    state.origin = decoding.origin
                yield shown_at(frame, state.origin or 0, state.format)

    # ---------------------------------------------------------------- frames in any order

    def _in_batches(
        self, wanted: Iterator[Any], grouped: Callable[[Opened, list[Any]], list[list[tuple[int, int]]]],
        by_time: bool = False,
    ) -> Iterator[Frame]:  # fmt: skip
        """Frames by number, or by what is shown at a pts, in the order of `wanted`."""
        state = self._state()
        batch = max(16, _BATCH_BYTES // (3 * state.video.width * state.video.height // 2))
        while part := list(islice(wanted, batch)):
            with about(self._name), state.reader() as reader:
                done: dict[int, Frame] = {}
                turn = 0
                for group in grouped(state, part):
                    for place, frame in self._of_group(reader, state, group, by_time):
                        done[place] = frame
                    while turn in done:
                        yield done.pop(turn)
                        turn += 1

    def _of_group(
        self, reader: LvzReader, state: Opened, group: list[tuple[int, int]], by_time: bool
    ) -> Iterator[tuple[int, Frame]]:
        """(place, frame) for `group`: (number, or pts at which something is shown; place), ascending, of one GOP."""
        kept = {} if by_time else {n: f for n, _ in group if (f := state.kept.get(n)) is not None}
        if all(number in kept for number, _ in group):  # nothing is read
            for number, place in group:
                yield place, shown_at(kept[number], state.start(), state.format)
            return
        tick = state.video.seconds_per_tick
        first, last = group[0][0], group[-1][0]
        if by_time:
            records = reader.records_from(first * tick, last * tick + tick, packets=False)
        else:
            records = _from_frame(
                reader.records_from(state.start_of_group(first) * tick, packets=False), first, last + 1
            )
        clips: list[Clip] = []
        # a recording that is still being written has no end: what is shown now is its last frame
        with contextlib.suppress(*([TruncatedError] if state.tail is None else [])):
            for clip in records:
                if isinstance(clip, Clip):
                    if by_time and clip.pts[0] > last and clips:
                        break
                    clips.append(clip)
        pts = [p for clip in clips for p in clip.pts]
        before = clips[0].first_frame if clips else 0
        places: dict[int, list[int]] = {}
        for wanted, place in group:
            found = bisect_right(pts, wanted) - 1 if by_time else wanted - before
            if not 0 <= found < len(pts):
                what = "nothing is shown at that time" if by_time else f"there is no frame {wanted}"
                raise NoFrameError(f"{what} — lvc info shows how long the video is")
            places.setdefault(pts[found], []).append(place)
        there = [f for n, p in enumerate(pts, before) if p in places and (f := state.kept.get(n)) is not None]
        missing = set(places) - {frame.pts for frame in there}
        with contextlib.closing(self._decoded_and_kept(clips, state, missing, alone=len(group) == 1)) as decoded:
            for frame in chain(there, decoded):
                if frame.pts in places:
                    shown = shown_at(frame, state.start(), state.format)
                    for place in places.pop(frame.pts):
                        yield place, shown

    def _decoded_and_kept(
        self, clips: list[Clip], state: Opened, sought: set[int], alone: bool
    ) -> Generator[CodedFrame, None, None]:
        """Frames by pts, and others with them where one is asked for `alone` and that is worth it."""
        if not sought:
            return
        wanted = self._worth_decoding(clips, state, sought) if alone else sought
        numbers = {pts: clip.first_frame + i for clip in clips for i, pts in enumerate(clip.pts)}
        with contextlib.closing(self._decoded(iter(clips), state, lambda _, pts: pts in wanted)) as frames:
            for frame in frames:
                state.kept.add(numbers[frame.pts], frame)
                yield frame

    def _worth_decoding(self, clips: list[Clip], state: Opened, sought: set[int]) -> set[int]:
        """pts of frames: those that are sought, and all of their clips where others of these are likely to be asked
        for next, one by one. A frame at the bottom of a clip's pyramid needs half of the clip decoded in any case."""
        format = state.format
        size = 3 * format.width * format.height // 2
        short = self.frame_count is not None and self.frame_count * size <= state.kept.most
        found = set(sought)
        for clip in clips:
            numbers = range(clip.first_frame, clip.first_frame + len(clip.pts))
            if not sought.isdisjoint(clip.pts) and (short or state.kept.any_of(numbers)):
                found.update(clip.pts)
        return found

    def _decoded(
        self, clips: Iterator[Clip], state: Opened, wanted: Callable[[int, int], bool]
    ) -> Generator[CodedFrame, None, None]:
        return with_own_threads(self._loaded(state).decode(clips, state.video, self._cores(), wanted))

    # ---------------------------------------------------------------- times

    def _from_end(self, when: float) -> float:
        time = float(when)
        if not math.isfinite(time):
            raise UsageError(f"{time} is not a time")
        if time >= 0:
            return time
        duration = self.duration
        if duration is None:
            raise UsageError(f"{self._name} has lost its end, so frames cannot be counted from there")
        return max(0.0, duration + time)

    def _size(self) -> tuple[int, int]:
        format = self.format
        return (format.height, format.width) if format.rotation % 180 else (format.width, format.height)

    # ---------------------------------------------------------------- opening

    def _state(self) -> Opened:
        with self._lock:
            if self._opened is None or self._opened.pid != os.getpid():
                with about(self._name):
                    self._opened = Opened(self.source, self._options)
            return self._opened

    def _loaded(self, state: Opened) -> VideoModel:
        with self._lock:
            if state.model is None:
                with state.reader() as reader:
                    check_size(reader)
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
        """Let go of files and connections; what is used afterwards opens them again."""
        with self._lock:
            opened, self._opened = self._opened, None
        if opened is not None and opened.pid == os.getpid():
            opened.close()

    def __enter__(self) -> Video:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _LengthUnknown(UsageError, TypeError):
    """Python's `list()` asks for a length, and goes without where that is a `TypeError`."""


def _from_frame(records: Iterator[Any], start: int, stop: int | None) -> Iterator[Clip]:
    """The clips that the frames `start` … `stop` need: from the last key clip at or before the first of them."""
    held: list[Clip] = []
    begun = False
    for clip in records:
        if not isinstance(clip, Clip):
            continue
        if stop is not None and clip.first_frame >= stop:
            return
        if begun:
            yield clip
            continue
        held = [clip] if clip.key else [*held, clip]
        if clip.first_frame + clip.n_frames > start:
            begun = True
            yield from held
            held = []
