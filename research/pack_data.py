"""The training data in one small file, to carry to a lent machine, and the caches made of it there.

    python research/pack_data.py pack STILLS CLIPS OUT.pack --mib 28  # from caches that lvc train makes
    python research/pack_data.py unpack OUT.pack FOLDER               # FOLDER/{stills,clips}.{bin,json}
    python research/pack_data.py state STATE.pt OUT.pt                # averaged weights alone, to start from

Packed: every photograph (at half size where a side has 1024 samples or more), and 33-frame segments of every video at
288 rows. Not packed, but made again by `unpack`: half-size photographs, pans over photographs, single frames of videos.

Pictures are HEVC, the best that the lent machine can decode: it has OpenCV's FFmpeg, but neither PyAV nor a decoder of
AV1. OpenCV gives planes back untouched only of grey video, so each picture is one grey plane, chroma below luma.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import random
import struct
import sys
import tempfile
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

sys.path.insert(0, os.environ.get("LVC_ENGINE_TREE", str(Path(__file__).parents[1])))
from lvc.media.encoders import coded_packets  # noqa: E402
from lvc.training.footage import PHOTOS_EVERY, Clips  # noqa: E402
from lvc.training.sources import PHOTO  # noqa: E402
from lvc.training.stills import EVERY, Stills  # noqa: E402

Planes = tuple[np.ndarray, np.ndarray]
"""y uint8 [T,H,W] and uv uint8 [T,2,H/2,W/2]."""
ROWS, FRAMES, SEGMENTS, LARGE, SMALLEST = 288, 33, 2, 1024, 256
STILLS_PART = 0.6  # of the file's size
CRF, BEST, WORST = 20.0, 8.0, 34.0  # of x265


@dataclass(frozen=True)
class Entry:
    name: str
    still: bool
    planes: Planes


# --- packing


def photographs(stills: Stills) -> Iterator[Entry]:
    half = {n.removesuffix("/2") for n, *_ in stills.index if n.endswith("/2")}
    for i, (name, h, w, _) in enumerate(stills.index):
        whole = name.removesuffix("/2")
        large = whole in half and max(h, w) * (2 if name != whole else 1) >= LARGE
        if "@" not in name and (name != whole) == large:
            y, uv = stills.picture(i)
            yield Entry(whole, True, (y[None], uv[None]))


def smaller(y: np.ndarray, uv: np.ndarray) -> Planes:
    """At most ROWS rows, but no side below what crops need."""
    import av

    h, w = y.shape[1:]
    scale = max(ROWS / h, SMALLEST / min(h, w))
    if scale >= 1:
        return y, uv
    height, width = (max(SMALLEST, round(n * scale) // 16 * 16) for n in (h, w))
    out = []
    for t in range(len(y)):
        frame = av.VideoFrame.from_ndarray(np.concatenate([y[t].ravel(), uv[t].ravel()]).reshape(-1, w), "yuv420p")
        out.append(frame.reformat(width, height, "yuv420p", interpolation="AREA").to_ndarray())
    a = np.stack(out)
    return a[:, :height], a[:, height:].reshape(len(y), 2, height // 2, width // 2)


def segments(clips: Clips) -> Iterator[Entry]:
    """First of every video, then more of long ones: where room is short, all videos are there."""
    videos = [(n, *rest) for n, *rest in clips.index if Path(n).suffix.lower() not in PHOTO]
    for k in range(SEGMENTS):
        for name, t, h, w, at in videos:
            count = max(1, min(SEGMENTS, t // FRAMES))
            if k >= count:
                continue
            first = 0 if count == 1 else k * (t - FRAMES) // (count - 1)
            times = slice(first, min(t, first + FRAMES))
            n = t * h * w
            y = clips.raw[at : at + n].reshape(t, h, w)
            uv = clips.raw[at + n : at + n * 3 // 2].reshape(t, 2, h // 2, w // 2)
            yield Entry(f"{name}#{k}", False, smaller(y[times], uv[times]))


def encode(planes: Planes, crf: float, preset: str) -> bytes:
    import av

    y, uv = planes
    grey = np.concatenate([y, np.concatenate([uv[:, 0], uv[:, 1]], 2)], 1)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.mkv"
        with av.open(str(path), "w") as container:
            stream = container.add_stream("libx265", rate=25)
            stream.height, stream.width, stream.pix_fmt = *grey.shape[1:], "gray"
            stream.codec_context.color_range = 2
            own = "log-level=none:pools=1:frame-threads=1:info=0"
            stream.options = {"preset": preset, "crf": f"{crf:.2f}", "x265-params": own}
            for t, plane in enumerate(grey):
                frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(plane), "gray")
                frame.pts, frame.color_range = t, 2
                container.mux(coded_packets(stream, frame, t))
            container.mux(coded_packets(stream, None, len(grey)))
        return path.read_bytes()


def encoded(entries: Iterable[Entry], crf: float, preset: str) -> list[tuple[Entry, bytes]]:
    entries = list(entries)
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        return list(zip(entries, pool.map(lambda e: encode(e.planes, crf, preset), entries), strict=True))


def fitted(entries: list[Entry], room: int, preset: str) -> list[tuple[Entry, bytes]]:
    """At the quality that fills `room` bytes, by a sample first and then by the whole. What is too much still is left
    out."""
    some = entries[:: max(1, len(entries) // 12)]
    sample = sum(len(data) for _, data in encoded(some, CRF, preset))
    total = sample * sum(e.planes[0].size for e in entries) / sum(e.planes[0].size for e in some)
    crf, done = CRF, []
    for _ in range(3):
        crf = min(max(crf + 6.5 * math.log2(total / (room * 0.97)), BEST), WORST)
        done = encoded(entries, crf, preset)
        total = sum(len(data) for _, data in done)
        if 0.9 * room <= total <= room or (crf == BEST and total <= room):
            break
    while total > room:
        total -= len(done.pop()[1])
    bits = 8 * total / sum(e.planes[0].size for e, _ in done)
    print(
        f"{len(done)} of {len(entries)} at crf {crf:.1f}, {total / 2**20:.1f} MiB, {bits:.2f} bits a pixel", flush=True
    )
    return done


def pack(stills: Path, clips: Path, out: Path, mib: float, preset: str, limit: int | None) -> None:
    room = int(mib * 2**20) - 2**17
    kinds = list(photographs(Stills(stills))), list(segments(Clips(clips)))
    header, payload = [], []
    for entries, part in zip(kinds, (STILLS_PART, 1 - STILLS_PART), strict=True):
        for entry, data in fitted(entries[:limit], int(room * part), preset):
            header.append([entry.name, entry.still, *entry.planes[0].shape, len(data)])
            payload.append(data)
    text = json.dumps(header).encode()
    part = out.with_suffix(".part")
    part.write_bytes(struct.pack("<I", len(text)) + text + b"".join(payload))
    os.replace(part, out)
    print(out, round(out.stat().st_size / 2**20, 1), "MiB")


# --- unpacking


def decode(data: bytes, shape: tuple[int, int, int]) -> Planes:
    t, h, w = shape
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.mkv"
        path.write_bytes(data)
        frames = np.stack([f.reshape(h * 3 // 2, w) for f in decoded(path)])
    if len(frames) != t:
        raise ValueError(f"{len(frames)} of {t} frames")
    u, v = frames[:, h:, : w // 2], frames[:, h:, w // 2 :]
    return frames[:, :h], np.stack([u, v], 1)


def decoded(path: Path) -> Iterator[np.ndarray]:
    os.environ.setdefault("OPENCV_LOG_LEVEL", "ERROR")  # else a warning for every file
    try:
        import cv2
    except ImportError:
        import av

        with av.open(str(path)) as container:
            for frame in container.decode(video=0):
                yield frame.to_ndarray(format="gray")
        return
    video = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG, [cv2.CAP_PROP_CONVERT_RGB, 0])
    while True:
        ok, frame = video.read()
        if not ok:
            return
        yield frame


def halved(y: np.ndarray, uv: np.ndarray) -> Planes:
    h, w = (n // 32 * 32 for n in y.shape[-2:])

    def mean(a: np.ndarray) -> np.ndarray:
        s = a.astype(np.uint16)
        s = s[..., ::2, :] + s[..., 1::2, :]
        return ((s[..., ::2] + s[..., 1::2] + 2) // 4).astype(np.uint8)

    return mean(y[..., :h, :w]), mean(uv[..., : h // 2, : w // 2])


def unpacked(number: int, name: str, still: bool, shape: tuple[int, int, int], data: bytes) -> list[Entry]:
    """Everything that is made of one packed entry."""
    from lvc.training.pan import pan

    planes = decode(data, shape)
    if not still:
        starts = range(0, shape[0], EVERY)
        singles = [Entry(f"{name}@{t}", True, (planes[0][t : t + 1], planes[1][t : t + 1])) for t in starts]
        return [Entry(name, False, planes), *singles]
    out = [Entry(name, True, planes)]
    if min(shape[1:]) >= 2 * SMALLEST:
        out.append(Entry(name + "/2", True, halved(*planes)))
    if number % PHOTOS_EVERY == 0:
        out.append(Entry(name, False, pan(planes[0][0], planes[1][0], random.Random(name), FRAMES)))
    return out


def unpack(packed: Path, folder: Path) -> None:
    import torch

    torch.set_num_threads(1)  # one thread of the pool for each entry instead
    raw = packed.read_bytes()
    (size,) = struct.unpack_from("<I", raw)
    at, jobs = 4 + size, []
    for number, (name, still, t, h, w, length) in enumerate(json.loads(raw[4:at])):
        jobs.append((number, name, still, (t, h, w), raw[at : at + length]))
        at += length
    folder.mkdir(parents=True, exist_ok=True)
    index: dict[bool, list[list[object]]] = {True: [], False: []}
    place = {True: 0, False: 0}
    with (
        open(folder / "stills.bin", "wb") as stills,
        open(folder / "clips.bin", "wb") as clips,
        ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool,
    ):
        for entries in pool.map(lambda j: unpacked(*j), jobs):
            for e in entries:
                y, uv = e.planes
                if min(y.shape[1:]) < SMALLEST:
                    continue
                (stills if e.still else clips).write(y.tobytes() + uv.tobytes())
                index[e.still].append([e.name, *(y.shape[1:] if e.still else y.shape), place[e.still]])
                place[e.still] += y.size * 3 // 2
    for still, name in ((True, "stills"), (False, "clips")):
        (folder / f"{name}.json").write_text(json.dumps(index[still]))
        print(len(index[still]), name, round(place[still] / 1e6), "MB", flush=True)


if __name__ == "__main__":
    p = argparse.ArgumentParser()
    what = p.add_subparsers(dest="what", required=True)
    q = what.add_parser("pack")
    q.add_argument("stills", type=Path)
    q.add_argument("clips", type=Path)
    q.add_argument("out", type=Path)
    q.add_argument("--mib", type=float, default=28)
    q.add_argument("--preset", default="medium", help="of x265")
    q.add_argument("--limit", type=int, help="of each kind, to try it out")
    q = what.add_parser("unpack")
    q.add_argument("packed", type=Path)
    q.add_argument("folder", type=Path)
    q = what.add_parser("state")
    q.add_argument("state", type=Path)
    q.add_argument("out", type=Path)
    a = p.parse_args()
    if a.what == "state":
        import torch

        from lvc.training.loop import small, write

        full = torch.load(a.state, map_location="cpu", weights_only=True)
        write(small(full["ema"] or full["model"], full["step"]), a.out)
    elif a.what == "pack":
        pack(a.stills, a.clips, a.out, a.mib, a.preset, a.limit)
    else:
        unpack(a.packed, a.folder)
