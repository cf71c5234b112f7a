"""Clips through lvc and through the anchors at lvc's sizes: real files, decoded by fresh processes, then compared."""

from __future__ import annotations

import queue
import shutil
import tempfile
import threading
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

from lvc.errors import LvcError, MediaError
from lvc.evaluation import anchors, pictures
from lvc.evaluation.anchors import Anchor
from lvc.evaluation.measure import Measured, Workers
from lvc.evaluation.metrics import FrameQuality
from lvc.evaluation.plan import Codec, Plan, codecs
from lvc.evaluation.point import Point
from lvc.evaluation.reference import make_reference
from lvc.evaluation.source import Source
from lvc.evaluation.store import Store, hash_of_codec, hash_of_file, hash_of_measuring, key_of
from lvc.evaluation.versions import decoders, encoder_version
from lvc.facts import info_file

EXPECTED = (LvcError, OSError, RuntimeError, ValueError)
Failure = LvcError | OSError | RuntimeError | ValueError


def evaluate(clips: Mapping[Path, str], plan: Plan, store: Store, begun: Begun | None = None) -> Generator[Point]:
    """Yield all points of the clips (path → name) as they are finished; with one job in order, clip by clip. `begun` is
    called by worker threads with a clip and its current step.

    For each quality that is lvc's point of every model, then each anchor's at the size of the first model's; after
    them the anchors' at CRFs of their own. A failure becomes a Point with `error` and does not stop the others; a clip
    that cannot be read becomes one such Point. Raises UsageError, UnsupportedError for models. Leaving early ends the
    processes.
    """
    models = codecs(plan.models) if plan.qualities else []
    workers = Workers()
    done: queue.SimpleQueue[Point | BaseException | None] = queue.SimpleQueue()

    def work(clip: _Clip, step: float | Fixed) -> None:
        try:
            for point in clip.points(step):
                done.put(point)
            done.put(None)
        except BaseException as error:  # a bug: `evaluate` raises it on the caller's thread
            done.put(error)
        finally:
            clip.leave()

    with tempfile.TemporaryDirectory(prefix="lvc-eval-") as folder, ThreadPoolExecutor(plan.jobs) as pool:
        try:
            left = 0
            for number, (path, name) in enumerate(clips.items()):
                clip = _Clip(path, name, plan, models, store, workers, Path(folder) / str(number), begun)
                for step in steps(plan):
                    pool.submit(work, clip, step)
                    left += 1
            while left:
                item = done.get()
                if item is None:
                    left -= 1
                elif isinstance(item, Point):
                    yield item
                else:
                    raise item
        except BaseException:
            workers.stop()
            pool.shutdown(wait=False, cancel_futures=True)
            raise


Begun = Callable[[str, str], object]
Fixed = tuple[Anchor, float]  # an anchor and one of its own CRFs


def steps(plan: Plan) -> list[float | Fixed]:
    """The steps for one clip: lvc's qualities with the anchors at its sizes, then the other anchors' CRFs."""
    return [*plan.qualities, *((anchor, crf) for anchor in plan.anchors for crf in anchor.crfs)]


class _Clip:
    """One clip of a run. The first thread opens (or copies) its source, and the last one removes it."""

    def __init__(
        self,
        path: Path,
        name: str,
        plan: Plan,
        models: list[Codec],
        store: Store,
        workers: Workers,
        work: Path,
        begun: Begun | None,
    ) -> None:
        self.path, self.name, self.plan, self.models, self.store = path, name, plan, models, store
        self.workers, self.work, self._begun = workers, work, begun
        self._lock = threading.Lock()
        self._source: Source | None = None
        self._failed = False
        self._left = len(steps(plan))
        self._frames: dict[str, Any] = {}

    def points(self, step: float | Fixed) -> Iterator[Point]:
        with self._lock:
            if self._failed:
                return
            try:
                if self._source is None:
                    self._open()
            except EXPECTED as error:
                self._failed = True
                codec = str(step[0]) if isinstance(step, tuple) else self.models[0].label
                yield _failed(Point(self.name, codec, 0), error)
                return
        if isinstance(step, tuple):
            yield self._fixed_point(*step)
        else:
            yield from self._points_at(step)

    def _points_at(self, quality: float) -> Iterator[Point]:
        folder = self.work / f"{quality:g}"
        folder.mkdir()
        target = None
        for codec in self.models:
            point = self._lvc_point(codec, quality, folder)
            if codec is self.models[0] and not point.error:
                target = point.bytes
            yield point
        for anchor in self.plan.matched(quality) if target else ():
            yield self._matched_point(anchor, quality, target or 0, folder)

    def leave(self) -> None:
        with self._lock:
            self._left -= 1
            if not self._left and self._source is not None and self._source.path != self.path:
                self._source.path.unlink(missing_ok=True)

    def _open(self) -> None:
        self.work.mkdir()
        self.say("opening")
        self._source = make_reference(self.path, self.work, frames=self.plan.frames, max_height=self.plan.max_height)
        self._frames = {
            "clip": hash_of_file(self.path),
            "raw": self.path.name if self.path.suffix == ".yuv" else "",
            "frames": self.plan.frames,
            "max_height": self.plan.max_height,
            "decoders": decoders(self.plan.metrics),
            "measuring": hash_of_measuring(),
        }

    def say(self, what: str) -> None:
        if self._begun is not None:
            self._begun(self.name, what)

    def _key(self, **codec: Any) -> str:
        """The key of a point in the store: a hash of everything its figures depend on."""
        plan = self.plan
        how = {"metrics": sorted(plan.metrics), "threads": plan.threads, "pictures": plan.pictures}
        how["whole_files"] = plan.whole_files
        return key_of(**self._frames, **how, **codec)

    @property
    def source(self) -> Source:
        if self._source is None:
            raise RuntimeError("the clip is not open")
        return self._source

    def _blank(self, codec: str, setting: float, at: float | None) -> Point:
        video = self.source.format
        return Point(
            self.name, codec, setting, at, video.width, video.height, round(float(video.rate), 3),
            bit_depth=video.bit_depth, jobs=self.plan.jobs,
        )  # fmt: skip

    def _lvc_point(self, codec: Codec, quality: float, folder: Path) -> Point:
        settings = {**self.plan.settings, "model": codec.name, "quality": quality}
        blank = replace(self._blank(codec.label, quality, quality), model=codec.id)
        try:
            key = self._key(**settings | {"model": codec.sha256}, code=hash_of_codec())
            if stored := self.store.get(key):
                return replace(stored, clip=self.name, codec=codec.label, at=quality)
            path, threads = folder / "lvc.lvz", self.plan.threads
            self.say(f"{blank.told}: encoding")
            encoded = self.workers.measure("encode", "lvc", self.source.path, path, threads=threads, settings=settings)
            raw = folder / "decoded.raw"
            self.say(f"{blank.told}: decoding")
            decoded = self.workers.measure(
                "decode", "lvc", path, raw, threads=threads, settings=settings, reference=self.source.path
            )
            size = path.stat().st_size if self.plan.whole_files else info_file(path).values["video_bytes"]
            return self._judged(blank, key, path, size, raw, encoded, decoded)
        except EXPECTED as error:
            return _failed(blank, error)

    def _fixed_point(self, anchor: Anchor, crf: float) -> Point:
        folder = self.work / f"{anchor}@{crf:g}".replace(":", "-")
        folder.mkdir()
        try:
            return self._anchor_point(self._blank(str(anchor), crf, None), _Search(self, anchor, folder), crf)
        except EXPECTED as error:
            return _failed(self._blank(str(anchor), crf, None), error)
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def _matched_point(self, anchor: Anchor, at: float, target: int, folder: Path) -> Point:
        """The anchor's point that comes nearest to `target` bytes. Every encoding of the search is a measured one."""
        blank = replace(self._blank(str(anchor), 0, at), target_bytes=target)
        search = _Search(self, anchor, folder)
        try:
            crf = anchors.at_size(search.size_of, target, anchor.family, known=self.store.sizes(search.key))
            return self._anchor_point(replace(blank, setting=crf), search, crf)
        except EXPECTED as error:
            return _failed(blank, error)
        finally:
            for crf in search.encoded:
                search.path_of(crf).unlink(missing_ok=True)

    def _anchor_point(self, blank: Point, search: _Search, crf: float) -> Point:
        key = self._key(anchor=str(search.anchor), crf=crf, version=search.version)
        if stored := self.store.get(key):
            return replace(stored, clip=self.name, at=blank.at, target_bytes=blank.target_bytes)
        if crf not in search.encoded:
            search.size_of(crf)
        path, raw = search.path_of(crf), search.folder / "decoded.raw"
        self.say(f"{search.anchor} CRF {crf:g}: decoding")
        decoded = self.workers.measure(
            "decode", str(search.anchor), path, raw, threads=self.plan.threads, reference=self.source.path
        )
        return self._judged(blank, key, path, path.stat().st_size, raw, search.encoded[crf], decoded)

    def _judged(
        self, point: Point, key: str, path: Path, size: int, raw: Path, encode: Measured, decode: Measured
    ) -> Point:
        """Adds size (those bytes of the file at `path` that count) and quality, and keeps the point."""
        self.say(f"{point.told}: comparing")
        keep = self.plan.pictures
        original = key_of(**self._frames)
        order = {
            "job": "judge", "codec": point.codec, "src": str(raw), "reference": str(self.source.path),
            "size": decode.size, "metrics": list(self.plan.metrics), "threads": self.plan.threads,
            "pictures": str(self.store.picture(key)) if keep else "",
            "originals": str(self.store.picture(original)) if keep else "",
        }  # fmt: skip
        try:
            answer, _ = self.workers.ask(order)
        finally:
            raw.unlink(missing_ok=True)
        judged = replace(
            point, frames=answer["frames"], bytes=size, file_bytes=path.stat().st_size,
            quality=FrameQuality(**answer["clip"]),
            per_frame=[FrameQuality(**frame) for frame in answer["per_frame"]], encode=encode, decode=decode,
            pictures={str(index): pictures.name_of(key, index) for index in answer["pictures"]},
            original=original if keep else "",
        )  # fmt: skip
        self.store.put(key, judged)
        return judged


class _Search:
    """An anchor's files of one clip in `folder`, by CRF: bare streams, or MP4 if whole files count. All sizes are kept
    in the store."""

    def __init__(self, clip: _Clip, anchor: Anchor, folder: Path) -> None:
        self.anchor, self.folder = anchor, folder
        self.encoded: dict[float, Measured] = {}
        self.version = encoder_version(anchor)
        plan = clip.plan
        self.key = key_of(
            **clip._frames, anchor=str(anchor), version=self.version, threads=plan.threads, whole_files=plan.whole_files
        )
        self._clip = clip

    def path_of(self, crf: float) -> Path:
        return self.folder / f"{crf:g}{anchors.MP4 if self._clip.plan.whole_files else self.anchor.family.suffix}"

    def size_of(self, crf: float) -> int:
        """Encodes, and remembers how that went."""
        clip, name = self._clip, str(self.anchor)
        clip.say(f"{name} CRF {crf:g}: encoding")
        self.encoded[crf] = clip.workers.measure(
            "encode", name, clip.source.path, self.path_of(crf), threads=clip.plan.threads, settings={"crf": crf}
        )
        size = self.path_of(crf).stat().st_size
        if not size:
            raise MediaError(f"{name} at CRF {crf:g} wrote nothing — leave it out of --anchors")
        clip.store.add_size(self.key, crf, size)
        return size


def in_order(points: Sequence[Point], clips: Mapping[Path, str], plan: Plan) -> list[Point]:
    """Points in the order of a single job."""
    names, order = list(clips.values()), [(str(s[0]), s[1]) if isinstance(s, tuple) else s for s in steps(plan)]

    def place(p: Point) -> tuple[int, int]:
        step = (p.codec, p.setting) if p.at is None else p.at
        return names.index(p.clip), order.index(step) if step in order else -1  # -1: a clip that could not be read

    return sorted(points, key=place)  # stable within a quality


def _failed(point: Point, error: Failure) -> Point:
    code = error.exit_code if isinstance(error, LvcError) else MediaError.exit_code if isinstance(error, OSError) else 1
    return replace(point, error=str(error) or type(error).__name__, exit_code=code)
