"""Watching a training: its messages, its log and its curves. Does not load torch."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

from ..errors import MediaError

Event = Callable[..., object]


def beside(out: Path) -> tuple[Path, Path, Path]:
    """What is written beside a model: weights to go on from, the log, its curves."""
    return tuple(out.with_suffix(end) for end in (".weights.safetensors", ".log.jsonl", ".png"))  # type: ignore[return-value]


class Watch:
    """Passes events on, and appends them to a log once there is one (`keep`), those from before as well. Where nothing
    has been said for `every` seconds, a `step` event says in which phase the training is and how many minutes are left,
    whatever the main thread is busy with."""

    def __init__(self, tell: Event, every: float = 8.0) -> None:
        self._tell, self._every = tell, every
        self._log: Path | None = None
        self._also: Callable[[dict[str, Any]], object] | None = None
        self._early: list[dict[str, Any]] = []
        self._phase: dict[str, Any] = {}
        self._began = self._said = time.monotonic()
        self._left: float | None = None  # minutes, when it was said last
        self._lock, self._over = threading.Lock(), threading.Event()
        self._thread = threading.Thread(target=self._beat, name="lvc-train-watch", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def keep(self, log: Path, also: Callable[[dict[str, Any]], object] | None = None) -> None:
        """`also` is given every line that the log gets."""
        with self._lock:
            self._log, self._also = log, also
            for line in self._early:
                self._record(line)

    def phase(self, phase: str, left: float | None, **more: Any) -> None:
        """A phase begins; `left`: minutes until everything is done, as far as the schedule goes by time."""
        self._phase, self._began = {"phase": phase, **more}, time.monotonic()
        self._say("stage", left)

    def step(self, left: float | None, **figures: Any) -> None:
        self._say("step", left, **figures)

    def tell(self, event: str, **fields: Any) -> None:
        """Of another event."""
        with self._lock:
            self._write({"event": event, **fields})

    def _say(self, event: str, left: float | None, **fields: Any) -> None:
        with self._lock:
            self._left, self._said = left, time.monotonic()
            shown = {} if left is None else {"minutes_left": round(left, 1)}
            self._write({"event": event, **self._phase, **fields, **shown})

    def _record(self, line: dict[str, Any]) -> None:
        if self._log is None:
            self._early.append(line)
            return
        with open(self._log, "a", encoding="utf-8") as log:
            log.write(json.dumps(line) + "\n")
        if self._also is not None:
            self._also(line)

    def _write(self, line: dict[str, Any]) -> None:
        self._record(line)
        self._tell(line["event"], **{k: v for k, v in line.items() if k != "event"})

    def _beat(self) -> None:
        while not self._over.wait(self._every / 4):
            with self._lock:
                now = time.monotonic()
                if now - self._said < self._every:
                    continue
                self._said = now
                line = {**self._phase, "seconds": round(now - self._began, 1)}
                if self._left is not None:
                    line["minutes_left"] = round(self._left, 1)
                self._tell("step", **line)


SHOWN = (
    ("loss", "loss"), ("d", "λ · error, bits per sample"), ("bpp", "bits per sample"), ("psnr", "PSNR 6:1:1, dB"),
    ("ms-ssim", "1 − MS-SSIM"), ("ssim", "1 − SSIM"), ("kl", "KL divergence, bits per sample"),
    ("critic", "the discriminator's loss"),
)  # fmt: skip
PLAIN = "loss", "psnr", "critic"
"""What is not drawn to a logarithmic scale."""


def draw(log: Path, out: Path) -> None:
    """Curves of a log. Raises `ImportError` without matplotlib, `MediaError` for what is no log."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    try:
        rows = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
        steps = [r for r in rows if r["event"] == "step" and "loss" in r]
    except (ValueError, KeyError, TypeError) as error:
        raise MediaError(f"{log} is not a training log — give one that lvc train wrote") from error
    stages = list(dict.fromkeys(r["stage"] for r in steps))
    shown = [(key, title) for key, title in SHOWN if key == "loss" or any(key in r for r in steps)]
    figure, all_axes = plt.subplots(
        1, len(shown), figsize=(5 * len(shown), 4), constrained_layout=True, squeeze=False
    )  # fmt: skip
    axes = all_axes[0]
    for axis, (key, title) in zip(axes, shown, strict=True):
        for stage in stages:
            mine = [r for r in steps if r["stage"] == stage]
            axis.plot([r["minutes"] for r in mine], [r.get(key) for r in mine], label=stage)
        axis.set_title(title)
        axis.set_xlabel("minutes of the stage")
        if key not in PLAIN:
            axis.set_yscale("log")
    if stages:
        axes[0].legend()
    figure.savefig(out, dpi=90, format="png")
    plt.close(figure)
