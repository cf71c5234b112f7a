"""`lvc adapt` in seconds: a delta from a clip drawn here, what it changes, and what it refuses."""

from __future__ import annotations

import hashlib
import itertools
import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from lvc.adaptation import tuning
from lvc.adaptation.samples import Collector, Sample, Samples
from lvc.adaptation.synthesis import Synthesis
from lvc.codec import EncodeSettings, decode, encode
from lvc.engine import program as p
from lvc.engine.torch_engine import TorchNetwork
from lvc.errors import MediaError, UnsupportedError, UsageError
from lvc.models import inspect, load_model, store
from lvc.models.delta import write_delta
from lvc.training import adapt
from lvc.training.settings import AdaptSettings
from tests.helpers.small_footage import film
from tests.helpers.small_models import descriptor, frame, model, model_file, video, written


def collected(frames: int = 9, side: int = 96) -> list[Sample]:
    samples = Samples(frames)
    pictures = (frame(n, side, side, shift=0.7 * n, seed=n // 5) for n in range(frames))
    for _ in encode(
        pictures, video(side, side), model(), EncodeSettings(threads=1, quality=50),
        partial(Collector, samples=samples),
    ):  # fmt: skip
        pass
    return samples.drawn()


def test_the_synthesis_computes_what_the_engine_does() -> None:
    samples = collected()
    assert samples
    programs = model().programs
    layers = programs.programs["predicted"].layers
    synthesis, reference = Synthesis(programs.programs["predicted"]), TorchNetwork(programs, "predicted")
    # a last bit of a sum, which 24 bits may lack, moves what is rounded next by a step
    synthesis._arrays = {key: tuple(a.double() for a in arrays) for key, arrays in synthesis._arrays.items()}
    for sample in samples:
        size = sample.prediction.shape[0], sample.prediction.shape[1]

        def code(number: int, _: Any, sample: Sample = sample, size: tuple[int, int] = size) -> torch.Tensor:
            if layers[number].op == p.CODE:
                return torch.from_numpy(sample.values)
            return torch.zeros((-(-size[0] // 8), -(-size[1] // 8), layers[number].outputs))

        given = [torch.from_numpy(a[None].astype(np.float64)) for a in (sample.prediction, sample.difference)]
        values = torch.from_numpy(sample.values[None].astype(np.float64))
        with torch.no_grad():
            made = synthesis.run(values, [sample.row], *given)[0].numpy()
        flags = np.full((*sample.counts.shape, 1), 127, np.uint8)
        inputs = [torch.from_numpy(a) for a in (sample.prediction, sample.difference, flags)]
        assert (made == reference.run(inputs, size, sample.row, code=code)[0].numpy()).all()


def test_gradients_reach_every_bias() -> None:
    synthesis = Synthesis(model().programs.programs["predicted"])
    cost, _ = tuning.costs(synthesis, [s for s in collected() if s.counts.any()][:2], soft=True)
    cost.sum().backward()
    for name, bias in synthesis.parameters.items():
        assert bias.grad is not None and bias.grad.isfinite().all() and bias.grad.any(), name


@pytest.mark.slow
def test_tuning_lowers_what_it_is_tuned_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tuning, "RATE", 0.04)  # thirty steps at the usual rate change little
    samples = collected()
    synthesis = Synthesis(model().programs.programs["predicted"])
    before = tuning.judged(synthesis, samples)
    said: list[str] = []
    wanted = AdaptSettings((), Path("unused"), max_steps=30, threads=1)
    adapt._tune(synthesis, samples, wanted, time.monotonic(), lambda event, **_: said.append(event))
    changes = synthesis.changes()
    assert said[0] == "stage" and any(c.any() for c in changes.values())
    # what is rounded for the file is what is judged
    assert tuning.judged(synthesis, samples) < before


def adapted(folder: Path, *videos: Path, **more: Any) -> tuple[AdaptSettings, list[tuple[str, dict[str, Any]]]]:
    usual = {"model": "small", "max_steps": 4, "threads": 1}
    wanted = AdaptSettings(videos, folder / "camera7.safetensors", **{**usual, **more})
    said: list[tuple[str, dict[str, Any]]] = []
    adapt.adapt(wanted, lambda event, **fields: said.append((event, fields)))
    return wanted, said


@pytest.mark.slow
def test_a_delta_is_a_model(installed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    judged = itertools.cycle([1.0, 0.9])  # four steps gain nothing, and change nothing at the usual rate
    monkeypatch.setattr(adapt, "judged", lambda *_: next(judged))
    monkeypatch.setattr(tuning, "RATE", 4.0)
    wanted, said = adapted(tmp_path, film(tmp_path / "a.mkv", frames=18))
    done = said[-1][1]
    assert [e for e, _ in said if e != "step"] == ["stage", "stage", "done"] and done["error"] == -10
    assert done["bytes"] == wanted.out.stat().st_size < 100_000
    used = load_model(wanted.out)
    assert (used.id, used.sha256) == ("camera7", inspect(wanted.out).sha256)
    assert used.sha256 == hashlib.sha256(store.contents(inspect(wanted.out))).digest() != model().sha256
    # only the layers behind the latents differ, and what they compute stays as much work
    for name, program in model().programs.programs.items():
        mine = used.programs.programs[name]
        assert mine.macs() == program.macs() and mine.tensors == program.tensors
        changed = [
            i for i, (a, b) in enumerate(zip(mine.layers, program.layers, strict=True))
            if any((v.bias != w.bias).any() for v, w in zip(a.parts, b.parts, strict=True))
        ]  # fmt: skip
        last = max((i for i, layer in enumerate(program.layers) if layer.op == p.CODE), default=0)
        assert bool(changed) == (name == "predicted") and all(i > last for i in changed)
    frames = [frame(n, 64, 80, shift=n) for n in range(5)]
    clips = written(list(encode(iter(frames), video(64, 80), used, EncodeSettings(threads=1))))
    assert len(list(decode(iter(clips), descriptor(64, 80, used), used))) == 5
    # the same again gives the same bytes
    before = wanted.out.read_bytes()
    assert adapted(tmp_path, tmp_path / "a.mkv")[0].out.read_bytes() == before


def test_what_cannot_be_adapted(installed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    still = film(tmp_path / "still.mkv", frames=1)
    with pytest.raises(MediaError, match="too little changes"):
        adapted(tmp_path, still)
    with pytest.raises(UsageError, match="256 letters"):
        adapted(tmp_path, still, name="x" * 256)
    with pytest.raises(MediaError, match="no such file"):
        adapted(tmp_path, tmp_path / "none.mkv")
    monkeypatch.setattr(adapt, "judged", lambda *_: 1.0)
    with pytest.raises(MediaError, match="gains nothing"):
        adapted(tmp_path, film(tmp_path / "a.mkv", frames=18))
    assert {f.suffix for f in tmp_path.iterdir() if f.is_file()} == {".mkv"}
    delta = tmp_path / "delta.safetensors"
    write_delta(delta, "d", model_file().read_bytes(), {}, {})
    with pytest.raises(UnsupportedError, match="is a delta"):
        adapted(tmp_path, still, model=delta)
