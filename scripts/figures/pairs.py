#!/usr/bin/env python3
"""Keys and the frames between them beside frame by frame, on validation clips: BD-rates, and where the bits go.

    scripts/figures/pairs.py one=A.safetensors 4=B.safetensors [2=C.safetensors] [--raises 0.7,1] [--json OUT]

Models are scripts/figures/pairs_train.py's. Each codes in a closed loop on its own reconstructions, motion decided on
them. Bits: symbols by Gaussians of the tables' widths, motion by lvc's own coder, flags and modes by what tables that
adapt would need; counted alike for all. x264 medium codes the same frames (scripts/figures/x264_points.py).
"""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

ROOT = Path(os.environ.get("LVC_ROOT", Path(__file__).resolve().parents[2]))
sys.path.insert(0, str(ROOT))

import numpy as np  # noqa: E402
import torch  # noqa: E402
import torch.nn.functional as F  # noqa: E402
from pairs_model import BetweenDecision, JointCodec, PairCodec, Planes, cost, predict, samples, searched  # noqa: E402
from safetensors import safe_open  # noqa: E402
from safetensors.torch import load_file  # noqa: E402
from x264_points import points as x264_points  # noqa: E402

from lvc.codec.choice import block_gain, choose_copy, plan_symbols, quantise  # noqa: E402
from lvc.codec.compensate import FRACTION, compensate  # noqa: E402
from lvc.codec.control import key_raise  # noqa: E402
from lvc.codec.motion_choice import MotionChoice  # noqa: E402
from lvc.codec.video import LOOK, _crop, flatness, pad_planes  # noqa: E402
from lvc.entropy.coder import Coding, Encoder  # noqa: E402
from lvc.entropy.fields import MotionCoder  # noqa: E402
from lvc.evaluation import bd  # noqa: E402
from lvc.evaluation.metrics import ClipQuality, compare  # noqa: E402
from lvc.evaluation.source import Source  # noqa: E402
from lvc.media.types import Frame  # noqa: E402
from lvc.models.config import ModelConfig  # noqa: E402
from lvc.models.integer import TABLES  # noqa: E402
from lvc.models.network import (  # noqa: E402
    SIGMA_MIN,
    SIGMA_RATE,
    Codec,
    FrameCodec,
    checkerboard,
    from_patches,
    gaussian_bits,
)
from lvc.training.forward import Past  # noqa: E402
from lvc.training.loop import _code  # noqa: E402

CLIPS = ("foreman", "akiyo", "libvpl_cars", "flower", "carphone")
LEVELS = (8.2, 10.2, 12.2)
"""Of `--quality` 15, 40 and 65."""
TOP = 255 << FRACTION


class Adaptive:
    """Bits of flags or modes by tables that adapt, one for each context (Krichevsky and Trofimov)."""

    def __init__(self, values: int) -> None:
        self._values = values
        self._seen: Counter[tuple[int, int]] = Counter()
        self._last: np.ndarray | None = None

    def add(self, flags: np.ndarray, among: np.ndarray) -> None:
        """`flags` [H,W] where `among`; contexts are the neighbours before it and those in the frame before."""
        h, w = flags.shape
        last = np.zeros_like(flags) if self._last is None else self._last
        now, old = np.pad(flags, 1), np.pad(last, 1)
        beside = [now[1:-1, :w], now[:h, 1:-1], now[:h, 2:]]
        older = [old[1:-1, 2:], old[2:, 1:-1]]
        if self._values == 2:
            context = sum(beside) + 4 * last + 8 * sum(older)
        else:
            context = beside[0] + 3 * beside[1] + 9 * last
        self._seen.update(zip(context[among].tolist(), flags[among].tolist(), strict=True))
        self._last = flags

    def bits(self) -> float:
        total, k = 0.0, self._values
        for context in {c for c, _ in self._seen}:
            counts = [self._seen[context, v] for v in range(k)]
            total -= sum(math.lgamma(n + 0.5) for n in counts) - k * math.lgamma(0.5)
            total += math.lgamma(sum(counts) + k / 2) - math.lgamma(k / 2)
        return total / math.log(2)


class Chain:
    """Frames of one kind: a network, what it remembers, its flags and bits."""

    def __init__(self, net: FrameCodec, height: int, width: int) -> None:
        self.net, self.symbols = net, 0.0
        self._size = height // 16, width // 16
        self._past = Past(torch.zeros(1, net.latent, *self._size), torch.zeros(1, 1, *self._size))
        self._first = checkerboard(*self._size, net.latent, torch.device("cpu"))
        self.skips, self.copies = Adaptive(2), Adaptive(2)
        self.skip = self.copy = np.zeros(self._size, np.uint8)
        self.coded, self.missed = 0.0, list[float]()

    @torch.no_grad()
    def code(self, x: torch.Tensor, w: torch.Tensor | None, level: float) -> torch.Tensor:
        """Patches and their prediction → reconstruction, as `lvc.training.forward` and the encoder choose it."""
        net, at = self.net, torch.tensor([level])
        with torch.autocast("cpu", torch.bfloat16):
            context = net.context(w, at)
            y = net.analysis(x, w, context, at)
            plan = plan_symbols(net, x, w, y, context, at)
            q, mu, index = quantise(net, y, plan, self._past.symbols, self._past.skip, _code(at), self._first)
            r = net.synthesis(q + mu, context, at)
        keep = 1 - plan.skip
        z_index = ((net.hyper_scale - math.log(SIGMA_MIN)) / SIGMA_RATE).clamp(0, TABLES)[None, :, None, None]
        alive = F.max_pool2d(F.pad(keep, (0, -self._size[1] % 4, 0, -self._size[0] % 4)), 4)
        self.symbols += float((gaussian_bits(q, index) * keep).sum() + (gaussian_bits(plan.z, z_index) * alive).sum())
        self.coded += float(keep.mean())
        if w is None:
            return r
        self.missed.append(float((x - w).reshape(-1, 96, x.shape[2] * x.shape[3])[:, :64].square().mean()))
        self._past = Past(q, plan.skip)
        copy = choose_copy(block_gain(x, w, r, at), plan.skip)
        self.skip, self.copy = (f[0, 0].numpy().astype(np.uint8) for f in (plan.skip, copy))
        self.skips.add(self.skip.astype(np.int64), np.ones(self._size, bool))
        self.copies.add(self.copy.astype(np.int64), self.skip > 0)
        return w + r * (1 - copy).repeat_interleave(2, 2).repeat_interleave(2, 3)


class Loop:
    """One clip at one quality: `frames` padded uint8 planes, first the key frame `raised` levels above `level`."""

    def __init__(self, codec: Codec, frames: list[Planes], level: float, raised: float) -> None:
        self.frames, self.level, self.shape = frames, level, frames[0][0].shape
        intra, self.key = Chain(codec.intra, *self.shape), Chain(codec.inter, *self.shape)
        self._motion, self._encoder = MotionCoder(self.shape[0] // 16, self.shape[1] // 16), Encoder()
        self.decision = BetweenDecision(*self.shape)
        self.reference = self._planes(intra.code(self._x(0), None, min(level + raised, 16.0)))
        self.shown = [self._bytes(self.reference)]
        self.chains, self.modes = {"intra": intra, "key": self.key}, Adaptive(3)

    def _x(self, t: int) -> torch.Tensor:
        return samples(self.frames[t][0][None], self.frames[t][1][None])

    @staticmethod
    def _planes(patches: torch.Tensor) -> Planes:
        y, uv = from_patches(((patches.float() + 0.5) * TOP).round().clamp(0, TOP).to(torch.int16))
        return y[0, 0].contiguous().numpy(), uv[0].contiguous().numpy()

    @staticmethod
    def _bytes(planes: Planes) -> Planes:
        y, uv = (((p + (1 << FRACTION >> 1)) >> FRACTION).astype(np.uint8) for p in planes)
        return y, uv

    def _write(self, field: np.ndarray, chain: Chain) -> None:
        self.decision.coded(field)
        self._motion.code(Coding(self._encoder), field, chain.skip, chain.copy)

    def predicted(self, t: int, found: np.ndarray, level: float) -> np.ndarray:
        """Code frame `t` from the last reference; its field."""
        field = self.decision.decide(self.shown[-1][0], self.frames[t][0], found, level)
        y, uv = compensate(self.reference[0][None], self.reference[1][None], field[None])
        self.reference = self._planes(self.key.code(self._x(t), samples(y, uv), level))
        self._write(field, self.key)
        return field

    def one(self, found: list[np.ndarray]) -> None:
        """Frame by frame."""
        for t in range(1, len(self.frames)):
            self.predicted(t, found[t], self.level)
            self.shown.append(self._bytes(self.reference))

    def pairs(self, net: JointCodec, found: list[np.ndarray], key_raised: float) -> None:
        """Keys, `key_raised` levels above the rest, and the frames between."""
        chain = self.chains["between"] = Chain(net, *self.shape)
        n = net.frames + 1
        for pair in range(1, (len(self.frames) - 1) // n + 1):
            first, earlier, before = (pair - 1) * n + 1, self.shown[-1], self.reference
            key = self.predicted(pair * n, found[pair], min(self.level + key_raised, 16.0))
            later = self._bytes(self.reference)
            luma = [self.frames[t][0] for t in range(first, pair * n)]
            field, modes = self.decision.between(earlier[0], later[0], luma, key, self.level)
            ends = [(p[0][None], p[1][None]) for p in (before, self.reference)]
            w, net.apart = predict(ends[0], ends[1], field[None], modes[None], n)
            x = torch.cat([self._x(t) for t in range(first, pair * n)], 1)
            recon = chain.code(x, w, self.level)
            self._write(field.repeat(2, 1).repeat(2, 2), chain)
            self.modes.add(modes.astype(np.int64), np.ones(modes.shape, bool))
            self.shown += [self._bytes(self._planes(p)) for p in torch.split(recon, 96, 1)] + [later]

    def result(self, pictures: list[Any]) -> dict[str, Any]:
        """Bits per pixel, PSNR 6:1:1, and bits of the parts."""
        height, width = pictures[0].y.shape
        shown = [Frame(*_crop(*p, height, width), n, 1) for n, p in enumerate(self.shown)]
        bits = {name: chain.symbols for name, chain in self.chains.items()}
        bits["flags"] = sum(c.skips.bits() + c.copies.bits() for c in self.chains.values())
        bits["motion"] = 8.0 * len(self._encoder.finish()) + self.modes.bits()
        pixels = len(shown) * height * width
        missed = {k: float(np.mean(c.missed)) for k, c in self.chains.items() if c.missed}
        by_frame = compare(pictures[: len(shown)], shown, ClipQuality(ssim=False))
        return {
            "bpp": sum(bits.values()) / pixels, "psnr": by_frame.clip().psnr_611,
            "bits": {k: round(v) for k, v in bits.items()}, "frames": [round(f.psnr_611, 2) for f in by_frame.frames],
            "coded": {k: round(c.coded, 2) for k, c in self.chains.items()},
            "prediction": {k: round(-10 * math.log10(v), 2) for k, v in missed.items()},
        }  # fmt: skip


def raise_of(frames: list[Planes], found: list[np.ndarray], level: float) -> float:
    """Of the first frame, as `lvc.codec.video` has it."""
    choice, price = MotionChoice(*frames[0][0].shape), 255 / math.sqrt(2**level)
    missed = [choice.choose(frames[t - 1][0], frames[t][0], found[t], price)[1] for t in range(1, LOOK + 1)]
    return key_raise(sum(missed) / LOOK / max(flatness(frames[0][0]), 1e-3))


def load(kind: str, path: Path) -> Codec:
    with safe_open(ROOT / "checkpoints" / "default.safetensors", "pt") as file:
        config = ModelConfig.from_json(file.metadata()["config"])
    codec = Codec(config) if kind == "one" else PairCodec(config, int(kind))
    codec.load_state_dict({k: v for k, v in load_file(path).items() if not k.startswith("tables.")})
    frame = cost(codec.inter)
    if isinstance(codec, PairCodec):
        frame = (frame + cost(codec.between)) / codec.distance
    print(f"{kind}: {frame:.2f} kMAC/pixel a frame, decoding", flush=True)
    return codec.eval()


def rate(anchor: list[tuple[float, float]], test: list[tuple[float, float]]) -> str:
    return f"{bd.bd_rate(anchor, test)} %"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+")
    parser.add_argument("--raises", default="0.7,1")
    parser.add_argument("--frames", type=int, default=41)
    parser.add_argument("--clips", default=",".join(CLIPS))
    parser.add_argument("--json", type=Path)
    parser.add_argument("--pictures", type=Path, help="a folder for the middle quality's luma, .npz")
    args = parser.parse_args()
    torch.set_num_threads(1)
    codecs = {kind: load(kind, Path(path)) for kind, path in (m.split("=") for m in args.models)}
    data = Path(os.environ.get("LVC_DATA", ROOT.parent / "shared" / "data")) / "val"
    results: dict[str, Any] = {}
    for clip in (c for name in args.clips.split(",") for c in sorted(data.iterdir()) if name in c.name):
        pictures = list(Source(clip, frames=args.frames, max_height=288))
        frames = [pad_planes(Frame(p.y, p.u, p.v, n, 1)) for n, p in enumerate(pictures)]
        every = searched(frames)
        with tempfile.TemporaryDirectory() as work:
            anchor = [(p[1], p[2]) for p in x264_points(clip, "medium", args.frames, 288, Path(work))]
        curves: dict[str, list[Any]] = {}
        for kind, codec in codecs.items():
            found = every if kind == "one" else searched(frames[:: int(kind)])
            for key in [0.0] if kind == "one" else map(float, args.raises.split(",")):
                name = kind if kind == "one" else f"{kind} +{key:g}"
                for level in LEVELS:
                    loop = Loop(codec, frames, level, raise_of(frames, every, level))
                    if isinstance(codec, PairCodec):
                        loop.pairs(codec.between, found, key)
                    else:
                        loop.one(found)
                    curves.setdefault(name, []).append(loop.result(pictures))
                    if args.pictures and level == LEVELS[1]:
                        args.pictures.mkdir(parents=True, exist_ok=True)
                        luma = np.stack([s[0] for s in loop.shown])
                        np.savez(args.pictures / f"{clip.stem}_{name.replace(' ', '')}.npz", luma=luma)
        bare = {name: [(p["bpp"], p["psnr"]) for p in points] for name, points in curves.items()}
        against = {"x264": anchor} | ({"one": bare["one"]} if "one" in bare else {})
        results[clip.name] = {"x264": anchor, **curves}
        for name, curve in bare.items():
            shown = " ".join(f"{b:.4f} {p:.2f}" for b, p in curve)
            rates = ", ".join(f"{rate(a, curve)} of {n}" for n, a in against.items() if n != name)
            print(f"{clip.name[:14]:14} {name:8} {shown} | {rates}", flush=True)
            print(f"{'':23} {[p['bits'] for p in curves[name]]}", flush=True)
            print(f"{'':23} luma of predictions, dB: {[p['prediction'] for p in curves[name]]}", flush=True)
        if args.json:
            args.json.write_text(json.dumps(results))


if __name__ == "__main__":
    main()
