"""Export vectors for other tools: one row per moment, as `.npz` (numpy) or `.parquet` (pyarrow)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lvc.errors import UnsupportedError, UsageError
from lvc.features import DIMENSIONS, default_extractor, unit
from lvc.remote.addresses import without_secrets
from lvc.search.sources import Moments

ENDINGS = (".npz", ".parquet")


@dataclass(frozen=True)
class Table:
    """Rows of all files, in order: `path` [N], `time` float64 [N] in seconds, `vector` float32 [N,64] of length 1."""

    path: list[str]
    time: np.ndarray
    vector: np.ndarray


def check_ending(target: str) -> None:
    """Check the format before any work. Raises `UsageError` for an unknown one, `UnsupportedError` for Parquet without
    pyarrow."""
    ending = Path(target).suffix.lower()
    if ending not in ENDINGS:
        raise UsageError(f"{target}: features can be written as {' or '.join(ENDINGS)} — choose one of these endings")
    if ending == ".parquet":
        _pyarrow()


def table_of(files: list[tuple[str, Moments]]) -> Table:
    paths = [without_secrets(path) for path, moments in files for _ in moments.times]
    times = np.concatenate([moments.times for _, moments in files] or [np.zeros(0)])
    vectors = [moments.vectors for _, moments in files] or [np.zeros((0, DIMENSIONS), np.int8)]
    return Table(paths, times, unit(np.concatenate(vectors)))


def write_table(table: Table, path: Path, ending: str) -> None:
    """Write the rows and the id of the extractor. `ending` is one of `ENDINGS`."""
    extractor = default_extractor().id
    if ending == ".npz":
        with path.open("wb") as file:
            np.savez_compressed(
                file, path=np.array(table.path), time=table.time, vector=table.vector, extractor=np.array(extractor)
            )
        return
    pa = _pyarrow()
    import pyarrow.parquet

    vector = pa.FixedSizeListArray.from_arrays(pa.array(table.vector.ravel()), DIMENSIONS)
    columns = {"path": pa.array(table.path, pa.string()), "time": pa.array(table.time), "vector": vector}
    written = pa.table(columns).replace_schema_metadata({"extractor": extractor})
    pyarrow.parquet.write_table(written, path)


def _pyarrow() -> Any:
    try:
        import pyarrow
    except ImportError as error:
        raise UnsupportedError("Parquet needs pyarrow — pip install 'lvc[search]', or write .npz") from error
    return pyarrow
