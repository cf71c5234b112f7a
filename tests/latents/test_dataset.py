"""`LatentDataset`: items alone, with workers, and as a stream."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch.utils.data import DataLoader

import lvc
from lvc.errors import CorruptError, UsageError
from lvc.latents import Bound, LatentDataset, LatentFile, LatentStream, pack_latents


@pytest.fixture
def packed(folder: Path, tmp_path: Path) -> Path:
    """A folder of two files with three tensors each."""
    inside = tmp_path / "packed"
    inside.mkdir()
    pack_latents([folder], inside / "0.lvz", bound=Bound("exact"), packing="zstd")
    pack_latents([folder], inside / "1.lvz", bound=Bound("exact"), packing="field")
    return inside


# a machine with one core has reason to warn, a test has not
pytestmark = pytest.mark.filterwarnings("ignore:This DataLoader will create")


def first(batch: list[object]) -> object:
    return batch[0]


def test_items(packed: Path, folder: Path) -> None:
    data = LatentDataset(packed, check=True)
    assert len(data) == 6
    for index in range(6):
        item = data[index]
        original = load_file(folder / f"{item['name']}.safetensors")["latents"]
        assert torch.equal(item["latents"], original) and item["caption"] == f"a caption, {index % 3}"
        assert data.sample(index).tags["source"] == f"video{index % 3}"
    assert data[-1]["name"] == "a/clip2" and LatentDataset(packed, transform=lambda i: i["name"])[0] == "a/clip0"
    for index in (6, -7):
        with pytest.raises(IndexError):
            data[index]
    with pytest.raises(UsageError):
        LatentDataset([])


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 2])
def test_loader(packed: Path, workers: int) -> None:
    data = LatentDataset(packed)
    loader = DataLoader(data, batch_size=1, shuffle=True, num_workers=workers, collate_fn=first)
    names = [(item["name"], item["latents"].double().sum().item()) for item in loader]
    expected = [(data[i]["name"], data[i]["latents"].double().sum().item()) for i in range(6)]
    assert sorted(names) == sorted(expected)


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 2])
def test_stream(packed: Path, workers: int) -> None:
    """All workers and ranks together give everything once."""
    sums = []
    for rank in range(2):
        stream = LatentStream(packed, shuffle=True, seed=1, rank=rank, world=2)
        assert len(stream) == 3
        sums += [i["latents"].double().sum().item() for i in DataLoader(stream, None, num_workers=workers)]
    data = LatentDataset(packed)
    assert sorted(sums) == sorted(data[i]["latents"].double().sum().item() for i in range(6))
    stream = LatentStream(packed, shuffle=True)
    assert [i["name"] for i in stream] != [i["name"] for i in stream]  # another epoch, another order


def test_it_travels_to_a_process_that_is_not_forked(packed: Path) -> None:
    """macOS and Windows start workers anew: what they get is pickled, after files were opened here."""
    data = LatentDataset(packed)
    before = data[4]
    there: LatentDataset = pickle.loads(pickle.dumps(data))
    assert there._open == {} and torch.equal(there[4]["latents"], before["latents"])


def test_an_item_reads_its_own_bytes(packed: Path) -> None:
    """Damage in one tensor does not reach the next."""
    path = packed / "0.lvz"
    with LatentFile(path) as file:
        index = file.reader.index
        assert index is not None
        middle = index.gops[1].offset + 60
    data = bytearray(path.read_bytes())
    data[middle] ^= 1
    path.write_bytes(data)
    items = LatentDataset(path)
    assert items[0]["name"] == "a/clip0" and items[2]["name"] == "a/clip2"
    with pytest.raises(CorruptError):
        items[1]


@pytest.mark.slow
def test_videos_of_lvcs_own_codec(packed: Path, carphone: Path, tmp_path: Path) -> None:
    lvc.encode_file(carphone, packed / "2.lvz", gop=0.2, duration=0.5, resolution="64x48")
    data = LatentDataset(packed)
    groups = len(data) - 6
    assert groups >= 2 and data[6]["name"] == "2-0"
    frames = data.frames(6)
    assert data[6]["latents"].shape == (len(frames[0].values), 1, 3, 4) and frames[0].key
    assert (data[6]["latents"][:, 0].numpy() == frames[0].dequantised).all()
    assert sum(len(data.frames(6 + g)) for g in range(groups)) == 15
    with pytest.raises(UsageError, match="tensors"):
        data.frames(0)
    intra = LatentDataset(packed / "2.lvz", intra=True)
    item = intra[1]
    assert item["latents"].shape == (len(frames[0].values), data.frames(7)[-1].number - frames[-1].number, 3, 4)
    assert torch.equal(pickle.loads(pickle.dumps(intra))[1]["latents"], item["latents"])
    near = (intra[0]["latents"][:, :1] - data[6]["latents"]).abs().mean() / data[6]["latents"].abs().mean()
    assert near < 0.5
    loader = DataLoader(intra, batch_size=1, num_workers=1, collate_fn=first)
    assert [i["name"] for i in loader] == [data[6 + g]["name"] for g in range(groups)]
