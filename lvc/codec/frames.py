"""One frame at a time: 8-bit planes ↔ integer latents, in a closed loop over reconstructions in integers.

Planes are padded: y uint8 [H,W], uv uint8 [2,H/2,W/2], H and W multiples of 16. The *reference* is the reconstruction
before it is rounded to 8 bits: int16, sixteenths of a sample (`compensate.FRACTION`).
"""

from __future__ import annotations

import numpy as np
import torch

from ..entropy.clip import KIND_KEY, KIND_PREDICTED, FrameLatents
from ..entropy.rans import COPY, HYPER, LATENT, MOTION, SKIP
from ..models.config import code_to_level
from ..models.load import Model
from ..models.network import PATCH, checkerboard
from .choice import Plan, Symbols, block_gain, choose_copy, code_symbols, plan_symbols, without_harm
from .compensate import TOP, compensate, in_8_bits
from .perceptual import block_weights
from .refine import refine
from .settings import Effort
from .sparse import Coded

Planes = tuple[np.ndarray, np.ndarray]


class FrameLoop:
    """What encoder and decoder share: the reconstruction so far and the way from latents to the next one. `recon` is
    what is shown."""

    def __init__(self, model: Model, height: int, width: int) -> None:
        self.model = model
        self.height, self.width = height, width
        self.recon: Planes | None = None
        self._reference: Planes | None = None
        boards = [checkerboard(height // 16, width // 16, model.codec.of(k).latent, model.device) for k in range(2)]
        self._firsts = [b.contiguous(memory_format=torch.channels_last) for b in boards]

    def _joint(self, planes: Planes) -> np.ndarray:
        """Planes uint8 or int16 → patches [H/8,W/8,96], a line of a patch at a time."""
        h8, w8 = self.height // 8, self.width // 8
        luma, chroma = (np.ascontiguousarray(p) for p in planes)
        joint = np.empty((h8, w8, PATCH), luma.dtype)
        eight, four = (np.dtype(f"V{n * joint.itemsize}") for n in (8, 4))
        joint.view(eight)[:, :, :8] = luma.view(eight).reshape(h8, 8, w8).transpose(0, 2, 1)
        lines = chroma.view(four).reshape(2, h8, 4, w8).transpose(1, 3, 0, 2)
        joint.view(four)[:, :, 16:].reshape(h8, w8, 2, 4)[...] = lines
        return joint

    def _planes(self, joint: np.ndarray) -> Planes:
        """`_joint` backwards."""
        h8, w8 = self.height // 8, self.width // 8
        eight, four = (np.dtype(f"V{n * joint.itemsize}") for n in (8, 4))
        luma = np.ascontiguousarray(joint.view(eight)[:, :, :8].transpose(0, 2, 1))
        lines = joint.view(four)[:, :, 16:].reshape(h8, w8, 2, 4).transpose(2, 0, 3, 1)
        chroma = np.ascontiguousarray(lines)
        return luma.view(joint.dtype).reshape(self.height, self.width), chroma.view(joint.dtype).reshape(
            2, 4 * h8, 4 * w8
        )

    def _patches(self, joint: np.ndarray) -> torch.Tensor:
        """`_joint` → samples in [-1/2, 1/2], float32 [1,96,H/8,W/8], channels last."""
        samples = torch.from_numpy(joint).to(self.model.device).permute(2, 0, 1)[None]
        return samples.float().mul_(1 / (255 if joint.dtype == np.uint8 else TOP)).sub_(0.5)

    def predict(self, motion: np.ndarray) -> Planes:
        """The prediction from the last reference by `motion` int16 [2,H/8,W/8], as fine as that is."""
        if self._reference is None:
            raise ValueError("a predicted frame needs a frame before it")
        y, uv = compensate(self._reference[0][None], self._reference[1][None], motion[None])
        return y[0], uv[0]

    def _finish(self, r: torch.Tensor, copy: np.ndarray | None, prediction: np.ndarray | None) -> Planes:
        """Residual patches, which are overwritten, and the prediction's `_joint` → the next reconstruction; copied
        blocks [h16,w16] are the prediction bit for bit."""
        if prediction is None:
            r.add_(0.5).mul_(TOP)
        else:
            r.mul_(TOP).add_(torch.from_numpy(prediction).to(r.device).permute(2, 0, 1))
        samples = r.round_().clamp_(0, TOP).to(torch.int16)
        joint = samples[0].permute(1, 2, 0).contiguous().cpu().numpy()
        if copy is not None and prediction is not None:
            where = copy.astype(bool).repeat(2, 0).repeat(2, 1)
            joint.view(np.uint64)[where] = prediction.view(np.uint64)[where]
        return self._keep(self._planes(joint))

    def _keep(self, reference: Planes) -> Planes:
        """→ `recon`: the new reference in 8 bits."""
        self._reference = reference
        self.recon = in_8_bits(reference[0]), in_8_bits(reference[1])
        return self.recon


class FrameDecoder(FrameLoop):
    @torch.inference_mode()
    def decode(self, frame: FrameLatents) -> Planes:
        """The next frame's planes. They are kept as reference: do not write into them."""
        device = self.model.device
        copy = guess = w = None
        if frame.kind == KIND_PREDICTED:
            prediction = self.predict(frame.planes[MOTION])
            copy = frame.planes[COPY][0]
            if copy.all():
                return self._keep(prediction)
            guess = self._joint(prediction)
            w = self._patches(guess)
        net = self.model.codec.of(frame.kind)
        level = torch.tensor([code_to_level(frame.quality)], device=device)
        context = net.context(w, level)
        z = torch.from_numpy(frame.planes[HYPER].astype(np.float32))[None].to(device)
        latent = torch.from_numpy(frame.planes[LATENT][: net.latent])[None].to(device)
        q = latent.contiguous(memory_format=torch.channels_last).float()
        p, mu1 = net.means1(z, context, (q.shape[2], q.shape[3]))
        first = self._firsts[frame.kind]
        known = (q + mu1).mul_(first)
        n = torch.where(first, known, net.means2(p, known).add_(q))
        return self._finish(net.synthesis(n, context, level), copy, guess)


class FrameEncoder(FrameLoop):
    """`effort` may be changed between frames."""

    def __init__(self, model: Model, height: int, width: int, effort: Effort | None = None, tune: str = "psnr") -> None:
        super().__init__(model, height, width)
        self.effort, self.tune = effort or Effort(), tune
        self._bits = torch.from_numpy(model.tables.bits).to(model.device)
        self._past: tuple[torch.Tensor, torch.Tensor] | None = None  # symbols and skips, unless a key frame was before

    def _nothing(self, channels: int) -> torch.Tensor:
        h, w = self.height // 16, self.width // 16
        return torch.zeros(h, w, channels, device=self.model.device).permute(2, 0, 1)

    @torch.no_grad()  # not inference mode: refinement wants gradients
    def encode(self, planes: Planes, quality: int, motion: np.ndarray | None) -> FrameLatents:
        """The next frame: predicted if `motion` is given, else a key frame. Afterwards `recon` is what the decoder will
        have."""
        kind = KIND_KEY if motion is None else KIND_PREDICTED
        net = self.model.codec.of(kind)
        level = torch.tensor([code_to_level(quality)], device=self.model.device)
        x = self._patches(self._joint(planes))
        guess = w = None
        if motion is None:
            self._past = None
        else:
            guess = self._joint(self.predict(motion))
            w = self._patches(guess)
        context = net.context(w, level)
        y = net.analysis(x, w, context, level)
        weight = block_weights(x) if self.tune == "ssim" else None
        plan = plan_symbols(net, x, w, y, context, level, self.effort.quick, weight)
        rounds = self.effort.predicted if kind else self.effort.key
        first, past = self._firsts[kind], self._past or (self._nothing(net.latent), self._nothing(1)[0])

        def coded(plan: Plan) -> tuple[Symbols, torch.Tensor]:
            at = Coded(net, plan.z[0], past[0], plan.skip[0, 0], past[1], quality)
            if rounds and len(at.at):
                wanted = x if w is None else x - w
                symbols = refine(net, wanted, y, plan, context, level, at, first, self._bits, rounds, weight)
            else:
                symbols = code_symbols(net, y, plan, at, first)
            return symbols, net.synthesis(symbols.q + symbols.mu, context, level)

        symbols, r = coded(plan)
        gain = None if w is None else block_gain(x, w, r, level, weight)
        if w is not None and gain is not None and (better := without_harm(net, gain, plan, context)) is not None:
            plan = better
            symbols, r = coded(plan)
            gain = block_gain(x, w, r, level, weight)
        q = symbols.q[0]
        out: dict[str, np.ndarray] = {}
        copy = None
        if motion is not None and gain is not None:
            copied = choose_copy(gain, plan.skip)
            copy = copied[0, 0].to(torch.uint8).cpu().numpy()
            out[SKIP] = plan.skip[0].to(torch.uint8).cpu().numpy()
            out[COPY], out[MOTION] = copy[None], motion
            self._past = q, plan.skip[0, 0]
        out[HYPER] = plan.z[0].to(torch.int16).cpu().numpy()
        out[LATENT] = np.zeros((self.model.config.latent, *q.shape[1:]), np.int16)
        out[LATENT][: len(q)] = q.to(torch.int16).cpu().numpy()
        self._finish(r, copy, guess)
        return FrameLatents(kind, quality, out, symbols.index.t().to(torch.uint8).contiguous().cpu().numpy())
