"""`lvc pack` and `lvc unpack`: bounds hold on what was written, names and text come back, nothing is half written."""

from __future__ import annotations

import io
import os
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from lvc.errors import CorruptError, LimitError, LvcError, MediaError, OutputExistsError, UsageError
from lvc.latents import Bound, LatentFile, pack_latents, unpack_latents
from lvc.latents.fit import zero_model
from lvc.latents.parameters import pack_model
from lvc.lvz import Clip, Header, LvzReader, LvzWriter, PlaneSpec, Sample, TensorSet, VideoDescriptor

Make = Callable[..., torch.Tensor]


def originals(folder: Path) -> dict[str, torch.Tensor]:
    return {
        p.relative_to(folder).with_suffix("").as_posix(): load_file(p)["latents"]
        for p in sorted(folder.rglob("*.safetensors"))
    }


@pytest.mark.slow
@pytest.mark.parametrize("packing", ["field", "zstd", "fast"])
@pytest.mark.parametrize("bound", [Bound("rms", 0.02), Bound("max", 0.05), Bound("bits", 5), Bound("exact")])
def test_bounds_hold(folder: Path, tmp_path: Path, bound: Bound, packing: str) -> None:
    target = tmp_path / "cache.lvz"
    result = pack_latents([folder], target, bound=bound, packing=packing)
    assert result.bytes_out == target.stat().st_size and result.tensors == 3
    unpack_latents(target, tmp_path / "back")
    before, after = originals(folder), originals(tmp_path / "back")
    assert list(after) == list(before) == ["a/clip0", "a/clip1", "a/clip2"]
    squares = energy = largest = 0.0
    for name, clip in before.items():
        assert after[name].shape == clip.shape and after[name].dtype == clip.dtype
        error = (after[name].double() - clip.double()).abs()
        squares, energy = squares + float((error**2).sum()), energy + float((clip.double() ** 2).sum())
        largest = max(largest, float(error.max()))
    assert result.rms_error == pytest.approx((squares / energy) ** 0.5) and result.max_error == largest
    limits = {"rms": (squares / energy) ** 0.5, "max": largest, "bits": result.bits, "exact": largest}
    assert limits[bound.kind] <= max(bound.value, 0) * (1 + 1e-6)
    if bound.kind in ("rms", "max"):
        assert limits[bound.kind] > 0.6 * bound.value  # and is used up, about


def test_packings_trade_size_for_speed(folder: Path, tmp_path: Path) -> None:
    sizes = {}
    for packing in ("field", "zstd", "fast"):
        path = tmp_path / f"{packing}.lvz"
        pack_latents([folder], path, bound=Bound("rms", 0.02), packing=packing)
        sizes[packing] = path.stat().st_size
        with LatentFile(path) as file:
            clip = file.reader.gop(0)[0]
            rotated = bool(file.tensors.matrix)
    values = sum(clip.numel() for clip in originals(folder).values())
    assert sizes["field"] < sizes["zstd"] < sizes["fast"] < 1.1 * values + 2000
    # fast: the bytes lie there as they are, behind four for each frame, and no rotation has to be undone
    assert not rotated and clip.payload[:4] == b"\x28\xb5\x2f\xfd"
    with LatentFile(path) as file:
        assert file.integers(0)[0].astype(np.int8).tobytes()[:256] in clip.payload


def test_text_comes_back(folder: Path, tmp_path: Path) -> None:
    pack_latents([folder], tmp_path / "cache.lvz")
    with LatentFile(tmp_path / "cache.lvz") as file:
        assert [s.tags["caption"] for s in file.samples] == [f"a caption, {i}" for i in range(3)]
    unpack_latents(tmp_path / "cache.lvz", tmp_path / "one.safetensors", names=["a/clip1"])
    with safe_open(tmp_path / "one.safetensors", "pt") as file:
        assert file.metadata() == {"caption": "a caption, 1", "source": "video1"} and list(file.keys()) == ["latents"]
    with pytest.raises(UsageError, match="clip9"):
        unpack_latents(tmp_path / "cache.lvz", tmp_path / "back", names=["clip9"])
    with pytest.raises(OutputExistsError):
        unpack_latents(tmp_path / "cache.lvz", tmp_path / "one.safetensors", names=["a/clip1"])


def test_what_comes_in(tmp_path: Path, make: Make) -> None:
    """.npy, .pt with several tensors, shapes of 3 to 5 axes; what is no latent stays out, with a word."""
    inside = tmp_path / "in"
    inside.mkdir()
    clip = make(3, 4, 6, 7)
    np.save(inside / "picture.npy", clip[:, 0].numpy())
    torch.save({"x": clip[None], "deep": [clip], "label": torch.arange(3), "prompt": "hello"}, inside / "two.pt")
    notes: list[str] = []
    pack_latents([inside], tmp_path / "x.lvz", bound=Bound("exact"), notice=notes.append)
    with LatentFile(tmp_path / "x.lvz") as file:
        assert [(s.name, s.axes, s.tags.get("key")) for s in file.samples] == [
            ("picture", "CHW", None), ("two", "NCTHW", "x"), ("two", "CTHW", "deep.0"),
        ]  # fmt: skip
        assert torch.equal(file.read(0), clip[:, 0]) and torch.equal(file.read(1), clip[None])
        assert torch.equal(file.read(2), clip) and file.samples[2].tags["prompt"] == "hello"
    assert any("tensors only" in n for n in notes) and any("left out" in n for n in notes)
    result = unpack_latents(tmp_path / "x.lvz", tmp_path / "out")
    assert result.files == 2 and set(load_file(tmp_path / "out" / "two.safetensors")) == {"x", "deep.0"}


def test_axes(tmp_path: Path, make: Make) -> None:
    clip = make(5, 4, 6, 7).transpose(0, 1).contiguous()
    save_file({"z": clip}, tmp_path / "z.safetensors")
    pack_latents([tmp_path / "z.safetensors"], tmp_path / "z.lvz", bound=Bound("exact"), axes="TCHW")
    with LatentFile(tmp_path / "z.lvz") as file:
        assert file.samples[0].frames == 5 and torch.equal(file.read(0), clip)
    for axes, word in (("CHW", "does not fit"), ("NCHW", "--axes TCHW")):
        with pytest.raises(UsageError, match=word):
            pack_latents([tmp_path / "z.safetensors"], tmp_path / "y.lvz", axes=axes)


class Evil:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, ("evil",)


def test_refusals(tmp_path: Path, make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "evil.pt").write_bytes(pickle.dumps(Evil()))
    with pytest.raises(MediaError, match="evil.pt"):
        pack_latents(["evil.pt"], "x.lvz")
    (tmp_path / "short.safetensors").write_bytes(b"\xff" * 20)
    with pytest.raises(MediaError, match=r"short\.safetensors"):
        pack_latents(["short.safetensors"], "x.lvz")
    np.save("objects.npy", np.array([None]), allow_pickle=True)
    with pytest.raises(MediaError, match=r"objects\.npy"):
        pack_latents(["objects.npy"], "x.lvz")
    save_file({"a": make(2, 4, 5, 5), "b": make(2, 8, 5, 5)}, "mixed.safetensors")
    with pytest.raises(UsageError, match="2 kinds"):
        pack_latents(["mixed.safetensors"], "x.lvz")
    broken = make(2, 4, 5, 5)
    broken[0, 0, 0, 0] = float("nan")
    save_file({"a": broken}, "nan.safetensors")
    with pytest.raises(UsageError, match="not finite"):
        pack_latents(["nan.safetensors"], "x.lvz")
    pack_latents(["nan.safetensors"], "nan.lvz", bound=Bound("exact"))
    with pytest.raises(UsageError, match="cannot be held|16 bits"):
        save_file({"a": make(2, 4, 5, 5).bfloat16()}, "fine.safetensors")
        pack_latents(["fine.safetensors"], "x.lvz", bound=Bound("bits", 0.01))
    with pytest.raises(UsageError):
        Bound("rms", float("nan"))
    assert not list(tmp_path.glob("x*")) and not list(tmp_path.glob(".*")) and not (tmp_path / "evil").exists()


def test_damage_and_lies(folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "cache.lvz"
    pack_latents([folder], path, bound=Bound("rms", 0.1))
    data = path.read_bytes()
    rng = np.random.default_rng(0)
    for _ in range(60):
        broken = bytearray(data)
        broken[rng.integers(len(data))] ^= 1 << rng.integers(8)
        path.write_bytes(broken)
        with pytest.raises(LvcError):
            with LatentFile(path) as file:
                for number in range(len(file)):
                    file.read(number)
            with path.open("rb") as whole:
                LvzReader(whole).verify()  # what no tensor needs: the hash of all
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(CorruptError):
        LatentFile(path)


@pytest.mark.parametrize("name", ["../out", "/out", "a/../../out", "", "a\\b", "c:x"])
def test_names_lead_nowhere(tmp_path: Path, name: str) -> None:
    spec = PlaneSpec("latent", "int16", 2, 8, in_predicted=False)
    video = VideoDescriptor(32, 24, (spec,), 1, align=1, time_base=(1, 1))
    tensors = TensorSet("float32", samples=(Sample(name, "CHW", 1, 3, 4),))
    from lvc.latents.clips import pack_clip

    payload, crc = pack_clip([np.ones((1, 2, 3, 4), np.int16)], video, tensors, None)
    out = io.BytesIO()
    with LvzWriter(out, Header("latents"), video, tensors=tensors) as writer:
        writer.write_clip(Clip(0, True, [0], [1], crc, payload))
    (tmp_path / "x.lvz").write_bytes(out.getvalue())
    with LatentFile(tmp_path / "x.lvz") as file:
        assert file.read(0).tolist() == torch.ones(2, 3, 4).tolist()
    with pytest.raises(CorruptError, match="is not a file name"):
        unpack_latents(tmp_path / "x.lvz", tmp_path / "back")
    assert not (tmp_path / "out.safetensors").exists()


def test_a_few_bytes_do_not_ask_for_gigabytes(tmp_path: Path) -> None:
    """A clip of packing field may declare any number of values: it is refused before they are made room for."""
    spec = PlaneSpec("latent", "int16", 64, 1, in_predicted=False)
    video = VideoDescriptor(2048, 2048, (spec,), 3, align=1, time_base=(1, 1))
    coding = pack_model(zero_model(64, False, 64))
    tensors = TensorSet("float32", coding=coding, samples=(Sample("x", "CHW", 1, 2048, 2048),))
    with (tmp_path / "x.lvz").open("wb") as out, LvzWriter(out, Header("latents"), video, tensors=tensors) as writer:
        writer.write_clip(Clip(0, True, [0], [1], 0, bytes(4)))
    with LatentFile(tmp_path / "x.lvz") as file, pytest.raises(LimitError, match="limit"):
        file.read(0)
