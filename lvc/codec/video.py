"""Frames ↔ clips of packed latents, as generators in constant memory.

encode: frames ─▶ motion (thread) ─▶ networks (caller) ─▶ packing (thread) ─▶ clips
decode: clips ─▶ unpacking (thread) ─▶ networks (caller) ─▶ frames
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import torch

from ..entropy.clip import FrameLatents, Geometry, latents_crc, pack_zstd, unpack_zstd, verify_latents
from ..entropy.rans import GopCoder
from ..errors import CorruptError, UnsupportedError
from ..limits import DEFAULT, Limits
from ..lvz import PACKING_NAMES, Clip, VideoDescriptor
from ..media.motion import MotionSearch
from ..media.types import Frame, VideoFormat
from ..models.config import code_to_level
from ..models.load import Model
from ..pipeline import ReadAhead, side_by_side, usable_cores
from .control import control_of, key_raise
from .frames import FrameDecoder, FrameEncoder, Planes
from .motion_choice import MotionChoice
from .motion_decision import MotionDecision
from .scales import Scales
from .settings import EFFORTS, EncodeSettings

SEARCH_CRF = 26.0
LOOK = 4
"""Frames after a key frame that say how long what it shows will last."""
AHEAD = 6
"""Frames or clips that a stage may be ahead of the next."""
MOST_GROUPS = 4
"""Groups of pictures that are coded at a time, a core each or more: a network on two cores waits for itself at every
layer, groups wait for nothing (docs/decisions/005-speed.md)."""
LARGEST_TWICE, WAITING_BYTES, WAITING = 1280 * 720, 200 << 20, 600
"""Luma samples of the largest frames of which several groups are coded at a time, and what may wait for that: bytes of
planes, and frames."""
SCENE_CUT = (4.0, 0.9)
"""A key frame where prediction misses more than the first figure (mean absolute luma error) and more than the second's
share of what the blocks' own means miss."""


@dataclass(frozen=True)
class EncodedClip:
    """A clip ready for the container: `pts` and `durations` per frame, `latents_crc` of the integers in `payload`."""

    key: bool
    pts: list[int]
    durations: list[int]
    latents_crc: int
    payload: bytes


@dataclass
class _Searched:
    time: Frame
    """Without its planes."""
    planes: Planes
    found: np.ndarray
    """The vectors searched, and of these and others the `motion` chosen on the originals; int16 [2,H/8,W/8]."""
    motion: np.ndarray
    key: bool
    raised: float = 0.0
    """Levels of a key frame above what is asked for, since the frames after it inherit what it shows."""


@dataclass
class _Coded:
    key: bool
    latents: FrameLatents
    time: Frame


def pad_planes(frame: Frame) -> Planes:
    """A frame's planes, sides made multiples of 16 by repeating the last row and column: y [H,W], uv [2,H/2,W/2]."""
    h, w = frame.y.shape
    ph, pw = -h % 16, -w % 16
    ch, cw = (h + ph) // 2 - frame.u.shape[0], (w + pw) // 2 - frame.u.shape[1]
    y = np.pad(frame.y, ((0, ph), (0, pw)), mode="edge") if ph or pw else frame.y
    uv = np.stack([frame.u, frame.v])
    return y, np.pad(uv, ((0, 0), (0, ch), (0, cw)), mode="edge") if ch or cw else uv


def flatness(y: np.ndarray) -> float:
    """Mean absolute difference of luma from its 8x8 blocks' means: what a crude intra prediction misses."""
    h, w = y.shape
    blocks = torch.from_numpy(y).reshape(h // 8, 8, w // 8, 8).transpose(1, 2).reshape(-1, 64).float()
    return float((blocks - blocks.mean(1, keepdim=True)).abs().mean())


def _search(frames: Iterable[Frame], width: int, height: int, price: float, ticks: float) -> Iterator[_Searched]:
    """Frames with their motion; key frames at scene cuts and every `ticks` of the time base. A key frame waits for the
    `LOOK` frames after it."""
    search, choice = MotionSearch(width, height, SEARCH_CRF), MotionChoice(height, width)
    waiting: list[tuple[Frame, Planes]] = []
    held: list[_Searched] = []
    missed: list[float] = []
    before: np.ndarray | None = None
    key_pts, whole = 0, 1.0

    def release() -> Iterator[_Searched]:
        if held and missed:
            held[0].raised = key_raise(sum(missed) / len(missed) / whole)
        yield from held
        held.clear()

    def settle(found: np.ndarray) -> Iterator[_Searched]:
        nonlocal before, key_pts, whole
        field = found
        frame, planes = waiting.pop(0)
        key, misses = before is None or frame.pts - key_pts >= ticks, 0.0
        if before is not None:
            field, misses = choice.choose(before, planes[0], found, price)
            key = key or (misses > SCENE_CUT[0] and misses > SCENE_CUT[1] * flatness(planes[0]))
        before = planes[0]
        time = Frame(_NOTHING, _NOTHING, _NOTHING, frame.pts, frame.duration)
        item = _Searched(time, planes, found, field, key)
        if key:
            yield from release()
            key_pts, whole = frame.pts, max(flatness(planes[0]), 1e-3)
            choice.restart()
            missed.clear()
            held.append(item)
            return
        if held:
            held.append(item)
            missed.append(misses)
            if len(missed) == LOOK:
                yield from release()
        else:
            yield item

    for frame in frames:
        planes = pad_planes(frame)
        waiting.append((frame, planes))
        for field in search.push(*planes):
            yield from settle(field)
    for field in search.flush():
        yield from settle(field)
    yield from release()


def encode(
    frames: Iterable[Frame], video: VideoFormat, model: Model, settings: EncodeSettings
) -> Iterator[EncodedClip]:
    """Frames of one size, in order of `pts` → clips. Key frames come at least every `gop` seconds and at scene cuts;
    a key frame starts a new clip."""
    geometry = Geometry(video.width, video.height, 16, model.planes)
    height, width = geometry.padded_height, geometry.padded_width
    price = 255 / math.sqrt(2**settings.level)
    tick = video.time_base[0] / video.time_base[1]
    ticks = settings.gop / tick
    control = control_of(settings, video.width * video.height)

    def coded(items: Iterable[_Searched]) -> Iterator[_Coded]:
        encoder = FrameEncoder(model, height, width, EFFORTS[settings.effort], settings.tune)
        decision = MotionDecision(height, width)
        for item in items:
            if settings.pace is not None:
                encoder.effort = EFFORTS[settings.pace()]
            quality, motion = control.code(item.raised), item.motion
            if not (item.key or encoder.effort.searched or encoder.recon is None):
                motion = decision.decide(encoder.recon[0], item.planes[0], item.found, code_to_level(quality))
            decision.coded(np.zeros_like(motion) if item.key else motion)
            latents = encoder.encode(item.planes, quality, None if item.key else motion)
            if control.wants_psnr and encoder.recon is not None:
                control.measured(_psnr(item.planes, encoder.recon))
            yield _Coded(item.key, latents, item.time)

    def packed(items: Iterable[list[_Coded]]) -> Iterator[EncodedClip]:
        coder = GopCoder(geometry, Scales(model), model.tables)
        for clip in items:
            latents = [c.latents for c in clip]
            payload = coder.pack(latents) if settings.packing == "rans" else pack_zstd(latents, geometry)
            times = [c.time for c in clip]
            control.packed(8 * len(payload), sum(t.duration for t in times) * tick, clip[0].key)
            yield EncodedClip(
                clip[0].key,
                [t.pts for t in times],
                [t.duration for t in times],
                latents_crc(latents, geometry),
                payload,
            )

    def worked(items: Iterable[_Searched]) -> Iterator[EncodedClip]:
        # a control that steers by sizes waits for each clip's
        ahead = contextlib.nullcontext(coded(items)) if control.wants_sizes else ReadAhead(coded(items), AHEAD)
        with ahead as latents:
            yield from packed(_clips(latents, settings.clip_frames))

    # what is steered frame by frame cannot be done out of order, and large frames take too much memory twice
    steered = control.wants_sizes or control.wants_psnr or settings.pace is not None
    alone = steered or height * width > LARGEST_TWICE or model.device.type != "cpu"
    cores = settings.threads or usable_cores()
    workers = 1 if alone else min(cores, MOST_GROUPS)
    with ReadAhead(_search(frames, width, height, price, ticks), AHEAD) as searched:
        if workers > 1:
            torch.set_num_threads(cores // workers)
            room = min(WAITING, WAITING_BYTES * 2 // (3 * height * width))
            yield from side_by_side(searched, lambda item: item.key, worked, workers, room)
        else:
            _use_threads(settings.threads)
            with ReadAhead(worked(searched), 1) as clips:
                yield from clips


def _use_threads(wanted: int | None) -> None:
    """The networks' threads. Motion, packing, unpacking and the writer keep a core busy: a network that spreads over
    it too waits for it at every layer (two cores, decoding: 12 % slower)."""
    torch.set_num_threads(wanted or max(1, usable_cores() - 1))


def _psnr(source: Planes, coded: Planes) -> float:
    """PSNR 6:1:1 of padded planes in dB, at most 60 per plane."""
    pairs = [(source[0], coded[0]), *zip(source[1], coded[1], strict=True)]
    errors = [float(((torch.from_numpy(a).float() - torch.from_numpy(b).float()) ** 2).mean()) for a, b in pairs]
    y, u, v = (min(60.0, 10 * math.log10(255**2 / max(e, 1e-9))) for e in errors)
    return (6 * y + u + v) / 8


def _crop(y: np.ndarray, uv: np.ndarray, height: int, width: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    h2, w2 = -(-height // 2), -(-width // 2)
    return y[:height, :width].copy(), uv[0, :h2, :w2].copy(), uv[1, :h2, :w2].copy()


_NOTHING = np.zeros((0, 0), np.uint8)


def _clips(frames: Iterable[_Coded], size: int) -> Iterator[list[_Coded]]:
    clip: list[_Coded] = []
    for frame in frames:
        if clip and (frame.key or len(clip) == size):
            yield clip
            clip = []
        clip.append(frame)
    if clip:
        yield clip


def decode(
    clips: Iterable[Clip], video: VideoDescriptor, model: Model, threads: int | None = None, limits: Limits = DEFAULT
) -> Iterator[Frame]:
    """Clips in order, starting with a key clip → frames. Raises `CorruptError` where the integers do not match their
    checksum, `UnsupportedError` for planes that are not the model's."""
    _use_threads(threads)
    geometry = video.geometry
    if tuple(geometry.planes) != model.planes or geometry.align != 16:
        raise UnsupportedError("the file's planes are not those of its model — update lvc")
    packing = PACKING_NAMES.get(video.packing)
    if packing not in ("rans", "zstd"):
        raise UnsupportedError(f"packing {video.packing} is unknown — update lvc")

    def unpacked() -> Iterator[tuple[Clip, list[FrameLatents]]]:
        coder: GopCoder | None = None
        for clip in clips:
            count = len(clip.pts)
            geometry.check_clip(count, limits)
            if packing == "zstd":
                latents = unpack_zstd(clip.payload, geometry, count, limits)
            else:
                if clip.key or coder is None:
                    coder = GopCoder(geometry, Scales(model), model.tables)
                latents = coder.unpack(clip.payload, count)
            verify_latents(latents, geometry, clip.latents_crc, clip.key)
            yield clip, latents

    decoder = FrameDecoder(model, geometry.padded_height, geometry.padded_width)
    with ReadAhead(unpacked(), 2) as items:
        for clip, latents in items:
            for frame, pts, duration in zip(latents, clip.pts, clip.durations, strict=True):
                if frame.kind == 1 and decoder.recon is None:
                    raise CorruptError("the video starts with a predicted frame")
                y, uv = decoder.decode(frame)
                yield Frame(*_crop(y, uv, video.height, video.width), pts, duration)
