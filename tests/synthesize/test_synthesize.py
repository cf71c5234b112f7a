"""Samples, walks and variations out of a small VAE that is made here, untrained but for its principal components."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save

from lvc.errors import LvcError, MediaError, OutputExistsError, UnsupportedError, UsageError
from lvc.files import encode_file
from lvc.models.autoencoder import Architecture, AutoEncoder, Prior, about
from lvc.synthesize import synthesize_file
from lvc.synthesize.latents import between, drawn
from tests.helpers.small_footage import film

A = Architecture(channels=6, stride=8, frames=1, width=8, blocks=1)


def model(folder: Path, family: str = "vae", architecture: Architecture = A) -> Path:
    """The principal components of noise that is alike in neighbours."""
    torch.manual_seed(0)
    net = AutoEncoder(architecture, family == "vae")
    generator = torch.Generator().manual_seed(1)
    rows = torch.randn(600, architecture.values, generator=generator).cumsum(1) / 10
    net.start_linear(rows)
    tensors = dict(net.state_dict())
    if family == "vae":
        c = architecture.channels
        tensors |= Prior(torch.zeros(c), torch.eye(c), torch.linspace(0, 0.9, c)).tensors()
    path = folder / f"{family}.safetensors"
    path.write_bytes(
        save({k: v.half().contiguous() for k, v in tensors.items()}, about(family, family, None, architecture, {}))
    )
    return path


def frames_of(path: Path) -> list[np.ndarray]:
    with av.open(str(path)) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


def test_samples_are_the_same_for_a_seed(tmp_path: Path) -> None:
    vae = model(tmp_path)
    pages = []
    for number, seed in enumerate((3, 3, 4)):
        result = synthesize_file(vae, tmp_path / f"{number}.png", count=4, size=(40, 24), seed=seed)
        assert (result.width, result.height, result.frames) == (3 * 44 + 4, 2 * 28 + 4, 1)
        pages.append(np.asarray(Image.open(tmp_path / f"{number}.png")))
    assert np.array_equal(pages[0], pages[1]) and not np.array_equal(pages[0], pages[2])
    synthesize_file(vae, tmp_path / "n.jpg", count=4, size=(40, 24))
    with Image.open(tmp_path / "n.jpg") as picture:
        assert picture.format == "JPEG" and picture.size == (3 * 44 + 4, 2 * 28 + 4)
    synthesize_file(vae, tmp_path / "n.png", count=4, size=(40, 24), seed=3, prior="normal")
    assert not np.array_equal(np.asarray(Image.open(tmp_path / "n.png")), pages[0])


def test_a_video_of_samples_ends_near_where_it_begins(tmp_path: Path) -> None:
    vae = model(tmp_path)
    result = synthesize_file(vae, tmp_path / "a.mkv", count=3, size=(48, 32), seconds=2, fps=15, codec="ffv1")
    frames = frames_of(tmp_path / "a.mkv")
    assert result.frames == len(frames) == 30 and frames[0].shape == (32, 48, 3) and result.duration == 2
    steps = [float(np.abs(a.astype(int) - b).mean()) for a, b in zip(frames, [*frames[1:], frames[0]], strict=True)]
    assert max(steps) < 4 * np.mean(steps)
    again = synthesize_file(vae, tmp_path / "b.mkv", count=3, size=(48, 32), seconds=2, fps=15, codec="ffv1")
    assert again.bytes_out == result.bytes_out and all(map(np.array_equal, frames, frames_of(tmp_path / "b.mkv")))


@pytest.mark.slow
def test_a_walk_goes_from_one_to_the_other(tmp_path: Path) -> None:
    vae = model(tmp_path)
    clip = film(tmp_path / "c.mkv", frames=10, side=64)
    encode_file(clip, tmp_path / "c.lvz", model=vae, quality=100, features=False, embed_model=True)
    walk = tmp_path / "w.mkv"
    first, last = tmp_path / "first.png", tmp_path / "last.png"
    synthesize_file(vae, walk, [f"{clip}@0", f"{tmp_path / 'c.lvz'}@0.36"], seconds=0.4, codec="ffv1")
    synthesize_file(vae, first, [f"{clip}@0"], strength=0)
    synthesize_file(vae, last, [f"{clip}@0.36"], strength=0)
    frames = frames_of(walk)
    assert len(frames) == 10 and frames[0].shape == (64, 64, 3)
    ends = [np.asarray(Image.open(p))[4:68, 72:136].astype(int) for p in (first, last)]
    far = [[float(np.abs(f - end).mean()) for f in frames] for end in ends]
    assert far[0][0] < 6 and far[1][-1] < 9  # through 4:2:0, the second also through a .lvz
    assert far[0][-1] > 2 * far[0][1] and far[1][0] > 2 * far[1][-2]
    # clips play meanwhile: the same clip twice is that clip
    synthesize_file(vae, walk, [clip, clip], seconds=0.4, codec="ffv1", force=True)
    played = frames_of(walk)
    assert np.abs(played[9].astype(int) - ends[1]).mean() < 6


@pytest.mark.slow
def test_variations_stand_beside_the_clip(tmp_path: Path) -> None:
    vae = model(tmp_path)
    clip = film(tmp_path / "c.mkv", frames=3, side=50)
    changes = []
    for strength in (0.0, 0.2, 0.9):
        result = synthesize_file(
            vae, tmp_path / "v.mkv", [clip], count=2, strength=strength, codec="ffv1", force=True, seed=5
        )
        frames = frames_of(tmp_path / "v.mkv")
        assert result.frames == len(frames) == 3 and frames[0].shape == (50, 150, 3)
        changes.append(float(np.abs(frames[0][:, :50].astype(int) - frames[0][:, 50:100]).mean()))
    assert changes[0] < changes[1] < changes[2]


@pytest.mark.slow
def test_frames_that_share_a_latent(tmp_path: Path) -> None:
    vae = model(tmp_path, architecture=Architecture(channels=6, stride=8, frames=3, width=8, blocks=0))
    clip = film(tmp_path / "c.mkv", frames=4, side=48)
    assert synthesize_file(vae, tmp_path / "a.mkv", [clip], codec="ffv1").frames == 4
    assert synthesize_file(vae, tmp_path / "b.mkv", [clip, f"{clip}@0"], seconds=0.4, codec="ffv1").frames == 10
    assert synthesize_file(vae, tmp_path / "c2.mkv", seconds=0.4, count=2, codec="ffv1").frames == 10


def test_between_keeps_to_the_sphere() -> None:
    prior = Prior(torch.ones(4), torch.eye(4), torch.zeros(4))
    generator = torch.Generator().manual_seed(0)
    one, other = (drawn(prior, 20, 20, generator) for _ in range(2))
    middle = between(prior, one, other, 0.5)
    assert float((middle - 1).norm()) == pytest.approx(float((one - 1).norm()), rel=0.1)
    assert float(((one + other) / 2 - 1).norm()) < 0.8 * float((one - 1).norm())
    for part, end in ((0.0, one), (1.0, other)):
        assert torch.allclose(between(prior, one, other, part), end, atol=1e-5)
    assert torch.allclose(between(prior, one, one, 0.3), one, atol=1e-5)


@pytest.mark.slow
def test_samples_are_like_what_the_prior_was_fitted_to() -> None:
    factor = torch.tensor([[2.0, 0.0], [1.0, 0.5]])
    prior = Prior(torch.tensor([3.0, -1.0]), factor, torch.tensor([0.9, 0.0]))
    found = drawn(prior, 300, 300, torch.Generator().manual_seed(0))
    assert torch.allclose(found.mean((1, 2)), prior.mean, atol=0.4)
    assert torch.allclose(torch.cov(found.flatten(1)), factor @ factor.T, atol=0.6)
    parts = torch.einsum("ij,jhw->ihw", torch.linalg.inv(factor), found - prior.mean[:, None, None])
    for moved in ((parts[..., 1:] * parts[..., :-1]), (parts[:, 1:] * parts[:, :-1])):
        assert torch.allclose(moved.mean((1, 2)), prior.correlation, atol=0.05)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("more", "sources", "error", "said"),
    [
        ({"count": 0}, [], UsageError, "the count is 0"),
        ({"size": (8, 40)}, [], UsageError, "the size is 8x40"),
        ({"size": (40, 5000)}, [], UsageError, "the size is 40x5000"),
        ({"seconds": 0}, [], UsageError, "a walk takes up to"),
        ({"strength": 2}, [], UsageError, "from 0 to 1"),
        ({"prior": "cauchy"}, [], UsageError, "no prior 'cauchy'"),
        ({}, ["a", "b", "c"], UsageError, "at most two"),
        ({}, ["gone.mp4"], MediaError, "no such file"),
    ],
)
def test_what_does_not_fit(
    tmp_path: Path, more: dict[str, Any], sources: list[str], error: type[LvcError], said: str
) -> None:
    with pytest.raises(error, match=said):
        synthesize_file(model(tmp_path), tmp_path / "out.png", sources, **more)
    assert not (tmp_path / "out.png").exists()


@pytest.mark.slow
def test_models_and_outputs_are_checked(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedError, match="of the family ae"):
        synthesize_file(model(tmp_path, "ae"), tmp_path / "out.png")
    vae = model(tmp_path)
    with pytest.raises(UnsupportedError, match="of the family codec"):
        synthesize_file("default", tmp_path / "out.png")
    with pytest.raises(UsageError, match="no such model"):
        synthesize_file("gone", tmp_path / "out.png")
    (tmp_path / "out.png").write_bytes(b"mine")
    with pytest.raises(OutputExistsError):
        synthesize_file(vae, tmp_path / "out.png")
    clip = film(tmp_path / "c.mkv", frames=2, side=48)
    with pytest.raises(MediaError, match="after the end"):
        synthesize_file(vae, tmp_path / "x.png", [f"{clip}@9"])
    before = clip.read_bytes()
    with pytest.raises(LvcError):
        synthesize_file(vae, clip, [clip], force=True)
    assert clip.read_bytes() == before


@pytest.mark.slow
def test_the_command(tmp_path: Path) -> None:
    vae = model(tmp_path)

    def run(*words: object) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "lvc", "synthesize", *map(str, words)]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)

    done = run(vae, "out.png", "--count", 2, "--size", "32x32", "--seed", 9, "--json")
    assert done.returncode == 0, done.stderr
    event = json.loads(done.stdout.splitlines()[-1])
    assert event["event"] == "done" and event["model"] == "vae:vae" and event["seed"] == 9
    schema = json.loads((Path(__file__).resolve().parents[2] / "docs" / "events.schema.json").read_text("utf-8"))
    pytest.importorskip("jsonschema").Draft202012Validator(schema).validate(event)
    assert run(vae, "out.png").returncode == 6
    assert run(vae).returncode == 2 and run(vae, "b.png", "--size", "big").returncode == 2
