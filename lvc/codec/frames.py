"""One frame at a time: 8-bit planes ↔ integer latents, in a closed loop over 8-bit reconstructions.

Planes are padded: y uint8 [H,W], uv uint8 [2,H/2,W/2], H and W multiples of 16.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F

from ..entropy.clip import KIND_KEY, KIND_PREDICTED, FrameLatents
from ..entropy.rans import COPY, HYPER, LATENT, LATENT_LIMIT, MOTION, SKIP
from ..models.config import code_to_level
from ..models.integer import clamp_ste, round_ste
from ..models.load import Model
from ..models.network import PATCH, Context, FrameCodec, checkerboard, from_patches
from .compensate import compensate

CODED_BITS = 3.0
"""What a block with symbols costs beside those that are not 0."""
COPY_BITS = 1.0
"""A block without symbols is filtered if that is worth more than this many bits, else copied."""
LUMA_WEIGHT, CHROMA_WEIGHT = 0.75, 1.0
"""Of squared errors per luma and per chroma sample. 0.5 for chroma would be MSE 6:1:1; the mean of PSNRs 6:1:1, by
which codecs are compared, feels chroma's smaller errors about twice as much."""

Planes = tuple[np.ndarray, np.ndarray]


class FrameLoop:
    """What encoder and decoder share: the reconstruction so far and the way from latents to the next one."""

    def __init__(self, model: Model, height: int, width: int) -> None:
        self.model = model
        self.height, self.width = height, width
        self.recon: Planes | None = None
        self._first = checkerboard(height // 16, width // 16, model.config.latent, model.device)

    def _patches(self, planes: Planes) -> torch.Tensor:
        h8, w8 = self.height // 8, self.width // 8
        joint = np.empty((h8, w8, PATCH), np.uint8)  # `to_patches` of bytes, in two copies
        luma = planes[0].reshape(h8, 8, w8, 8).transpose(0, 2, 1, 3)
        chroma = planes[1].reshape(2, h8, 4, w8, 4).transpose(1, 3, 0, 2, 4)
        joint[:, :, :64].reshape(h8, w8, 8, 8)[...] = luma
        joint[:, :, 64:].reshape(h8, w8, 2, 4, 4)[...] = chroma
        samples = torch.from_numpy(joint).to(self.model.device).permute(2, 0, 1)[None]
        return samples.float().mul_(1 / 255).sub_(0.5)

    def predict(self, motion: np.ndarray) -> Planes:
        """The prediction from the last reconstruction by `motion` int16 [2,H/8,W/8]."""
        if self.recon is None:
            raise ValueError("a predicted frame needs a frame before it")
        y, uv = compensate(self.recon[0][None], self.recon[1][None], motion[None])
        return y[0], uv[0]

    def _finish(
        self, r: torch.Tensor, w: torch.Tensor | None, copy: np.ndarray | None, prediction: Planes | None
    ) -> None:
        """Residual patches → the next reconstruction; copied blocks [h16,w16] are the prediction bit for bit."""
        if w is not None:
            r = r + w
        samples = r.add_(0.5).mul_(255).round_().clamp_(0, 255).to(torch.uint8)
        y, uv = from_patches(samples)
        out_y, out_uv = y[0, 0].contiguous().cpu().numpy(), uv[0].contiguous().cpu().numpy()
        if copy is not None and prediction is not None and copy.any():
            rows, cols = copy.shape
            for plane, source, side in ((out_y[None], prediction[0][None], 16), (out_uv, prediction[1], 8)):
                view = plane.reshape(-1, rows, side, cols, side)
                mask = np.broadcast_to(copy.astype(bool)[None, :, None, :, None], view.shape)
                np.copyto(view, source.reshape(view.shape), where=mask)
        self.recon = out_y, out_uv


class FrameDecoder(FrameLoop):
    @torch.inference_mode()
    def decode(self, frame: FrameLatents) -> Planes:
        """The next frame's planes. They are kept as reference: do not write into them."""
        device = self.model.device
        copy = prediction = w = None
        if frame.kind == KIND_PREDICTED:
            prediction = self.predict(frame.planes[MOTION])
            copy = frame.planes[COPY][0]
            if copy.all():
                self.recon = prediction
                return prediction
            w = self._patches(prediction)
        net = self.model.codec.of(frame.kind)
        level = torch.tensor([code_to_level(frame.quality)], device=device)
        context = net.context(w, level)
        z = torch.from_numpy(frame.planes[HYPER].astype(np.float32))[None].to(device)
        q = torch.from_numpy(frame.planes[LATENT].astype(np.float32))[None].to(device)
        p, mu1 = net.means1(z, context, (q.shape[2], q.shape[3]))
        known = (q + mu1) * self._first
        n = torch.where(self._first, known, q + net.means2(p, known))
        self._finish(net.synthesis(n, context, level), w, copy, prediction)
        if self.recon is None:
            raise RuntimeError("no reconstruction")
        return self.recon


class FrameEncoder(FrameLoop):
    def __init__(self, model: Model, height: int, width: int) -> None:
        super().__init__(model, height, width)
        self._forget()

    def _forget(self) -> None:
        m, h, w = self.model.config.latent, self.height // 16, self.width // 16
        self._past = torch.zeros(1, m, h, w, device=self.model.device)
        self._past_skip = torch.zeros(1, 1, h, w, device=self.model.device)

    @torch.inference_mode()
    def encode(self, planes: Planes, quality: int, motion: np.ndarray | None) -> FrameLatents:
        """The next frame: predicted if `motion` is given, else a key frame. Afterwards `recon` is what the decoder will
        have."""
        kind = KIND_KEY if motion is None else KIND_PREDICTED
        net = self.model.codec.of(kind)
        level = torch.tensor([code_to_level(quality)], device=self.model.device)
        code = torch.tensor([float(quality)], device=self.model.device)
        x = self._patches(planes)
        prediction = w = None
        if motion is None:
            self._forget()
        else:
            prediction = self.predict(motion)
            w = self._patches(prediction)
        context = net.context(w, level)
        y = net.analysis(x, w, context, level)
        plan = plan_symbols(net, x, w, y, context, level)
        q, mu, tables = quantise(net, y, plan, self._past, self._past_skip, code, self._first)
        r = net.synthesis(q + mu, context, level)
        out: dict[str, np.ndarray] = {}
        copy = None
        if motion is not None and w is not None:
            copied = choose_copy(x, w, r, plan.skip, level)
            copy = copied[0, 0].to(torch.uint8).cpu().numpy()
            out[SKIP] = plan.skip[0].to(torch.uint8).cpu().numpy()
            out[COPY], out[MOTION] = copy[None], motion
            self._past, self._past_skip = q, plan.skip
        out[HYPER] = plan.z[0].to(torch.int16).cpu().numpy()
        out[LATENT] = q[0].to(torch.int16).cpu().numpy()
        self._finish(r, w, copy, prediction)
        return FrameLatents(kind, quality, out, tables[0].to(torch.uint8).cpu().numpy())


@dataclass
class Plan:
    """What is settled before the symbols: rounded hyper-latents z, features and means of the first pass, skip flags
    float32 0/1 [B,1,h16,w16]. z is 0 where all 16 blocks below it are skipped: it is not written there."""

    z_raw: torch.Tensor
    z: torch.Tensor
    p: torch.Tensor
    mu1: torch.Tensor
    skip: torch.Tensor


def plan_symbols(
    net: FrameCodec, x: torch.Tensor, w: torch.Tensor | None, y: torch.Tensor, context: Context, level: torch.Tensor
) -> Plan:
    """Choose the blocks that get symbols: everything is coded once to see what each gains over the prediction; its bits
    are estimated by a fixed curve, 3.5 + 2·log2 |q| for each symbol that is not 0."""
    size = (y.shape[2], y.shape[3])
    z_raw = net.hyper_analysis(y, context)
    z = round_ste(z_raw)
    p, mu1 = net.means1(z, context, size)
    skip = torch.zeros_like(y[:, :1])
    if w is not None:
        with torch.no_grad():
            q = round_ste(y - mu1)
            r = net.synthesis(q + mu1, context, level)
            gain = (block_error(x - w) - block_error(x - w - r)) * torch.exp2(level)[:, None, None, None]
            size_q = q.abs()
            bits = torch.where(size_q > 0, 3.5 + 2 * torch.log2(size_q.clamp_min(1)), 0.0).sum(1, keepdim=True)
            skip = (gain <= bits + CODED_BITS).float()
            alive = F.max_pool2d(F.pad(1 - skip, (0, -size[1] % 4, 0, -size[0] % 4)), 4)
        z_raw, z = z_raw * alive, z * alive
        p, mu1 = net.means1(z, context, size)
    return Plan(z_raw, z, p, mu1, skip)


def quantise(
    net: FrameCodec,
    y: torch.Tensor,
    plan: Plan,
    past: torch.Tensor,
    past_skip: torch.Tensor,
    code: torch.Tensor,
    first: torch.Tensor,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Symbols, means and table indices [B,M,h16,w16]. Symbols are 0 in skipped blocks and where the index is 0, as the
    decoder will assume. Rounding passes gradients."""
    inputs = net.scale_inputs(plan.z, past, plan.skip, past_skip, code)
    free1 = first & (plan.skip == 0)
    index1 = net.indices1(inputs)
    q1 = torch.where(free1 & (index1 > 0), clamp_ste(round_ste(y - plan.mu1), -LATENT_LIMIT, LATENT_LIMIT), 0.0)
    mu2 = net.means2(plan.p, (q1 + plan.mu1) * first)
    free2 = ~first & (plan.skip == 0)
    index2 = net.indices2(inputs, q1.detach())
    q2 = torch.where(free2 & (index2 > 0), clamp_ste(round_ste(y - mu2), -LATENT_LIMIT, LATENT_LIMIT), 0.0)
    return q1 + q2, torch.where(first, plan.mu1, mu2), torch.where(first, index1, index2)


def choose_copy(
    x: torch.Tensor, w: torch.Tensor, r: torch.Tensor, skip: torch.Tensor, level: torch.Tensor
) -> torch.Tensor:
    """Of the skipped blocks those that the networks' filter does not improve by more than it is worth: float32 0/1."""
    gain = block_error(x - w) - block_error(x - w - r)
    return skip * (torch.exp2(level)[:, None, None, None] * gain <= COPY_BITS).float()


def block_error(patches: torch.Tensor) -> torch.Tensor:
    """Squared error of difference patches [B,96,h8,w8] (samples in [0,1]), weighted so that their sum over
    luma samples counts, summed over 16x16 blocks: [B,1,h16,w16]."""
    e = patches.float() ** 2
    per8 = e[:, :64].sum(1, keepdim=True) * LUMA_WEIGHT + e[:, 64:].sum(1, keepdim=True) * CHROMA_WEIGHT
    return F.avg_pool2d(per8, 2) * 4
