"""The float networks of codec 2 on `val` in closed loop, bits estimated, beside x264 and others of the same frames.

    python research/rd_pyramid.py anchors DATA/val OUT.json [--frames 65 --rows 288]
    python research/rd_pyramid.py net DATA/val INTRA.pt INTER.pt OUT.json [--gop 16] [--bases 8 10 12 14] [--clips 5]

Latents by their Gaussians, motion and flags as the engine codes them. PSNR 6:1:1, BD-rate
by PCHIP.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from lvc.media.encoders import REPRODUCIBLE
from lvc.training.sources import planes
from research.intra_val import bd, picture_bytes, psnr

CLIPS = (
    "foreman",
    "akiyo",
    "cars_320",
    "flower",
    "carphone",
    "car-detection",
    "bikes",
    "bigbuckbunny",
    "asl_book",
    "portrait",
)
X264 = {"preset": "medium", "x264-params": REPRODUCIBLE}
CODECS = {
    "x264": ("libx264", X264, (17, 22, 27, 32, 37)),
    "x264-psnr": ("libx264", X264 | {"tune": "psnr"}, (17, 22, 27, 32, 37)),
    "x265": ("libx265", {"preset": "medium", "x265-params": "log-level=none"}, (17, 22, 27, 32, 37)),
}


def footage(root: Path, wanted: str, frames: int, rows: int) -> tuple[np.ndarray, np.ndarray]:
    path = next(p for p in sorted(root.iterdir()) if wanted in p.name)
    if path.suffix == ".yuv":
        raw = np.fromfile(path, np.uint8).reshape(-1, 320 * 240 * 3 // 2)[:frames]
        return raw[:, : 320 * 240].reshape(-1, 240, 320), raw[:, 320 * 240 :].reshape(-1, 2, 120, 160)
    out = []
    with av.open(str(path)) as c:
        for f in c.decode(video=0):
            out.append(planes(f, rows))
            if len(out) == frames:
                break
    return np.stack([o[0] for o in out]), np.stack([o[1] for o in out])


def classical(name: str, y: np.ndarray, uv: np.ndarray, crf: int) -> tuple[float, float]:
    encoder, options, _ = CODECS[name]
    c = av.CodecContext.create(encoder, "w")
    c.height, c.width = y.shape[1:]
    c.pix_fmt, c.options, c.time_base, c.framerate = (
        "yuv420p",
        options | {"crf": str(crf)},
        Fraction(1, 25),
        Fraction(25),
    )
    c.flags |= 0x400000
    c.thread_count = 1  # with more, PyAV has x264 cut pictures into slices: 3 to 8 % more bits
    packets = []
    for t in range(len(y)):
        frame = av.VideoFrame.from_ndarray(
            np.concatenate([y[t].ravel(), uv[t].ravel()]).reshape(-1, y.shape[2]), "yuv420p"
        )
        frame.pts = t
        packets += c.encode(frame)
    packets += c.encode(None)
    d = av.CodecContext.create("h264" if encoder == "libx264" else "hevc", "r")
    d.extradata = c.extradata
    got = sorted((f for p in [*packets, None] for f in d.decode(p)), key=lambda f: f.pts)
    h, total = y.shape[1], 0.0
    for t, f in enumerate(got):
        a = f.reformat(format="yuv420p").to_ndarray()
        total += psnr((y[t], uv[t]), (a[:h], a[h:].reshape(2, h // 2, -1)))
    bits = sum(picture_bytes(bytes(p), encoder == "libx265") for p in packets) * 8
    return bits / y.size, total / len(y)


def anchors(root: Path, out: Path, frames: int, rows: int) -> None:
    table = {}
    for clip in CLIPS:
        y, uv = footage(root, clip, frames, rows)
        table[clip] = {n: [classical(n, y, uv, q) for q in spec[2]] for n, spec in CODECS.items()}
        out.write_text(json.dumps(table))


def network(root: Path, a: argparse.Namespace) -> dict[str, list[tuple[float, float]]]:
    import torch

    from lvc.engine import motion
    from lvc.training.inter import BETWEEN, patches12, planes12, pyramid
    from lvc.training.networks import (
        SIGMA_MIN,
        SIGMA_RATE,
        TABLES,
        Inter,
        Intra,
        from_patches,
        gaussian_bits,
        lapped,
        to_patches,
    )

    torch.set_num_threads(1)
    intra, inter = Intra(), Inter()
    for net, path in ((intra, a.intra), (inter, a.inter)):
        state = torch.load(path, weights_only=True)
        net.load_state_dict(state["model"] if a.raw else state["ema"])
    intra, inter = (n.to(memory_format=torch.channels_last).eval() for n in (intra, inter))
    table: dict[str, list[tuple[float, float]]] = {}
    for clip in CLIPS[: a.clips]:
        y, uv = footage(root, clip, a.frames, a.rows)
        for base in a.bases:
            t0, split, total, per = time.time(), np.zeros(5), 0.0, {}
            n = len(y)
            order = []
            step = 1 if a.chain else a.gop
            for k in range(0, n - 1, step):
                part = pyramid(k, min(k + step, n - 1))
                if a.older and k:
                    part[0] = (part[0][0], k, max(k - step * a.older, 0), 0)
                order += part
            both, alone = motion.Stream(), motion.Stream()  # fields and flags; fields, to tell the two apart
            recon, pictures, fields, flags = {}, {}, {}, {}
            with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
                p, q = torch.from_numpy(y[:1])[None].float() / 255 - 0.5, torch.from_numpy(uv[:1]).float() / 255 - 0.5
                r, _, bits = intra(to_patches(*lapped(p, q)), torch.tensor([base + a.key]), noisy=False)
                ry, ruv = planes12(to_patches(*lapped(*from_patches(r.float()), back=True)))
                recon[0], fields[0], flags[0] = (ry[0], ruv[0]), None, None
                pictures[0] = motion.Picture(ry[0])
                split[0] += float(bits)
                for t, ra, rb, place in order:
                    level = torch.tensor([base + (BETWEEN[place] if not a.chain else 0.0) * a.spread])
                    kind = torch.tensor([min(place, 5)])
                    now = motion.Picture(y[t].astype(np.int16) << 4, reference=False)
                    refs = pictures[ra], None if rb is None else pictures[rb]
                    mode, mv, _ = motion.search(
                        now,
                        refs,
                        t,
                        (ra, rb),
                        motion.weight_of(float(level)) * a.weight,
                        (fields[ra], None if rb is None else fields[rb]),
                        a.effort,
                    )
                    fields[t] = motion.Field(mode, mv, t, (ra, rb))
                    (py, puv), (dy, duv) = motion.compensate(recon[ra], None if rb is None else recon[rb], mode, mv)
                    w = patches12(py[None], puv[None])
                    d = to_patches(
                        torch.from_numpy(dy)[None, None].float() / 4080, torch.from_numpy(duv)[None].float() / 4080
                    )
                    x = to_patches(
                        torch.from_numpy(y[t])[None, None].float() / 255 - 0.5,
                        torch.from_numpy(uv[t])[None].float() / 255 - 0.5,
                    )
                    s = inter.symbols(x, w, d, level, kind)
                    change = (1 - s["copy"]).repeat_interleave(2, 2).repeat_interleave(2, 3)
                    ry, ruv = planes12((w + s["r"] * change).float())
                    recon[t] = ry[0], ruv[0]
                    if any(t in (o[1], o[2]) for o in order):
                        pictures[t] = motion.Picture(ry[0])
                    z_index = ((inter.hyper_scale[kind] - math.log(SIGMA_MIN)) / SIGMA_RATE).clamp(0, TABLES)[
                        :, :, None, None
                    ]
                    flags[t] = tuple(f[0, 0].numpy().astype(np.uint8) for f in (1 - s["keep"], s["copy"]))
                    known = fields[ra], None if rb is None else fields[rb]
                    for stream in (both, alone):
                        stream.field(mode.shape, t, (ra, rb), known, place, (mode, mv))
                    both.flags(place, flags[t], (flags[ra], None if rb is None else flags[rb]))
                    latents = float((gaussian_bits(s["q"], s["index"]) * s["keep"]).sum())
                    hyper = float((gaussian_bits(s["z"], z_index) * s["alive"]).sum())
                    parts = np.array([0.0, latents, hyper, 0.0, 0.0])
                    split += parts
                    per.setdefault(place, []).append((parts.sum() / y[0].size, t))
            fields_bits, both_bits = len(alone.finish()) * 8, len(both.finish()) * 8
            split[3:] = fields_bits, both_bits - fields_bits
            scores = {
                t: psnr((y[t], uv[t]), tuple(np.minimum((v.astype(np.int32) + 8) >> 4, 255) for v in recon[t]))
                for t in recon
            }
            total = float(np.mean(list(scores.values())))
            if a.dump is not None:
                for t in a.show:
                    shown = [np.minimum((v.astype(np.int32) + 8) >> 4, 255).astype(np.uint8) for v in recon[t]]
                    picture = av.VideoFrame.from_ndarray(
                        np.concatenate([shown[0].ravel(), shown[1].ravel()]).reshape(-1, y.shape[2]), "yuv420p"
                    )
                    picture.to_image().save(a.dump / f"{clip}-{base}-{t}.png")
            rate = float(split.sum() / y.size)
            table.setdefault(clip, []).append((rate, total))
            levels = " ".join(
                f"{k}:{np.mean([v[0] for v in vs]):.4f}/{np.mean([scores[v[1]] for v in vs]):.1f}"
                for k, vs in sorted(per.items())
            )
            shares = np.round(split / split.sum() * 100).astype(int)
            print(
                f"{clip:14} base {base:4} {rate:.4f} bpp {total:.2f} dB  key {scores[0]:.1f} dB; "
                f"key/latents/hyper/motion/flags {shares} %  {levels}  {time.time() - t0:.0f} s",
                flush=True,
            )
    return table


def compare(table: dict[str, list[tuple[float, float]]], reference: Path) -> None:
    known = json.loads(reference.read_text())
    for codec in CODECS:
        rows = {}
        for clip, points in table.items():
            r0, q0 = zip(*known[clip][codec], strict=True)
            rows[clip] = bd([p[0] for p in points], [p[1] for p in points], list(r0)[::-1], list(q0)[::-1])
        print(f"{codec:10} mean {np.mean(list(rows.values())):+.1f} %  { {k: round(v, 1) for k, v in rows.items()} }")


if __name__ == "__main__":
    p = argparse.ArgumentParser()
    p.add_argument("what", choices=("anchors", "net"))
    p.add_argument("root", type=Path)
    p.add_argument("rest", type=Path, nargs="+")
    p.add_argument("--frames", type=int, default=65)
    p.add_argument("--rows", type=int, default=288)
    p.add_argument("--gop", type=int, default=16)
    p.add_argument("--older", type=int, default=0, help="anchors have a second reference so many mini-GOPs older")
    p.add_argument("--chain", action="store_true", help="every frame from the one before")
    p.add_argument("--key", type=float, default=1.6)
    p.add_argument("--spread", type=float, default=1.0)
    p.add_argument("--bases", type=float, nargs="+", default=(8.0, 10.0, 12.0, 14.0))
    p.add_argument("--clips", type=int, default=5)
    p.add_argument("--effort", type=int, default=1)
    p.add_argument("--weight", type=float, default=1.0, help="of errors in the choice of motion")
    p.add_argument("--raw", action="store_true")
    p.add_argument("--dump", type=Path, help="a folder for PNGs of the frames --show")
    p.add_argument("--show", type=int, nargs="+", default=(0, 5, 8, 16))
    args = p.parse_args()
    if args.what == "anchors":
        anchors(args.root, args.rest[0], args.frames, args.rows)
    else:
        args.intra, args.inter = args.rest[:2]
        compare(network(args.root, args), args.rest[2])
