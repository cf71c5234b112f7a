"""`LatentDataset`: items alone, with workers, and as a stream."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch.utils.data import DataLoader

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


@pytest.mark.parametrize("workers", [0, 2])
def test_loader(packed: Path, workers: int) -> None:
    data = LatentDataset(packed)
    loader = DataLoader(data, batch_size=1, shuffle=True, num_workers=workers, collate_fn=first)
    names = [(item["name"], item["latents"].double().sum().item()) for item in loader]
    expected = [(data[i]["name"], data[i]["latents"].double().sum().item()) for i in range(6)]
    assert sorted(names) == sorted(expected)


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
