#!/usr/bin/env python3
"""Are training footage, `val` and Kodak's pictures disjoint? `lvc search duplicates`, each file against every other.

    scripts/figures/disjoint.py [--data ../shared/data] [--db FOLDER]

Groups of files that show the same footage are printed, and for each file of `val` and each Kodak picture the moment of
the training footage that looks most like it. Exits with 1 if a group has files of both sides. `--db` keeps the vectors.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from pathlib import Path

import numpy as np

from lvc.features import unit
from lvc.search import Database, duplicates, index_folders


def files_under(folder: Path) -> list[Path]:
    return sorted(Path(os.path.abspath(p)) for p in folder.rglob("*") if p.is_file())


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--db", type=Path, help="a folder that keeps the vectors for the next run")
    args = parser.parse_args()
    if not (args.data / "val").is_dir():
        sys.exit(f"there is no footage in {args.data} — name its folder with --data")
    train = {str(p) for p in files_under(args.data / "train")}
    # what is measured: clips and Kodak's pictures; each is named, so that pictures are looked at too
    held = {str(p) for p in files_under(args.data / "val")}
    with tempfile.TemporaryDirectory() as folder, Database(args.db or folder, create=True) as database:
        done = index_folders(sorted(train | held), database)
        collection = database.load()
    print(f"{len(collection.paths)} files, {len(collection.vectors)} moments, {done.failed} could not be read")
    mixed = 0
    for group in duplicates(collection):
        sides = {path in held for path in group.paths}
        mixed += len(sides) == 2
        print(f"{'BOTH SIDES' if len(sides) == 2 else 'held out' if True in sides else 'training'}: ", end="")
        print(", ".join(Path(path).name for path in group.paths), f"({max(pair.score for pair in group.pairs):.3f})")
    vectors = unit(collection.vectors)
    owner = collection.file_of(np.arange(len(vectors)))
    trained = np.array([collection.paths[file] in train for file in owner])
    nearest = []
    for number, path in enumerate(collection.paths):
        mine = vectors[(owner == number) & ~trained]
        if path in held and len(mine):
            cosines = mine @ vectors[trained].T
            at = np.unravel_index(int(cosines.argmax()), cosines.shape)[1]
            other = collection.paths[owner[np.flatnonzero(trained)[at]]]
            nearest.append((float(cosines.max()), Path(path).name, Path(other).name))
    print("the moments of both sides that are most alike:")
    for cosine, name, other in sorted(nearest, reverse=True)[:10]:
        print(f"  {cosine:.3f} {name} – {other}")
    print(f"{mixed} groups have files of both sides, of {len(train)} in training and {len(held)} held out")
    return int(mixed > 0)


if __name__ == "__main__":
    sys.exit(main())
