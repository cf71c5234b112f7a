"""The model that is shipped, under another name, and synthetic pictures for it: nothing here needs data or training."""

from __future__ import annotations

import atexit
import functools
import json
import shutil
import tempfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from lvc.codec import EncodedClip, EncodeSettings, decode, encode
from lvc.engine import program
from lvc.lvz import Clip, VideoDescriptor
from lvc.media.types import Frame, VideoFormat
from lvc.models import Model, default_model_path, load_model

NAME = "small"


@functools.cache
def _folder() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="lvc-models-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def planes(height: int, width: int, shift: float = 0.0, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """A textured picture, moved by `shift` luma samples down and half as many to the right: y uint8 [H,W], uv uint8
    [2,⌈H/2⌉,⌈W/2⌉]."""
    rng = np.random.default_rng(seed)
    waves = [(rng.uniform(-0.5, 0.5, 2), rng.uniform(0, 6.28), rng.uniform(4, 16)) for _ in range(12)]

    def draw(h: int, w: int, step: float, scale: float) -> np.ndarray:
        y, x = np.mgrid[0:h, 0:w] * step
        value = sum(a * np.sin(f[0] * (y - shift) + f[1] * (x - shift / 2) + p) for f, p, a in waves)
        return np.clip(np.round(128 + scale * value), 0, 255).astype(np.uint8)

    h2, w2 = -(-height // 2), -(-width // 2)
    return draw(height, width, 1.0, 1.0), np.stack([draw(h2, w2, 2.0, 0.4), draw(h2, w2, 2.0, -0.3)])


def frame(number: int, height: int, width: int, shift: float = 0.0, seed: int = 0) -> Frame:
    y, uv = planes(height, width, shift, seed)
    return Frame(y, uv[0].copy(), uv[1].copy(), number, 1)


def video(height: int, width: int) -> VideoFormat:
    return VideoFormat(width, height, (1, 25), (25, 1))


@functools.cache
def model_file(name: str = NAME) -> Path:
    """Other names are other models: files with other hashes."""
    path = _folder() / f"{name}.safetensors"
    program.save(program.load(default_model_path()), path, {"lvc.model": json.dumps({"name": name})})
    return path


def spoilt(folder: Path) -> Path:
    """The small model, with an offset before the last layers of predicted frames, which a delta can undo."""
    programs = program.load(model_file())
    layers = programs.programs["predicted"].layers
    block = max(i for i, layer in enumerate(layers) if layer.op == program.BLOCK)
    biases, shift = layers[block].parts[-1].bias, layers[block].parts[-1].shift
    biases += np.int32(3000) << shift.astype(np.int32)
    for layer in layers[block:]:
        if layer.wide:  # with room for larger biases before a sum could overflow
            layer.parts[0].weight[...] //= 2
    path = folder / "spoilt.safetensors"
    program.save(programs, path, {"lvc.model": json.dumps({"name": "spoilt"})})
    return path


@functools.cache
def model() -> Model:
    return load_model(model_file())


def descriptor(height: int, width: int, used: Model, packing: str = "rans") -> VideoDescriptor:
    number = {"zstd": 1, "rans": 5}[packing]
    return VideoDescriptor(**vars(video(height, width)), planes=used.planes, packing=number, checks=True)


def clips_of(frames: list[Frame], **settings: Any) -> list[EncodedClip]:
    height, width = frames[0].y.shape
    return list(encode(iter(frames), video(height, width), model(), EncodeSettings(**settings)))


def written(clips: list[EncodedClip]) -> list[Clip]:
    """As they come out of a file."""
    out, first = [], 0
    for c in clips:
        out.append(Clip(first, c.key, c.pts, c.durations, c.latents_crc, c.payload, c.checks, 32))
        first += len(c.pts)
    return out


def pictures(clips: list[EncodedClip], height: int, width: int, packing: str = "rans", **options: Any) -> list[Frame]:
    used = model()
    return list(decode(iter(written(clips)), descriptor(height, width, used, packing), used, **options))


def crc(f: Frame) -> int:
    return zlib.crc32(f.v.tobytes(), zlib.crc32(f.u.tobytes(), zlib.crc32(f.y.tobytes())))


def same(a: list[Frame], b: list[Frame]) -> bool:
    return [(f.pts, f.duration, crc(f)) for f in a] == [(f.pts, f.duration, crc(f)) for f in b]
