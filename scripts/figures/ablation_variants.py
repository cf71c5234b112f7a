"""The variants of `ablation.py`: what each changes in the training, and in encoder, decoder and packing with it.

A variant is applied to the whole process, once, before anything is trained or coded.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
import torch
from safetensors.torch import load_file
from torch import nn

from lvc.codec import choice, frames, sparse
from lvc.codec.compensate import FRACTION
from lvc.entropy import rans
from lvc.entropy.clip import KIND_PREDICTED
from lvc.models import network
from lvc.models.integer import clamp_ste, round_ste
from lvc.models.network import FrameCodec, Gains
from lvc.models.store import resolve
from lvc.training import forward, loop, sampler
from lvc.training.state import Tensors

Patch = Callable[[], None]
INTER_LATENTS, HYPER = 128, 16
"""Channels of the shipped configuration, by which patched functions know the inter codec's tensors."""


@dataclass(frozen=True)
class Variant:
    """`patches` hold in training and in coding; `settings` are fields of `TrainSettings`; `start` is how the inter
    codec's linear path begins, `adam` the learning rate of AdamW for all parameters instead of Muon and AdamW.
    `paired`: it sees the base's frames in the base's order and is judged by the same cost."""

    what: str
    patches: tuple[Patch, ...] = ()
    settings: dict[str, Any] = field(default_factory=dict)
    start: Literal["pca", "default", "orthonormal"] = "pca"
    adam: float | None = None
    gains: bool = True
    seed: int = 0
    paired: bool = True


# --- patches ---


def put(where: Any, **new: Any) -> None:
    """Replace names of a module or class."""
    for name, value in new.items():
        setattr(where, name, value)


def no_hyper() -> None:
    """Hyper-latents of predicted frames are 0, cost nothing and are not written."""
    analysis, bits, coded = FrameCodec.hyper_analysis, network.gaussian_bits, rans.GopCoder._hyper

    def zeros(self: FrameCodec, y: torch.Tensor, context: network.Context) -> torch.Tensor:
        if self.intra:
            return analysis(self, y, context)
        return y.new_zeros(len(y), self.hyper, -(-y.shape[2] // 4), -(-y.shape[3] // 4))

    def free(q: torch.Tensor, index: torch.Tensor) -> torch.Tensor:
        return torch.zeros_like(q) if q.shape[1] == HYPER else bits(q, index)

    def unwritten(self: rans.GopCoder, coding: Any, kind: int, skip: Any, hyper: Any) -> Any:
        if kind == KIND_PREDICTED:
            return self._past_hyper * 0
        return coded(self, coding, kind, skip, hyper)

    put(FrameCodec, hyper_analysis=zeros)
    put(forward, gaussian_bits=free)
    put(rans.GopCoder, _hyper=unwritten)


def no_past() -> None:
    """The scale networks see neither symbols nor skip flags of the frame before."""
    inputs, init = FrameCodec.scale_inputs, sparse.Coded.__init__

    def blind(
        z: torch.Tensor, previous: torch.Tensor, skip: torch.Tensor, previous_skip: torch.Tensor, code: torch.Tensor
    ) -> torch.Tensor:
        return inputs(z, torch.zeros_like(previous), skip, torch.zeros_like(previous_skip), code)

    def blind_init(self: Any, net: Any, z: Any, past: Any, skip: Any, past_skip: Any, code: float) -> None:
        init(self, net, z, torch.zeros_like(past), skip, torch.zeros_like(past_skip), code)

    put(FrameCodec, scale_inputs=staticmethod(blind))
    put(sparse.Coded, __init__=blind_init)


def one_pass() -> None:
    """All symbols of predicted frames are of the first pass."""
    board, first, two = network.checkerboard, rans.first_pass, choice.quantise

    def full(height: int, width: int, channels: int, device: torch.device) -> torch.Tensor:
        out = board(height, width, channels, device)
        return torch.ones_like(out) if channels == INTER_LATENTS else out

    def full_array(shape: tuple[int, int, int]) -> Any:
        out = first(shape)
        return out | True if shape[0] == INTER_LATENTS else out

    def quantise(
        net: FrameCodec, y: torch.Tensor, plan: choice.Plan, past: Any, past_skip: Any, code: Any, at: Any
    ) -> Any:
        if net.intra:
            return two(net, y, plan, past, past_skip, code, at)
        index = net.indices1(net.scale_inputs(plan.z, past, plan.skip, past_skip, code))
        rounded = clamp_ste(round_ste(y - plan.mu1), -rans.LATENT_LIMIT, rans.LATENT_LIMIT)
        return torch.where((plan.skip == 0) & (index > 0), rounded, 0.0), plan.mu1, index

    put(forward, checkerboard=full, quantise=quantise)
    put(frames, checkerboard=full)
    put(rans, first_pass=full_array)


def chroma(weight: float) -> Patch:
    """Another price of chroma's squared errors, in the loss and in the encoder's choices."""

    def patch() -> None:
        put(choice, CHROMA_WEIGHT=weight)

    return patch


def mean_loss() -> None:
    """The mean of the samples' costs instead of the mean of their logarithms."""
    logarithmic = forward.forward

    def plain(*args: Any, **more: Any) -> forward.StepResult:
        result = logarithmic(*args, **more)
        return replace(result, loss=torch.exp(2 * result.loss) - forward.SMALLEST)

    put(loop, forward=plain)


def originals() -> None:
    """Training on motion searched and chosen on the originals and on 8-bit references, unlike the encoder."""
    fine = sampler.to_references

    def coarse(patches: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
        y, uv = ((p + (1 << FRACTION >> 1) >> FRACTION).astype(np.uint8) for p in fine(patches))
        return y, uv

    def found(self: sampler.Group, frame: np.ndarray, found: np.ndarray, levels: torch.Tensor) -> np.ndarray:
        return np.ascontiguousarray(found)

    put(sampler.Group, moved=found)
    put(loop, to_references=coarse)


VARIANTS = {
    "base": Variant("as `lvc train` does it"),
    "seed": Variant("the same with other random numbers", seed=1, paired=False),
    "no_pca": Variant("linear path: PyTorch's random start, full learning rate", start="default"),
    "orthonormal": Variant("linear path: random orthonormal start, full learning rate", start="orthonormal"),
    "adamw": Variant("AdamW alone, learning rate 5e-4 for all", adam=5e-4),
    "adamw_fast": Variant("AdamW alone, learning rate 2e-3 for all", adam=2e-3),
    "no_gains": Variant("no learned gains: the step Δ(level) alone", gains=False),
    "no_hyper": Variant("no hyper-latents", (no_hyper,)),
    "no_past": Variant("no context from the past", (no_past,)),
    "one_pass": Variant("one pass", (one_pass,)),
    "hyper_only": Variant("hyper-latents alone: neither past nor second pass", (no_past, one_pass)),
    "chroma_half": Variant("chroma's squared errors × 0.5 (MSE 6:1:1) instead of × 1", (chroma(0.5),), paired=False),
    "chroma_double": Variant("chroma's squared errors × 2", (chroma(2.0),), paired=False),
    "mean_loss": Variant("mean of the costs instead of their logarithms", (mean_loss,), paired=False),
    "originals": Variant("motion from the originals, 8-bit references in training", (originals,), paired=False),
    "chain2": Variant("at most 2 predicted frames in a row", settings={"chain": 2}, paired=False),
    "chain8": Variant("at most 8", settings={"chain": 8}, paired=False),
    "chain96": Variant("at most 96", settings={"chain": 96}, paired=False),
}


class Trainer(loop.Trainer):
    """`lvc train`'s, with the shipped intra codec and what a variant changes in start and optimisers."""

    variant: Variant

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        inter = self.model.inter
        if not self.variant.gains:
            for module in inter.modules():
                if isinstance(module, Gains):
                    module.requires_grad_(False)
        matrices, _, linear, _ = groups = [g for o in self.optimizers for g in o.param_groups]
        usual = self.settings.adam_lr
        if self.variant.start != "pca":
            linear["lr"] = usual
        if self.variant.adam is not None:
            matrices["lr"] = usual
            faster = self.variant.adam / usual
            own = [{"params": g["params"], "lr": g["lr"] * faster} for g in groups]
            self.optimizers = [torch.optim.AdamW(own, betas=(0.9, 0.95), weight_decay=0.0)]
        self.base_lr = [[g["lr"] for g in o.param_groups] for o in self.optimizers]

    def _seed(self, seed: int) -> None:
        super()._seed(seed + 1000 * self.variant.seed)

    def _first_weights(self) -> Tensors:
        inter = self.model.inter
        random = [layer.weight.detach().clone() for layer in (inter.encoder_linear, inter.decoder_linear)]
        weights = super()._first_weights()
        if self.variant.start == "default":
            weights |= {"inter.encoder_linear.weight": random[0], "inter.decoder_linear.weight": random[1]}
        if self.variant.start == "orthonormal":
            rows = nn.init.orthogonal_(torch.empty(INTER_LATENTS, 4 * network.PATCH))
            m, patch = INTER_LATENTS, network.PATCH
            weights["inter.encoder_linear.weight"] = rows.reshape(m, patch, 2, 2)
            weights["inter.decoder_linear.weight"] = rows.t().reshape(patch, 2, 2, m).reshape(4 * patch, m, 1, 1)
        shipped = load_file(resolve(None).path)
        return weights | {k: v.float() for k, v in shipped.items() if k.startswith("intra.")}
