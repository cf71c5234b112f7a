"""Auto-encoders from `lvc train --family ae|vae|gan` in a few steps, to files and back; killed and gone on with."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from lvc.errors import LvcError, MediaError, UnsupportedError, UsageError
from lvc.facts import info_file, verify_file
from lvc.files import decode_frames, encode_file
from lvc.media import Frame, MediaReader
from lvc.models import autoencoder
from lvc.training import footage, recipe, stills
from lvc.training.auto import Crops
from lvc.training.loss import parse_terms, picture_loss
from lvc.training.settings import AutoSettings, TrainSettings
from tests.helpers.small_footage import film, photo

SMALL = {"channels": 8, "width": 8, "blocks": 1}
FAMILIES = "ae", "vae", "gan"


def trained(folder: Path, family: str, *, start: Path | None = None, **more: Any) -> list[tuple[str, dict[str, Any]]]:
    auto = {} if start else {**SMALL, **{k: more.pop(k) for k in ("frames", "stride", "loss", "kl") if k in more}}
    usual = {"max_steps": 2, "batch": 2, "crop": 64, "threads": 1, "auto": AutoSettings(**auto)}
    said: list[tuple[str, dict[str, Any]]] = []
    wanted = TrainSettings(
        (folder / "data",), folder / f"{family}.safetensors", folder / f"{family}.work", family=family, start=start,
        **{**usual, **more},
    )  # fmt: skip
    recipe.train(wanted, lambda event, **fields: said.append((event, fields)))
    return said


@pytest.fixture
def data(tmp_path: Path) -> Path:
    (tmp_path / "data").mkdir()
    film(tmp_path / "data" / "a.mkv")
    photo(tmp_path / "data" / "b.png")
    return tmp_path


def decibels(source: Path, frames: list[Frame]) -> float:
    with MediaReader(str(source), audio="none") as reader:
        items = [item for item in reader if isinstance(item, Frame)]
    error = np.mean([(a.y.astype(float) - b.y) ** 2 for a, b in zip(items, frames, strict=True)])
    return float(10 * np.log10(255**2 / error))


@pytest.mark.slow
def test_every_family_from_footage_to_a_file_and_back(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    film(clip := data / "clip.mkv", frames=5, side=72)
    for family in FAMILIES:
        start = data / "vae.safetensors" if family == "gan" else None
        said = trained(data, family, start=start, name=f"my {family}")
        assert [(f["phase"], f.get("stage")) for e, f in said if e == "stage"] == [
            ("looking for footage", None), ("reading data", "stills"), ("training", family), ("exporting", None),
        ]  # fmt: skip
        lines = [json.loads(line) for line in (data / f"{family}.log.jsonl").read_text().splitlines()]
        assert lines[-1]["event"] == "done" and (data / f"{family}.png").read_bytes()[1:4] == b"PNG"
        model = data / f"{family}.safetensors"
        found = autoencoder.read(model.read_bytes(), "it")
        assert (found.name, found.family) == (f"my {family}", family)
        assert found.net.variational == (found.prior is not None) == (family != "ae")
        out = data / f"{family}.lvz"
        encode_file(clip, out, model=model, quality=80, features=False, embed_model=family == "vae")
        values = info_file(out).values
        assert values["model"] == f"{family}:my {family}" and values["same_pixels"] is False
        assert verify_file(out, full=True).values["decoded"] == 5
        named = list(decode_frames(out, model=model))
        # untrained networks are principal components of the same footage: 8 of 192 show it already
        assert decibels(clip, named) > 20
        if family == "vae":  # it is in the file
            assert all(np.array_equal(a.y, b.y) for a, b in zip(named, decode_frames(out), strict=True))
            continue
        with pytest.raises(UnsupportedError, match="LVC_MODELS"):
            next(decode_frames(out))
        monkeypatch.setenv("LVC_MODELS", str(data))
        assert np.array_equal(next(decode_frames(out)).y, named[0].y)
        monkeypatch.delenv("LVC_MODELS")
        with pytest.raises(UnsupportedError, match="other weights"):
            other = "vae" if family == "gan" else "ae2"
            shutil.copy(model, data / "ae2.safetensors")
            if family == "ae":
                (data / "ae2.safetensors").write_bytes(model.read_bytes().replace(b"my ae", b"no ae"))
            next(decode_frames(out, model=data / f"{other}.safetensors"))


@pytest.mark.slow
def test_frames_that_share_a_latent(data: Path) -> None:
    trained(data, "ae", frames=4)
    film(clip := data / "clip.mkv", frames=6, side=64)
    encode_file(clip, data / "x.lvz", model=data / "ae.safetensors", quality=80, features=False)
    frames = list(decode_frames(data / "x.lvz", model=data / "ae.safetensors"))
    assert len(frames) == 6 and decibels(clip, frames) > 15


@pytest.mark.slow
def test_large_strides_have_no_linear_path(data: Path) -> None:
    trained(data, "vae", stride=32, loss="l1,ms-ssim=0.1")
    net = autoencoder.read((data / "vae.safetensors").read_bytes(), "it").net
    assert net.encoder_linear is None and net.decode(torch.zeros(1, 8, 2, 3)).shape == (1, 3, 64, 96)
    film(clip := data / "clip.mkv", frames=2, side=80)
    encode_file(clip, data / "x.lvz", model=data / "vae.safetensors", features=False)
    assert next(decode_frames(data / "x.lvz", model=data / "vae.safetensors")).y.shape == (80, 80)


def steps(text: str) -> dict[int, dict[str, float]]:
    lines = [json.loads(line) for line in text.splitlines() if line.startswith('{"step"')]
    return {s["step"]: {k: v for k, v in s.items() if k not in ("minutes", "mpixels", "minutes_left")} for s in lines}


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_killed_it_goes_on_with_the_same_losses_to_the_bit(data: Path, family: str) -> None:
    stills.build([data / "data" / "a.mkv"], data / "s", 64, print, 1 << 30)
    command = [sys.executable, "-m", "lvc.training.auto", str(data / "s"), "--family", family, "--max-steps", "7"]
    command += ["--crop", "64", "--batch", "2", "--threads", "1", "--repeatable", "--report", "0", "--save", "0"]
    command += ["--loss", "mse=1,l1=0.1,ssim=0.1", "--architecture", json.dumps({"stride": 8, "frames": 1, **SMALL})]
    if family == "gan":
        trained(data, "vae")
        command += ["--init", str(data / "vae.safetensors")]

    def run(out: Path, kill_after: int | None = None) -> dict[int, dict[str, float]]:
        process = subprocess.Popen([*command[:4], str(out), *command[4:]], stdout=subprocess.PIPE, text=True)
        seen = ""
        assert process.stdout is not None
        for line in process.stdout:
            seen += line
            if kill_after is not None and f'"step": {kill_after},' in line:
                os.kill(process.pid, signal.SIGKILL)
                break
        process.stdout.close()
        assert process.wait() == (0 if kill_after is None else -signal.SIGKILL)
        return steps(seen)

    whole = run(data / "whole.pt")
    first = run(data / "killed.pt", kill_after=3)
    rest = run(data / "killed.pt")
    assert list(whole) == [1, 2, 3, 4, 5, 6, 7] and 2 <= min(rest) <= 5 and max(rest) == 7
    assert {**first, **rest} == whole
    assert len({json.dumps(s) for s in whole.values()}) == 7


@pytest.mark.parametrize(
    ("family", "more", "error", "said"),
    [
        ("vae", {"auto": AutoSettings(stride=12)}, UsageError, "stride is 12"),
        ("vae", {"auto": AutoSettings(channels=300)}, UsageError, "channels is 300"),
        ("vae", {"auto": AutoSettings(loss="mse=1,psnr=2")}, UsageError, "psnr=2"),
        ("vae", {"auto": AutoSettings(loss="mse=0")}, UsageError, "no weight above 0"),
        ("vae", {"auto": AutoSettings(adversarial=1.0)}, UsageError, "--adversarial is a weight of the family gan"),
        ("ae", {"auto": AutoSettings(kl=1.0)}, UsageError, "--kl is a weight of the family vae"),
        ("ae", {"tune": "ssim"}, UsageError, "--tune and --recipe are for the codec"),
        ("ae", {"crop": 96}, UsageError, "multiple of 64"),
        ("gan", {}, UsageError, "begins with a model of the family ae or vae"),
        ("gan", {"start": Path("gone.safetensors")}, MediaError, "no such file"),
        ("other", {}, UsageError, "unknown family 'other'"),
    ],
)
def test_settings_that_do_not_fit(
    data: Path, family: str, more: dict[str, Any], error: type[LvcError], said: str
) -> None:
    with pytest.raises(error, match=said):
        trained(data, family, **{"auto": AutoSettings(), **more})
    assert not (data / f"{family}.work").exists() and not (data / f"{family}.safetensors").exists()


@pytest.mark.slow
def test_a_model_to_begin_with_is_of_the_right_family(data: Path) -> None:
    from tests.helpers.small_models import model_file

    with pytest.raises(UnsupportedError, match="of the family codec"):
        trained(data, "gan", start=model_file())
    trained(data, "ae")
    with pytest.raises(UsageError, match="is not of the family vae"):
        trained(data, "vae", start=data / "ae.safetensors")
    trained(data, "gan", start=data / "ae.safetensors")
    assert autoencoder.read((data / "gan.safetensors").read_bytes(), "it").prior is None


@pytest.mark.slow
def test_other_settings_do_not_go_on_from_a_state(data: Path) -> None:
    trained(data, "ae")
    with pytest.raises(UsageError, match="training with other settings"):
        trained(data, "ae", stride=16)
    codec = TrainSettings((data / "data",), data / "m.safetensors", data / "ae.work", max_steps=1)
    with pytest.raises(UsageError, match="training with other settings"):
        recipe.train(codec, lambda *_, **__: None)
    trained(data, "ae", stride=16, resume=False)
    assert autoencoder.read((data / "ae.safetensors").read_bytes(), "it").net.architecture.stride == 16


@pytest.mark.parametrize(
    ("make", "frames", "said"),
    [
        (lambda d: (d / "a.mp4").write_bytes(b"no video"), 1, "no picture is at least 64 samples"),
        (lambda d: film(d / "a.mkv", side=48), 1, "no picture is at least 64 samples"),
        (lambda d: film(d / "a.mkv", side=48), 2, "no clip of 9 frames or more is at least 64"),
        (lambda d: film(d / "a.mkv", frames=3), 2, "no clip of 9 frames"),
    ],
)
def test_data_that_nothing_can_be_learnt_from(tmp_path: Path, make: Any, frames: int, said: str) -> None:
    (tmp_path / "data").mkdir()
    make(tmp_path / "data")
    with pytest.raises(UsageError, match=said):
        trained(tmp_path, "ae", frames=frames)
    assert [p.name for p in tmp_path.iterdir()] == ["data"]


@pytest.mark.slow
def test_one_photograph_is_enough(tmp_path: Path) -> None:
    """A folder that the codec would refuse, for want of clips."""
    (tmp_path / "data").mkdir()
    photo(tmp_path / "data" / "a.png")
    (tmp_path / "data" / "broken.mp4").write_bytes(b"no video")
    said = trained(tmp_path, "ae")
    assert any("left out broken.mp4" in f.get("message", "") for _, f in said)
    assert (tmp_path / "ae.safetensors").exists()


def test_losses_are_what_they_are_called() -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(2, 3, 64, 64, generator=generator)
    planes = autoencoder.to_planes(x)
    assert torch.allclose(autoencoder.from_planes(planes), x, atol=1e-5)
    other = planes.clone()
    other[:, 0] += 0.1 * autoencoder.LUMA  # a tenth of luma's range
    terms = parse_terms("mse, l1=2,ssim=0,ms-ssim=0.5")
    assert terms == {"mse": 1.0, "l1": 2.0, "ssim": 0.0, "ms-ssim": 0.5}
    found = picture_loss(planes, other, terms)
    assert float(found["l1"]) == pytest.approx(0.1 * autoencoder.LUMA / 3, rel=1e-4)
    wanted = 0.01 * 6 / 8 + 2 * found["l1"] + 0.5 * found["ms-ssim"]
    assert float(found["loss"]) == pytest.approx(float(wanted), rel=1e-4)
    same = picture_loss(planes, planes, parse_terms("ssim,ms-ssim"))
    assert float(same["loss"]) == pytest.approx(0, abs=1e-5)


def test_crops_of_clips_hold_the_frames_of_a_latent(data: Path) -> None:
    footage.build([data / "data" / "a.mkv"], data / "c", 64, print, 1 << 30)
    taken = Crops(data / "c", 4).take(np.random.default_rng(0), 3, 64)
    assert taken.shape == (3, 12, 64, 64) and 0 <= float(taken.min()) < float(taken.max()) <= 1
    assert not torch.equal(taken[:, :3], taken[:, 3:6])


def test_a_prior_finds_the_part_that_neighbours_share() -> None:
    """Latents that are fields of known correlation, mixed."""
    from lvc.models.autoencoder import Architecture, AutoEncoder, Prior
    from lvc.synthesize.latents import drawn
    from lvc.training.auto import fitted_prior

    known = Prior(torch.tensor([1.0, 2.0, 0.0]), torch.tensor([[1.0, 1, 0], [0, 1, 1], [0.5, 0, 1]]), torch.zeros(3))
    known = Prior(known.mean, known.factor, torch.tensor([0.0, 0.5, 0.95]))
    generator = torch.Generator().manual_seed(0)

    class Net(AutoEncoder):
        def encode(self, pictures: torch.Tensor) -> tuple[torch.Tensor, None]:
            return torch.stack([drawn(known, 16, 16, generator) for _ in pictures]), None

    class Nothing(Crops):
        def __init__(self) -> None:
            pass

        def take(self, rng: np.random.Generator, count: int, side: int) -> torch.Tensor:
            return torch.zeros(count, 3, side, side)

    found = fitted_prior(Net(Architecture(channels=3, width=8, blocks=0), True), Nothing(), 128, 0)
    assert torch.allclose(found.correlation, known.correlation, atol=0.1)
    assert torch.allclose(found.mean, known.mean, atol=0.4)
    assert torch.allclose(found.factor @ found.factor.T, known.factor @ known.factor.T, atol=0.5)
