"""The network that turns thumbnails into vectors, in numpy: four convolutions and a projection."""

from __future__ import annotations

import functools
import hashlib
from pathlib import Path

import numpy as np
import numpy.typing as npt

from lvc.errors import UnsupportedError
from lvc.features.thumbnail import CHROMA, Float, Thumbnail
from lvc.installed import checkpoint

DIMENSIONS = 64
SCALE = 127.0
FLAT = 2.0
"""Standard deviation of luma, of 255, below which a picture shows nothing: its vector is zeros and matches nothing."""
SOFT = 4.0
"""Added to the standard deviation by which a picture is divided, so that noise of dark pictures stays small."""
NAME = "frame64-2"
"""Of the vectors: weights have a hash of their own, this changes with what is done to frames before the network."""
LAYERS = (("conv1", 1), ("conv2", 2), ("conv3", 1), ("conv4", 2))
"""Name and stride of the convolutions, all 3x3, each followed by a ReLU; conv3 is residual."""

Vectors = npt.NDArray[np.int8]


def network_input(thumbnails: list[Thumbnail]) -> tuple[Float, npt.NDArray[np.bool_]]:
    """Thumbnails → float32 [N,18,16,16] and bool [N], false for flat pictures.

    Brightness and contrast are taken out: luma loses its mean, and luma and chroma are divided by luma's deviation.
    16 channels are luma, space to depth by 4; two are chroma.
    """
    luma = np.stack([y for y, _ in thumbnails])
    chroma = np.stack([c for _, c in thumbnails]) - 128
    n = len(luma)
    deviation = luma.std((1, 2))
    scale = 1 / (deviation + SOFT)
    luma = (luma - luma.mean((1, 2), keepdims=True)) * scale[:, None, None]
    patches = luma.reshape(n, CHROMA, 4, CHROMA, 4).transpose(0, 2, 4, 1, 3).reshape(n, 16, CHROMA, CHROMA)
    joined = np.concatenate([patches, chroma * scale[:, None, None, None]], 1)
    return joined.astype(np.float32), deviation >= FLAT


def _convolve(x: Float, weight: Float, bias: Float, stride: int) -> Float:
    """3x3 with zeros outside. x [N,C,H,W], weight [O,C,3,3] → [N,O,H/stride,W/stride]."""
    n, c, h, w = x.shape
    padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(2, 3))[:, :, ::stride, ::stride]
    columns = windows.transpose(0, 2, 3, 1, 4, 5).reshape(n * (h // stride) * (w // stride), c * 9)
    out = columns @ weight.reshape(len(weight), -1).T + bias
    return out.reshape(n, h // stride, w // stride, -1).transpose(0, 3, 1, 2)


class Extractor:
    """`id` is `name:hash`, 16 hexadecimal digits of the SHA-256 of the file of weights."""

    def __init__(self, path: Path) -> None:
        from safetensors import SafetensorError
        from safetensors.numpy import load

        data = path.read_bytes()
        try:
            tensors = load(data)
            self._weights = {name: np.asarray(value, np.float32) for name, value in tensors.items()}
            projected = self._weights["projection.weight"].shape[0]
        except (SafetensorError, KeyError) as error:
            raise UnsupportedError(f"{path.name} does not contain the feature network — reinstall lvc") from error
        if projected != DIMENSIONS:
            raise UnsupportedError(f"{path.name} makes vectors of {projected} numbers, not {DIMENSIONS}")
        self.fingerprint = hashlib.sha256(data).digest()[:8]
        self.name = NAME

    @property
    def id(self) -> str:
        return f"{self.name}:{self.fingerprint.hex()}"

    def embed(self, thumbnails: list[Thumbnail]) -> Float:
        """Thumbnails → float32 [N,64] of length 1, or zeros for flat pictures."""
        if not thumbnails:
            return np.zeros((0, DIMENSIONS), np.float32)
        x, shows = network_input(thumbnails)
        w = self._weights
        for name, stride in LAYERS:
            out = np.maximum(_convolve(x, w[f"{name}.weight"], w[f"{name}.bias"], stride), 0)
            x = out + x if name == "conv3" else out
        flat = x.reshape(len(x), -1) @ w["projection.weight"].T + w["projection.bias"]
        length = np.linalg.norm(flat, axis=1, keepdims=True)
        unit: Float = np.where(shows[:, None], flat / np.maximum(length, 1e-6), 0).astype(np.float32)
        return unit

    def vectors(self, thumbnails: list[Thumbnail]) -> Vectors:
        """The same as int8, 127 times the unit vector at most; what files and databases hold."""
        return quantise(self.embed(thumbnails))


def quantise(unit: Float) -> Vectors:
    """Vectors of length 1 → int8, scaled so that their largest number is 127: cosines hardly change."""
    largest = np.abs(unit).max(1, keepdims=True)
    vectors: Vectors = np.rint(unit * (SCALE / np.maximum(largest, 1e-6))).astype(np.int8)
    return vectors


def unit(vectors: Vectors) -> Float:
    """int8 [N,D] → float32 of length 1; zeros stay zeros."""
    x = vectors.astype(np.float32)
    result: Float = x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-6)
    return result


@functools.cache
def default_extractor() -> Extractor:
    """The one that comes with lvc. Raises `UnsupportedError` if this installation lacks it."""
    return Extractor(checkpoint("features.safetensors"))
