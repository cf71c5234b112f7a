"""`lvc unpack` of files from strangers: names, links, sizes, a full disk."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from safetensors.torch import load_file

from lvc.errors import CorruptError, LimitError, LvcError, UsageError
from lvc.latents import LatentFile, unpack, unpack_latents
from lvc.latents.clips import pack_clip
from lvc.lvz import Clip, Header, LvzWriter, PlaneSpec, Sample, TensorSet, VideoDescriptor

SIDE = 4


def packed(path: Path, names: Sequence[str], side: int = SIDE, frames: int = 1) -> Path:
    """One tensor of zeros for each name."""
    video = VideoDescriptor(
        side * 8, side * 8, (PlaneSpec("latent", "int16", 4, 8, in_predicted=False),), 1, align=1, time_base=(1, 1)
    )
    axes = "CHW" if frames == 1 else "CTHW"
    tensors = TensorSet("float32", samples=tuple(Sample(name, axes, frames, side, side) for name in names))
    with path.open("wb") as file, LvzWriter(file, Header("latents"), video, tensors=tensors) as writer:
        payload, crc = pack_clip([np.zeros((frames, 4, side, side), np.int16)], video, tensors, None)
        for first in range(0, frames * len(names), frames):
            writer.write_clip(Clip(first, True, list(range(first, first + frames)), [1] * frames, crc, payload))
    return path


@pytest.mark.parametrize("name", ["../a", "/etc/a", "", ".", "a/../../b", "a\\b", "c:a", "a\0b", "x" * 5000])
def test_no_name_leads_out_of_the_folder(tmp_path: Path, name: str) -> None:
    with pytest.raises((LvcError, OSError)):
        unpack_latents(packed(tmp_path / "x.lvz", [name]), tmp_path / "inside" / "back")
    with pytest.raises((LvcError, OSError)):
        unpack_latents(tmp_path / "x.lvz", tmp_path / "back")
    assert not list(tmp_path.rglob("*.safetensors"))


def test_names_of_many_folders_are_over_a_limit(tmp_path: Path) -> None:
    for depth, error in ((1000, LimitError), (33, LimitError)):
        file = packed(tmp_path / "x.lvz", ["/".join("d" * depth)])
        with pytest.raises(error, match="folders"):
            unpack_latents(file, tmp_path / "back")
        assert not (tmp_path / "back").exists()
    unpack_latents(packed(tmp_path / "x.lvz", ["/".join("d" * 32)]), tmp_path / "back")
    assert len(list((tmp_path / "back").rglob("*.safetensors"))) == 1


@pytest.mark.parametrize("force", [False, True])
def test_links_are_not_followed(tmp_path: Path, force: bool) -> None:
    outside, back = tmp_path / "outside", tmp_path / "back"
    outside.mkdir()
    back.mkdir()
    (back / "folder").symlink_to(outside)
    (back / "file.safetensors").symlink_to(outside / "file.safetensors")
    for name in ("folder/a", "file"):
        with pytest.raises(UsageError, match="link"):
            unpack_latents(packed(tmp_path / "x.lvz", [name]), back, force=force)
    assert not list(outside.iterdir())
    (tmp_path / "mine").symlink_to(outside)  # what the user names may be one
    unpack_latents(packed(tmp_path / "x.lvz", ["a"]), tmp_path / "mine", force=force)
    assert [p.name for p in outside.iterdir()] == ["a.safetensors"]


def test_two_names_of_one_file_do_not_overwrite_each_other(tmp_path: Path) -> None:
    file = packed(tmp_path / "x.lvz", ["a/b", "a//b"])
    with pytest.raises(UsageError, match="one file"):
        unpack_latents(file, tmp_path / "back", force=True)


def test_a_file_that_unpacks_to_a_thousand_times_its_size_is_over_a_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unpack, "_FREE_BYTES", 1 << 20)
    file = packed(tmp_path / "x.lvz", [str(n) for n in range(40)], 128, 4)
    assert 40 * 4 * 4 * 4 * 128 * 128 > (1 << 20) + (file.stat().st_size << 10)
    with pytest.raises(LimitError, match="--name"):
        unpack_latents(file, tmp_path / "back")
    assert not (tmp_path / "back").exists()
    unpack_latents(file, tmp_path / "back", names=["7"])
    assert load_file(tmp_path / "back" / "7.safetensors")["latents"].shape == (4, 4, 128, 128)


@pytest.mark.slow
def test_a_full_disk_is_an_error_of_the_disk(tmp_path: Path) -> None:
    packed(tmp_path / "x.lvz", ["a"], 256)
    code = "import resource, sys\nresource.setrlimit(resource.RLIMIT_FSIZE, (65536, 65536))\nfrom lvc.cli import main\n"
    done = subprocess.run(
        [sys.executable, "-c", f"{code}sys.argv = ['lvc', 'unpack', 'x.lvz', 'back']\nmain()"],
        cwd=tmp_path, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 3 and "space" in done.stderr and not (tmp_path / "back").exists()


def test_a_damaged_tensor_leaves_nothing_half_written(tmp_path: Path) -> None:
    data = bytearray(packed(tmp_path / "x.lvz", ["a"]).read_bytes())
    data[data.index(b"CLIP") + 20] ^= 1
    (tmp_path / "x.lvz").write_bytes(data)
    with pytest.raises(CorruptError):
        unpack_latents(tmp_path / "x.lvz", tmp_path / "back")
    assert not (tmp_path / "back").exists()
    (tmp_path / "mine").mkdir()
    with pytest.raises(CorruptError):
        unpack_latents(tmp_path / "x.lvz", tmp_path / "mine")
    assert (tmp_path / "mine").is_dir()


def test_planes_far_larger_than_a_tensor_cost_nothing(tmp_path: Path) -> None:
    """The checksum counts what lies beside a tensor in the planes: frame by frame, not all at once."""
    import tracemalloc

    video = VideoDescriptor(
        8192, 8192, (PlaneSpec("latent", "int16", 4, 8, in_predicted=False),), 3, align=1, time_base=(1, 1)
    )
    from lvc.latents.fit import zero_model
    from lvc.latents.parameters import pack_model

    model = zero_model(4, temporal=False, group=4)
    tensors = TensorSet("float32", coding=pack_model(model), samples=(Sample("a", "CTHW", 32, 2, 2),))
    payload, crc = pack_clip([np.zeros((32, 4, 2, 2), np.int16)], video, tensors, model)
    with (tmp_path / "x.lvz").open("wb") as file, LvzWriter(file, Header("latents"), video, tensors=tensors) as writer:
        writer.write_clip(Clip(0, True, list(range(32)), [1] * 32, crc, payload))
    tracemalloc.start()
    try:
        with LatentFile(tmp_path / "x.lvz") as opened:
            assert opened.read(0).shape == (4, 32, 2, 2)
        assert tracemalloc.get_traced_memory()[1] < 64 << 20
    finally:
        tracemalloc.stop()
