"""`LatentDataset`: the tensors of `.lvz` files for PyTorch's `DataLoader`, map-style and as a stream."""

from __future__ import annotations

import os
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator
from itertools import accumulate
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import Dataset, IterableDataset, get_worker_info

from lvc.codec import LatentFrame
from lvc.errors import UsageError
from lvc.latents.file import LatentFile
from lvc.latents.frames import VideoLatents, is_video
from lvc.lvz import Sample
from lvc.models import Model

PathLike = str | os.PathLike[str]
Item = dict[str, Any]
Transform = Callable[[Item], Any]


def lvz_files(paths: PathLike | Iterable[PathLike]) -> list[str]:
    """Return the files, and the `.lvz` files in folders, in order of name. Raises `UsageError` if there are none."""
    listed = [paths] if isinstance(paths, (str, os.PathLike)) else list(paths)
    found: list[str] = []
    for path in map(Path, listed):
        found += [str(p) for p in sorted(path.rglob("*.lvz"))] if path.is_dir() else [str(path)]
    if not found:
        raise UsageError(f"no .lvz in {', '.join(map(str, listed))} — lvc pack makes them")
    return found


class LatentDataset(Dataset[Any]):
    """`dataset[i]` is a dictionary: `latents` (in the shape and element type that was packed), `name`, `caption` and
    `tags`; `transform` may convert it.

    Opening reads descriptors and indices; an item then reads its own chunks and no others. Every process opens the
    files for itself, so any number of workers may be used. `check` compares the checksum of every item's integers in
    addition to those of the chunks.

    Of a video of lvc's own codec each group of clips is an item: `latents` is float32 `CTHW`, the dequantised latents
    of its key frame (T is 1), or with `intra` those that each of its frames would have as a key frame, which decodes
    the group every time (`lvc unpack --intra` does it once). `frames(i)` has the rest, including the residual latents
    of predicted frames. Both need the model that made the file.

    Raises `UsageError` (nothing there), `CorruptError`, `UnsupportedError`, `OSError`.
    """

    def __init__(
        self,
        paths: PathLike | Iterable[PathLike],
        *,
        transform: Transform | None = None,
        check: bool = False,
        intra: bool = False,
    ) -> None:
        self.files = lvz_files(paths)
        self.transform, self.check, self.intra = transform, check, intra
        self._open: dict[int, LatentFile | VideoLatents] = {}
        self._models: dict[bytes, Model] = {}
        self._owner = os.getpid()
        self._ends = list(accumulate(len(self._file(number)) for number in range(len(self.files))))

    def _file(self, number: int) -> LatentFile | VideoLatents:
        if self._owner != os.getpid():  # a forked worker must not move the file position of its parent
            self._open, self._models, self._owner = {}, {}, os.getpid()
        if number not in self._open:
            path = self.files[number]
            if is_video(path):
                self._open[number] = VideoLatents(path, intra=self.intra, models=self._models)
            else:
                self._open[number] = LatentFile(path, check=self.check)
        return self._open[number]

    def _place(self, index: int) -> tuple[LatentFile | VideoLatents, int]:
        index = index + len(self) if index < 0 else index
        if not 0 <= index < len(self):
            raise IndexError(f"item {index} of {len(self)}")
        number = bisect_right(self._ends, index)
        return self._file(number), index - (self._ends[number - 1] if number else 0)

    def __len__(self) -> int:
        return self._ends[-1]

    def sample(self, index: int) -> Sample:
        """Return an item's name, axes, sizes and tags without reading the item."""
        file, at = self._place(index)
        return file.samples[at]

    def __getitem__(self, index: int) -> Any:
        file, at = self._place(index)
        sample = file.samples[at]
        item: Item = {
            "latents": file.read(at),
            "name": sample.name,
            "caption": sample.tags.get("caption", ""),
            "tags": dict(sample.tags),
        }
        return item if self.transform is None else self.transform(item)

    def frames(self, index: int) -> list[LatentFrame]:
        """Return the integers and latents of each frame of an item of lvc's own codec. Raises `UsageError` for packed
        tensors."""
        file, at = self._place(index)
        if not isinstance(file, VideoLatents):
            raise UsageError(f"{file.path} holds tensors, no frames of lvc's own codec")
        return file.frames(at)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_open": {}, "_models": {}}

    def close(self) -> None:
        for file in self._open.values():
            file.close()
        self._open = {}


class LatentStream(IterableDataset[Any]):
    """The same items as a stream: each worker takes its share; `shuffle` draws a new order every epoch from `seed`.

    In a distributed run give `rank` and `world`; the shares of all ranks and workers together cover every item once.
    """

    def __init__(
        self,
        paths: PathLike | Iterable[PathLike],
        *,
        shuffle: bool = False,
        seed: int = 0,
        rank: int = 0,
        world: int = 1,
        transform: Transform | None = None,
        check: bool = False,
        intra: bool = False,
    ) -> None:
        if not 0 <= rank < world:
            raise UsageError(f"rank {rank} is not one of {world}")
        self.items = LatentDataset(paths, transform=transform, check=check, intra=intra)
        self.shuffle, self.seed, self.rank, self.world = shuffle, seed, rank, world
        self.epoch = 0

    def __len__(self) -> int:
        return len(range(self.rank, len(self.items), self.world))

    def __iter__(self) -> Iterator[Any]:
        order = list(range(len(self.items)))
        if self.shuffle:
            generator = torch.Generator().manual_seed(self.seed + self.epoch)
            order = torch.randperm(len(order), generator=generator).tolist()
        self.epoch += 1
        worker = get_worker_info()
        share, shares = (worker.id, worker.num_workers) if worker else (0, 1)
        for index in order[self.rank :: self.world][share::shares]:
            yield self.items[index]
