"""A video through somebody else's VAE and back: tiny random ones, and the real taef2 where its weights are."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from lvc.errors import LvcError, UnsupportedError, UsageError
from lvc.facts import verify_file
from lvc.files import decode_file, decode_frames, encode_file
from lvc.latents import LatentDataset
from lvc.latents.colour import to_frame, to_rgb
from lvc.lvz import LvzReader
from lvc.media import Frame
from lvc.models.adapters import load_adapter

DATA = Path(os.environ.get("LVC_DATA", Path(__file__).resolve().parents[3] / "shared" / "data"))
REAL = DATA / "pretrained" / "taef2_decoder.pth"


def tiny_taesd(folder: Path, seed: int = 0) -> str:
    """Weights of a TAESD of 4 channels at 1/4, as the real ones are laid out."""
    torch.manual_seed(seed)

    def convolution(name: str, outputs: int, inputs: int, bias: bool = True) -> dict[str, torch.Tensor]:
        layer = torch.nn.Conv2d(inputs, outputs, 3, bias=bias)
        return {f"{name}.{k}": v.detach() for k, v in layer.state_dict().items()}

    def block(number: int) -> dict[str, torch.Tensor]:
        return {k: v for i in (0, 2, 4) for k, v in convolution(f"{number}.conv.{i}", 8, 8).items()}

    encoder = {**convolution("0", 8, 3), **block(1), **convolution("2", 8, 8, False), **block(3),
               **convolution("4", 8, 8, False), **convolution("5", 4, 8)}  # fmt: skip
    decoder = {**convolution("1", 8, 4), **block(3), **convolution("5", 8, 8, False), **block(6),
               **convolution("8", 8, 8, False), **convolution("9", 3, 8)}  # fmt: skip
    for name, weights in (("encoder", encoder), ("decoder", decoder)):
        torch.save(weights, folder / f"tiny_{name}.pth")
    return f"taesd:{folder / 'tiny'}"


@pytest.mark.parametrize("packing", ["rans", "zstd"])
def test_taesd_and_back(tmp_path: Path, carphone: Path, packing: str) -> None:
    model = tiny_taesd(tmp_path)
    adapter = load_adapter(model)
    assert (adapter.channels, adapter.stride, adapter.id) == (4, 4, "taesd:tiny_decoder")
    path = tmp_path / "x.lvz"
    result = encode_file(carphone, path, model=model, duration=0.6, resolution="90x70", packing=packing, verify=True)
    assert result.verified and result.frames == 18 and result.model == "taesd:tiny_decoder"
    frames = list(decode_frames(path, model=model))
    assert [f.pts for f in frames] == sorted({f.pts for f in frames}) and len(frames) == 18
    assert frames[0].y.shape == (70, 90) and frames[0].u.shape == (35, 45)
    with path.open("rb") as file:
        reader = LvzReader(file)
        assert reader.tensors is not None and not reader.tensors.samples
    part = list(decode_frames(path, 0.5, model=model))
    assert len(part) == 3 and (part[-1].y == frames[-1].y).all()
    decode_file(path, tmp_path / "back.mkv", model=model, codec="ffv1")
    with pytest.raises(UnsupportedError, match="--model taesd:PATH"):
        next(decode_frames(path))
    other = tmp_path / "other"
    other.mkdir()
    with pytest.raises(UnsupportedError, match="other weights"):
        next(decode_frames(path, model=tiny_taesd(other, 1)))
    items = LatentDataset(path)
    assert len(items) == 2 and items[0]["latents"].shape == (4, 16, 18, 23)


def test_what_decodes_is_what_was_quantised(tmp_path: Path, carphone: Path) -> None:
    """At the finest quality the pictures are those of the adapter alone."""
    model = tiny_taesd(tmp_path)
    adapter = load_adapter(model)
    encode_file(carphone, tmp_path / "x.lvz", model=model, duration=0.2, resolution="64x48", quality=100)
    from lvc.media import MediaReader

    with MediaReader(carphone, resolution="64x48", duration=0.2, audio="none") as reader:
        source = [item for item in reader if isinstance(item, Frame)]
        colour = reader.video.matrix, reader.video.color_range
    for frame, found in zip(source, decode_frames(tmp_path / "x.lvz", model=model), strict=True):
        rgb = adapter.decode(adapter.encode(to_rgb(frame, *colour)[None]))[0]
        wanted = to_frame(rgb.detach(), *colour, 0, 1)
        assert np.abs(wanted.y.astype(int) - found.y).max() <= 2


@pytest.mark.parametrize("matrix", [1, 2, 9])
@pytest.mark.parametrize("color_range", [1, 2])
def test_colour_round_trip(matrix: int, color_range: int) -> None:
    rng = np.random.default_rng(0)
    coarse = rng.integers(40, 215, (3, 3, 4)).repeat(6, 1).repeat(6, 2)[:, :17, :23].astype(np.float32) / 255
    frame = to_frame(torch.from_numpy(coarse), matrix, color_range, 5, 1)
    again = to_frame(to_rgb(frame, matrix, color_range), matrix, color_range, 5, 1)
    assert frame.y.shape == (17, 23) and frame.u.shape == (9, 12)
    assert np.abs(frame.y.astype(int) - again.y).mean() < 1.5
    grey = Frame(np.full((4, 4), 126, np.uint8), *(np.full((2, 2), 128, np.uint8) for _ in "uv"), 0, 1)
    rgb = to_rgb(grey, matrix, color_range)
    assert torch.allclose(rgb, torch.full_like(rgb, (126 - 16) / 219 if color_range == 1 else 126 / 255), atol=1e-6)


def test_refusals(tmp_path: Path, carphone: Path) -> None:
    for name in ("taesd:", f"taesd:{tmp_path / 'none'}", f"taesd:{tmp_path}", f"diffusers:{tmp_path / 'none'}"):
        with pytest.raises(UsageError):
            encode_file(carphone, tmp_path / "x.lvz", model=name, duration=0.1)
    for half in ("encoder", "decoder"):
        torch.save({"0.weight": torch.zeros(3)}, tmp_path / f"odd_{half}.pth")
    (tmp_path / "config.json").write_text(json.dumps({"_class_name": "os.system"}))
    for name in (f"taesd:{tmp_path / 'odd'}", f"diffusers:{tmp_path}"):
        with pytest.raises(UnsupportedError):
            encode_file(carphone, tmp_path / "x.lvz", model=name, duration=0.1)
    assert not (tmp_path / "x.lvz").exists()


@pytest.mark.slow
@pytest.mark.skipif(not REAL.is_file(), reason="the weights of taef2 are not here")
def test_the_real_taef2(tmp_path: Path, carphone: Path) -> None:
    model = f"taesd:{REAL}"
    result = encode_file(carphone, tmp_path / "x.lvz", model=model, duration=0.1, features=False)
    found = list(decode_frames(tmp_path / "x.lvz", model=model))
    from lvc.media import MediaReader

    with MediaReader(carphone, duration=0.1, audio="none") as reader:
        source = [item for item in reader if isinstance(item, Frame)]
    error = np.mean([(a.y.astype(float) - b.y) ** 2 for a, b in zip(source, found, strict=True)])
    assert 10 * np.log10(255**2 / error) > 28 and result.bpp < 1.9


VAES = {
    "AutoencoderKL": {
        "block_out_channels": (8, 8), "down_block_types": ("DownEncoderBlock2D",) * 2,
        "up_block_types": ("UpDecoderBlock2D",) * 2, "norm_num_groups": 4, "latent_channels": 4,
    },
    "AutoencoderTiny": {
        "encoder_block_out_channels": (8, 8), "decoder_block_out_channels": (8, 8), "num_encoder_blocks": (1, 1),
        "num_decoder_blocks": (1, 1), "latent_channels": 4,
    },
    "AutoencoderKLWan": {
        "base_dim": 4, "z_dim": 4, "dim_mult": [1] * 4, "num_res_blocks": 1, "temperal_downsample": [False, True, True],
        "latents_mean": [0.0] * 4, "latents_std": [1.0] * 4,
    },
    "AutoencoderKLLTXVideo": {
        "latent_channels": 4, "block_out_channels": (8,) * 4, "decoder_block_out_channels": (8,) * 4,
        "layers_per_block": (1,) * 5, "decoder_layers_per_block": (1,) * 5,
    },
}  # fmt: skip
TEMPORAL_STRIDE = {"AutoencoderKLWan": 4, "AutoencoderKLLTXVideo": 8}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", VAES)
def test_diffusers(tmp_path: Path, carphone: Path, name: str) -> None:
    diffusers = pytest.importorskip("diffusers", reason="the extra lvc[diffusers] is not installed")
    torch.manual_seed(0)
    getattr(diffusers, name)(**VAES[name]).save_pretrained(tmp_path / "vae")
    model = f"diffusers:{tmp_path / 'vae'}"
    adapter = load_adapter(model)
    assert (adapter.temporal_lead, adapter.temporal_stride) == (1, TEMPORAL_STRIDE.get(name, 1))
    result = encode_file(carphone, tmp_path / "x.lvz", model=model, duration=0.2, resolution="66x50", features=False)
    frames = list(decode_frames(tmp_path / "x.lvz", model=model))
    assert result.frames == len(frames) == 6 and frames[0].y.shape == (50, 66)
    (tmp_path / "vae" / "config.json").write_text((tmp_path / "vae" / "config.json").read_text() + "\n")
    with pytest.raises(LvcError, match="other weights"):
        next(decode_frames(tmp_path / "x.lvz", model=model))


@pytest.mark.slow
def test_commands(tmp_path: Path, folder: Path) -> None:
    def run(*arguments: object) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "lvc", *map(str, arguments)]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)

    done = run("pack", folder, "-o", "x.lvz", "--rms", "0.05", "--packing", "zstd", "--json")
    assert done.returncode == 0, done.stderr
    event = json.loads(done.stdout.splitlines()[-1])
    assert event["event"] == "done" and event["tensors"] == 3 and event["rms_error"] <= 0.05
    assert run("pack", folder, "-o", "x.lvz").returncode == 6
    assert run("pack", folder, "-o", "y.lvz", "--rms", "1", "--lossless").returncode == 2
    assert run("unpack", "x.lvz", "--name", "a/clip1").returncode == 0
    assert [p.name for p in (tmp_path / "x" / "a").iterdir()] == ["clip1.safetensors"]
    second = Path(__file__).resolve().parents[2] / "formats" / "lvz_reader.py"
    read = subprocess.run([sys.executable, second, tmp_path / "x.lvz"], capture_output=True, text=True)
    assert read.returncode == 0 and "latents_checked: 3" in read.stdout
    assert verify_file(str(tmp_path / "x.lvz"), full=True).values["decoded"] == 10
    (tmp_path / "x.lvz").write_bytes((tmp_path / "x.lvz").read_bytes()[:-10])
    failed = run("unpack", "x.lvz", "back")
    assert failed.returncode == 4 and failed.stderr.count("\n") == 1
