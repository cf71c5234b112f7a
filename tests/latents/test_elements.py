"""Without torch the same numbers come out as with it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from lvc.latents import Bound, LatentFile, pack_latents, unpack_latents
from lvc.latents.elements import Tensor, narrowed, packed_from

FLOAT8 = ("float8_e4m3fn", "float8_e5m2")


def some(dtype: torch.dtype = torch.float32) -> torch.Tensor:
    rng = np.random.default_rng(0)
    values = np.concatenate([rng.normal(0, s, 2000) for s in (1e-9, 1e-3, 1.0, 50.0, 1e5)])
    special = [0.0, -0.0, 448.0, 464.0, -448.0, 57344.0, 2.0**-9, 2.0**-10, np.inf, -np.inf, np.nan]
    return torch.from_numpy(np.concatenate([values, special]).astype(np.float32)).to(dtype)


def bits(t: torch.Tensor) -> np.ndarray:
    kind = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}[t.element_size()]
    return t.contiguous().view(kind).numpy()


@pytest.mark.parametrize("element", ["bfloat16", "float16", "float32"])
def test_rounding(element: str) -> None:
    values = some()
    with np.errstate(all="ignore"):
        mine = narrowed(values.numpy(), element)
    theirs = values.to(getattr(torch, element))
    number = ~theirs.isnan().numpy()
    assert (mine.view(bits(theirs).dtype)[number] == bits(theirs)[number]).all()
    assert (Tensor(element, mine).widened()[number] == theirs.float().numpy()[number]).all()


@pytest.mark.parametrize("element", FLOAT8)
@pytest.mark.parametrize("exact", [False, True])
def test_float8(element: str, exact: bool) -> None:
    kind = getattr(torch, element)
    every = torch.arange(256, dtype=torch.uint8).view(kind)  # all that there are, on their way through float16
    values = every.half() if exact else some(torch.float16)
    finite = values[~values.isnan() & ~values.isinf()] if not exact else values[~values.isnan()]
    mine = packed_from(Tensor("float16", finite.numpy()), element, exact=exact)
    largest = torch.finfo(kind).max
    theirs = (finite if exact else finite.clamp(-largest, largest)).to(kind)
    assert mine.element == element and (mine.array == bits(theirs)).all()
    assert (mine.widened() == theirs.float().numpy()).all()
    none = packed_from(Tensor("float16", np.array([np.nan], np.float16)), element, exact=True)
    assert np.isnan(none.widened()).all()


@pytest.mark.parametrize("bound", [Bound("exact"), Bound("rms", 0.02)])
@pytest.mark.parametrize(
    "dtype", [torch.bfloat16, torch.float16, torch.float32, torch.float64, torch.float8_e4m3fn, torch.float8_e5m2]
)
def test_files(tmp_path: Path, dtype: torch.dtype, bound: Bound) -> None:
    if bound.kind == "exact" and dtype == torch.float64:
        return  # would lose something
    made = torch.from_numpy(np.random.default_rng(1).normal(size=(1, 4, 3, 6, 5)).astype(np.float32)).to(dtype)
    save_file({"a": made, "b": made[0].clone()}, tmp_path / "x.safetensors", {"text": "said"})
    pack_latents([tmp_path / "x.safetensors"], tmp_path / "x.lvz", bound=bound, packing="zstd")
    unpack_latents(tmp_path / "x.lvz", tmp_path / "y.safetensors")
    unpack_latents(tmp_path / "x.lvz", tmp_path / "y.npz")
    back = load_file(tmp_path / "y.safetensors")
    with LatentFile(tmp_path / "x.lvz") as file, np.load(tmp_path / "y.npz") as archive:
        for number, name in enumerate("ab"):
            theirs = file.read(number)
            assert back[name].dtype == dtype and back[name].shape == theirs.shape
            apart = np.abs(back[name].double().numpy() - theirs.double().numpy())  # sums of a rotation: the last place
            assert (apart <= 2 * torch.finfo(dtype).eps * np.abs(theirs.double().numpy()) + 1e-12).all()
            assert (archive[f"x/{name}"] == back[name].double().numpy()).all()
            if bound.kind == "exact":
                assert (bits(back[name]) == bits(made if name == "a" else made[0])).all()
