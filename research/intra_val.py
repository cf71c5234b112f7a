"""Key frames beside x264's and x265's: the 24 Kodak pictures and the first frames of `val`, as 4:2:0 planes.

    python research/intra_val.py anchors DATA/val OUT.json           # x264, x265 medium: PSNR 6:1:1 and bits
    python research/intra_val.py model DATA/val MODEL OUT.json [ROUNDS]
        # a model's file: key clips of the encoder, whose latents are refined so often (0)

BD-rate: PCHIP over log rate, mean over pictures. Rows: at most 512 for video frames.
"""

from __future__ import annotations

import json
import math
import sys
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from lvc.codec.frames import FrameEncoder
from lvc.codec.payload import pack_key, quality_of
from lvc.codec.shown import padded, shown
from lvc.engine.coder import Coder
from lvc.models import load_model
from lvc.training.sources import picture_of, planes

CODECS = {"x264": ("libx264", {"preset": "medium"}), "x264-psnr": ("libx264", {"preset": "medium", "tune": "psnr"}),
          "x265": ("libx265", {"preset": "medium", "x265-params": "log-level=none"})}  # fmt: skip
LEVELS = (7.0, 9.0, 11.0, 13.0, 15.0, 17.0)
CRFS = (14, 18, 22, 26, 30, 34, 38)


def pictures(root: Path) -> list[tuple[str, np.ndarray, np.ndarray]]:
    out = [
        (p.name, *planes(picture_of(p), 512)) for p in sorted((root / "photo").iterdir()) if p.name.startswith("kodak")
    ]
    for path in sorted(root.iterdir()):
        if path.suffix == ".yuv":
            raw = np.fromfile(path, np.uint8, 320 * 240 * 3 // 2)
            out.append((path.name, raw[: 320 * 240].reshape(240, 320), raw[320 * 240 :].reshape(2, 120, 160)))
        elif path.is_file():
            with av.open(str(path)) as c:
                out.append((path.name, *planes(next(c.decode(video=0)), 480)))
    return out


def psnr(a: tuple[np.ndarray, np.ndarray], b: tuple[np.ndarray, np.ndarray]) -> float:
    pairs = [(a[0], b[0]), (a[1][0], b[1][0]), (a[1][1], b[1][1])]
    y, u, v = (10 * math.log10(255**2 / max(float(((p.astype(float) - q) ** 2).mean()), 1e-3)) for p, q in pairs)
    return (6 * y + u + v) / 8


def picture_bytes(packet: bytes, hevc: bool) -> int:
    """Bytes of an Annex B packet's slices: x264 puts 700 bytes about itself into the first packet."""
    total = 0
    for unit in packet.replace(b"\x00\x00\x00\x01", b"\x00\x00\x01").split(b"\x00\x00\x01")[1:]:
        kind = (unit[0] >> 1) & 63 if hevc else unit[0] & 31
        total += len(unit) + 3 if (kind < 32 if hevc else kind in (1, 5)) else 0
    return total


def classical(name: str, y: np.ndarray, uv: np.ndarray, crf: int) -> tuple[float, float]:
    """→ bits a luma sample (parameter sets left out), PSNR 6:1:1."""
    encoder, options = CODECS[name]
    c = av.CodecContext.create(encoder, "w")
    c.height, c.width = y.shape
    c.pix_fmt, c.options = "yuv420p", options | {"crf": str(crf)}
    c.time_base = Fraction(1, 25)
    c.flags |= 0x400000  # global header
    c.thread_count = 1  # with more, PyAV has x264 cut pictures into slices
    frame = av.VideoFrame.from_ndarray(np.concatenate([y.ravel(), uv.ravel()]).reshape(-1, y.shape[1]), "yuv420p")
    frame.pts = 0
    packets = [p for f in (frame, None) for p in c.encode(f)]
    d = av.CodecContext.create("h264" if encoder == "libx264" else "hevc", "r")
    d.extradata = c.extradata
    got = [f for p in [*packets, None] for f in d.decode(p)]
    a = got[0].reformat(format="yuv420p").to_ndarray()
    h = y.shape[0]
    shown = a[:h], a[h:].reshape(2, h // 2, -1)
    return sum(picture_bytes(bytes(p), encoder == "libx265") for p in packets) * 8 / y.size, psnr((y, uv), shown)


def bd(rate: list[float], quality: list[float], rate0: list[float], quality0: list[float]) -> float:
    """BD-rate in per cent of the first against the second."""
    from bjontegaard import bd_rate

    return float(bd_rate(rate0, quality0, rate, quality, method="pchip", require_matching_points=False, min_overlap=0))


def anchors(root: Path, out: Path) -> None:
    table = {n: {c: [classical(c, y, uv, q) for q in CRFS] for c in CODECS} for n, y, uv in pictures(root)}
    out.write_text(json.dumps(table))


def shipped(root: Path, path: Path, rounds: int = 0) -> dict[str, list[tuple[float, float]]]:
    """Key clips of a model's file, as the encoder writes them."""
    model, table = load_model(path), {}
    for name, y, uv in pictures(root):
        source = padded(y, uv[0], uv[1], 8)
        encoder = FrameEncoder(model, *source[0].shape)
        for level in LEVELS:
            coder, quality = Coder(), quality_of(level)
            coded = encoder.key(0, source, quality, coder, rounds)
            sy, su, sv = shown(coded.planes, *y.shape, 8)
            bits = 8 * len(pack_key(quality, coder.finish()))
            table.setdefault(name, []).append((bits / y.size, psnr((y, uv), (sy, np.stack([su, sv])))))
    return table


def compare(table: dict[str, list[tuple[float, float]]], reference: Path) -> None:
    known = json.loads(reference.read_text())
    for codec in CODECS:
        rows = {}
        for name, points in table.items():
            r0, q0 = zip(*known[name][codec], strict=True)
            rows[name] = bd([p[0] for p in points], [p[1] for p in points], list(r0)[::-1], list(q0)[::-1])
        kodak = np.mean([v for n, v in rows.items() if n.startswith("kodak")])
        val = {n[:14]: round(v) for n, v in rows.items() if not n.startswith("kodak")}
        print(f"{codec:10} kodak {kodak:+.1f} %  val {np.mean(list(val.values())):+.1f} % {val}")


if __name__ == "__main__":
    if sys.argv[1] == "anchors":
        anchors(Path(sys.argv[2]), Path(sys.argv[3]))
    else:
        compare(shipped(Path(sys.argv[2]), Path(sys.argv[3]), *map(int, sys.argv[5:])), Path(sys.argv[4]))
