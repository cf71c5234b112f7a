"""Loads models: from files to programs that are ready to run."""

from __future__ import annotations

import hashlib
import os
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np

from ..engine import program as p
from ..engine.gradient import Gradient
from ..engine.nets import Network
from ..errors import CorruptError, UnsupportedError
from ..lvz.geometry import PlaneSpec
from .store import FAMILIES, ModelFile, contents, path_of, read

DECODER = "key", "predicted"
ENCODER = "key_analysis", "predicted_analysis"


@dataclass
class Model:
    """A loaded model: validated programs (`lvc.engine.program`), compiled for the engine on first use. `path`: its
    file or a delta, unless a video's file carried it."""

    id: str
    sha256: bytes
    programs: p.Model
    path: Path | None = None
    _networks: dict[str, Network] = field(default_factory=dict)
    _gradients: dict[str, Gradient] = field(default_factory=dict)

    def network(self, name: str) -> Network:
        """A program of the file, or the linear path of predicted frames by itself: `linear_analysis`, residual →
        latents, and `linear`, latents → residual."""
        if name not in self._networks:
            paths = {"linear": self._linear, "linear_analysis": self._linear_analysis}
            self._networks[name] = Network(paths[name]() if name in paths else self.programs, name)
        return self._networks[name]

    def gradient(self, name: str) -> Gradient:
        """Of the program `key` or `predicted`."""
        if name not in self._gradients:
            self._gradients[name] = Gradient(self.programs, name)
        return self._gradients[name]

    @cached_property
    def symbol_bits(self) -> np.ndarray:
        """What symbols cost (`Tables.bits`)."""
        assert self.programs.tables is not None  # `load_model` has seen to it
        return self.programs.tables.bits()

    @property
    def laps(self) -> tuple[np.ndarray, np.ndarray]:
        """Matrices of the inverse lapping filter, luma and chroma."""
        assert self.programs.laps is not None  # `load_model` has seen to it
        return self.programs.laps

    @property
    def can_encode(self) -> bool:
        return all(name in self.programs.programs for name in ENCODER)

    @cached_property
    def planes(self) -> tuple[PlaneSpec, ...]:
        """The integer planes of this model's frames (formats/lvz.md)."""
        key_hyper, key_latent = self._channels("key")
        hyper, latent = self._channels("predicted")
        return (
            PlaneSpec("key_hyper", "int16", key_hyper, 64, in_predicted=False),
            PlaneSpec("key_latent", "int16", key_latent, 16, in_predicted=False),
            PlaneSpec("skip", "uint8", 1, 16, in_key=False),
            PlaneSpec("copy", "uint8", 1, 16, in_key=False),
            PlaneSpec("mode", "uint8", 1, 8, in_key=False),
            PlaneSpec("vectors", "int16", 4, 8, in_key=False),
            PlaneSpec("hyper", "int16", hyper, 64, in_key=False),
            PlaneSpec("latent", "int16", latent, 16, in_key=False, masked=True),
        )

    def latent_scale(self, name: str, level: int) -> np.ndarray:
        """float32 `[channels]`: the factor by which the decoder's program first multiplies its latents, in its row of
        tables `level`."""
        program = self.programs.programs[name]
        values = next(layer.out for layer in program.layers if layer.op == p.CODE)
        first = next((la for la in program.layers if la.op == p.GAIN and la.sources[0].tensor == values), None)
        if first is None or first.gain is None or first.gain_shift is None:
            return np.ones(program.tensors[values].channels, np.float32)
        row = level % len(first.gain)
        scale: np.ndarray = np.ldexp(first.gain[row].astype(np.float32), -int(first.gain_shift[row]))
        return scale

    def _channels(self, name: str) -> tuple[int, int]:
        """Channels of hyper-latents and latents."""
        program = self.programs.programs[name]
        found = {layer.op: program.tensors[layer.out].channels for layer in program.layers}
        return found[p.HYPER], found[p.CODE]

    def _linear_analysis(self) -> p.Model:
        """Layers of `predicted_analysis` from the residual to the sum with the network's branch."""
        program = self.programs.programs["predicted_analysis"]
        gain = next(layer for layer in program.layers if layer.out == program.outputs[0])
        conv = next(layer for layer in program.layers if layer.out == gain.sources[0].tensor)
        layers = [
            p.Layer(
                p.CONV, 1, [p.Source(0, conv.sources[0].shift)], conv.outputs, conv.mode, conv.wide, conv.limit,
                parts=conv.parts,
            ),
            p.Layer(p.GAIN, 2, [p.Source(1)], gain.outputs, gain=gain.gain, gain_shift=gain.gain_shift),
        ]  # fmt: skip
        tensors = [program.tensors[i] for i in (conv.sources[0].tensor, conv.out, gain.out)]
        model = p.Model(self.programs.levels, {"linear_analysis": p.Program(tensors, layers, [0], [2])})
        p.check(model)
        return model

    def _linear(self) -> p.Model:
        """Layers of `predicted` from values to the input of the last addition."""
        program = self.programs.programs["predicted"]
        last = next(layer for layer in reversed(program.layers) if layer.out == program.outputs[0])
        gain = next(layer for layer in program.layers if layer.out == last.sources[0].tensor)
        values = program.tensors[gain.sources[0].tensor]
        layers = [
            p.Layer(p.GAIN, 1, [p.Source(0)], gain.outputs, gain=gain.gain, gain_shift=gain.gain_shift),
            p.Layer(
                p.CONV, 2, [p.Source(1, last.sources[0].shift)], last.outputs, last.mode, last.wide, last.limit,
                parts=last.parts,
            ),
        ]  # fmt: skip
        tensors = [values, program.tensors[gain.out], program.tensors[last.out]]
        model = p.Model(self.programs.levels, {"linear": p.Program(tensors, layers, [0], [2])})
        p.check(model)
        return model


_recent: deque[Model] = deque(maxlen=2)
"""The models loaded last, which many videos in a row may need. Nobody changes a model."""


def load_model(name: str | os.PathLike[str] | None = None) -> Model:
    """Load a model, which several jobs can share as their `model`.

    Args:
        name: A `.safetensors` file that `lvc train` or `lvc adapt` made, or the name of an installed model. `None`
            means the default.

    Returns:
        The model: its name, its hash, and its programs.

    Raises:
        UsageError: There is no such file, and no model of that name.
        CorruptError: The file is damaged, or its programs are not those of a codec.
        UnsupportedError: The file holds no model of this lvc, or no default model is installed.
        LimitError: Its programs are larger than the limits allow.
    """
    file, data = read(path_of(name))
    return opened(file, contents(file, data))


def opened(file: ModelFile, data: bytes) -> Model:
    """Load the model in a file of this content. Raises as `load_model` does."""
    if file.family != FAMILIES[0]:
        raise UnsupportedError(
            f"{file.path.name} is of the family {file.family} — this needs a model of lvc's own codec"
        )
    for model in tuple(_recent):
        if (model.id, model.sha256, model.path) == (file.name, file.sha256, file.path):
            return model
    programs = p.loads(data)
    _check(programs, file.path.name)
    _recent.append(Model(file.name, file.sha256, programs, file.path))
    return _recent[-1]


def model_of_bytes(data: bytes, name: str) -> Model:
    """The model that a video's file carries. Raises as `load_model` does."""
    programs = p.loads(data)
    _check(programs, "the model in the file")
    return Model(name, hashlib.sha256(data).digest(), programs)


_PATCHES = p.S16, 3, 96
_INPUTS = {
    "key": [], "predicted": [_PATCHES, _PATCHES, (p.U7, 4, 1)],
    "key_analysis": [_PATCHES], "predicted_analysis": [_PATCHES] * 3,
}  # fmt: skip


def _check(model: p.Model, name: str) -> None:
    """Raise `CorruptError` unless the programs are those of a video codec."""
    for decoder, encoder in zip(DECODER, ENCODER, strict=True):
        if (found := model.programs.get(decoder)) is None:
            raise CorruptError(f"{name} has no program {decoder!r}")
        _check_ends(found, name, decoder, [_PATCHES, (p.S16, 4, None)])
        ops = [layer.op for layer in found.layers]
        if ops.count(p.HYPER) != 1 or ops.count(p.CODE) != 4:
            raise CorruptError(f"{name}: the program {decoder!r} has other symbols than a codec's")
        hyper, latents = (found.tensors[next(la.out for la in found.layers if la.op == op)] for op in (p.HYPER, p.CODE))
        if hyper.scale != 6 or found.tensors[found.outputs[1]] is not latents:
            raise CorruptError(f"{name}: the program {decoder!r} has other symbols than a codec's")
        if (analysis := model.programs.get(encoder)) is not None:
            symbols = [(p.S16, t.scale, t.channels) for t in (latents, hyper)]
            _check_ends(analysis, name, encoder, symbols)
    if model.levels != 768 or model.laps is None or model.tables is None:
        raise CorruptError(f"{name} has other levels or tables than a codec's, or no lapping filter")


def _check_ends(program: p.Program, name: str, called: str, outputs: Sequence[tuple[str, int, int | None]]) -> None:
    """Raise `CorruptError` unless a program has a codec's inputs and these outputs: kind, scale, channels (any)."""
    for said, ends in ((_INPUTS[called], program.inputs), (outputs, program.outputs)):
        tensors = [program.tensors[i] for i in ends]
        same = len(said) == len(tensors) and all(
            (t.kind, t.scale) == (kind, scale) and channels in (None, t.channels)
            for t, (kind, scale, channels) in zip(tensors, said, strict=False)
        )
        if not same:
            raise CorruptError(f"{name}: the program {called!r} has other inputs or outputs than a codec's")
