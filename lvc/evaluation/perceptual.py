"""ST-LPIPS (Ghildyal and Liu 2022): the perceptual difference of two pictures, by the features of a trained network; 0
means identical. Where a decoder invents texture, like that of a GAN, it says more than any error measure.

The network's weights come in the wheel `stlpips-pytorch`: nothing is downloaded at run time. The wheels of LPIPS, DISTS
and the like contain the weights of features, but not the networks. Only tensors are read from the wheel, since its code
needs further packages.
"""

from __future__ import annotations

import functools
import importlib.metadata
import importlib.util
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from lvc.errors import UnsupportedError
from lvc.evaluation.planes import Planes
from lvc.latents.colour import to_rgb
from lvc.media.depth import in_eight_bits
from lvc.media.types import RANGE_FULL, RANGE_LIMITED, Frame

PACKAGE = "stlpips-pytorch"
EXTRA = "pip install 'lvc[perceptual]'"
MIN_SIDE = 32
EVERY = 8
"""Only every eighth frame of a clip is compared: a frame of CIF takes a second of one core."""
_FILE = "alex_shift_tolerant.pth"
_BT601 = 6
_LAYERS = (("slice1.0", 2), ("slice2.5", 2), ("slice3.9", 1), ("slice4.11", 1), ("slice5.13", 1))
"""Convolutions and their padding. The first is followed by blur, the second and third come after pooling and blur."""


def why_not() -> str | None:
    """`None` if the weights are installed, else what to do."""
    return None if importlib.util.find_spec("stlpips_pytorch") else f"st-lpips needs the extra: {EXTRA}"


def version() -> str:
    return f"{PACKAGE} {importlib.metadata.version(PACKAGE)}"


class StLpips:
    """Compares pictures of one video, assumed to be BT.601; 10 bits are rounded to 8."""

    def __init__(self, full_range: bool, threads: int) -> None:
        self._weights, self._range = _loaded(), RANGE_FULL if full_range else RANGE_LIMITED
        torch.set_num_threads(threads)

    def __call__(self, one: Planes, other: Planes) -> float:
        with torch.inference_mode():
            both = torch.stack([self._rgb(p) for p in (one, other)])
            return float(distance(self._weights, 2 * both - 1))

    def _rgb(self, p: Planes) -> Tensor:
        y, u, v = (in_eight_bits(plane).copy() for plane in (p.y, p.u, p.v))
        return to_rgb(Frame(y, u, v, 0, 1), _BT601, self._range)


def distance(weights: dict[str, Tensor], pictures: Tensor) -> Tensor:
    """Between two pictures in -1..1, `[2, 3, rows, columns]`."""
    x = (pictures - weights["scaling_layer.shift"]) / weights["scaling_layer.scale"]
    total = x.new_zeros(())
    for number, (name, padding) in enumerate(_LAYERS):
        if number in (1, 2):
            x = _blurred(F.max_pool2d(x, 3, 1))
        x = F.conv2d(x, weights[f"net.{name}.weight"], weights[f"net.{name}.bias"], padding=padding)
        x = F.relu(x if number else _blurred(x))
        unit = x / (x.square().sum(1, keepdim=True).sqrt() + 1e-10)
        differences = (unit[:1] - unit[1:]).square()
        total = total + F.conv2d(differences, weights[f"lin{number}.model.1.weight"]).mean()
    return total


def _blurred(x: Tensor) -> Tensor:
    """By [1 2 1] / 4 each way, every second row and column."""
    taps = torch.tensor([1.0, 2.0, 1.0]) / 4
    kernel = (taps[:, None] * taps).expand(x.shape[1], 1, 3, 3)
    return F.conv2d(F.pad(x, (2, 2, 2, 2), mode="reflect"), kernel, stride=2, groups=x.shape[1])


@functools.cache
def _loaded() -> dict[str, Tensor]:
    """Load the weights. Raises `UnsupportedError`."""
    files = importlib.metadata.files(PACKAGE) or []
    path = next((Path(str(file.locate())) for file in files if file.name == _FILE), None)
    try:
        if path is None:
            raise OSError("the wheel has no such file")
        weights: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        wanted = [f"net.{name}.{part}" for name, _ in _LAYERS for part in ("weight", "bias")]
        wanted += [f"lin{n}.model.1.weight" for n in range(len(_LAYERS))]
        return {name: weights[name] for name in (*wanted, "scaling_layer.shift", "scaling_layer.scale")}
    except Exception as error:  # unpickling can raise anything
        raise UnsupportedError(f"the weights of st-lpips cannot be read ({error}) — {EXTRA} again") from error
