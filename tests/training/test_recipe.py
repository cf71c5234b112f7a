"""`lvc train` in seconds: from pictures and videos made here to a model that encodes; and what it says of bad data."""

from __future__ import annotations

import json
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from small_models import frame, video

from lvc.codec import EncodeSettings, decode, encode
from lvc.errors import LvcError, MediaError, UnsupportedError, UsageError
from lvc.lvz import Clip, VideoDescriptor
from lvc.models import load_model
from lvc.training import recipe
from lvc.training.settings import TrainSettings


def film(path: Path, frames: int = 18, side: int = 96) -> Path:
    with av.open(str(path), "w") as out:
        stream = out.add_stream("ffv1", rate=Fraction(25))
        stream.width = stream.height = side
        stream.pix_fmt = "yuv420p"
        for n in range(frames):
            f = frame(n, side, side, shift=n)
            planes = np.concatenate([f.y.ravel(), f.u.ravel(), f.v.ravel()]).reshape(-1, side)
            out.mux(stream.encode(av.VideoFrame.from_ndarray(planes, "yuv420p")))
        out.mux(stream.encode(None))
    return path


def photo(path: Path, side: int = 128) -> Path:
    f = frame(0, side, side, seed=3)
    av.VideoFrame.from_ndarray(np.repeat(f.y[:, :, None], 3, 2), "rgb24").to_image().save(path)
    return path


def settings(folder: Path, *data: Path, **more: Any) -> TrainSettings:
    usual = {"max_steps": 2, "batch": 1, "crop": 64, "threads": 1}
    return TrainSettings(data or (folder,), folder / "m.safetensors", folder / "m.work", **{**usual, **more})


def trained(wanted: TrainSettings) -> list[tuple[str, dict[str, Any]]]:
    said: list[tuple[str, dict[str, Any]]] = []
    recipe.train(wanted, lambda event, **fields: said.append((event, fields)))
    return said


@pytest.mark.slow
def test_from_footage_to_a_model_that_encodes(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    film(data / "a.mkv")
    photo(data / "b.png")
    wanted = settings(tmp_path, data, name="mine")
    said = trained(wanted)
    assert [e for e, _ in said][-1] == "done" and {"stage", "data", "step"} <= {e for e, _ in said}
    stages = [f["stage"] for e, f in said if e == "stage"]
    assert stages == [
        "reading stills", "reading clips", "intra", "inter", "intra", "calibrating intra", "inter", "calibrating inter",
        "export",
    ]  # fmt: skip
    model = load_model(wanted.out)
    assert model.id == "mine" and model.can_encode and wanted.out.stat().st_mode & 0o044 == 0o044
    frames = [frame(n, 64, 80, shift=n) for n in range(6)]
    coded = list(encode(iter(frames), video(64, 80), model, EncodeSettings()))
    clips = [Clip(c.pts[0], c.key, c.pts, c.durations, None, c.payload, c.checks, 32) for c in coded]
    described = VideoDescriptor(**vars(video(64, 80)), planes=model.planes, packing=5, checks=True)
    shown = list(decode(iter(clips), described, model))
    assert all(np.abs(a.y.astype(int) - b.y).mean() < 30 for a, b in zip(shown, frames, strict=True))

    # what is done is done; more steps go on from the weights that are kept
    again = trained(wanted)
    assert [f["stage"] for e, f in again if e == "stage"] == ["export"] and not [e for e, _ in again if e == "data"]
    weights = wanted.out.with_suffix(".weights.safetensors")
    other = tmp_path / "other"
    other.mkdir()
    trained(replace(settings(other, data, start=weights), max_steps=1))
    before, after = load_file(weights), load_file(other / "m.weights.safetensors")
    assert before.keys() == after.keys()
    moved = [float((before[k].float() - after[k].float()).abs().max()) for k in before]
    assert 0 < max(moved) < 0.1


@pytest.mark.slow
def test_a_stage_that_was_killed_goes_on(tmp_path: Path) -> None:
    film(tmp_path / "a.mkv")
    wanted = settings(tmp_path, tmp_path / "a.mkv")
    steps = 0

    def killing(event: str, **fields: Any) -> None:
        nonlocal steps
        steps += event == "step"
        if event == "stage" and fields["stage"] == "inter" and not fields["quantised"]:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        recipe.train(wanted, killing)
    assert not wanted.out.exists() and (wanted.work / "intra.done").exists()
    stages = [f["stage"] for e, f in trained(wanted) if e == "stage"]
    assert stages[0] == "inter" and wanted.out.exists()
    assert json.loads((wanted.work / "sources.json").read_text())[-1] == 64


@pytest.mark.parametrize(
    ("make", "error", "said"),
    [
        (lambda d: d.rmdir(), MediaError, "no such file or folder"),
        (lambda d: (d / "a.txt").write_text("no"), UsageError, "holds no video or photograph"),
        (lambda d: (d / "a.mp4").write_bytes(b"no video"), UsageError, "no picture is 64 samples"),
        (lambda d: film(d / "a.mkv", side=48), UsageError, "no picture is 64 samples"),
        (lambda d: film(d / "a.mkv", frames=3), UsageError, "no clip of 9 frames"),
        (lambda d: photo(d / "a.png", side=48), UsageError, "no picture is 64 samples"),
    ],
)
def test_data_that_nothing_can_be_learnt_from(tmp_path: Path, make: Any, error: type[LvcError], said: str) -> None:
    data = tmp_path / "data"
    data.mkdir()
    make(data)
    with pytest.raises(error, match=said):
        trained(settings(tmp_path, data))
    assert not (tmp_path / "m.safetensors").exists()


def test_weights_and_settings_are_checked_first(tmp_path: Path) -> None:
    film(tmp_path / "a.mkv")
    save_file({"intra.x": torch.zeros(3)}, tmp_path / "w.safetensors")
    (tmp_path / "v.safetensors").write_bytes(b"no")
    for name in ("w", "v"):
        with pytest.raises(UnsupportedError, match="weights"):
            trained(settings(tmp_path, start=tmp_path / f"{name}.safetensors"))
    with pytest.raises(MediaError, match="no such file"):
        trained(settings(tmp_path, start=tmp_path / "gone.safetensors"))
    with pytest.raises(UsageError, match="multiple of 64"):
        trained(settings(tmp_path, crop=100))
    assert not (tmp_path / "m.work").exists()
