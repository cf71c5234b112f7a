"""Keys and the frames between them: the network, the prediction from both sides and its motion, for pairs.py.

A clip is N frames. Its last one, the key, is predicted from the last key as lvc predicts a frame from the one before.
The N-1 between have one vector per 16x16 block for the way from key to key: frame t is predicted from the earlier key
by t/N of it and from the later one by the rest, the nearer one weighing more, or from one of them alone, whichever is
best for the block in all N-1 frames. What that misses of them is one latent.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from lvc.codec import choice, motion_decision
from lvc.codec.compensate import FRACTION, compensate
from lvc.codec.motion_decision import MotionDecision
from lvc.codec.video import SEARCH_CRF
from lvc.media import motion
from lvc.models import network
from lvc.models.config import ModelConfig
from lvc.models.integer import IntegerConv
from lvc.models.network import Codec, Context, FrameCodec, to_patches
from lvc.training import loss, start

Planes = tuple[np.ndarray, np.ndarray]
BOTH, EARLIER, LATER = range(3)
MODE_BITS = np.array([0.7, 3.0, 3.0], np.float32)
SIZES = {2: ModelConfig(inter_width=96, inter_latent=128), 4: ModelConfig(inter_width=160, inter_latent=256)}
"""Of the networks for the frames between, so that a frame costs the decoder about what lvc's predicted frames cost."""


def joint_error(patches: torch.Tensor) -> torch.Tensor:
    """`lvc.codec.choice.block_error` of several frames side by side, [B,96·K,h8,w8] → [B,1,h16,w16]."""
    e = patches.float().square()
    weights = e.new_tensor([choice.LUMA_WEIGHT] * 64 + [choice.CHROMA_WEIGHT] * 32).repeat(e.shape[1] // 96)
    return F.avg_pool2d((e.permute(0, 2, 3, 1) @ weights)[:, None], 2) * 4


motion._PARAMS = motion._PARAMS.replace("me=hex", "me=umh:merange=64")  # 1.5 dB at distance 4 in foreman
choice.block_error = loss.block_error = joint_error  # type: ignore[attr-defined]  # the same for one frame


class JointCodec(FrameCodec):
    """`FrameCodec` of K frames at once; as context it also sees how far the two sides' predictions are apart."""

    def __init__(self, config: ModelConfig, frames: int) -> None:
        before, network.PATCH = network.PATCH, network.PATCH * frames
        try:
            super().__init__(config, False)
        finally:
            network.PATCH = before
        self.frames = frames
        self.context_in = nn.Conv2d(2 * 96 * frames, config.inter_width, 1)
        self.apart: torch.Tensor | None = None
        """Patches of the one prediction less the other, of the frames to come."""

    def context(self, w: torch.Tensor | None, level: torch.Tensor) -> Context:
        if w is None or self.apart is None:
            raise ValueError("the frames between have predictions")
        return super().context(torch.cat([w, self.apart], 1), level)

    def start(self, rows: torch.Tensor) -> float:
        """`pca_start`."""
        before, start.PATCH = start.PATCH, 96 * self.frames  # type: ignore[attr-defined]
        try:
            return start.pca_start(self, rows)
        finally:
            start.PATCH = before  # type: ignore[attr-defined]


class PairCodec(Codec):
    """Intra, keys (`inter`), and the frames between."""

    def __init__(self, config: ModelConfig, distance: int) -> None:
        super().__init__(config)
        self.distance = distance
        self.between = JointCodec(SIZES[distance], distance - 1)


def cost(net: FrameCodec) -> float:
    """kMAC per pixel of a picture that a decoder runs, for all frames of one latent (as scripts/figures/model_cost)."""
    total, side = 0, 256
    handles = []

    def count(module: nn.Module, _: object, output: torch.Tensor) -> None:
        nonlocal total
        weight = module.get_parameter("weight")
        total += output[0].numel() * (weight.shape[1] if weight.ndim == 2 else weight[0].numel())

    for module in net.modules():
        if isinstance(module, (nn.Conv2d, IntegerConv)):
            handles.append(module.register_forward_hook(count))
    frames = net.frames if isinstance(net, JointCodec) else 1
    level, w = torch.tensor([10.0]), torch.zeros(1, 96 * frames, side // 8, side // 8)
    q, z = torch.zeros(1, net.latent, side // 16, side // 16), torch.zeros(1, net.hyper, side // 64, side // 64)
    if isinstance(net, JointCodec):
        net.apart = w
    with torch.inference_mode():
        context = net.context(w, level)
        inputs = net.scale_inputs(z, q, q[:, :1], q[:, :1], torch.zeros(1))
        net.indices1(inputs)
        net.indices2(inputs, q)
        features, _ = net.means1(z, context, (side // 16, side // 16))
        net.means2(features, q)
        net.synthesis(q, context, level)
    for handle in handles:
        handle.remove()
    return total / side**2 / 1000


def samples(y: np.ndarray, uv: np.ndarray) -> torch.Tensor:
    """Planes [B,H,W], [B,2,H/2,W/2], uint8 or int16 references → patches float32 around 0."""
    top = 255 if y.dtype == np.uint8 else 255 << FRACTION
    return to_patches(torch.from_numpy(y)[:, None].float() / top - 0.5, torch.from_numpy(uv).float() / top - 0.5)


def part(field: np.ndarray, t: int, distance: int) -> np.ndarray:
    """Of vectors from key to key, what leads from frame `t` to the earlier one; minus `field`: to the later one."""
    scaled: np.ndarray = (field * t + distance // 2) // distance
    return scaled


def mixed(earlier: np.ndarray, later: np.ndarray, t: int, distance: int) -> np.ndarray:
    """int32: both predictions of frame `t`, the nearer key's weighing more."""
    total: np.ndarray = earlier.astype(np.int32) * (distance - t)
    total += later.astype(np.int32) * t + distance // 2
    return total // distance


def predict(
    earlier: Planes, later: Planes, field: np.ndarray, modes: np.ndarray, distance: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Keys [B,H,W], [B,2,H/2,W/2], `field` [B,2,H/16,W/16], `modes` [B,H/16,W/16] → predictions of the frames between
    and how far both sides are apart, patches float32 [B,96·(N-1),H/8,W/8] each."""
    eights = field.astype(np.int64).repeat(2, 2).repeat(2, 3)
    luma = modes.repeat(16, 1).repeat(16, 2)
    chroma = modes.repeat(8, 1).repeat(8, 2)[:, None]
    guesses, apart = [], []
    for t in range(1, distance):
        to = part(eights, t, distance)
        a = compensate(*earlier, to.astype(np.int16))
        b = compensate(*later, (to - eights).astype(np.int16))
        planes = []
        for p, q, mode in zip(a, b, (luma, chroma), strict=True):
            mean = mixed(p, q, t, distance).astype(p.dtype)
            planes.append(np.where(mode == EARLIER, p, np.where(mode == LATER, q, mean)))
        guesses.append(samples(*planes))
        apart.append(samples(*a) - samples(*b))
    return torch.cat(guesses, 1), torch.cat(apart, 1)


def searched(frames: list[Planes]) -> list[np.ndarray]:
    """Fields int16 [2,H/8,W/8] of frames against the ones before, as x264 finds them; the first is 0."""
    search = motion.MotionSearch(frames[0][0].shape[1], frames[0][0].shape[0], SEARCH_CRF)
    return [f for planes in frames for f in search.push(*planes)] + list(search.flush())


class BetweenDecision(MotionDecision):
    """Fields of keys as its base decides them, and fields of the frames between."""

    def between(
        self, earlier: np.ndarray, later: np.ndarray, frames: list[np.ndarray], key: np.ndarray, level: float
    ) -> tuple[np.ndarray, np.ndarray]:
        """Luma of both keys and of the frames between, uint8 [H,W]; `key` int16 [2,H/8,W/8]: the later key's field.
        → `field` int16 [2,H/16,W/16], `modes` uint8 [H/16,W/16]. `level`: log2 λ."""
        self.coded(key)
        blocks = _Sides(earlier, later, frames, choice.LUMA_WEIGHT / 255**2 * 2**level)
        n = len(frames) + 1
        base = np.zeros((2, self._rows, self._cols), np.int64)
        eights = key.astype(np.int64)
        for ys, xs, near in self._passes:
            around = [base[:, a, b] for a, b in near]
            before = self._last[:, ys, xs]
            slots = np.stack([*around, before])
            guess = np.sort(slots, 0)[len(around) // 2]
            best = motion_decision._Best(blocks, ys, xs, guess, slots)  # type: ignore[arg-type]
            corners = [eights[:, 2 * ys + dy, 2 * xs + dx] for dy in range(2) for dx in range(2)]
            # what passes here half-way ends elsewhere in the later key
            there = []
            for v in (before, guess):
                at = (np.stack([xs, ys]) * 128 - v + 64) >> 7
                x, y = at[0].clip(0, self._cols - 1), at[1].clip(0, self._rows - 1)
                there.append(self._last[:, y, x])
            best.offer(np.stack([guess, before]))
            best.offer(np.stack([*around, np.zeros_like(guess), *corners, *there]))
            for step in (2 * n, n, max(n // 2, 1)):
                best.offer(best.vectors[None] + step * motion_decision._CROSS.T[:, :, None])
            base[:, ys, xs] = best.vectors
        ys, xs = (g.reshape(-1) for g in np.indices((self._rows, self._cols)))
        modes = blocks.by_mode(ys, xs, base.reshape(2, -1)).argmin(0)
        return base.astype(np.int16), modes.reshape(self._rows, self._cols).astype(np.uint8)


class _Sides:
    """What predictions from both keys miss of the frames between; in place of `motion_decision._Blocks`."""

    def __init__(self, earlier: np.ndarray, later: np.ndarray, frames: list[np.ndarray], weight: float) -> None:
        self._ends = [motion_decision._Blocks(end, frames[0], weight) for end in (earlier, later)]
        height, width = frames[0].shape
        self._cols, self._weight = width // 16, weight
        rows = [f.reshape(height // 16, 16, -1, 16).transpose(0, 2, 1, 3).reshape(-1, 256) for f in frames]
        self._now = [np.ascontiguousarray(r).astype(np.int32) for r in rows]

    def by_mode(self, ys: np.ndarray, xs: np.ndarray, vectors: np.ndarray) -> np.ndarray:
        """Errors, and bits of the mode, of blocks [n] with one vector each [2,n]: float32 [3,n]."""
        out = np.zeros((3, len(ys)), np.float32)
        distance = len(self._now) + 1
        for first in range(0, len(ys), 512):
            cut = slice(first, first + 512)
            y, x, v = ys[cut], xs[cut], vectors[:, cut]
            for t, now in enumerate(self._now, 1):
                to = part(v, t, distance)
                a = self._ends[0]._windows(y * 16, x * 16, to, 16)
                b = self._ends[1]._windows(y * 16, x * 16, to - v, 16)
                wanted = now[y * self._cols + x]
                for mode, guess in enumerate((mixed(a, b, t, distance), a, b)):
                    d = torch.from_numpy(guess - wanted).float()
                    out[mode, cut] += torch.linalg.vector_norm(d, dim=1).square_().numpy()
        out *= self._weight
        out += MODE_BITS[:, None]
        return out

    def errors(self, ys: np.ndarray, xs: np.ndarray, vectors: np.ndarray) -> np.ndarray:
        found: np.ndarray = self.by_mode(ys, xs, vectors).min(0)
        return found
