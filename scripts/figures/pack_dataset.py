#!/usr/bin/env python3
"""How fast latents reach a training loop: LatentDataset beside one .safetensors or .pt a clip.

    scripts/figures/pack_dataset.py [--clips 48] [--folder FOLDER] [--packings fast,zstd,field]

Clips are mirrored, turned and reversed pieces of the real Wan latents ([16, 16, 40, 64] bf16). Each way is read in
random order by a DataLoader with 0, 1 and 2 workers, one clip a batch: cold (the files' pages dropped from the cache
first) and warm (the fastest of the next four passes: other work on the machine only slows down). Clips a second; bytes
and processor time a clip; start of the workers counts when cold.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from lvc.latents import Bound, LatentDataset, pack_latents

DATA = Path(os.environ.get("LVC_DATA", Path(__file__).resolve().parents[3] / "shared" / "data"))


def clips(count: int) -> Iterator[Tensor]:
    source = torch.load(DATA / "pretrained" / "wan2_1_latents.pth", map_location="cpu", weights_only=True)[0]
    for number in range(count):
        turned = source.flip([axis for axis in (1, 2, 3) if number >> axis & 1])
        yield torch.roll(turned, (number % 5, number % 7), (2, 3)).contiguous()


class Files(Dataset[Tensor]):
    """One file a clip, as training caches are kept."""

    def __init__(self, paths: list[Path]) -> None:
        self.paths = paths

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> Tensor:
        path = self.paths[index]
        if path.suffix == ".pt":
            loaded: Tensor = torch.load(path, map_location="cpu", weights_only=True)
            return loaded
        return load_file(path)["latents"].clone()  # a mapped file is not read before it is looked at


def tensor_of(batch: list[object]) -> object:
    return batch[0]["latents"] if isinstance(batch[0], dict) else batch[0]


def dropped(paths: list[Path]) -> None:
    """Out of the page cache, as far as the system listens."""
    os.sync()
    for path in paths:
        handle = os.open(path, os.O_RDONLY)
        os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(handle)


def rates(data: Dataset[object], paths: list[Path], workers: int) -> tuple[float, float]:
    """Clips a second, cold and warm."""
    torch.manual_seed(0)
    loader = DataLoader(
        data, 1, shuffle=True, num_workers=workers, collate_fn=tensor_of, persistent_workers=workers > 0
    )
    found = []
    dropped(paths)
    for _ in range(5):
        start = time.perf_counter()
        count = sum(1 for _ in loader)
        found.append(count / (time.perf_counter() - start))
    return found[0], max(found[1:])


def processor_ms(data: Dataset[object], count: int) -> float:
    """Of a clip that is in the cache, the best of three rounds: what other work on the machine does not change."""
    found = []
    for _ in range(3):
        start = time.process_time()
        for index in range(count):
            data[index]
        found.append(1000 * (time.process_time() - start) / count)
    return min(found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, default=48)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--packings", default="fast,zstd,field")
    args = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory(dir=args.folder) as name:
        folder = Path(name)
        inside = folder / "in"
        inside.mkdir()
        for number, clip in enumerate(clips(args.clips)):
            save_file({"latents": clip}, inside / f"{number:04d}.safetensors")
            torch.save(clip, folder / f"{number:04d}.pt")
        kinds: list[tuple[str, Dataset[object], list[Path]]] = [
            (".safetensors", Files(sorted(inside.iterdir())), sorted(inside.iterdir())),
            (".pt", Files(sorted(folder.glob("*.pt"))), sorted(folder.glob("*.pt"))),
        ]
        for packing in args.packings.split(","):
            path = folder / f"{packing}.lvz"
            pack_latents([inside], path, bound=Bound("rms", 0.01), packing=packing)
            kinds.append((f".lvz, 1 % RMS, packing {packing}", LatentDataset(path), [path]))
        print("| read from | bytes a clip | processor ms | clips/s cold, 0/1/2 workers | warm |\n|---|---|---|---|---|")
        for label, data, paths in kinds:
            size = sum(path.stat().st_size for path in paths) / args.clips
            found = [rates(data, paths, workers) for workers in (0, 1, 2)]
            cold, warm = (" / ".join(f"{pair[i]:.0f}" for pair in found) for i in range(2))
            spent = processor_ms(data, min(args.clips, 8))
            print(f"| {label} | {size:,.0f} | {spent:.2f} | {cold} | {warm} |", flush=True)


if __name__ == "__main__":
    main()
