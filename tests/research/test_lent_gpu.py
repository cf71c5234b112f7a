"""What research/ needs on a lent machine: packed data, crops gathered on a device, small states."""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from lvc.training import loop as training
from lvc.training.footage import Clips
from lvc.training.stills import ResidentStills, Stills
from research import pack_data


def cache(path: Path, entries: list[tuple[str, np.ndarray, np.ndarray]], still: bool) -> Path:
    index, at = [], 0
    with open(path.with_suffix(".bin"), "wb") as f:
        for name, y, uv in entries:
            f.write(y.tobytes() + uv.tobytes())
            index.append([name, *(y.shape[1:] if still else y.shape), at])
            at += y.size + uv.size
    path.with_suffix(".json").write_text(json.dumps(index))
    return path


def smooth(frames: int, h: int, w: int) -> tuple[np.ndarray, np.ndarray]:
    t, y, x = np.ogrid[:frames, :h, :w]
    luma = 128 + 60 * np.sin((x + 2 * t) / 17) + 50 * np.cos(y / 13)
    chroma = np.stack([luma[:, ::2, ::2], 255 - luma[:, ::2, ::2]], 1)
    return luma.astype(np.uint8), chroma.astype(np.uint8)


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    return float(10 * np.log10(255**2 / max(((a.astype(float) - b) ** 2).mean(), 1e-9)))


def test_packed_pictures_come_back(tmp_path: Path) -> None:
    small, large, clip = smooth(1, 256, 272), smooth(1, 1024, 512), smooth(5, 432, 384)
    half = pack_data.halved(*large)
    stills = [("a.png", *small), ("b.png", *large), ("b.png/2", *half), ("c.mp4@0", *small)]
    clips = [("c.mp4", *clip), ("a.png", *smooth(5, 256, 256))]
    pack_data.pack(
        cache(tmp_path / "s", stills, True),
        cache(tmp_path / "c", clips, False),
        tmp_path / "d.pack",
        1.0,
        "ultrafast",
        None,
    )
    assert (tmp_path / "d.pack").stat().st_size < 2**20
    pack_data.unpack(tmp_path / "d.pack", tmp_path / "out")
    got = Stills(tmp_path / "out" / "stills")
    # b at half size, though too small then for a half of its own; the video's first frame; no half of what is small
    assert [n for n, *_ in got.index] == ["a.png", "b.png", "c.mp4#0@0"]
    assert psnr(got.picture(0)[0], small[0][0]) > 40 and psnr(got.picture(0)[1], small[1][0]) > 40
    assert psnr(got.picture(1)[0], half[0][0]) > 40
    names = {n: shape for n, *shape, _ in Clips(tmp_path / "out" / "clips").index}
    assert names == {"a.png": [33, 256, 256], "c.mp4#0": [5, 288, 256]}


def test_crops_gathered_on_a_device(tmp_path: Path) -> None:
    """Luma is the column; chroma is row and column, by which each crop tells where it lay."""
    y = np.broadcast_to(np.arange(256, dtype=np.uint8), (1, 192, 256)).copy()
    rows, cols = np.mgrid[:96, :128].astype(np.uint8)
    stills = ResidentStills(
        cache(tmp_path / "s", [("a.png", y, np.stack([rows, cols])[None])], True), torch.device("cpu")
    )
    torch.manual_seed(0)
    luma, chroma = stills.crops(np.random.default_rng(0), 64, 64)
    assert luma.shape == (64, 64, 64) and chroma.shape == (64, 2, 32, 32) and luma.dtype == torch.uint8
    assert torch.equal(luma[:, ::2, ::2] // 2, chroma[:, 1]) and torch.equal(luma[:, 1::2, 1::2] // 2, chroma[:, 1])
    turned = 0
    for u, v in chroma.int():
        across, down = (v[0, 1] - v[0, 0]).item(), (v[1, 0] - v[0, 0]).item()
        assert {abs(across), abs(down)} == {0, 1}
        turned += abs(down)
        assert len(u.unique()) == 32 and len(v.unique()) == 32
    assert 0 < turned < 64
    assert len(chroma[:, 0].amin((1, 2)).unique()) > 5  # from everywhere


def arguments(out: Path, *more: str) -> argparse.Namespace:
    p = argparse.ArgumentParser()
    p.add_argument("out", type=Path)
    training.arguments(p, batch=1, muon=1e-3, adam=1e-3, decay_from=0.5)
    return p.parse_args([str(out), *more])


def one_step(t: training.Training) -> None:
    assert t.running()
    x = torch.randn(2, 3, 4, 4)
    t.apply((t.net(x) - x).square().mean())
    t.note((0.0,), [x.mean()])


def test_states_go_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def net() -> nn.Module:
        return nn.Sequential(nn.Conv2d(3, 4, 1), nn.Conv2d(4, 3, 3, padding=1))

    (tmp_path / "out").mkdir()
    first = training.Training(net(), arguments(tmp_path / "a.pt", "--export", str(tmp_path / "out")))
    assert not first.resumed
    for _ in range(12):
        one_step(first)
    first.save()
    again = training.Training(net(), arguments(tmp_path / "a.pt"))
    assert again.resumed and again.step == 12 and again.warm_from == 0
    assert all(torch.equal(v, again.net.state_dict()[k]) for k, v in first.net.state_dict().items())
    assert first.ema is not None and again.ema is not None
    assert all(torch.equal(v, again.ema[k]) for k, v in first.ema.items())

    # elsewhere, from the small file: averaged weights, and a rate that rises anew
    (tmp_path / "broken.pt").write_bytes(b"PK")
    flat = tmp_path / "out" / "a.flat.pt"
    other = training.Training(net(), arguments(tmp_path / "b.pt", "--resume", str(flat), str(tmp_path / "broken.pt")))
    assert "broken.pt" in capsys.readouterr().out
    assert other.step == 12 and other.warm_from == 12
    assert all(torch.allclose(v, other.net.state_dict()[k], atol=1e-3) for k, v in first.ema.items())
    one_step(other)
    assert other.opts[0].param_groups[0]["lr"] == pytest.approx(1e-3 / training.WARM_UP)


def test_results_of_the_end_and_of_before_the_fall(tmp_path: Path) -> None:
    def end(seconds: float) -> list[str]:
        return ["--minutes", "60", "--until", str(time.time() + seconds), "--export", str(tmp_path / "out")]

    (tmp_path / "out").mkdir()
    t = training.Training(nn.Conv2d(3, 3, 1), arguments(tmp_path / "a.pt", *end(3000)))
    one_step(t)
    t.save()
    assert {p.name for p in (tmp_path / "out").iterdir()} == {"a.flat.pt", "a.result.pt", "a.log.jsonl"}
    one_step(t)
    t.a.until = time.time() + 600
    assert t.running()  # the rate falls from here, so the state is kept first
    one_step(t)
    t.save()

    def step(name: str) -> Any:
        return torch.load(tmp_path / "out" / name, weights_only=True)["step"]

    assert (step("a.flat.pt"), step("a.result.pt")) == (2, 3)
    late = training.Training(nn.Conv2d(3, 3, 1), arguments(tmp_path / "a.pt", *end(600)))
    assert late.running() and late.opts[1].param_groups[0]["lr"] < 1e-3 * 4 / training.WARM_UP / 2
    one_step(late)
    late.save()
    assert (step("a.flat.pt"), step("a.result.pt")) == (2, 4)
    assert not training.Training(nn.Conv2d(3, 3, 1), arguments(tmp_path / "a.pt", *end(-1))).running()
