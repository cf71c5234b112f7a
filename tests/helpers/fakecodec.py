"""A codec of a few lines that keeps every sample (of 10 bits the upper 8): for tests of all that is around the real
one, and starts at once.

`python tests/helpers/fakecodec.py encode …` is the command line with it.
"""

from __future__ import annotations

import contextlib
import os
import sys
import time
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np

from lvc.entropy.clip import FrameLatents, latents_crc, pack_zstd, unpack_verified
from lvc.errors import UnsupportedError
from lvc.lvz import Clip, Geometry, PlaneSpec
from lvc.media import Frame
from lvc.media.depth import in_eight_bits, in_ten_bits
from lvc.pipeline import told_to_stop

PLANES = (PlaneSpec("y", "uint8", 1, 1), PlaneSpec("u", "uint8", 1, 2), PlaneSpec("v", "uint8", 1, 2))
ALIGN = 2


class Model:
    id = "fake"
    sha256 = bytes(range(32))
    planes = PLANES


@dataclass(frozen=True)
class EncodeSettings:
    quality: float = 50
    gop: float = 10.0
    clip_frames: int = 8
    packing: str = "zstd"
    effort: int = 4
    threads: int | None = None
    target_bitrate: float | None = None
    target_psnr: float | None = None
    max_bitrate: float | None = None
    buffer: float = 2.0
    tune: str = "psnr"
    seconds: float | None = None
    duration: float | None = None
    pace: Callable[[], int] | None = None
    low_delay: bool = False
    told_psnr: Callable[[float], object] | None = None
    told_error: Callable[[float], object] | None = None


@dataclass
class EncodedClip:
    key: bool
    pts: list[int]
    durations: list[int]
    latents_crc: int
    payload: bytes
    checks: tuple[int, ...]


def _latents(frame: Frame, geometry: Geometry) -> FrameLatents:
    planes = {}
    for spec, plane in zip(PLANES, (frame.y, frame.u, frame.v), strict=True):
        _, rows, columns = geometry.plane_shape(spec)
        plane = in_eight_bits(plane)
        planes[spec.name] = np.pad(plane, ((0, rows - plane.shape[0]), (0, columns - plane.shape[1])), "edge")[None]
    return FrameLatents(0, 5000, planes)


def _take_a_turn() -> None:
    """`FAKE_TURNS`: a folder. Returns with one of its files removed, or when the work is to end (`waiting.Turns`)."""
    folder = os.environ.get("FAKE_TURNS")
    if folder is not None:
        open(f"{folder}.reached", "w").close()
    while folder is not None and not told_to_stop():
        for name in os.listdir(folder):
            with contextlib.suppress(FileNotFoundError):  # another process was faster
                os.remove(os.path.join(folder, name))
                return
        time.sleep(0.02)


def encode(frames: Iterable[Frame], video: Any, model: Any, settings: Any) -> Iterator[EncodedClip]:
    geometry = Geometry(video.width, video.height, 16, PLANES)
    per_gop = max(1, round(settings.gop * float(video.rate or 25) / settings.clip_frames))
    batch: list[Frame] = []
    number = 0

    def clip() -> EncodedClip:
        latents = [_latents(frame, geometry) for frame in batch]
        return EncodedClip(
            number % per_gop == 0,
            [frame.pts for frame in batch],
            [frame.duration for frame in batch],
            latents_crc(latents, geometry),
            pack_zstd(latents, geometry, 1),
            tuple(zlib.crc32(frame.y.tobytes()) for frame in batch),
        )

    for frame in frames:
        batch.append(frame)
        if settings.target_psnr is not None and settings.told_psnr is not None:
            settings.told_psnr(99.0)  # every sample is kept
        if len(batch) == settings.clip_frames:
            yield clip()
            effort = settings.effort if settings.pace is None else settings.pace()
            per_effort = effort * float(os.environ.get("FAKE_DELAY_EFFORT", "0"))
            time.sleep(float(os.environ.get("FAKE_DELAY", "0")) + per_effort)
            if number == 0:
                _take_a_turn()
            batch, number = [], number + 1
    if batch:
        yield clip()


def decode(
    clips: Iterable[Clip], video: Any, model: Any, threads: int | None = None, wanted: Any = None
) -> Iterator[Frame]:
    geometry = video.geometry
    height, width = video.height, video.width
    for number, clip in enumerate(clips):
        latents = unpack_verified(clip.payload, geometry, clip.n_frames, clip.latents_crc, clip.key)
        for item, pts, duration in zip(latents, clip.pts, clip.durations, strict=True):
            y, u, v = (item.planes[name][0] for name in ("y", "u", "v"))
            if video.bit_depth == 10:
                y, u, v = (in_ten_bits(p) for p in (y, u, v))
            half = (height + 1) // 2, (width + 1) // 2
            u, v = (np.ascontiguousarray(p[: half[0], : half[1]]) for p in (u, v))
            if wanted is None or wanted(None, pts):
                yield Frame(np.ascontiguousarray(y[:height, :width]), u, v, pts, duration)
        time.sleep(float(os.environ.get("FAKE_DELAY", "0")))
        if number == 0:
            _take_a_turn()


def load_model(name: str | None = None, device: str | None = None) -> Model:
    if name not in (None, "fake"):
        raise UnsupportedError(f"model {name!r} is unknown — install it")
    return Model()


def find_model(model_id: str, sha256: bytes) -> str:
    if sha256 != Model.sha256:
        raise UnsupportedError(f"model {model_id!r} is unknown — install it")
    return model_id


def resolve(name: str | None = None) -> Model:
    return load_model(name)


def model_of_file(header: Any, chunk: Any) -> Model:
    return load_model(find_model(header.model_id, header.model_sha256))


def lower_efforts(effort: int) -> list[int]:
    return sorted({effort, min(effort, 1)}, reverse=True)


def install() -> None:
    """Put this codec in place of the real one, before anything imports that."""
    import lvc

    for name, members in (
        (
            "codec",
            {
                "encode": encode,
                "decode": decode,
                "EncodeSettings": EncodeSettings,
                "lower_efforts": lower_efforts,
            },  # fmt: skip
        ),
        (
            "models",
            {
                "load_model": load_model,
                "find_model": find_model,
                "model_of_file": model_of_file,
                "resolve": resolve,
                "Model": Model,
                "tuned": lambda name, tune: name,
            },
        ),
    ):
        module = ModuleType(f"lvc.{name}")
        vars(module).update(members)
        sys.modules[module.__name__] = module
        setattr(lvc, name, module)


def install_for_a_test(monkeypatch: Any) -> None:
    """The same in the process of the tests, for one of them."""
    import lvc

    for name in ("codec", "models"):  # put back what `install` replaces
        __import__(f"lvc.{name}")
        monkeypatch.setitem(sys.modules, f"lvc.{name}", sys.modules[f"lvc.{name}"])
        monkeypatch.setattr(lvc, name, sys.modules[f"lvc.{name}"])
    install()


if __name__ in ("__main__", "__mp_main__"):  # the workers of a folder job load this file under the second name
    install()

if __name__ == "__main__":
    from lvc.cli import main

    main()
