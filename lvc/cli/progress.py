"""Progress of one job: the figures, and the line on a terminal."""

from __future__ import annotations

import os
import sys
import time
from collections import deque
from types import TracebackType
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

_WINDOW = 20.0
"""Seconds over which the speed is measured: groups of pictures come in bursts."""


class Pace:
    """Counts frames and measures speed, start-up excluded. A job with several passes starts over with each: `number` is
    the current one. `also`: further text to show."""

    def __init__(self, unit: str = "frames") -> None:
        self.unit = unit
        self.started = time.monotonic()
        self.frames = self.bytes_out = 0
        self.total: int | None = None
        self.number = 1
        self.also: tuple[str, ...] = ()
        self._seen: deque[tuple[float, int]] = deque()

    def add(self, frames: int, bytes_out: int, total: int | None) -> None:
        now = time.monotonic()
        if frames < self.frames:
            self.number += 1
            self._seen.clear()
        self.frames, self.bytes_out, self.total = frames, bytes_out, total
        self._seen.append((now, frames))
        while len(self._seen) > 2 and self._seen[1][0] < now - _WINDOW:
            self._seen.popleft()

    @property
    def elapsed(self) -> float:
        return time.monotonic() - self.started

    @property
    def fps(self) -> float | None:
        """Recent frames a second; None until it is known."""
        if len(self._seen) < 2:
            return None
        (begin, before), (end, after) = self._seen[0], self._seen[-1]
        return (after - before) / (end - begin) if end > begin and after > before else None

    @property
    def share(self) -> float | None:
        return min(1.0, self.frames / self.total) if self.total else None

    @property
    def left(self) -> float | None:
        """Estimated seconds to the end of this pass, or None."""
        fps = self.fps
        return None if self.total is None or fps is None else max(0, self.total - self.frames) / fps


class ProgressLine:
    """Draws a `Pace` on stderr four times a second while its context is active."""

    def __init__(self, name: str, pace: Pace) -> None:
        from rich.console import Console
        from rich.live import Live

        self.console: Console = Console(file=sys.stderr)
        self._name, self._pace = name, pace
        self._live = Live(get_renderable=self.line, console=self.console, refresh_per_second=4, transient=True)

    def __enter__(self) -> Self:
        self._live.start(refresh=True)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._live.stop()

    def line(self) -> Text:
        """The current line, as wide as the terminal."""
        from rich.text import Text

        plain = not self.console.encoding.lower().startswith("utf")
        return Text(line_of(self._name, self._pace, self.console.width, plain=plain), no_wrap=True, overflow="crop")


def line_of(name: str, pace: Pace, width: int, *, plain: bool = False) -> str:
    """`holiday.mp4  ━━━━━━━───────  43 %  516 of 1,200 frames  14.2 fps  0:48 left`, or as much of it as fits.

    `plain`: ASCII only.
    """
    facts = _facts(pace)
    name = "".join(c if c.isprintable() else "?" for c in name)
    room = width - 1 - sum(len(fact) + 2 for fact in facts)
    if room < 12 and len(facts) > 2:  # the percentage says the same
        facts.pop(1)
        room = width - 1 - sum(len(fact) + 2 for fact in facts)
    bar = max(0, min(24, room - 2 - min(len(name), 16))) if pace.share is not None else 0
    bar = bar if bar >= 6 else 0
    most = max(4, room - (bar + 2 if bar else 0))
    if len(name) > most:
        name = name[: most - 1] + ("~" if plain else "…")
    parts = [name]
    if bar and pace.share is not None:
        done = round(bar * pace.share)
        full, empty = ("#", ".") if plain else ("━", "─")
        parts.append(full * done + empty * (bar - done))
    return "  ".join([*parts, *facts])


def _facts(pace: Pace) -> list[str]:
    if not pace.frames:
        return ["starting" if pace.number == 1 else f"pass {pace.number}", clock(pace.elapsed)]
    if pace.share is not None:
        facts = [f"{100 * pace.share:.0f} %", f"{pace.frames:,} of {pace.total:,} {pace.unit}"]
    else:
        facts = [clock(pace.elapsed), f"{pace.frames:,} {pace.unit}"]
    if pace.fps is not None:
        facts.append(f"{pace.fps:.1f} {'fps' if pace.unit == 'frames' else 'a second'}")
    if pace.number > 1:
        facts.append(f"pass {pace.number}")
    facts += pace.also
    if pace.share is not None:
        facts.append(f"{clock(pace.left)} left" if pace.left is not None else clock(pace.elapsed))
    return facts


def clock(seconds: float) -> str:
    """`0:48`, `1:02:03`."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def short_name(path: str) -> str:
    return os.path.basename(path.rstrip("/")) or path
