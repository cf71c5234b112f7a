"""Records a stream to `.lvz` files, which can be read while they are written and stay valid after a crash."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from fractions import Fraction
from typing import TYPE_CHECKING, Any, BinaryIO

from lvc.errors import MediaError, UsageError
from lvc.features import Watcher
from lvc.files.adapted import adaptable, refuse_adapting
from lvc.files.coding import OwnModel, loaded
from lvc.files.common import RECORDS_AHEAD, Notice, Progress, blamed
from lvc.files.encode import made_by, records_of
from lvc.kinds import LVZ
from lvc.live.adapting import Adapting
from lvc.live.pace import Pace
from lvc.live.segments import Segments
from lvc.live.source import Counts, Item, LiveSource
from lvc.lvz import Clip, CopiedStream, Header, LvzWriter, Metadata, PacketGroup, Side
from lvc.media import CopiedPacket, Frame
from lvc.options import RecordOptions
from lvc.output import about, binary_stdout, check_output, lock
from lvc.pipeline import WriteBehind, stop_signals
from lvc.place import STREAM
from lvc.results import counted

if TYPE_CHECKING:
    from lvc.codec import EncodeSettings


_SYNC_EVERY = 5.0
LIVE_CLIP = 8
"""Frames per clip. Each is predicted from the one before (low delay), so none waits for later ones."""


@dataclass(frozen=True)
class Recording:
    """The result of a recording. `files`: those written; `dropped`: frames received but not encoded; `duration`: in
    seconds, without gaps; `adapted`: how many files carry a delta, where the model was to be adapted."""

    output: str
    files: tuple[str, ...]
    frames: int
    dropped: int
    connections: int
    width: int
    height: int
    duration: float
    bytes_out: int
    seconds: float
    model: str
    adapted: int | None = None

    def fields(self) -> dict[str, Any]:
        return {**dataclasses.asdict(self), "files": list(self.files)}

    def __str__(self) -> str:
        files = self.output if len(self.files) == 1 else f"{len(self.files)} files"
        rate = 8 * self.bytes_out / self.duration / 1000 if self.duration else 0.0
        dropped = f", {self.dropped} dropped" if self.dropped else ""
        again = f", {self.connections} connections" if self.connections > 1 else ""
        adapted = "" if self.adapted is None else f", {self.adapted} with a delta"
        return (
            f"{counted(self.frames, 'frame')} {self.width}x{self.height}{dropped}, {self.duration:.1f} s{again}, "
            f"{self.bytes_out:,} bytes, {rate:.1f} kbit/s → {files}{adapted}"
        )


def record(
    source: str,
    target: str,
    options: RecordOptions,
    *,
    force: bool = False,
    progress: Progress | None = None,
    status: Callable[[int, str], object] | None = None,
    notice: Notice | None = None,
) -> Recording:
    """Record `source` until it ends, Ctrl-C or SIGTERM arrives, or `options.duration` seconds have passed.

    With `options.segment`, writes segments named by time (`Segments`). Whatever happens, what was written stays.
    `status` receives, with every progress, the number of dropped frames and the current file. Raises any `LvcError`,
    and `OSError`.
    """
    segment, keep, max_latency = options.segment, options.keep, options.max_latency
    if keep is not None and segment is None:
        raise UsageError("--keep deletes old segments — set their length with --segment")
    if options.adapt:
        if segment is None:
            raise UsageError("--adapt changes the model from one segment to the next — set their length with --segment")
        refuse_adapting(options)
    if segment is not None and target == STREAM:
        raise UsageError("segments are written to files — give a file name")
    names = Segments(target) if segment is not None else None
    if names is None:
        check_output(source, target, force=force, writes=[LVZ])
    say = notice or (lambda _: None)
    started = time.monotonic()
    from lvc import codec, models

    with about(source), contextlib.ExitStack() as stack:
        reading = {
            "resolution": options.resolution, "fps": options.fps, "audio": options.audio,
            "subtitles": options.subtitles, "threads": options.threads or 0,
            "allow_playlists": options.allow_playlists, "bit_depth": options.bit_depth,
        }  # fmt: skip
        # before the camera starts to deliver
        base, data = adaptable(options) if options.adapt else (loaded(models.tuned(options.model, options.tune)), b"")
        net = OwnModel(base)
        camera = LiveSource(source, reading, say, max_latency, options.reconnect)
        stack.enter_context(_stopping(camera.stop))
        stack.enter_context(camera)
        settings = codec.EncodeSettings(
            quality=options.quality, gop=options.gop, packing=options.packing, threads=options.threads,
            effort=options.effort, max_bitrate=options.max_bitrate, buffer=options.buffer, tune=options.tune,
            low_delay=True, clip_frames=LIVE_CLIP,
        )  # fmt: skip
        adapting = None
        if options.adapt:
            adapting = stack.enter_context(Adapting(base, data, camera.video, settings, say))
        if max_latency is not None:
            pace = Pace(codec.lower_efforts(settings.effort), max_latency, camera.waited, say)
            settings = dataclasses.replace(settings, pace=pace)
        # features stay in memory until a file ends, which without segments may be never
        job = _Recorder(camera, settings, options.features and segment is not None, progress, status)
        items, before = _Items(camera, options.duration), 0  # frames before the last segment
        while (begin := items.next_frame()) is not None:
            moment = camera.wall_clock(begin)
            path = target if names is None else names.name(moment)
            if names is not None:
                with about(path):
                    check_output(source, path, force=force, writes=[LVZ])
            piece = items.until(segment)
            if adapting is not None:
                net, piece = adapting.model(job.frames - before), adapting.watch(piece)
            before = job.frames
            job.write(path, net, piece, moment)
            if names is not None and keep is not None:
                _delete(names.older_than(time.time() - keep), path, say)
    if not job.files:
        raise MediaError("no frame arrived — check the stream")
    counts: Counts = camera.counts
    return Recording(
        target, tuple(job.files), job.frames, counts.dropped, counts.connections, camera.video.width,
        camera.video.height, job.duration, job.bytes_out, time.monotonic() - started, net.id,
        job.adapted if options.adapt else None,
    )  # fmt: skip


class _Items:
    """The camera's frames and packets, divided into pieces. Each piece begins with a frame at time 0."""

    def __init__(self, camera: LiveSource, duration: float | None) -> None:
        self._tick = camera.video.seconds_per_tick
        self._copied = camera.copied
        self._items = iter(camera)
        self._stop = camera.stop
        self._duration = duration
        self._first: int | None = None
        self._held: Frame | None = None
        self._early: list[CopiedPacket] = []

    def next_frame(self) -> int | None:
        """Return the time of the next piece's first frame; None at the end."""
        while self._held is None:
            item = next(self._items, None)
            if item is None:
                return None
            if isinstance(item, Frame):
                self._held = item
            else:
                self._early.append(item)
        if self._first is None:
            self._first = self._held.pts
        return None if self._is_over(self._held) else self._held.pts

    def _is_over(self, frame: Frame) -> bool:
        if self._duration is None or self._first is None:
            return False
        return float((frame.pts - self._first) * self._tick) >= self._duration

    def until(self, seconds: float | None) -> Iterator[Item]:
        """Yield the next piece, up to `seconds` long."""
        if self._held is None:
            return
        begin = self._held.pts
        frame, self._held = self._held, None
        early, self._early = self._early, []
        yield replace(frame, pts=0)
        for packet in early:
            yield self._moved(packet, begin)
        for item in self._items:
            if isinstance(item, CopiedPacket):
                yield self._moved(item, begin)
                continue
            if self._is_over(item):
                self._held = item
                self._stop()
                return
            if seconds is not None and float((item.pts - begin) * self._tick) >= seconds:
                self._held = item
                return
            yield replace(item, pts=item.pts - begin)

    def _moved(self, packet: CopiedPacket, begin: int) -> CopiedPacket:
        ticks = round(begin * self._tick / Fraction(*self._copied[packet.stream].time_base))
        pts = None if packet.pts is None else packet.pts - ticks
        dts = None if packet.dts is None else packet.dts - ticks
        return replace(packet, pts=pts, dts=dts)


class _Recorder:
    """Writes pieces to files and sums up what was written."""

    def __init__(
        self,
        camera: LiveSource,
        settings: EncodeSettings,
        features: bool,
        progress: Progress | None,
        status: Callable[[int, str], object] | None,
    ) -> None:
        self._camera, self._settings = camera, settings
        self._progress, self._status = progress, status
        self._features = features
        self.files: list[str] = []
        self.frames = self.bytes_out = self.adapted = 0
        self.duration = 0.0

    def write(self, path: str, model: OwnModel, items: Iterator[Item], moment: float) -> None:
        """Write one file. `moment`: its beginning, in seconds since 1970."""
        camera = self._camera
        video = model.described(camera.video, self._settings)
        copied = [CopiedStream(**vars(stream)) for stream in camera.copied]
        began = datetime.fromtimestamp(moment, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        metadata = Metadata({**camera.metadata, "creation_time": began})
        header = Header(model.id, model.sha256, made_by(self._settings))
        with contextlib.ExitStack() as stack:
            with about(path):
                file = stack.enter_context(_opened(path))
                side = Side(**vars(camera.side))
                writer = LvzWriter(file, header, video, copied, metadata, side=side, model_chunk=model.inside)
                self.files.append(path)
                self.adapted += model.inside is not None
            watcher = Watcher(camera.video, camera.copied) if self._features else None
            if watcher is not None:
                items = watcher.watch(items)
            clips = records_of(items, camera.video, copied, model, self._settings)
            records = stack.enter_context(blamed(clips, camera.address))
            # errors in this block are about the output
            stack.enter_context(about(path))
            with WriteBehind(_write_through(writer, file), RECORDS_AHEAD) as sink:
                for item in records:
                    sink.put(item)
                    if isinstance(item, Clip):
                        self.frames += item.n_frames
                        self.duration += float(sum(item.durations) * video.seconds_per_tick)
                        if self._status is not None:
                            self._status(camera.counts.dropped, path)
                        if self._progress is not None:
                            self._progress(self.frames, 0, self.bytes_out + writer.bytes_written, None)
            if watcher is not None:
                writer.write_features(*watcher.finish())
            writer.close()
            _to_disk(file)
        self.bytes_out += writer.bytes_written


def _write_through(writer: LvzWriter, file: BinaryIO) -> Callable[[Clip | PacketGroup], None]:
    """Return a function that writes records. Each clip can be read at once, and is on disk within `_SYNC_EVERY` s."""
    synced = time.monotonic()

    def write(item: Clip | PacketGroup) -> None:
        if isinstance(item, PacketGroup):
            writer.write_packets(item.stream, item.packets)
            return
        nonlocal synced
        writer.write_clip(item)
        writer.flush()
        file.flush()
        if time.monotonic() - synced >= _SYNC_EVERY:
            synced = time.monotonic()
            _to_disk(file)

    return write


def _to_disk(file: BinaryIO) -> None:
    file.flush()
    with contextlib.suppress(OSError):  # a pipe
        os.fsync(file.fileno())


@contextlib.contextmanager
def _opened(path: str) -> Iterator[BinaryIO]:
    """Open the output itself, not a temporary file; its lock tells readers that more will follow."""
    if path == STREAM:
        with binary_stdout() as file:
            yield file
        return
    with open(path, "ab") as file:
        if not lock(file.fileno()):
            raise UsageError("is being written by another process — choose another output")
        file.truncate(0)
        yield file


@contextlib.contextmanager
def _stopping(stop: Callable[[], object]) -> Iterator[None]:
    """Make the first Ctrl-C, SIGTERM or SIGHUP end the recording properly; the next has its usual effect."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before: dict[int, Any] = {}

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    def handle(number: int, frame: object) -> None:
        stop()
        restore()

    for number in stop_signals():
        before[number] = signal.signal(number, handle)
    try:
        yield
    finally:
        restore()


def _delete(paths: list[str], current: str, say: Notice) -> None:
    for path in paths:
        if path != current:
            try:
                os.unlink(path)
            except FileNotFoundError:
                continue
            except OSError as error:
                say(f"{path} cannot be deleted ({error.strerror})")
