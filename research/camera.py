"""Adapting to a camera (decision 011): python research/camera.py samples|tune|factors|judge …

    camera.py samples VIDEO FIRST LAST OUT.npz                   # of predicted frames, as the encoder meets them
    camera.py tune HERE.npz THERE.npz INTER.pt INTER.cal OUT.pt   # float networks with the engine's rounding
    camera.py export OUT.pt INTER.cal OUT.safetensors            # the default model with these predicted frames
    camera.py factors HERE.npz THERE.npz OUT.safetensors         # low-rank parts behind the latents, in integers
    camera.py judge VIDEO FIRST LAST MODEL…                      # bytes of clips, PSNR-Y, VMAF; BD-rate to the first

Frames FIRST to LAST − 1. What is tuned on the samples HERE is judged on those THERE. INTER.pt is a state made by
`weights.py`. All measures of samples are bits: what errors are worth, and symbols cost.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from functools import partial
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from lvc.adaptation.synthesis import Synthesis, floor
from lvc.codec import decode, encode
from lvc.codec import frames as coding
from lvc.codec.payload import level_of
from lvc.codec.settings import EncodeSettings
from lvc.engine import planes
from lvc.engine import program as p
from lvc.evaluation.bd import bd_rate
from lvc.lvz import Clip, VideoDescriptor
from lvc.media import MediaReader, ffmpeg
from lvc.media.types import Frame
from lvc.models import load_model
from lvc.models.store import default_model_path
from lvc.training import export, quantise
from lvc.training.loop import optimizers
from lvc.training.networks import SIGMA_MIN, SIGMA_RATE, TABLES, Inter, block_error, gaussian_bits

QUALITIES = 15.0, 30.0, 45.0, 65.0
SIDE, MARGIN = 20, 2
"""Of a sample, in 16x16 blocks; so many at its edges do not count."""
BLOCK_BITS, MOST_BITS = 40, 60
"""About what a block with symbols costs, and the most that another one counts: samples are drawn by that."""


def footage(path: str, first: int, last: int):
    """→ the video's format, and its frames with times from 0."""
    with MediaReader(Path(path), audio="none", subtitles="none", bit_depth=8) as reader:
        frames = [item for item in reader if isinstance(item, Frame)][first:last]
        return reader.video, [Frame(f.y, f.u, f.v, f.pts - frames[0].pts, f.duration) for f in frames]


# Samples


class Collector(coding.FrameEncoder):
    def __init__(self, model, height, width, kept, quality, **given) -> None:
        super().__init__(model, height, width, **given)
        self.kept, self.asked = kept, quality

    def predicted(self, time, refs, place, quality, source, *more):
        self._local.now = time, place, quality, source
        return super().predicted(time, refs, place, quality, source, *more)

    def _residual(self, prediction, difference, row, skip, wanted, coder, **given):
        time, place, quality, source = self._local.now
        rng = np.random.default_rng((int(self.asked), time))
        missed = planes.to_patches(*source, coding.OFFSET) - prediction
        bits = np.minimum(planes.block_errors(missed) * coding.worth_of(quality), MOST_BITS) + BLOCK_BITS * (skip == 0)
        whole = tuple(-(-n // 4) * 4 for n in bits.shape)
        more = [(0, n - m) for n, m in zip(whole, bits.shape, strict=True)]
        twice = [(0, 2 * m) for _, m in more]
        bits = np.pad(bits, more)
        at = np.unravel_index(rng.choice(bits.size, p=(bits / bits.sum()).ravel()), whole)
        parts, counts = [], np.pad(np.ones(skip.shape, bool), more)
        for k, n in zip(at, whole, strict=True):
            side = min(SIDE, n)
            start = int(np.clip((k - side // 2) // 4 * 4 + 4 * rng.integers(0, 2), 0, n - side))
            parts.append(slice(start, start + side))
        for axis, (part, n) in enumerate(zip(parts, whole, strict=True)):
            lines = np.moveaxis(counts, axis, 0)
            lines[: part.start + MARGIN if part.start else 0] = False
            lines[part.stop - MARGIN if part.stop < n else n :] = False
        blocks, patches = tuple(parts), tuple(slice(2 * s.start, 2 * s.stop) for s in parts)
        here = [np.pad(a, [*twice, (0, 0)], "edge")[patches].copy() for a in (prediction, difference, missed)]
        here += [counts[blocks].copy(), level_of(quality), place, self.asked, row]
        here.append(float(bits[blocks][counts[blocks]].sum()))
        made, values = super()._residual(prediction, difference, row, skip, wanted, coder, **given)
        here.append(np.pad(values, [*more, (0, 0)])[blocks].copy())
        self.kept.append(here)
        return made, values


NAMES = "prediction", "difference", "missed", "counts", "level", "place", "quality", "row", "bits", "values"


def samples(a: argparse.Namespace) -> None:
    video, frames = footage(a.video, a.first, a.last)
    kept = []
    for quality in QUALITIES:
        coder = partial(Collector, kept=kept, quality=quality)
        for _ in encode(iter(frames), video, load_model(a.model), EncodeSettings(quality=quality, threads=1), coder):
            pass
    np.savez(a.out, **{name: np.stack([s[i] for s in kept]) for i, name in enumerate(NAMES)})
    print(len(kept), "samples")


class Bits:
    """What samples cost: errors, symbols, errors of predictions alone; by quality where they are judged."""

    def __init__(self, path: str) -> None:
        with np.load(path) as file:
            self.of = {name: file[name] for name in file.files}
        self.count = len(self.of["row"])
        self.norm = {q: 1 / max(self.of["bits"][self.of["quality"] == q].mean(), 200.0) for q in QUALITIES}

    def weight(self, at) -> torch.Tensor:
        return torch.tensor([self.norm[q] for q in self.of["quality"][at]]).float()

    def distortion(self, at, errors, alone, keep, soft: bool) -> torch.Tensor:
        """[batch,1,rows,columns]: blocks without symbols are copied where networks save less than the flag costs, and
        deep in the pyramid also where no neighbour has symbols."""
        free = errors + coding.COPY_BITS
        chosen = torch.minimum(free, alone)
        if soft:
            scale = 0.1 * alone + 3
            chosen = -scale * torch.logsumexp(torch.stack([-free / scale, -alone / scale]), 0)
        deep = torch.tensor(self.of["place"][at] >= coding.DEEP)[:, None, None, None]
        chosen = torch.where(deep & (F.max_pool2d(keep, 3, 1, 1) == 0), alone, chosen)
        return torch.where(keep > 0, errors, chosen) * torch.from_numpy(self.of["counts"][at])[:, None]

    @torch.no_grad()
    def judged(self, costs) -> dict[float, np.ndarray]:
        found = [[float(x.sum()) for x in costs(self, np.array([i]), False)] for i in range(self.count)]
        return {q: np.array(found)[self.of["quality"] == q].sum(0) for q in QUALITIES}


def tell(before, after, **more) -> None:
    change = {q: (after[q][:2].sum() - before[q][:2].sum()) / before[q][:2].sum() for q in QUALITIES}
    print({f"{q:g}": f"{100 * c:+.2f} %" for q, c in change.items()}, more, flush=True)


def decayed(step: int, steps: int) -> float:
    return min(1.0, (step + 1) / 30) * (1 - 0.97 * max(0.0, (step / steps - 0.3) / 0.7))


# Float networks


def tune(a: argparse.Namespace) -> None:
    torch.manual_seed(0)
    here, there, net = Bits(a.here), Bits(a.there), Inter()
    quantise.load(net, a.state)
    quantise.apply(net, torch.load(a.calibration, weights_only=True))
    net = net.to(memory_format=torch.channels_last)
    for name, weight in net.named_parameters():
        weight.requires_grad_(name.startswith(tuple(a.parts)))

    def costs(bits: Bits, at, soft: bool):
        of = bits.of
        w, d, m = (torch.from_numpy(of[n][at]).permute(0, 3, 1, 2).float() / coding.SCALE for n in NAMES[:3])
        level, kind = torch.tensor(of["level"][at]).float(), torch.tensor(np.minimum(of["place"][at], 5))
        with torch.autocast("cpu", torch.bfloat16):
            made = net.symbols(w + m, w, d, level, kind)
        worth = torch.exp2(level)[:, None, None, None]
        alone, errors, keep = block_error(m) * worth, block_error(m - made["r"]) * worth, made["keep"]
        table = ((net.hyper_scale[kind] - math.log(SIGMA_MIN)) / SIGMA_RATE).clamp(0, TABLES)[:, :, None, None]

        def rate(latents, hyper):
            z = (gaussian_bits(hyper, table) * made["alive"]).sum(1, keepdim=True) / 16
            z = F.interpolate(z, scale_factor=4)[:, :, : keep.shape[2], : keep.shape[3]]
            return (gaussian_bits(latents, made["index"]) * keep).sum(1, keepdim=True) + z

        symbols = rate(made["q"], made["z"])
        if soft:
            noise = [torch.rand_like(made[n]) - 0.5 for n in ("y", "z")]
            symbols = (symbols + rate(made["y"] - made["mu"] + noise[0], made["z_raw"] + noise[1])) / 2
        counts = torch.from_numpy(of["counts"][at])[:, None]
        distortion = bits.distortion(at, errors, alone, keep, soft)
        return [x.sum((1, 2, 3)) for x in (distortion, symbols * counts)]

    before, began, rng = there.judged(costs), time.process_time(), np.random.default_rng(0)
    found = optimizers(net, a.muon, a.adam)
    rates = [[g["lr"] for g in o.param_groups] for o in found]
    for step in range(a.steps):
        for o, of_groups in zip(found, rates, strict=True):
            for group, rate in zip(o.param_groups, of_groups, strict=True):
                group["lr"] = rate * decayed(step, a.steps)
            o.zero_grad(set_to_none=True)
        at = rng.integers(0, here.count, 4)
        (sum(costs(here, at, True)) * here.weight(at)).mean().backward()
        torch.nn.utils.clip_grad_norm_([w for w in net.parameters() if w.grad is not None], 1.0)
        for o in found:
            o.step()
    tell(before, there.judged(costs), steps=a.steps, seconds=round(time.process_time() - began))
    torch.save({"model": net.state_dict(), "ema": None, "step": a.steps, "seconds": 0.0}, a.out)


def entropy(change: np.ndarray) -> float:
    """Bytes of independent symbols."""
    share = np.unique(change, return_counts=True)[1] / change.size
    return float(-(share * np.log2(share)).sum() * change.size / 8)


def save(model: p.Model, path: str) -> None:
    p.save(model, path, {"lvc.model": json.dumps({"name": Path(path).stem})})


def write_model(a: argparse.Namespace) -> None:
    net, cal, model = Inter(), torch.load(a.calibration, weights_only=True), p.load(default_model_path())
    quantise.load(net, a.state)
    made, base = export.predicted(net, cal), model.programs["predicted"]
    size, changed, count = 0.0, 0, 0
    for mine, other in zip(made.layers, base.layers, strict=True):
        for new, old in zip(mine.parts, other.parts, strict=True):
            change = new.weight.astype(int) - old.weight
            size, changed, count = size + entropy(change), changed + np.count_nonzero(change), count + change.size
    print(f"{changed / count:.0%} of {count} weights change, {size:.0f} bytes of entropy")
    model.programs |= {"predicted": made, "predicted_analysis": export.predicted_analysis(net, cal)}
    save(model, a.out)


# Integers behind the latents


class Factors(Synthesis):
    """With W + round(A·B / 64) in the place of 8-bit weights, A and B of whole numbers. What is added to a weight takes
    its input's zero point from the bias: else its mean, which is no signal, outweighs everything else."""

    def __init__(self, program: p.Program, rank: int) -> None:
        super().__init__(program)
        self.before, self.zeros = dict(self._arrays), {}
        self.factors: dict[tuple[int, int], tuple[torch.Tensor, torch.Tensor]] = {}
        zero_of = {layer.out: layer.zero for layer in program.layers}
        seed = torch.Generator().manual_seed(0)
        for i, layer in self.layers:
            for j, part in enumerate(layer.parts if layer.out not in self._fixed else []):
                outputs, inputs = part.weight.shape
                if part.weight.dtype != np.int8 or outputs != part.bias.shape[1]:
                    continue  # 16 bits have no room for more; filters of one channel have no rank
                if layer.op == p.BLOCK:
                    first, second = layer.sources
                    zero = (first.zero, 0, layer.zeros[1], second.zero, layer.zeros[2])[j]
                    self.zeros[i, j] = torch.full((inputs,), float(zero))
                else:
                    tensors = [(program.tensors[s.tensor], s) for s in layer.sources]
                    zeros = [zero_of[s.tensor] if t.kind == p.U7 else s.zero for t, s in tensors]
                    self.zeros[i, j] = torch.cat(
                        [torch.full((t.channels,), float(z)) for (t, _), z in zip(tensors, zeros, strict=True)]
                    )
                right = 16 * torch.randn((rank, inputs), generator=seed)
                self.factors[i, j] = torch.zeros((outputs, rank), requires_grad=True), right.requires_grad_()

    def use(self) -> None:
        for k, pair in self.factors.items():
            weight, bias, shift = self.before[k]
            left, right = (floor(x + 0.5).clamp(-127, 127) for x in pair)
            new = (weight + floor(left @ right / 64 + 0.5)).clamp(-127, 127)
            self._arrays[k] = new, bias - ((new - weight) @ self.zeros[k])[None], shift


def factors(a: argparse.Namespace) -> None:
    here, there, model = Bits(a.here), Bits(a.there), p.load(default_model_path())
    program = model.programs["predicted"]
    made = Factors(program, a.rank)

    def costs(bits: Bits, at, soft: bool):
        given = [torch.from_numpy(bits.of[n][at].astype(np.float32)) for n in (*NAMES[:3], "values")]
        made.use()
        residual = made.run(given[3], bits.of["row"][at].tolist(), given[0], given[1])
        worth = torch.exp2(torch.tensor(bits.of["level"][at]).float())[:, None, None, None]
        missed, left = (x.permute(0, 3, 1, 2) / coding.SCALE for x in (given[2], given[2] - residual / 8))
        keep = (given[3] != 0).any(-1).float()[:, None]
        distortion = bits.distortion(at, block_error(left) * worth, block_error(missed) * worth, keep, soft)
        return [distortion.sum((1, 2, 3)), torch.zeros(len(at))]

    before, began, rng = there.judged(costs), time.process_time(), np.random.default_rng(0)
    optimizer = torch.optim.Adam([x for pair in made.factors.values() for x in pair], betas=(0.9, 0.95))
    for step in range(a.steps):
        optimizer.param_groups[0]["lr"] = a.rate * decayed(step, a.steps)
        at = rng.integers(0, here.count, 4)
        optimizer.zero_grad()
        (costs(here, at, True)[0] * here.weight(at)).mean().backward()
        optimizer.step()
    size = sum(x.numel() for pair in made.factors.values() for x in pair)
    tell(before, there.judged(costs), steps=a.steps, seconds=round(time.process_time() - began), bytes=size)
    for i, j in made.factors:
        weight, bias, _ = (x.detach().numpy() for x in made._arrays[i, j])
        part = program.layers[i].parts[j]
        part.weight, part.bias = weight.astype(np.int8), bias.astype(np.int32)
    save(model, a.out)


# Clips


def judge(a: argparse.Namespace) -> None:
    video, frames = footage(a.video, a.first, a.last)
    curves = []
    for name in a.models:
        model, points = load_model(None if name == "default" else name), []
        for quality in QUALITIES:
            began, clips, first = time.process_time(), [], 0
            for c in encode(iter(frames), video, model, EncodeSettings(quality=quality, threads=1)):
                clips.append(Clip(first, c.key, c.pts, c.durations, None, c.payload))
                first += len(c.pts)
            spent = time.process_time() - began
            made = VideoDescriptor(
                video.width, video.height, model.planes, 5, time_base=video.time_base, frame_rate=video.frame_rate
            )
            shown = list(decode(clips, made, model, 1))
            error = np.mean([np.square(f.y.astype(float) - s.y).mean() for f, s in zip(frames, shown, strict=True)])
            vmaf = np.mean(ffmpeg.vmaf(zip(frames, shown, strict=True), video.width, video.height, 1, 8))
            points.append((sum(len(c.payload) for c in clips), 10 * math.log10(255**2 / error), float(vmaf), spent))
        curves.append(points)
        said = [f"{size} bytes {db:.2f} dB {vmaf:.2f} {spent:.1f} s" for size, db, vmaf, spent in points]
        rates = [bd_rate(*([(c[0], c[k]) for c in curve] for curve in (curves[0], points))) for k in (1, 2)]
        print(name, *said, f"PSNR-Y {rates[0]} %, VMAF {rates[1]} %", sep="\n  ", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    for work in (samples, tune, write_model, factors, judge):
        c = commands.add_parser("export" if work is write_model else work.__name__)
        c.set_defaults(work=work)
        if work in (samples, judge):
            c.add_argument("video")
            c.add_argument("first", type=int)
            c.add_argument("last", type=int)
        if work in (tune, factors):
            c.add_argument("here")
            c.add_argument("there")
            c.add_argument("--steps", type=int, default=120)
        if work in (tune, write_model):
            c.add_argument("state", type=Path)
            c.add_argument("calibration", type=Path)
        if work is judge:
            c.add_argument("models", nargs="+")
        else:
            c.add_argument("out")
        if work is samples:
            c.add_argument("--model")
        if work is tune:
            c.add_argument("--muon", type=float, default=1e-3)
            c.add_argument("--adam", type=float, default=1.5e-4)
            c.add_argument("--parts", nargs="+", default=[""], help="beginnings of the names of what is tuned")
        if work is factors:
            c.add_argument("--rank", type=int, default=8)
            c.add_argument("--rate", type=float, default=0.1)
    a = parser.parse_args()
    torch.set_num_threads(1)
    a.work(a)


if __name__ == "__main__":
    main()
