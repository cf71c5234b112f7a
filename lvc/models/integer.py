"""The small integer network that chooses probability tables.

Weights are multiples of 1/64 in [-127/64, 127/64], activations integers in [0, 127] (inputs in [-127, 127]), fan-in
at most 960: times 64, every partial sum, bias included, is an integer below 2**24, so float32 holds it exactly, in any
order of summation, on any device. Rounding is floor(x + 1/2). The table index of a symbol is therefore the same
everywhere. Off the CPU the 3x3 layer is a matrix product over gathered neighbours, so that no library picks Winograd
or FFT. In training, rounding passes gradients straight through.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

SCALE = 64
MAX_BIAS = 2**20
MAX_FAN_IN = 960
"""960·127·127 + 2**20 + 64·127 (the second layer adds its input) is below 2**24; 1024 in place of 960 is not."""
TABLES = 64
"""Number of probability tables; index 0 means: the symbol is zero and is not written."""


def round_ste(x: torch.Tensor) -> torch.Tensor:
    return x + (torch.floor(x + 0.5) - x).detach()


def clamp_ste(x: torch.Tensor, low: float, high: float) -> torch.Tensor:
    return x + (x.clamp(low, high) - x).detach()


def _normal(weight: torch.Tensor, std: float) -> None:
    """On the meta device, where `load` compares shapes, this would import PyTorch's compiler, which takes a second."""
    if not weight.is_meta:
        nn.init.normal_(weight, std=std)


class IntegerConv(nn.Module):
    """k x k convolution (k 1 or 3, zero padding), float32 holding integers / 64. In and out [B,C,H,W]."""

    def __init__(self, channels_in: int, channels_out: int, kernel: int = 1) -> None:
        super().__init__()
        fan = channels_in * kernel * kernel
        if fan > MAX_FAN_IN:
            raise ValueError(f"fan-in {fan} over {MAX_FAN_IN} is not exact in float32")
        self.kernel = kernel
        self._frozen: tuple[torch.Tensor, torch.Tensor] | None = None
        self.weight = nn.Parameter(torch.empty(channels_out, fan))
        _normal(self.weight, fan**-0.5)
        self.bias = nn.Parameter(torch.zeros(channels_out))

    def integers(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Weights and biases as integers, float32."""
        if self._frozen is not None:
            return self._frozen
        w = clamp_ste(round_ste(self.weight * SCALE), -127, 127)
        return w, clamp_ste(round_ste(self.bias * (16 * SCALE)), -MAX_BIAS, MAX_BIAS)

    def freeze(self) -> None:
        """Round once and for all, in float32 and before any change of device or type."""
        with torch.no_grad():
            w = torch.floor(self.weight * SCALE + 0.5).clamp(-127, 127)
            self._frozen = w, torch.floor(self.bias * (16 * SCALE) + 0.5).clamp(-MAX_BIAS, MAX_BIAS)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        w, b = self.integers()
        n, c, height, width = x.shape
        if x.device.type == "cpu":  # oneDNN's direct convolution: sums of products, in some order
            y = F.conv2d(x, w.reshape(-1, c, self.kernel, self.kernel), b, padding=self.kernel // 2)
        else:
            cols = x.reshape(n, c, height * width) if self.kernel == 1 else F.unfold(x, self.kernel, padding=1)
            y = (torch.matmul(w, cols) + b[:, None]).reshape(n, -1, height, width)
        return y / SCALE

    def rows(self, x: torch.Tensor) -> torch.Tensor:
        """The same sums for gathered positions: [N, channels_in·kernel², in the weights' order] → [N, channels_out]."""
        w, b = self.integers()
        return torch.addmm(b, x, w.t()) / SCALE


class ScaleNet(nn.Module):
    """Integer inputs [B,C,H,W] float32 in [-127,127] → table indices [B,M,H,W], integers in [0, 63] as float32."""

    def __init__(self, inputs: int, hidden: int, outputs: int) -> None:
        super().__init__()
        self.first = IntegerConv(inputs, hidden)
        self.second = IntegerConv(hidden, hidden, 3)
        self.last = IntegerConv(hidden, outputs)
        _normal(self.last.weight, 0.02)

    @staticmethod
    def _activate(x: torch.Tensor) -> torch.Tensor:
        return round_ste(x).clamp(0, 127)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        with torch.autocast(x.device.type, enabled=False):
            h = self._activate(self.first(x))
            h = self._activate(self.second(h) + h)
            return clamp_ste(round_ste(self.last(h)), 0, TABLES - 1)

    def at(self, rows: torch.Tensor, neighbours: torch.Tensor) -> torch.Tensor:
        """`forward` at some positions alone. `rows` [D,C]: inputs at these positions and all around them; `neighbours`
        int64 [N,9]: for each position the rows of its 3x3 neighbourhood, D outside the picture. → [N,M]."""
        h = self._activate(self.first.rows(rows))
        h = torch.cat([h, h.new_zeros(1, h.shape[1])])
        around = h[neighbours].transpose(1, 2).flatten(1)
        h = self._activate(self.second.rows(around) + h[neighbours[:, 4]])
        return torch.floor(self.last.rows(h) + 0.5).clamp_(0, TABLES - 1)
