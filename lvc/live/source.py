"""Reads a live stream on a thread: stamps frames on arrival, reconnects, and drops frames if the encoder is late."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from types import TracebackType
from typing import Any, Self

from lvc.errors import LvcError
from lvc.media import CopiedPacket, Frame, MediaReader
from lvc.media.source import Live
from lvc.output import binary_stdin
from lvc.pipeline import in_background
from lvc.place import STREAM

_FRAMES_AHEAD = 24
_QUEUE_BYTES = 256 << 20
_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 30.0
_SAY_EVERY = 5.0  # seconds between two notices of dropped frames

Item = Frame | CopiedPacket


@dataclass
class Counts:
    """What happened so far. `dropped`: frames that the encoder was too slow for."""

    frames: int = 0
    dropped: int = 0
    connections: int = 1


@dataclass
class LiveSource:
    """Iterates over frames and packets until `stop`, or until the stream has been lost for `reconnect` seconds.

    Times are milliseconds since this object was made; `wall_clock` converts them. Without `max_latency`, a full queue
    blocks the sender, as a pipe does. With it, every other waiting frame is dropped if one has waited longer than that
    (in seconds). `options` are those of `MediaReader`. Raises `MediaError` if the first connection fails.
    """

    address: str
    options: dict[str, Any]
    notice: Callable[[str], object]
    max_latency: float | None = None
    reconnect: float = float("inf")
    timeout: float = 10.0
    counts: Counts = field(default_factory=Counts)

    def __post_init__(self) -> None:
        self._zero = time.monotonic()
        self._queue: deque[tuple[float, Item]] = deque()
        self._waiting_frames = 0
        self._changed = threading.Condition()
        self._over = self._stopped = False
        self._error: BaseException | None = None
        self._said = 0.0
        self._last_pts: int | None = None
        self._reader = in_background(self._connect)
        self.video, self.copied = self._reader.video, self._reader.copied
        self.metadata, self.chapters = self._reader.metadata, self._reader.chapters
        self.side = self._reader.side
        self.options = {**self.options, "resolution": f"{self.video.width}x{self.video.height}"}
        self.options["bit_depth"] = self.video.bit_depth
        size = self.video.width * self.video.height * 3 // 2
        self._most = max(4, _QUEUE_BYTES // size)
        self._thread = threading.Thread(target=self._main, name="lvc-camera", daemon=True)

    def wall_clock(self, ticks: int) -> float:
        """Convert a frame's time to seconds since 1970."""
        ago = time.monotonic() - self._zero - float(ticks * self.video.seconds_per_tick)
        return time.time() - ago

    def waited(self) -> float:
        """Return how many seconds the oldest frame has been waiting for the encoder."""
        with self._changed:
            return self._waited()

    def stop(self) -> None:
        """Stop reading. Frames in the queue are still delivered."""
        self._stopped = True

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._stopped = True
        with self._changed:
            self._queue.clear()
            self._changed.notify_all()
        # it may be blocked in a read until the time-out; it is a daemon thread
        self._thread.join(1.0)

    def __iter__(self) -> Iterator[Item]:
        while True:
            with self._changed:
                while not self._queue and not self._over and not self._stopped:
                    self._changed.wait(0.1)
                if not self._queue:
                    break
                _, item = self._queue.popleft()
                if isinstance(item, Frame):
                    self._waiting_frames -= 1
                    self.counts.frames += 1
                self._changed.notify_all()
            yield item
        if self._error is not None and not self._stopped:
            raise self._error

    # ---------------------------------------------------------------- on the thread

    def _now(self) -> int:
        return int((time.monotonic() - self._zero) * 1000)

    def _connect(self) -> MediaReader:
        source: Any = binary_stdin() if self.address == STREAM else self.address
        return MediaReader(source, **self.options, live=Live(self._now, self.timeout))

    def _main(self) -> None:
        try:
            reader: MediaReader | None = self._reader
            while reader is not None:
                reason = self._read(reader)
                reader = None if self._stopped else self._again(reason)
        except BaseException as error:  # raised in the thread that iterates
            self._error = error
        finally:
            with self._changed:
                self._over = True
                self._changed.notify_all()

    def _read(self, reader: MediaReader) -> str:
        """Read a connection to its end. Returns why it ended."""
        same_sound = [_kind(s) for s in reader.copied] == [_kind(s) for s in self.copied]
        if not same_sound:
            self.notice("the format of the sound has changed: sound is left out until it changes back")
        try:
            with reader:
                for item in reader:
                    if self._stopped:
                        break
                    if isinstance(item, Frame):
                        self._put_frame(item)
                    elif same_sound:
                        self._put(item)
            reason = "the stream ended"
        except (LvcError, OSError) as error:
            reason = str(error)
        for text in reader.notices:
            self.notice(text)
        return reason

    def _again(self, reason: str) -> MediaReader | None:
        """Reconnect, with growing pauses. Returns None if that takes too long."""
        if self.address == STREAM or self.reconnect <= 0:
            return None
        self.notice(f"{reason}: reconnecting")
        lost, pause = time.monotonic(), _FIRST_PAUSE
        while not self._stopped and time.monotonic() - lost < self.reconnect:
            end = time.monotonic() + pause
            while time.monotonic() < end and not self._stopped:
                time.sleep(0.05)
            pause = min(2 * pause, _LONGEST_PAUSE)
            try:
                reader = self._connect()
            except (LvcError, OSError):
                continue
            self.counts.connections += 1
            self.notice(f"reconnected after {time.monotonic() - lost:.1f} s")
            return reader
        if not self._stopped:
            self.notice(f"gave up after {time.monotonic() - lost:.0f} s without a connection")
        return None

    def _put_frame(self, frame: Frame) -> None:
        if self._last_pts is not None and frame.pts <= self._last_pts:
            return  # a constant rate may repeat a time across connections
        self._last_pts = frame.pts
        with self._changed:
            if self.max_latency is None:
                while self._waiting_frames >= _FRAMES_AHEAD and not self._stopped:
                    self._changed.wait(0.1)
            elif self._waited() > self.max_latency or self._waiting_frames >= self._most:
                self._thin()
            self._waiting_frames += 1
            self._queue.append((time.monotonic(), frame))
            self._changed.notify_all()

    def _put(self, packet: CopiedPacket) -> None:
        with self._changed:
            self._queue.append((time.monotonic(), packet))
            self._changed.notify_all()

    def _waited(self) -> float:
        oldest = next((came for came, item in self._queue if isinstance(item, Frame)), None)
        return 0.0 if oldest is None else time.monotonic() - oldest

    def _thin(self) -> None:
        """Drop every other waiting frame: the video is choppy for a moment, but does not stop."""
        kept: deque[tuple[float, Item]] = deque()
        before: tuple[int, Frame] | None = None  # the last kept frame, and its place
        drop = False
        for came, item in self._queue:
            if isinstance(item, Frame):
                drop = not drop
                if drop:
                    self._waiting_frames -= 1
                    self.counts.dropped += 1
                    continue
                if before is not None:
                    place, frame = before
                    kept[place] = kept[place][0], replace(frame, duration=item.pts - frame.pts)
                before = len(kept), item
            kept.append((came, item))
        self._queue = kept
        now = time.monotonic()
        if now - self._said >= _SAY_EVERY:
            self._said = now
            self.notice(f"the encoder is falling behind: {self.counts.dropped} frames dropped so far")


def _kind(stream: Any) -> tuple[Any, ...]:
    return stream.kind, stream.codec, stream.time_base, stream.sample_rate, stream.channels
