"""Files of auto-encoders are a stranger's: everything that they say is checked before a network is built."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save

from lvc.errors import CorruptError, UnsupportedError
from lvc.latents.foreign import is_continuous
from lvc.models import inspect, load_model
from lvc.models.adapters.trained import load_trained
from lvc.models.autoencoder import Architecture, AutoEncoder, Prior, about, checked, read

SMALL = Architecture(channels=4, stride=8, frames=1, width=8, blocks=1)


def weights(architecture: Architecture = SMALL, variational: bool = True) -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    tensors = dict(AutoEncoder(architecture, variational).state_dict())
    if variational:
        c = architecture.channels
        tensors |= Prior(torch.zeros(c), torch.eye(c), torch.full((c,), 0.5)).tensors()
    return {name: tensor.half().contiguous() for name, tensor in tensors.items()}


def made(tensors: dict[str, torch.Tensor] | None = None, family: str = "vae", **changes: Any) -> bytes:
    said = json.loads(about("mine", family, None, SMALL, {})["lvc.model"])
    for name, value in changes.items():
        if name in said["architecture"]:
            said["architecture"][name] = value
        else:
            said[name] = value
    return save(weights() if tensors is None else tensors, {"lvc.model": json.dumps(said)})


@pytest.mark.parametrize("stride", [4, 8, 16, 64])
@pytest.mark.parametrize("frames", [1, 3])
def test_shapes(stride: int, frames: int) -> None:
    a = replace(SMALL, stride=stride, frames=frames)
    net = read(save(weights(a), about("mine", "vae", None, a, {})), "it").net
    x = torch.rand(2, 3 * frames, 64, 128)
    mean, spread = net.encode(x)
    assert mean.shape == spread.shape == (2, 4, 64 // stride, 128 // stride)  # type: ignore[union-attr]
    assert net.decode(mean).shape == x.shape


def test_principal_components_come_back() -> None:
    """With as many channels as a patch has values, nothing is lost."""
    a = Architecture(channels=48, stride=4, frames=1, width=8, blocks=0)
    net = AutoEncoder(a, False)
    generator = torch.Generator().manual_seed(0)
    net.start_linear(torch.randn(400, 48, generator=generator))
    for out in (net.encoder_out, net.decoder_out):
        torch.nn.init.zeros_(out.weight)
    x = torch.rand(1, 3, 16, 16, generator=generator)
    assert torch.allclose(net.decode(net.encode(x)[0]), x, atol=1e-3)


@pytest.mark.parametrize(
    "changes",
    [
        {"channels": 5}, {"channels": 0}, {"channels": 10**9}, {"channels": 4.0}, {"channels": "4"}, {"stride": 12},
        {"stride": 1 << 30}, {"width": 16}, {"blocks": 2}, {"blocks": -1}, {"frames": 2}, {"frames": True},
        {"architecture": None}, {"architecture": {}}, {"architecture": {**asdict(SMALL), "more": 1}},
        {"family": "ae"}, {"family": "gan"},
    ],
)  # fmt: skip
def test_what_it_says_has_to_fit_its_tensors(changes: dict[str, Any]) -> None:
    with pytest.raises(CorruptError, match="it is damaged"):
        read(made(**changes), "it")
    assert read(made(family="gan", of="vae"), "it").prior is not None


def test_tensors_of_other_sizes_and_types_and_numbers() -> None:
    good = weights()
    name = "encoder_out.weight"
    for changed in (
        {**good, name: good[name].float()},
        {**good, name: good[name].flatten()},
        {**good, "more": torch.zeros(1, dtype=torch.float16)},
        {k: v for k, v in good.items() if k != name},
        {**good, name: torch.full_like(good[name], torch.nan)},
        {k: v for k, v in good.items() if k != "prior.mean"},
    ):
        with pytest.raises(CorruptError, match="it is damaged"):
            read(made(changed), "it")
    data = made()
    for cut in (0, 7, 100, len(data) - 1):
        with pytest.raises((CorruptError, UnsupportedError)):
            read(data[:cut], "it")


def test_families_are_told_apart(tmp_path: Path) -> None:
    path = tmp_path / "mine.safetensors"
    path.write_bytes(made())
    assert inspect(path).family == "vae" and is_continuous(path) and is_continuous(str(path))
    assert load_trained(path).id == "vae:mine"
    with pytest.raises(UnsupportedError, match="of the family vae"):
        load_model(path)
    path.write_bytes(made(family="diffusion"))
    with pytest.raises(UnsupportedError, match="newer lvc"):
        inspect(path)
    assert not is_continuous(None) and is_continuous("taesd:x")


def test_architectures_are_checked() -> None:
    assert checked(asdict(SMALL)) == SMALL
    with pytest.raises(ValueError, match="stride is 24 and has to be one of 4, 8, 16"):
        checked({**asdict(SMALL), "stride": 24})
