"""One checkpoint of two: the intra codec of one, the inter codec of another, with tables counted on footage.

python scripts/compose_model.py INTRA INTER OUT --data FOLDER --work FOLDER (where `lvc train` keeps its cache). Without
--data the tables are INTRA's: for codecs that it has already. `--mean OTHER`: the inter codec is the mean of INTER's
and OTHER's weights, one of which was trained on from the other.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path

import torch
from safetensors.torch import load_file

from lvc.errors import UsageError
from lvc.models import ModelConfig, inspect
from lvc.models.load import TABLE_PREFIX, wrap
from lvc.models.network import Codec
from lvc.training.data import open_cache
from lvc.training.settings import TrainSettings
from lvc.training.state import atomic_save
from lvc.training.tables import build_tables, count_symbols


def composed(intra: ModelConfig, inter: ModelConfig) -> ModelConfig:
    """Raises `UsageError` where the two codecs do not go together."""
    for name in ("architecture", "hyper", "side", "scale_hidden"):
        if getattr(intra, name) != getattr(inter, name):
            raise UsageError(f"the models differ in {name} — train them with the same")
    latents = inter.latents(intra=False)
    if latents > intra.latent:
        raise UsageError("the inter codec has more latent channels than the intra codec — the file's planes are its")
    return replace(
        intra, inter_latent=latents, inter_width=inter.inter_width, inter_encoder_blocks=inter.inter_encoder_blocks,
        inter_decoder_blocks=inter.inter_decoder_blocks,
    )  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("intra", "inter", "out"):
        parser.add_argument(name, type=Path)
    parser.add_argument("--data", type=Path, help="training footage to count symbols on")
    parser.add_argument("--work", type=Path, default=Path(".work/compose"), help="has or gets the footage's cache")
    parser.add_argument("--mean", type=Path, metavar="OTHER", help="another inter codec of the same line of training")
    given = parser.parse_args()
    torch.set_num_threads(1)
    config = composed(inspect(given.intra).config, inspect(given.inter).config)
    of_intra, of_inter = load_file(given.intra), load_file(given.inter)
    weights = {k: v for k, v in of_intra.items() if k.startswith("intra.")}
    weights |= {k: v for k, v in of_inter.items() if k.startswith("inter.")}
    if given.mean is not None:
        if inspect(given.mean).config.latents(intra=False) != config.latents(intra=False):
            raise UsageError(f"{given.mean} has another number of latent channels")
        other = load_file(given.mean)
        weights |= {k: (v + other[k]) / 2 for k, v in weights.items() if k.startswith("inter.")}
    codec = Codec(config)
    codec.load_state_dict(weights)
    if given.data is None:
        tables = {k: v for k, v in of_intra.items() if k.startswith(TABLE_PREFIX)}
    else:
        usual = TrainSettings(data=(given.data,), out=given.out, work=given.work)
        clips = open_cache(
            usual.data, usual.work / "cache", usual.max_height, usual.max_frames, usual.seed,
            lambda line: print(line, file=sys.stderr),
        )  # fmt: skip
        tables = build_tables(codec, count_symbols(wrap(codec, build_tables(codec)), clips, usual.seed))
    atomic_save({**codec.state_dict(), **tables}, given.out, {"config": config.to_json(), "final": "True"})
    print(config.to_json())
    return 0


if __name__ == "__main__":
    sys.exit(main())
