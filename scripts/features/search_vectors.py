#!/usr/bin/env python3
"""A million vectors: time of a query, size and recall@10, beside rivals: `scripts/features/search_vectors.py`.

Two kinds of vectors: uniform on the sphere, the hardest case, and paths like those of videos, 100 moments each, where a
query is a moment that was disturbed. Recall is against comparing all stored (int8) vectors exactly. Times are those of
the processor, one thread; wall time besides. Rivals (faiss-cpu, usearch, lancedb) are measured where they are there.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from lvc.features import quantise, unit
from lvc.search import Database
from lvc.search.database import FILE, Known
from lvc.search.nearest import Nearest
from lvc.search.sources import Moments

PER_FILE, QUERIES, TOP, D = 100, 200, 10, 64
Search = Callable[[np.ndarray], np.ndarray]


def uniform(count: int, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Stored vectors and queries, int8."""
    return tuple(quantise(_normed(random.standard_normal((n, D), np.float32))) for n in (count, QUERIES))  # type: ignore[return-value]


def paths(count: int, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    files = count // PER_FILE
    starts = random.standard_normal((files, 1, D), np.float32)
    steps = 0.15 * random.standard_normal((files, PER_FILE, D), np.float32)
    x = _normed((starts + np.cumsum(steps, 1)).reshape(-1, D))
    picked = x[random.integers(0, len(x), QUERIES)]
    return quantise(x), quantise(_normed(picked + 0.05 * random.standard_normal(picked.shape, np.float32)))


def _normed(x: np.ndarray) -> np.ndarray:
    result: np.ndarray = (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)
    return result


def exact(x: np.ndarray, queries: np.ndarray) -> np.ndarray:
    """Rows [Q,10] of the nearest, by comparing all."""
    scores = np.concatenate([unit(queries) @ unit(x[i : i + 50_000]).T for i in range(0, len(x), 50_000)], 1)
    best = np.argpartition(-scores, TOP, axis=1)[:, :TOP]
    return best


def measured(name: str, search: Search, queries: np.ndarray, truth: np.ndarray, size: str) -> None:
    search(queries[0])
    cpu, wall, hits = [], [], 0
    for query, right in zip(queries, truth, strict=True):
        began, began_wall = time.process_time(), time.perf_counter()
        found = search(query)
        cpu.append(1000 * (time.process_time() - began))
        wall.append(1000 * (time.perf_counter() - began_wall))
        hits += len({*map(int, np.ravel(found))} & {*map(int, right)})
    (a, b), (c, d) = np.percentile(cpu, [50, 95]), np.percentile(wall, [50, 95])
    recall = hits / (TOP * len(queries))
    print(f"| {name} | {a:.1f} / {b:.1f} | {c:.1f} / {d:.1f} | {recall:.3f} | {size} |", flush=True)


def own(x: np.ndarray, queries: np.ndarray, truth: np.ndarray) -> None:
    with tempfile.TemporaryDirectory() as folder:
        with Database(folder, create=True) as database:
            for i in range(0, len(x), PER_FILE):
                part = Moments(np.arange(float(PER_FILE)), x[i : i + PER_FILE], float(PER_FILE))
                database.put(f"{i:09}", Known(1, 1, None), part)
        size = sum(p.stat().st_size for p in Path(folder).glob(FILE + "*"))
        began = time.process_time()
        with Database(folder) as database:
            collection = database.load()
        nearest = Nearest(collection.vectors)
        opened = time.process_time() - began
        text = f"{size / 1e6:.0f} MB, opened in {opened:.1f} s"
        measured("lvc (numpy)", lambda q: nearest.search(q, TOP)[0], queries, truth, text)


def plain(x: np.ndarray, queries: np.ndarray, truth: np.ndarray) -> None:
    floats = unit(x)
    measured(
        "numpy, all, float32",
        lambda q: np.argpartition(-(floats @ unit(q[None])[0]), TOP)[:TOP],
        queries[:20],
        truth[:20],
        f"{floats.nbytes / 1e6:.0f} MB",
    )


def with_faiss(x: np.ndarray, queries: np.ndarray, truth: np.ndarray) -> None:
    import faiss

    faiss.omp_set_num_threads(1)
    floats = unit(x)
    flat = faiss.IndexScalarQuantizer(D, faiss.ScalarQuantizer.QT_8bit, faiss.METRIC_INNER_PRODUCT)
    flat.train(floats[:100_000])
    flat.add(floats)
    size = f"{flat.sa_code_size() * len(x) / 1e6:.0f} MB"
    measured("faiss, all, 8 bits", lambda q: flat.search(unit(q[None]), TOP)[1], queries[:50], truth[:50], size)
    coarse = faiss.IndexFlatIP(D)
    lists = faiss.IndexIVFScalarQuantizer(coarse, D, 1024, faiss.ScalarQuantizer.QT_8bit, faiss.METRIC_INNER_PRODUCT)
    began = time.process_time()
    lists.train(floats[:60_000])
    lists.add(floats)
    size = f"{lists.sa_code_size() * len(x) / 1e6:.0f} MB, built in {time.process_time() - began:.0f} s"
    for probes in (32, 512):
        lists.nprobe = probes
        name = f"faiss, {probes} of 1024 lists"
        measured(name, lambda q: lists.search(unit(q[None]), TOP)[1], queries, truth, size)


def with_usearch(x: np.ndarray, queries: np.ndarray, truth: np.ndarray) -> None:
    from usearch.index import Index

    index = Index(ndim=D, metric="cos", dtype="i8", connectivity=16, expansion_add=96, expansion_search=256)
    began = time.process_time()
    index.add(np.arange(len(x)), x, threads=1)
    size = f"{index.serialized_length / 1e6:.0f} MB, built in {time.process_time() - began:.0f} s"
    measured("usearch, HNSW, ef 256", lambda q: index.search(q, TOP).keys, queries, truth, size)


def with_lancedb(x: np.ndarray, queries: np.ndarray, truth: np.ndarray) -> None:
    import lancedb
    import pyarrow as pa

    with tempfile.TemporaryDirectory() as folder:
        vectors = pa.FixedSizeListArray.from_arrays(pa.array(unit(x).ravel()), D)
        table = lancedb.connect(folder).create_table("v", pa.table({"id": np.arange(len(x)), "vector": vectors}))
        began = time.process_time()
        table.create_index(metric="cosine", num_partitions=1024, num_sub_vectors=32)
        built = time.process_time() - began
        size = sum(p.stat().st_size for p in Path(folder).rglob("*") if p.is_file()) / 1e6

        def search(q: np.ndarray) -> np.ndarray:
            asked = table.search(unit(q[None])[0]).metric("cosine").nprobes(64).refine_factor(20).limit(TOP)
            return np.array([row["id"] for row in asked.select(["id"]).to_list()])

        name = "LanceDB, IVF-PQ, 64 of 1024 lists"
        measured(name, search, queries[:50], truth[:50], f"{size:.0f} MB, built in {built:.0f} s")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=1_000_000)
    parser.add_argument("--only", help="a part of the name of one method")
    args = parser.parse_args()
    for kind in (paths, uniform):
        x, queries = kind(args.count, np.random.default_rng(0))
        truth = exact(x, queries)
        print(f"\n{kind.__name__}, {len(x)} vectors\n")
        print("| | CPU ms p50 / p95 | wall ms p50 / p95 | recall@10 | size |\n|---|---|---|---|---|")
        for method in (own, plain, with_faiss, with_usearch, with_lancedb):
            if args.only and args.only not in method.__name__:
                continue
            try:
                method(x, queries, truth)
            except ImportError as error:
                print(f"| {method.__name__} | {error} | | | |")


if __name__ == "__main__":
    main()
