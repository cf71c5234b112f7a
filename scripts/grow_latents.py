#!/usr/bin/env python3
"""More latent channels for the inter codec of a trained model, which otherwise stays as it is.

    python scripts/grow_latents.py MODEL OUT --latents 192 --data FOLDER --work FOLDER

128 latents cannot say everything of a block's 384 samples: what they miss of sharp writing adds up from frame to
frame. The new channels are the principal components of what MODEL leaves over in the blocks it codes, at right angles
to what it can say already. They enter and leave by the linear path alone, nothing else sees them, and their tables
start from those of a seldom used channel: where they are not worth their bits (index 0) the model does what it did.
Train on with `lvc train --init OUT`. FOLDER of --work is where `lvc train` keeps its cache.
"""

from __future__ import annotations

import argparse
import random
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from lvc.codec.control import Constant
from lvc.codec.frames import FrameEncoder
from lvc.codec.motion_decision import MotionDecision
from lvc.codec.settings import EFFORTS, EncodeSettings
from lvc.entropy.rans import SKIP
from lvc.models import Model, load_model
from lvc.models.config import code_to_level
from lvc.models.network import PATCH, SIGMA_RATE, Codec, FrameCodec, step_size
from lvc.training.data import CachedClip, open_cache
from lvc.training.sampler import to_samples
from lvc.training.settings import TrainSettings
from lvc.training.start import blocks
from lvc.training.state import atomic_save, read_weights
from lvc.training.tables import build_tables

DRAWS, FRAMES, QUALITIES = 90, 7, (40.0, 90.0)


def left_over(model: Model, clips: list[CachedClip], seed: int = 0) -> torch.Tensor:
    """Rows [N,384] of what the model leaves of coded blocks, in units of the step."""
    rng, rows = random.Random(seed), []
    for _ in range(DRAWS):
        clip = rng.choice(clips)
        height, width = clip.y.shape[1:]
        settings = EncodeSettings(quality=rng.uniform(*QUALITIES))
        encoder, decision = FrameEncoder(model, height, width, EFFORTS[1]), MotionDecision(height, width)
        first = rng.randrange(max(1, len(clip.y) - FRAMES))
        for i in range(min(FRAMES, len(clip.y) - first)):
            planes = np.array(clip.y[first + i]), np.array(clip.uv[first + i])
            quality, motion = Constant(settings).code(0.0 if i else 1.5), None
            if i and encoder.recon is not None:
                motion = decision.decide(encoder.recon[0], planes[0], clip.motion[0, first + i], code_to_level(quality))
                decision.coded(motion)
            frame = encoder.encode(planes, quality, motion)
            if motion is None or encoder._reference is None:
                continue
            y, uv = encoder._reference
            missed = to_samples(planes[0][None], planes[1][None]) - to_samples(y[None], uv[None])
            coded = torch.from_numpy(frame.planes[SKIP][0] == 0).reshape(-1)
            some = blocks(missed)[coded] / step_size(torch.tensor(code_to_level(quality)))
            rows.append(some[torch.randperm(len(some))[:400]])
    return torch.cat(rows)


@torch.no_grad()
def grown(net: FrameCodec, wider: FrameCodec, rows: torch.Tensor) -> torch.Tensor:
    """Fill `wider` with `net` and new channels from `rows`; returns the standard deviations of these, in steps."""
    m, new = net.latent, wider.latent - net.latent
    # halves of the channels lie on opposite colours of the checkerboard: both get some
    half, more = m // 2, new // 2
    old = torch.cat([torch.arange(half), torch.arange(half, m) + more])
    fresh = torch.cat([torch.arange(half, half + more), torch.arange(m + more, m + new)])
    span = torch.linalg.qr(net.decoder_linear.weight.reshape(PATCH * 4, m).double())[0]
    rest = rows.double() - (rows.double() @ span) @ span.t()
    values, vectors = torch.linalg.eigh(rest.t() @ rest / len(rest))
    order = torch.cat([torch.arange(0, new, 2), torch.arange(1, new, 2)])  # neighbours in rank on opposite colours
    values, vectors = values.flip(0)[:new][order].float(), vectors.flip(1)[:, :new][:, order].float()
    before = dict(net.named_parameters())
    for name, p in wider.named_parameters():
        was = before[name]
        if p.shape == was.shape:
            p.copy_(was)
            continue
        p.zero_()
        for dim, (a, b) in enumerate(zip(p.shape, was.shape, strict=True)):
            if a == b:
                continue
            # inputs of the scale networks: z, the past, two skips and the level, then what is known
            z = net.hyper
            if name == "scale1.first.weight":
                place = torch.cat([torch.arange(z), z + old, z + m + new + torch.arange(3)])
            elif name == "scale2.first.weight":
                place = torch.cat([torch.arange(z), z + old, z + m + new + torch.arange(3), z + m + new + 3 + old])
            elif name == "mean2_in.weight":
                place = torch.cat([torch.arange(96), 96 + old])
            elif name == "hyper_encoder.0.weight":
                place = torch.cat([old, m + new + torch.arange(b - m)])
            else:
                place = old
            assert len(place) == b, name
            p.index_copy_(dim, place, was)
    wider.encoder_linear.weight[fresh] = vectors.t().reshape(new, PATCH, 2, 2)
    wider.decoder_linear.weight[:, fresh] = vectors.reshape(PATCH * 4, new)[:, :, None, None]
    deviations = values.clamp_min(1e-9).sqrt()
    for scale in (wider.scale1, wider.scale2):
        seldom = int(old[scale.last.bias[old].argmin()])
        usual = scale.last.bias[old].sort().values[: m // 4].mean()
        scale.last.weight[fresh] = scale.last.weight[seldom].clone()
        scale.last.bias[fresh] = usual + (deviations / deviations.median()).log() / SIGMA_RATE / 16
    return deviations


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--latents", type=int, default=192)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    given = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    model = load_model(str(given.model))
    narrow = Codec(model.config)
    narrow.load_state_dict(read_weights(given.model))
    usual = TrainSettings(data=(given.data,), out=given.out, work=given.work)
    clips = open_cache(
        usual.data, usual.work / "cache", usual.max_height, usual.max_frames, usual.seed, lambda line: print(line)
    )
    rows = left_over(model, clips)
    config = replace(model.config, inter_latent=given.latents)
    codec = Codec(config)
    codec.intra.load_state_dict(narrow.intra.state_dict())
    deviations = grown(narrow.inter, codec.inter, rows)
    energy = float((rows**2).sum(1).mean())
    said = float((deviations**2).sum())
    print(f"{len(rows)} blocks leave {energy:.1f} squared steps; the new channels can say {said:.1f}")
    print("standard deviations in steps:", " ".join(f"{v:.2f}" for v in deviations.sort(descending=True).values[::8]))
    weights = {k: v.detach().contiguous() for k, v in codec.state_dict().items()}
    atomic_save(
        {**weights, **build_tables(codec)}, given.out, {"config": config.to_json(), "step": "0", "seconds": "0"}
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
