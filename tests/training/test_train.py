"""`lvc train` on a few synthetic clips: it starts, stops, goes on, survives NaN, and what it saves codes a clip."""

from __future__ import annotations

import functools
import json
import math
import random
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch
from clips import Clip
from safetensors.torch import load_file
from small_models import SMALL, frame, video

from lvc.codec import EncodeSettings, decode, encode
from lvc.errors import MediaError, UnsupportedError, UsageError
from lvc.lvz import VideoDescriptor
from lvc.models import load_model
from lvc.training import loop, state
from lvc.training.data import open_cache
from lvc.training.loop import Trainer, train
from lvc.training.sampler import Sampler
from lvc.training.settings import TrainSettings


def photo(path: Path, side: int = 96) -> None:
    rng = np.random.default_rng(side)
    y, x = np.mgrid[0:side, 0:side]
    image = np.stack([x * 2, y * 2, x + y], -1) + rng.integers(0, 20, (side, side, 1))
    encoder = av.CodecContext.create("png", "w")
    encoder.width = encoder.height = side
    encoder.pix_fmt = "rgb24"
    encoder.time_base = Fraction(1, 25)
    shown = av.VideoFrame.from_ndarray(image.clip(0, 255).astype(np.uint8), "rgb24")
    path.write_bytes(b"".join(bytes(p) for p in [*encoder.encode(shown), *encoder.encode(None)]))


@pytest.fixture(scope="session")
def footage(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("footage")
    Clip(size=(96, 80), frames=8).write(folder / "a.mp4")
    Clip(size=(64, 64), frames=5).write(folder / "b.mp4")
    photo(folder / "c.png")
    photo(folder / "d.png", 130)
    return folder


@pytest.fixture(scope="session")
def cache(footage: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A work folder whose frame cache is full."""
    work = tmp_path_factory.mktemp("cached")
    assert len(open_cache((footage,), work / "cache", 432, 120, 0, print)) == 4
    return work


@pytest.fixture(autouse=True)
def few_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tables are counted on a handful of frames."""
    monkeypatch.setattr(loop, "count_symbols", functools.partial(loop.count_symbols, frames=3, draws=2))


@pytest.fixture
def settings(footage: Path, cache: Path, tmp_path: Path) -> TrainSettings:
    work = tmp_path / "work"
    work.mkdir()
    (work / "cache").symlink_to(cache / "cache")
    return TrainSettings(
        data=(footage,), out=tmp_path / "out.safetensors", work=work, minutes=10, batch=2, crop=64, groups=2, chain=4,
        log_every=1, max_steps=6, threads=1, config=SMALL,
    )  # fmt: skip


def lines(settings: TrainSettings) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (settings.work / "log.jsonl").read_text().splitlines()]


def metadata(path: Path) -> dict[str, str]:
    data = path.read_bytes()
    found: dict[str, str] = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])["__metadata__"]
    return found


def test_a_run_logs_json_and_its_model_codes_a_clip(settings: TrainSettings) -> None:
    told: list[dict[str, Any]] = []
    assert train(replace(settings, max_steps=9), told.append) == settings.out
    assert told == lines(settings)
    assert [line["event"] for line in told] == ["data", "pca", "pca"] + ["step"] * 9 + ["done"]
    steps = [line for line in told if line["event"] == "step"]
    assert [line["step"] for line in steps] == list(range(1, 10))
    assert all(math.isfinite(v) for line in steps for v in line.values() if isinstance(v, float))
    assert any("p_psnr" in line for line in steps) and any("i_bpp" in line for line in steps)
    assert steps[-1]["minutes_left"] <= 10 and steps[-1]["dropped"] == 0
    assert told[1]["variance_kept"] > 0.8
    assert not list(settings.work.glob("*.part")) and not list(settings.out.parent.glob("*.part"))

    model = load_model(settings.out, dtype=torch.float32)
    assert model.config == SMALL and metadata(settings.out)["step"] == "9"
    frames = [frame(n, 48, 64, shift=n) for n in range(4)]
    clips = list(encode(iter(frames), video(48, 64), model, EncodeSettings(quality=90)))
    described = VideoDescriptor(**vars(video(48, 64)), planes=model.planes, packing=5)
    shown = list(decode(iter(clips), described, model))
    errors = [float(((a.y.astype(float) - b.y) ** 2).mean()) for a, b in zip(frames, shown, strict=True)]
    assert len(shown) == 4 and max(errors) < 0.6 * float(frames[0].y.var())


def test_training_goes_on_where_it_was(settings: TrainSettings) -> None:
    train(replace(settings, max_steps=3))
    before = load_file(settings.work / "state.safetensors")
    told: list[dict[str, Any]] = []
    train(settings, told.append)
    assert {"event": "resumed", "step": 3} == {k: v for k, v in told[3].items() if k != "minutes"}
    assert [line["step"] for line in told if line["event"] == "step"] == [4, 5, 6]
    assert metadata(settings.out)["step"] == "6"
    after = load_file(settings.work / "state.safetensors")
    assert before.keys() == after.keys()
    assert any(k.startswith("optimizer.0.") for k in after) and any(k.startswith("optimizer.1.") for k in after)
    assert float(max(v for k, v in after.items() if k.endswith(".step"))) <= 6
    # and once it is done, a resumed run changes nothing
    train(settings)
    assert all(torch.equal(v, after[k]) for k, v in load_file(settings.work / "state.safetensors").items())


def test_resuming_restores_everything(settings: TrainSettings, cache: Path) -> None:
    train(replace(settings, max_steps=4))
    clips = open_cache(settings.data, settings.work / "cache", 432, 120, 0, print)
    trainer = Trainer(settings, clips, lambda line: None)
    assert trainer.resume() and trainer.step == 4 and trainer.seconds > 0
    trainer.save()
    again = Trainer(settings, clips, lambda line: None)
    assert again.resume()
    for a, b in zip(trainer.optimizers, again.optimizers, strict=True):
        for x, y in zip(a.state_dict()["state"].values(), b.state_dict()["state"].values(), strict=True):
            assert x.keys() == y.keys()
            assert all(torch.equal(torch.as_tensor(x[k]), torch.as_tensor(y[k])) for k in x)
    for x, y in zip(trainer.model.parameters(), again.model.parameters(), strict=True):
        assert torch.equal(x, y)
    assert trainer.train_step()


def test_an_interrupt_saves(settings: TrainSettings) -> None:
    def stop(line: dict[str, Any]) -> None:
        if line.get("step") == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(settings, stop)
    assert metadata(settings.out)["step"] == "2"
    told: list[dict[str, Any]] = []
    train(replace(settings, max_steps=3), told.append)
    assert [line["step"] for line in told if line["event"] == "step"] == [3]


def test_a_kill_while_saving_leaves_the_last_checkpoint(
    settings: TrainSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    train(replace(settings, max_steps=1))
    kept = settings.out.read_bytes(), (settings.work / "state.safetensors").read_bytes()

    def half(tensors: Any, path: Path, meta: Any) -> None:
        Path(path).write_bytes(kept[0][:1000])
        raise OSError("killed")

    with monkeypatch.context() as patch:
        patch.setattr(state, "save_file", half)
        with pytest.raises(OSError, match="killed"):
            train(replace(settings, max_steps=2))
    assert kept == (settings.out.read_bytes(), (settings.work / "state.safetensors").read_bytes())
    train(replace(settings, max_steps=2))
    assert metadata(settings.out)["step"] == "2"


def test_nan_never_reaches_a_file(settings: TrainSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    original, calls = loop.forward, 0

    def poisoned(*arguments: Any) -> Any:
        nonlocal calls
        calls += 1
        result = original(*arguments)
        if calls % 3 == 2:
            result.loss = result.loss * float("nan")
        elif calls % 3 == 0:
            result.recon = result.recon * float("inf")
        return result

    monkeypatch.setattr(loop, "forward", poisoned)
    told: list[dict[str, Any]] = []
    train(settings, told.append)
    assert told[-2]["dropped"] == 4
    for path in (settings.out, settings.work / "state.safetensors"):
        assert all(bool(torch.isfinite(v.float()).all()) for v in load_file(path).values())
    load_model(settings.out)


def test_dropped_steps_change_no_weight(settings: TrainSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    original = loop.forward

    def poisoned(*arguments: Any) -> Any:
        result = original(*arguments)
        result.loss = result.loss * float("nan")
        return result

    clips = open_cache(settings.data, settings.work / "cache", 432, 120, 0, print)
    trainer = Trainer(settings, clips, lambda line: None)
    assert trainer.train_step()
    before = [p.detach().clone() for p in trainer.model.parameters()]
    with monkeypatch.context() as patch:
        patch.setattr(loop, "forward", poisoned)
        assert [trainer.train_step() for _ in range(3)] == [False] * 3
    assert all(torch.equal(a, b) for a, b in zip(before, trainer.model.parameters(), strict=True))
    assert trainer.train_step()


def test_weights_that_are_nan_are_not_saved(settings: TrainSettings) -> None:
    train(replace(settings, max_steps=1))
    kept = settings.out.read_bytes(), (settings.work / "state.safetensors").read_bytes()
    clips = open_cache(settings.data, settings.work / "cache", 432, 120, 0, print)
    trainer = Trainer(settings, clips, lambda line: None)
    next(trainer.model.parameters()).data.view(-1)[0] = float("nan")
    with pytest.raises(FloatingPointError):
        trainer.save()
    assert kept == (settings.out.read_bytes(), (settings.work / "state.safetensors").read_bytes())


def test_a_state_that_does_not_fit_is_named(settings: TrainSettings) -> None:
    train(replace(settings, max_steps=1))
    with pytest.raises(UsageError, match="another model configuration"):
        train(replace(settings, config=replace(SMALL, latent=48)))
    told: list[dict[str, Any]] = []
    train(replace(settings, config=replace(SMALL, latent=48), resume=False, max_steps=1), told.append)
    assert "resumed" not in [line["event"] for line in told]
    (settings.work / "state.safetensors").write_bytes(b"nonsense")
    with pytest.raises(UsageError, match="state"):
        train(settings)


def test_starting_from_a_checkpoint(settings: TrainSettings, tmp_path: Path) -> None:
    train(replace(settings, max_steps=1))
    first = load_file(settings.out)
    other = replace(settings, init=settings.out, out=tmp_path / "b.safetensors", resume=False, max_steps=0)
    train(other)
    second = load_file(other.out)
    assert all(torch.equal(first[k], second[k]) for k in first)
    (tmp_path / "bad.safetensors").write_bytes(b"nonsense")
    for wrong, error in (("bad.safetensors", UnsupportedError), ("none.safetensors", MediaError)):
        with pytest.raises(error):
            train(replace(other, init=tmp_path / wrong))
    with pytest.raises(UnsupportedError):
        train(replace(other, config=replace(SMALL, latent=48)))


def test_time_is_the_budget(settings: TrainSettings) -> None:
    told: list[dict[str, Any]] = []
    train(replace(settings, minutes=0.001, max_steps=None), told.append)
    assert told[-1]["event"] == "done" and metadata(settings.out)["final"] == "True"
    steps = told[-1]["step"]
    told.clear()
    train(replace(settings, minutes=0.001, max_steps=None), told.append)
    assert told[-1]["step"] == steps


def test_chains_longer_than_any_clip_end_with_it(settings: TrainSettings) -> None:
    """Photographs make 20 frames; a chain of 32 must not be looked for forever."""
    clips = open_cache(settings.data, settings.work / "cache", 432, 120, 0, print)
    longest = max(len(c.y) for c in clips)
    sampler = Sampler(clips, settings, random.Random(0))
    for length in (longest, longest + 1, 1000):
        streams = sampler.streams(length)
        assert len(streams) == settings.batch
        assert all(3 <= len(list(s)) <= longest for s in streams)


def test_no_clip_large_enough_is_named(settings: TrainSettings) -> None:
    with pytest.raises(UsageError, match="crop"):
        train(replace(settings, crop=192))


def test_equal_seeds_train_equally(settings: TrainSettings, tmp_path: Path) -> None:
    outs = []
    for name in ("x", "y"):
        one = replace(settings, out=tmp_path / f"{name}.safetensors", resume=False, max_steps=2)
        train(one)
        outs.append(load_file(one.out))
    assert all(torch.equal(outs[0][k], outs[1][k]) for k in outs[0])
    assert functools.reduce(max, (float(v.abs().max()) for k, v in outs[0].items() if "tables" not in k)) < 1e3


@pytest.mark.parametrize("part", ["intra", "inter"])
def test_the_other_half_stays_as_it_is(settings: TrainSettings, tmp_path: Path, part: str) -> None:
    train(replace(settings, max_steps=2))
    first = load_file(settings.out)
    told: list[dict[str, Any]] = []
    one = replace(settings, init=settings.out, out=tmp_path / "half.safetensors", part=part, resume=False)
    train(one, told.append)
    second = load_file(one.out)
    changed = {k.split(".")[0] for k in first if not k.startswith("tables.") and not torch.equal(first[k], second[k])}
    assert changed == {part}
    steps = [line for line in told if line["event"] == "step"]
    assert len(steps) == 6 and all(("p_loss" in line) is (part == "inter") for line in steps[2:4])
