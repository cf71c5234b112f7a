"""Runs `lvc.evaluation.worker` and returns its result, the time of the whole process, and its memory."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lvc.errors import (
    CorruptError,
    LimitError,
    LvcError,
    MediaError,
    OutputExistsError,
    UnsupportedError,
    UsageError,
)

FED = 0.8
KINDS = (UsageError, MediaError, CorruptError, UnsupportedError, OutputExistsError, LimitError)


@dataclass(frozen=True)
class Measured:
    """`fps`: steady state. `fps_process`: frames over the wall time of the process, its start and imports included.

    `macs`: multiply-accumulates of the networks per frame. `key_frames`: their number as decoded. `cpu_seconds`: the
    processor time of the whole process, on all of its threads.
    """

    frames: int
    fps: float | None
    fps_process: float
    rss: int
    size: tuple[int, int] | None = None
    macs: float | None = None
    key_frames: int | None = None
    cpu_seconds: float | None = None

    @property
    def starved(self) -> bool:
        """Whether the process had to wait for a processor, so that its speeds are too low.

        Encoders and decoders compute all the time: alone, every one of them takes more than `FED` of a core.
        """
        return self.cpu_seconds is not None and self.cpu_seconds * self.fps_process < FED * self.frames


class Workers:
    """The processes of one run, started from any thread; `stop` ends them and prevents new ones."""

    def __init__(self) -> None:
        self._running: set[subprocess.Popen[str]] = set()
        self._lock = threading.Lock()
        self._stopped = False

    def stop(self) -> None:
        with self._lock:
            self._stopped = True
            for process in self._running:
                process.terminate()

    def ask(self, order: dict[str, Any]) -> tuple[dict[str, Any], float]:
        """Run one job; returns its answer and the process's wall time.

        Raises the worker's `LvcError`, or `RuntimeError` if it died."""
        name = f"{order['codec']} {order['job']}"
        command = [sys.executable, "-m", "lvc.evaluation.worker", json.dumps(order)]
        start = time.perf_counter()
        with self._lock:
            if self._stopped:
                raise RuntimeError(f"{name} was not begun")
            process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
            self._running.add(process)
        try:
            with process:
                out, err = process.communicate()
        finally:
            self._running.discard(process)
        wall = time.perf_counter() - start
        lines = out.strip().splitlines()
        if process.returncode or not lines:
            last = (err.strip().splitlines() or ["no message"])[-1]
            raise RuntimeError(f"{name} died with status {process.returncode}: {last}")
        answer = json.loads(lines[-1])
        if "error" in answer:
            raise error_of(answer["exit_code"], answer["error"])
        return answer, wall

    def measure(
        self,
        job: str,
        codec: str,
        src: Path,
        dst: Path,
        *,
        threads: int,
        settings: dict[str, Any] | None = None,
        reference: Path | None = None,
    ) -> Measured:
        """`job` is encode or decode, `codec` is lvc or an anchor. Raises as `ask` does."""
        order = {"job": job, "codec": codec, "src": str(src), "dst": str(dst), "threads": threads}
        answer, wall = self.ask(order | {"settings": settings or {}, "reference": str(reference or "")})
        height, width = answer.get("size") or (0, 0)
        frames = answer["frames"]
        macs = answer["macs"] / frames if answer.get("macs") and frames else None
        return Measured(
            frames, answer["fps"], frames / wall, answer["rss"], (width, height) if width else None, macs,
            answer.get("key_frames"), answer.get("cpu"),
        )  # fmt: skip


def error_of(exit_code: int, message: str) -> Exception:
    """The worker's error by its exit code; `RuntimeError` for unexpected ones."""
    for kind in KINDS:
        if kind.exit_code == exit_code:
            return kind(message)
    return RuntimeError(message) if exit_code == LvcError.exit_code else LvcError(message)
