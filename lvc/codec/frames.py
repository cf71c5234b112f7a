"""One frame at a time: 8-bit planes ↔ integer latents, in a closed loop over 8-bit reconstructions.

Planes are padded: y uint8 [H,W], uv uint8 [2,H/2,W/2], H and W multiples of 16.
"""

from __future__ import annotations

import numpy as np
import torch

from ..entropy.clip import KIND_KEY, KIND_PREDICTED, FrameLatents
from ..entropy.rans import COPY, HYPER, LATENT, MOTION, SKIP
from ..models.config import code_to_level
from ..models.load import Model
from ..models.network import PATCH, checkerboard, from_patches
from .choice import choose_copy, code_symbols, plan_symbols
from .compensate import compensate
from .refine import refine
from .sparse import Coded

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
    """`rounds`: how often symbols are refined, of key frames and of predicted ones (`lvc.codec.refine`)."""

    def __init__(self, model: Model, height: int, width: int, rounds: tuple[int, int] = (0, 0)) -> None:
        super().__init__(model, height, width)
        self._rounds = rounds
        self._bits = torch.from_numpy(model.tables.bits).to(model.device)
        self._forget()

    def _forget(self) -> None:
        m, h, w = self.model.config.latent, self.height // 16, self.width // 16
        self._past = torch.zeros(m, h, w, device=self.model.device)
        self._past_skip = torch.zeros(h, w, device=self.model.device)

    @torch.no_grad()  # not inference mode: refinement wants gradients
    def encode(self, planes: Planes, quality: int, motion: np.ndarray | None) -> FrameLatents:
        """The next frame: predicted if `motion` is given, else a key frame. Afterwards `recon` is what the decoder will
        have."""
        kind = KIND_KEY if motion is None else KIND_PREDICTED
        net = self.model.codec.of(kind)
        level = torch.tensor([code_to_level(quality)], device=self.model.device)
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
        coded = Coded(net, plan.z[0], self._past, plan.skip[0, 0], self._past_skip, quality)
        rounds = self._rounds[kind]
        if rounds and len(coded.at):
            wanted = x if w is None else x - w
            symbols = refine(net, wanted, y, plan, context, level, coded, self._first, self._bits, rounds)
        else:
            symbols = code_symbols(net, y, plan, coded, self._first)
        q = symbols.q[0]
        r = net.synthesis(symbols.q + symbols.mu, context, level)
        out: dict[str, np.ndarray] = {}
        copy = None
        if motion is not None and w is not None:
            copied = choose_copy(x, w, r, plan.skip, level)
            copy = copied[0, 0].to(torch.uint8).cpu().numpy()
            out[SKIP] = plan.skip[0].to(torch.uint8).cpu().numpy()
            out[COPY], out[MOTION] = copy[None], motion
            self._past, self._past_skip = q, plan.skip[0, 0]
        out[HYPER] = plan.z[0].to(torch.int16).cpu().numpy()
        out[LATENT] = q.to(torch.int16).cpu().numpy()
        self._finish(r, w, copy, prediction)
        return FrameLatents(kind, quality, out, symbols.index.to(torch.uint8).contiguous().cpu().numpy())
