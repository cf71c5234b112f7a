"""Element types that a `.lvz` has no word for, and several kinds of latents in one file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner

from lvc.cli import app
from lvc.errors import UsageError
from lvc.latents import Bound, LatentDataset, pack_latents, unpack_latents

CASES = Path(__file__).parent / "cases"
KINDS = [torch.float8_e4m3fn, torch.float8_e5m2, torch.float64]


def test_fp8_comes_back_bit_for_bit(tmp_path: Path) -> None:
    source = CASES / "latents_fp8.safetensors"
    for bound in (Bound("exact", 0.0), Bound("rms", 0.01)):
        pack_latents([source], tmp_path / "x.lvz", bound=bound, force=True)
        unpack_latents(tmp_path / "x.lvz", tmp_path / "x.safetensors", force=True)
        before, after = load_file(source)["x"], load_file(tmp_path / "x.safetensors")["x"]
        assert after.dtype == before.dtype == torch.float8_e4m3fn
        if bound.kind == "exact":
            assert torch.equal(after.view(torch.uint8), before.view(torch.uint8))


@pytest.mark.parametrize("element", KINDS, ids=str)
@pytest.mark.parametrize("packing", ["field", "zstd", "fast"])
def test_the_type_comes_back(tmp_path: Path, element: torch.dtype, packing: str, make) -> None:  # type: ignore[no-untyped-def]
    clip = (4 * make(3, 4, 8, 9)).to(element)
    save_file({"latents": clip}, tmp_path / "in.safetensors", {"model": "m"})
    pack_latents([tmp_path / "in.safetensors"], tmp_path / "x.lvz", packing=packing)
    item = LatentDataset(tmp_path / "x.lvz")[0]["latents"]
    assert item.dtype == element and item.shape == clip.shape
    error = (item.double() - clip.double()).square().mean().sqrt() / clip.double().square().mean().sqrt()
    assert error <= 0.01
    unpack_latents(tmp_path / "x.lvz", tmp_path / "out.safetensors")
    with safe_open(tmp_path / "out.safetensors", "pt") as file:
        assert file.metadata() == {"model": "m"}, "how the type was kept is nobody's text"
        assert torch.equal(file.get_tensor("latents").double(), item.double())


def test_every_fp8_number_is_exact(tmp_path: Path) -> None:
    for element in (torch.float8_e4m3fn, torch.float8_e5m2):
        numbers = torch.arange(256, dtype=torch.uint8).view(element).reshape(4, 8, 8)
        save_file({"x": numbers}, tmp_path / "in.safetensors")
        pack_latents([tmp_path / "in.safetensors"], tmp_path / "x.lvz", bound=Bound("exact", 0.0), force=True)
        again = LatentDataset(tmp_path / "x.lvz")[0]["latents"]
        finite = ~numbers.float().isnan()
        assert torch.equal(again.view(torch.uint8)[finite], numbers.view(torch.uint8)[finite])
        assert torch.equal(again.float().isnan(), ~finite)


def test_rounding_never_makes_nan_of_the_largest(tmp_path: Path) -> None:
    numbers = torch.full((4, 8, 8), torch.finfo(torch.float8_e4m3fn).max).to(torch.float8_e4m3fn)
    numbers.view(torch.uint8)[:, ::2] = 0x38
    save_file({"x": numbers}, tmp_path / "in.safetensors")
    pack_latents([tmp_path / "in.safetensors"], tmp_path / "x.lvz", bound=Bound("rms", 0.2))
    assert not LatentDataset(tmp_path / "x.lvz")[0]["latents"].float().isnan().any()


def test_float64_is_not_lossless(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.random.default_rng(1).normal(size=(4, 8, 8)))
    with pytest.raises(UsageError, match="float64 is packed as float32"):
        pack_latents([tmp_path / "x.npy"], tmp_path / "x.lvz", bound=Bound("exact", 0.0))
    pack_latents([tmp_path / "x.npy"], tmp_path / "x.lvz")
    assert LatentDataset(tmp_path / "x.lvz")[0]["latents"].dtype == torch.float64


@pytest.mark.parametrize(
    "tensor, reason",
    [
        (torch.zeros(4, 8, 8, dtype=torch.int64), "int64"),
        (torch.zeros(4, 8, 8, dtype=torch.uint8), "uint8"),
        (torch.zeros(7, 64), "its shape is [7, 64], and latents have 3 to 5 axes"),
    ],
)
def test_what_is_left_out_is_named_with_its_reason(tmp_path: Path, tensor: torch.Tensor, reason: str) -> None:
    torch.save({"other": tensor, "latents": torch.randn(4, 8, 8)}, tmp_path / "x.pt")
    said: list[str] = []
    pack_latents([tmp_path / "x.pt"], tmp_path / "x.lvz", notice=said.append)
    assert any("x.pt (other): left out" in text and reason in text for text in said)
    save_file({"x": tensor}, tmp_path / "y.safetensors")
    said.clear()
    with pytest.raises(UsageError, match="no latents were found"):
        pack_latents([tmp_path / "y.safetensors"], tmp_path / "y.lvz", notice=said.append)
    assert len(said) == 1


def test_kinds_are_named_and_chosen(tmp_path: Path) -> None:
    source = CASES / "latents_musubi_wan_i2v.safetensors"
    with pytest.raises(UsageError) as error:
        pack_latents([source], tmp_path / "x.lvz")
    for part in ("2 kinds", "16 channels of bfloat16: latents_3x8x12_bfloat16", "20 channels", "--keys"):
        assert part in str(error.value)
    whole = load_file(source)
    for pattern, name in (("latents_[0-9]*", "latents_3x8x12_bfloat16"), ("*image*", "latents_image_3x8x12_bfloat16")):
        target = tmp_path / f"{len(pattern)}.lvz"
        result = CliRunner().invoke(app, ["pack", str(source), "-o", str(target), "--keys", pattern, "--lossless"])
        assert result.exit_code == 0, result.output
        unpack_latents(target, target.with_suffix(".safetensors"))
        assert {k: v.tolist() for k, v in load_file(target.with_suffix(".safetensors")).items()} == {
            name: whole[name].tolist()
        }


def test_a_pattern_that_fits_nothing_says_what_there_is(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="clip_bfloat16, latents_3x8x12_bfloat16"):
        pack_latents([CASES / "latents_musubi_wan_i2v.safetensors"], tmp_path / "x.lvz", keys="nothing*")
