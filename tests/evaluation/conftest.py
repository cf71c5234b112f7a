"""A small clip, and a run whose stand-in for lvc is x264 in disguise, in this process: no model is needed."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from lvc.errors import CorruptError
from lvc.evaluation import run, worker
from lvc.evaluation.measure import Workers
from lvc.evaluation.planes import Picture, to_frame
from lvc.media.planes import PIX_FMT
from lvc.results import Facts


def moving(count: int = 12, width: int = 96, height: int = 64, depth: int = 8) -> list[Picture]:
    """A textured ground that moves, with noise."""
    rng = np.random.default_rng(7)
    half = (height + 1) // 2, (width + 1) // 2
    rows, columns = np.ogrid[: height + count, : width + 2 * count]
    ground = 120 + 50 * np.sin(rows / 3 + columns / 17) * np.cos(columns / 5) + 30 * np.sin(columns * rows / 90)
    out = []
    for i in range(count):
        y = ground[i : i + height, 2 * i : 2 * i + width] + rng.normal(0, 2, (height, width))
        planes = (y.clip(0, 255), *(np.full(half, v) for v in (110, 140)))
        kind, more = (np.uint8, 1) if depth == 8 else (np.uint16, 4)
        out.append(Picture(*((plane * more).astype(kind) for plane in planes), pts=i))
    return out


@pytest.fixture
def pictures() -> Callable[..., list[Picture]]:
    return moving


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    return lossless(tmp_path / "moving.mkv", 8)


@pytest.fixture
def deep_clip(tmp_path: Path) -> Path:
    """The same in 10 bits."""
    return lossless(tmp_path / "deep.mkv", 10)


def lossless(path: Path, depth: int) -> Path:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=25)
        stream.width, stream.height, stream.pix_fmt = 96, 64, PIX_FMT[depth]
        for p in moving(depth=depth):
            frame = to_frame(p)
            frame.pts, frame.time_base = p.pts, Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


@pytest.fixture
def disguised(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Workers run in this process, and lvc's jobs are x264's at CRF 60 - quality / 2: of its files 9 bytes are not the
    video's. What was done, by name."""
    seen: dict[str, str] = {}
    asked: list[str] = []

    def encode(job: dict[str, Any]) -> dict[str, Any]:
        if job["settings"]["quality"] == 13:
            raise CorruptError("an unlucky number — take another")
        seen[job["dst"]] = job["src"]
        crf = 60 - job["settings"]["quality"] / 2
        return worker.anchor_encode(job | {"codec": "x264:ultrafast", "settings": {"crf": crf}})

    def decode(job: dict[str, Any]) -> dict[str, Any]:
        return worker.anchor_decode(job | {"codec": "x264:ultrafast", "reference": seen[job["src"]]})

    def ask(self: Workers, order: dict[str, Any]) -> tuple[dict[str, Any], float]:
        asked.append(f"{order['codec']} {order['job']}")
        stand_in = {"lvc encode": encode, "lvc decode": decode}.get(asked[-1])
        name = "lvc" if order["codec"] == "lvc" else "anchor"
        return {"rss": 2**20, **(stand_in or worker.JOBS[name, order["job"]])(order)}, 1.2

    monkeypatch.setattr(Workers, "ask", ask)
    monkeypatch.setattr(run, "info_file", lambda path: Facts({"video_bytes": path.stat().st_size - 9}))
    return asked
