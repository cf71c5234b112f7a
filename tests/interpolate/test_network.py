"""The network that is shipped."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from lvc.errors import CorruptError
from lvc.interpolate.network import (
    HINTS,
    PATCH,
    Interpolation,
    InterpolationNet,
    Seen,
    _features,
    default_interpolation,
    load_interpolation,
)

CHECKPOINT = Path(__file__).resolve().parents[2] / "checkpoints" / "interpolate.safetensors"


def seen(moment: float, rows: int = 3, cols: int = 5) -> Seen:
    generator = torch.Generator().manual_seed(3)
    a, b, still = (torch.rand((1, PATCH, rows, cols), generator=generator) - 0.5 for _ in range(3))
    return Seen(a, b, still, torch.zeros((1, HINTS, rows, cols)), torch.tensor([moment]))


def test_untrained_it_blends_by_the_moment(plain: Interpolation) -> None:
    given = seen(0.25)
    torch.testing.assert_close(plain.net(given), torch.lerp(given.a, given.b, 0.25))
    at_rest = InterpolationNet().requires_grad_(False)
    at_rest.direct.bias[1] = 20  # type: ignore[index]
    torch.testing.assert_close(at_rest(given), given.still)


def test_unknown_motion_before_is_neither_even_nor_uneven(plain: Interpolation) -> None:
    def uneven(value: float) -> float:
        given = seen(0.5)
        given.hints[:, 2], given.hints[:, 4] = 0.4, value
        return float(_features(given)[0, 9, 0, 0])

    assert uneven(-0.5) == 0 and uneven(0.7) > 0.5 and uneven(0.1) < -0.5


def test_it_is_small() -> None:
    net = InterpolationNet()
    macs = sum(p.numel() for n, p in net.named_parameters() if p.ndim == 4)  # one position of 1/8 is 64 pixels
    assert macs / 64 <= 5000
    assert CHECKPOINT.stat().st_size < 2_000_000


def test_the_one_that_is_shipped_keeps_grey_grey() -> None:
    given = seen(0.5)
    flat = torch.zeros_like(given.a)
    net = default_interpolation().net
    out = net(Seen(flat, flat, flat, given.hints, given.moment))
    assert float(out.abs().max()) < 4 / 255  # grey stays grey
    assert default_interpolation().sha256 == default_interpolation("cpu").sha256


def test_other_weights_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.safetensors").write_bytes(b"\0" * 100)
    with pytest.raises(CorruptError, match="reinstall"):
        load_interpolation(tmp_path / "a.safetensors")
    with pytest.raises(CorruptError, match="a.safetensors"):
        (tmp_path / "a.safetensors").write_bytes(CHECKPOINT.read_bytes()[:-1000])
        load_interpolation(tmp_path / "a.safetensors")
