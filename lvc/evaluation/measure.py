"""Runs `lvc.evaluation.worker` and brings back what it did, how long the whole process took and how much memory."""

from __future__ import annotations

import json
import subprocess
import sys
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

KINDS = (UsageError, MediaError, CorruptError, UnsupportedError, OutputExistsError, LimitError)


@dataclass(frozen=True)
class Measured:
    """`fps`: steady state. `fps_process`: frames over the wall time of the process, its start and imports included."""

    frames: int
    fps: float | None
    fps_process: float
    rss: int
    size: tuple[int, int] | None = None


def run_job(
    job: str,
    codec: str,
    src: Path,
    dst: Path,
    *,
    threads: int,
    settings: dict[str, Any] | None = None,
    reference: Path | None = None,
) -> Measured:
    """`job` is encode or decode, `codec` is lvc or an anchor. Raises the worker's LvcError, RuntimeError if it died."""
    order = {"job": job, "codec": codec, "src": str(src), "dst": str(dst), "threads": threads}
    order |= {"settings": settings or {}, "reference": str(reference or "")}
    start = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "lvc.evaluation.worker", json.dumps(order)], capture_output=True, text=True, check=False
    )
    wall = time.perf_counter() - start
    lines = done.stdout.strip().splitlines()
    if done.returncode or not lines:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise RuntimeError(f"{codec} {job} died with status {done.returncode}: {last}")
    answer = json.loads(lines[-1])
    if "error" in answer:
        raise error_of(answer["exit_code"], answer["error"])
    height, width = answer.get("size") or (0, 0)
    size = (width, height) if width else None
    return Measured(answer["frames"], answer["fps"], answer["frames"] / wall, answer["rss"], size)


def error_of(exit_code: int, message: str) -> Exception:
    """An error with the worker's exit code; RuntimeError for what lvc did not raise on purpose."""
    for kind in KINDS:
        if kind.exit_code == exit_code:
            return kind(message)
    return RuntimeError(message) if exit_code == LvcError.exit_code else LvcError(message)
