"""Integer networks where they are asked for: only blocks with symbols need table indices.

Sums of integers are exact, so that gathering the positions first gives what the convolutions over the whole frame
give (`lvc.models.network.FrameCodec.indices1` and `indices2`, which training uses).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F

from ..models.network import FrameCodec


class Coded:
    """The blocks of a frame that have symbols, and the table indices of these. Fastest with channels last.

    `skip` [H,W] (not 0: no symbols); `z` [Z,h,w] rounded hyper-latents, `past` [M,H,W] symbols of the frame before,
    `past_skip` [H,W], `code` the frame's quality 0..10000; all float32 holding integers.
    """

    def __init__(
        self,
        net: FrameCodec,
        z: torch.Tensor,
        past: torch.Tensor,
        skip: torch.Tensor,
        past_skip: torch.Tensor,
        code: float,
    ) -> None:
        height, width = skip.shape
        self._net = net
        self._first: torch.Tensor | None = None
        coded = skip == 0
        self.at = coded.reshape(-1).nonzero()[:, 0]
        """int64 [N]: places of the coded blocks, row by row."""
        wide = F.max_pool2d(coded[None, None].float(), 3, 1, 1)[0, 0] > 0
        self._wide = wide.reshape(-1).nonzero()[:, 0]
        number = torch.full((height + 2, width + 2), len(self._wide), device=skip.device)
        number[1:-1, 1:-1][wide] = torch.arange(len(self._wide), device=skip.device)
        y, x = self.at // width, self.at % width
        self._neighbours = torch.stack([number[y + dy, x + dx] for dy in range(3) for dx in range(3)], 1)
        columns = z.shape[2]
        above = (self._wide // width // 4) * columns + self._wide % width // 4
        self._inputs = torch.cat(
            [
                (z.reshape(len(z), -1).t()[above] * 4).clamp(-127, 127),
                self._rows(past),
                skip.reshape(-1)[self._wide, None] * 64,
                past_skip.reshape(-1)[self._wide, None] * 64,
                torch.full((len(self._wide), 1), float(int(code) // 79), device=skip.device),
            ],
            1,
        )

    def _rows(self, symbols: torch.Tensor) -> torch.Tensor:
        return rows(symbols)[self._wide].abs_().clamp_(max=15).mul_(8)

    def indices1(self) -> torch.Tensor:
        """Indices of the first pass [N,M], float32."""
        if self._first is None:
            self._first = self._net.scale1.at(self._inputs, self._neighbours)
        return self._first

    def indices2(self, known: torch.Tensor) -> torch.Tensor:
        """Indices of the second pass [N,M]; `known` [M,H,W]: symbols of the first, 0 elsewhere."""
        return self._net.scale2.at(torch.cat([self._inputs, self._rows(known)], 1), self._neighbours)


def rows(t: torch.Tensor) -> torch.Tensor:
    """[1,C,H,W] or [C,H,W] → [H·W,C], a view if channels are last."""
    return t.reshape(t.shape[-3:]).permute(1, 2, 0).reshape(-1, t.shape[-3])
