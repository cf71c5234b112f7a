"""Auto-encoders, trained on pictures (`lvc train --family ae|vae|gan`); `python -m lvc.training.auto CACHE OUT.pt
--family vae --minutes 10` runs it alone.

*ae* has a loss only on pictures. *vae* adds the KL divergence of its latents to a standard normal distribution.
*gan* tunes the decoder of one of them against a patch discriminator; the encoder stays, so latents keep their meaning.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..errors import MediaError, UnsupportedError, UsageError
from ..models import autoencoder
from ..models.autoencoder import Architecture, AutoEncoder, Prior, to_planes
from ..models.store import FAMILIES
from ..output import about, publish
from .board import Board
from .critic import Critic, against, balance, realism, roughened
from .footage import Clips
from .loop import Training, arguments, steps_of
from .loss import parse_terms, picture_loss
from .settings import TrainSettings
from .stills import Stills
from .watch import Watch

PRIOR_BATCHES = 24
"""Batches of crops that a VAE's prior is fitted to."""
USUAL_STEP = 0.5
"""Approximate quantisation step of latents at quality 50, for histograms."""
KL, ADVERSARIAL, LOSS = 2e-4, 0.5, "mse=1"


class Family(nn.Module):
    """The modules to train: an auto-encoder, and for a GAN its critic."""

    def __init__(self, family: str, architecture: Architecture, variational: bool) -> None:
        super().__init__()
        self.net = AutoEncoder(architecture, variational)
        self.critic = Critic(3 * architecture.frames) if family == "gan" else None
        if self.critic is not None:
            for name, parameter in self.net.named_parameters():
                parameter.requires_grad_(not name.startswith("encoder"))


def parser() -> argparse.ArgumentParser:
    p = argparse.ArgumentParser()
    p.add_argument("cache", type=Path, help="stills; clips where a latent stands for several frames")
    p.add_argument("out", type=Path)
    p.add_argument("--family", choices=("ae", "vae", "gan"), default="vae")
    p.add_argument("--architecture", default=json.dumps(asdict(Architecture())), help="as JSON")
    p.add_argument("--loss", default=LOSS)
    p.add_argument("--kl", type=float, default=KL, help="weight of the KL divergence, in nats a sample")
    p.add_argument("--adversarial", type=float, default=ADVERSARIAL, help="weight of the critic, relative to the loss")
    p.add_argument("--init", type=Path, help="a model's file to begin with; a GAN needs one")
    arguments(p, batch=16, muon=5e-3, adam=1e-3, decay_from=0.5)
    p.set_defaults(crop=CROP)
    return p


def run(a: argparse.Namespace) -> None:
    start = None if a.init is None else autoencoder.read(a.init.read_bytes(), a.init.name)
    if start is None:
        architecture, variational = autoencoder.checked(json.loads(a.architecture)), a.family == "vae"
    else:
        architecture, variational = start.net.architecture, start.net.variational
    torch.manual_seed(a.seed)  # the first weights, and the critic's first vectors
    both = Family(a.family, architecture, variational)
    training = Training(both, a)
    net, critic = both.net, both.critic
    crops = Crops(a.cache, architecture.frames)
    if not training.resumed:
        if start is not None:
            net.load_state_dict(start.net.state_dict())
        else:
            rng = np.random.default_rng(a.seed)
            net.start_linear(torch.cat([_rows(crops.take(rng, 32, a.crop), architecture) for _ in range(8)]))
            if net.encoder_spread is not None:
                nn.init.zeros_(net.encoder_spread.weight)
                nn.init.constant_(net.encoder_spread.bias, -4)  # type: ignore[arg-type]
    terms = parse_terms(a.loss)
    samples = a.crop * a.crop * architecture.frames
    while training.running():
        if training.anew():
            rng = np.random.default_rng(a.seed + training.step)
        x = crops.take(rng, a.batch, a.crop).to(training.device)
        with training.autocast():
            mean, spread = net.encode(x)
            mean = mean.float()
            latents = mean if spread is None else mean + (0.5 * spread).exp() * torch.randn_like(mean)
            if critic is not None:
                latents = roughened(net, latents)
            made = net.decode(latents)
        real, planes = to_planes(x), to_planes(made)
        figures = picture_loss(real, planes, terms)
        loss = figures.pop("loss")
        squared = F.mse_loss(planes.detach(), real)
        shown = {"psnr": -10 * torch.log10(squared.clamp_min(1e-10)), **figures}
        if spread is not None and critic is None:
            kl = 0.5 * (mean**2 + spread.exp() - spread - 1).sum((1, 2, 3)).mean() / samples
            loss = loss + a.kl * kl
            shown["kl"] = kl / math.log(2)  # bits a sample
        total = loss
        if critic is not None:
            with training.autocast():
                adversarial, of_critic = realism(critic, x, made), against(critic, x, made)
            last = net.decoder_out.weight
            total = loss + a.adversarial * balance(loss, adversarial, last) * adversarial + of_critic
            shown |= {"critic": of_critic, "realism": adversarial}
        norm = training.apply(total)
        if training.pane is not None and training.showing():
            training.pane.pictures(training.step, x[:, :3], made[:, :3])
            training.pane.symbols(training.step, (mean / USUAL_STEP).round())
        if window := training.note((norm,), [loss, *shown.values()]):
            m = np.mean(window, 0).tolist()
            training.line({k: float(f"{v:.6g}") for k, v in zip(("norm", "loss", *shown), m, strict=True)})
    training.save()


class Crops:
    """RGB of the caches: float32 in 0..1 `[n, 3 · frames, side, side]`."""

    def __init__(self, cache: Path, frames: int) -> None:
        self.frames = frames
        self._stills = Stills(cache) if frames == 1 else None
        self._clips = None if frames == 1 else Clips(cache)

    def take(self, rng: np.random.Generator, count: int, side: int) -> Tensor:
        if self._stills is not None:
            return _rgb(*self._stills.crops(rng, count, side))
        taken = [self._clip(rng, side) for _ in range(count)]
        return torch.stack(taken)

    def _clip(self, rng: np.random.Generator, side: int) -> Tensor:
        assert self._clips is not None
        y, uv = self._clips.crop(rng, self.frames, side)
        if len(y) < self.frames:  # every second frame of a short one
            y, uv = (np.concatenate([p, np.repeat(p[-1:], self.frames - len(p), 0)]) for p in (y, uv))
        return _rgb(y, uv).flatten(0, 1)


def _rgb(y: np.ndarray, uv: np.ndarray) -> Tensor:
    """8-bit planes [N,H,W], [N,2,H/2,W/2] of BT.601 → RGB float32 `[N, 3, H, W]`."""
    luma = (torch.from_numpy(y).float() - 16) / 219
    small = (torch.from_numpy(uv).float() - 128) / 224
    b, r = F.interpolate(small, scale_factor=2, mode="bilinear", align_corners=False).unbind(1)
    red, blue = luma + 1.402 * r, luma + 1.772 * b
    green = (luma - 0.299 * red - 0.114 * blue) / 0.587
    return torch.stack([red, green, blue], 1).clamp(0, 1)


def _rows(x: Tensor, architecture: Architecture) -> Tensor:
    """`[n, values]`: patches as the network's first layer sees them."""
    patches = F.pixel_unshuffle(to_planes(x), architecture.patch)
    return patches.permute(0, 2, 3, 1).reshape(-1, architecture.values)


MINUTES = 60.0
CROP = 128


def planned(settings: TrainSettings) -> Plan:
    """Raises `UsageError` for settings that do not fit."""
    family, auto = settings.family, settings.auto
    if family not in FAMILIES[1:]:
        raise UsageError(f"unknown family {family!r} — choose one of {', '.join(FAMILIES)}")
    if settings.tune != "psnr" or settings.recipe != "default":
        raise UsageError("--tune and --recipe are for the codec — the other families have --loss")
    terms = parse_terms(auto.loss or LOSS)
    given = {name: getattr(auto, name) for name in asdict(Architecture()) if getattr(auto, name) is not None}
    if settings.start is not None and given:
        raise UsageError(f"--{next(iter(given))} is set by the model of --init — leave it out")
    if family == "gan" and settings.start is None:
        raise UsageError("a gan begins with a model of the family ae or vae — give it with --init")
    for name, of, value in (("kl", "vae", auto.kl), ("adversarial", "gan", auto.adversarial)):
        if value is not None and (family != of or not 0 <= value < 1e6):
            raise UsageError(f"--{name} is a weight of the family {of}, from 0 on — change it, or leave it out")
    try:
        architecture = autoencoder.checked({**asdict(Architecture()), **given})
    except ValueError as error:
        raise UsageError(f"{error} — change it") from error
    return Plan(settings, architecture, terms)


class Plan:
    """One stage: crops of pictures, or of clips where a latent stands for several frames."""

    def __init__(self, settings: TrainSettings, architecture: Architecture, terms: dict[str, float]) -> None:
        self._settings, self._architecture, self._terms = settings, architecture, terms
        self._variational = settings.family == "vae"

    @property
    def crop(self) -> int:
        return self._settings.crop or max(CROP, self._architecture.stride)

    @property
    def caches(self) -> tuple[str, ...]:
        return ("stills",) if self._architecture.frames == 1 else ("clips",)

    @property
    def said(self) -> dict[str, Any]:
        """Settings that must be equal to resume a training."""
        auto, start = self._settings.auto, self._settings.start
        weights = {"loss": self._terms, "kl": auto.kl, "adversarial": auto.adversarial}
        return {
            "family": self._settings.family, "architecture": asdict(self._architecture), **weights,
            "start": None if start is None else hashlib.sha256(start.read_bytes()).hexdigest(),
        }  # fmt: skip

    def check(self) -> None:
        """Reads the model to start from. Raises `MediaError`, `UnsupportedError`, `UsageError`, `CorruptError`."""
        settings = self._settings
        if settings.start is not None:
            with about(str(settings.start)):
                if not settings.start.is_file():
                    raise MediaError("no such file — give a model that lvc train --family ae or vae made")
                found = autoencoder.read(settings.start.read_bytes(), settings.start.name)
            self._architecture, self._variational = found.net.architecture, found.net.variational
            if settings.family != "gan" and self._variational != (settings.family == "vae"):
                raise UsageError(f"{settings.start.name} is not of the family {settings.family} — give one that is")
        if self.crop < 64 or self.crop % 64 or self.crop % self._architecture.stride:
            raise UsageError(f"the crop has to be a multiple of 64 and of the stride, {self._architecture.stride}")

    def run(self, files: int, watch: Watch, board: Board | None) -> None:
        """Trains, and writes the model."""
        settings, work, auto = self._settings, self._settings.work, self._settings.auto
        cache = work / self.caches[0]
        minutes = MINUTES if settings.minutes is None else settings.minutes
        words = [str(cache), str(work / "auto.pt"), "--family", settings.family, "--report", "8", "--repeatable"]
        words += ["--architecture", json.dumps(asdict(self._architecture)), "--crop", str(self.crop)]
        words += ["--seed", str(settings.seed), "--threads", str(settings.threads or torch.get_num_threads())]
        words += ["--loss", ",".join(f"{name}={weight}" for name, weight in self._terms.items())]
        chosen = {"kl": auto.kl, "adversarial": auto.adversarial, "batch": settings.batch, "init": settings.start}
        words += [f"--{name}={value}" for name, value in chosen.items() if value is not None]
        if settings.max_steps is None:
            words += ["--minutes", str(minutes)]
        else:
            words += ["--max-steps", str(settings.max_steps)]
        options = parser().parse_args(words)

        def line(figures: dict[str, Any]) -> None:
            watch.step(figures.pop("minutes_left", None), **figures)

        options.tell, options.pane = line, None if board is None else board.pane(settings.family)
        watch.phase("training", None if settings.max_steps else minutes, stage=settings.family)
        if not (work / "auto.done").exists():
            run(options)
            (work / "auto.done").touch()
        watch.phase("exporting", 0)
        of = None if settings.family != "gan" else "vae" if self._variational else "ae"
        chosen = {name: getattr(options, name) for name in ("kl", "adversarial", "batch", "crop", "seed")}
        made = {"loss": self._terms, **chosen, "steps": steps_of(work / "auto.pt"), "files": files}
        text = autoencoder.about(
            settings.name or settings.out.stem, settings.family, of, self._architecture, made
        )  # fmt: skip
        export(work / "auto.pt", cache, self._architecture, settings.out, text, self.crop, settings.seed)


def export(
    state: Path, cache: Path, architecture: Architecture, out: Path, text: dict[str, str], crop: int, seed: int
) -> None:
    """The model's file from a training's state. `text`: its metadata."""
    saved = torch.load(state, map_location="cpu", weights_only=True)
    weights = saved["ema"] or saved["model"]
    tensors = {k.removeprefix("net."): v.half().contiguous() for k, v in weights.items() if k.startswith("net.")}
    net = AutoEncoder(architecture, "encoder_spread.weight" in tensors)
    net.load_state_dict({k: v.float() for k, v in tensors.items()})
    if net.variational:
        prior = fitted_prior(net.eval(), Crops(cache, architecture.frames), crop, seed)
        tensors |= {name: value.half().contiguous() for name, value in prior.tensors().items()}
    if not all(bool(tensor.isfinite().all()) for tensor in tensors.values()):
        raise UnsupportedError("the training ended with weights that are not finite — start again with another --loss")
    with publish(str(out), force=True) as path:
        path.write_bytes(safetensors.torch.save(tensors, text))


@torch.no_grad()
def fitted_prior(net: AutoEncoder, crops: Crops, crop: int, seed: int) -> Prior:
    """Fit a prior to the latents of crops: their mean, and components that are uncorrelated with each other and with
    each other's neighbours. Latents are whitened, then rotated so that the covariance of neighbours is diagonal."""
    rng = np.random.default_rng(seed)
    found = torch.cat([net.encode(crops.take(rng, 8, crop))[0] for _ in range(PRIOR_BATCHES)]).double()
    mean = found.mean((0, 2, 3))
    moved = found - mean[:, None, None]
    flat = moved.transpose(0, 1).flatten(1)
    values, vectors = torch.linalg.eigh(flat @ flat.T / flat.shape[1])
    factor = vectors * values.clamp_min(1e-8).sqrt()
    white = torch.einsum("ij,njhw->nihw", torch.linalg.inv(factor), moved)
    shared = torch.zeros_like(factor)
    for one, other in ((white[..., 1:], white[..., :-1]), (white[..., 1:, :], white[..., :-1, :])):
        if one.numel():
            shared += torch.einsum("nihw,njhw->ij", one, other) / (one.numel() // one.shape[1]) / 2
    alike, turn = torch.linalg.eigh((shared + shared.T) / 2)
    return Prior(mean.float(), (factor @ turn).float(), alike.clamp(0, 0.99).float())


if __name__ == "__main__":
    run(parser().parse_args())
