"""The contents of a `.lvz`, and whether it is intact. torch and PyAV are not loaded, except to decode frames."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Callable
from dataclasses import asdict, dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from lvc.engine.library import chosen
from lvc.errors import CorruptError, UsageError
from lvc.lvz import PACKING_NAMES, Clip, Index, LvzReader, ModelChunk, Tail, VideoDescriptor
from lvc.lvz.chunks import CLIP as CLIP_CHUNK
from lvc.lvz.chunks import VSTR, chunk_sizes
from lvc.lvz.features import PICTURE, SOUND
from lvc.lvz.records import GopEntry, PacketsEntry
from lvc.options import VerifyOptions
from lvc.output import about, opened_input
from lvc.place import STREAM, Place
from lvc.results import Facts, counted

if TYPE_CHECKING:
    from lvc.models import Model


SEARCHED = {PICTURE: "picture", SOUND: "sound"}
"""What vectors for `lvc search` are of."""


def info_file(
    path: str | os.PathLike[str], *, detailed: bool = False, notice: Callable[[str], object] | None = None
) -> Facts:
    """What a `.lvz` says of itself. Nothing is decoded.

    Args:
        path: The file: a path, an address, or `-` for standard input.
        detailed: In the text for people, every group of pictures too, and the engine that would decode it.
        notice: Called with what an address cannot do.

    Returns:
        `values` for programs: picture, length, streams, tags, sizes; `str()` of it is for people. What only the end of
        a file says is None where that was not seen.

    Raises:
        CorruptError: The head is damaged, or it is no `.lvz`.
        UnsupportedError: The file needs a newer lvc.
        LimitError: The file declares more than the limits allow.
        OSError: The file cannot be read.
    """
    path = os.fspath(path)
    with about(path), opened_input(path, notice) as file:
        reader = LvzReader(file)
        header, video, tail, index = reader.header, reader.video, reader.tail, reader.index
        metadata, side, attachments = reader.metadata, reader.side, reader.attachments
        size = None if path == STREAM else reader.size
        local = Place(path).is_local
        parts = _sizes(path, reader) if local and tail is not None else None
        counted = _Counted.so_far(reader) if tail is None and local else _Counted.of(tail, index)
        searchable = {track.kind: len(track.pts) for track in reader.features} if local and tail is not None else None
    seconds = None if counted is None else float(counted.ticks * video.seconds_per_tick)
    samples = None if counted is None else counted.frames * video.width * video.height
    values: dict[str, Any] = {
        "bytes": size,
        "version": header.version,
        "created_by": header.created_by,
        "model": header.model_id,
        "model_sha256": header.model_sha256.hex(),
        "same_pixels": reader.tensors is None,
        "model_inside": None if reader.model_chunk is None else _inside(reader.model_chunk),
        "complete": tail is not None,
        "frames": None if counted is None else counted.frames,
        "duration": seconds,
        "clips": None if counted is None else counted.clips,
        "gops": None if counted is None else counted.gops,
        "bpp": round(8 * size / samples, 6) if size and samples else None,
        "bitrate": round(8 * size / seconds) if size and seconds else None,
        "video": _picture(video),
        "quality": _told(header.created_by, "quality"),
        "effort": _told(header.created_by, "effort"),
        "video_bytes": None if parts is None else parts["video"],
        "audio_bytes": None if parts is None else parts["audio"],
        "search_vectors": None if searchable is None else {n: searchable.get(k, 0) for k, n in SEARCHED.items()},
        "packing": PACKING_NAMES[video.packing],
        "frame_checks": video.checks,
        "gop_seconds": video.gop_seconds,
        "streams": [
            {
                "kind": stream.kind,
                "codec": stream.codec,
                "language": stream.language,
                "sample_rate": stream.sample_rate,
                "channels": stream.channels,
            }
            for stream in reader.copied
        ],
        "beside": {"language": side.language, "tags": side.tags, "properties": side.properties},
        "attachments": [
            {"name": item.name, "mime": item.mime, "bytes": len(item.data), "cover": item.cover} for item in attachments
        ],
        "tags": metadata.tags,
        "chapters": [
            {
                "start": float(chapter.start * Fraction(*chapter.time_base)),
                "end": float(chapter.end * Fraction(*chapter.time_base)),
                "title": chapter.tags.get("title", ""),
            }
            for chapter in metadata.chapters
        ],
    }
    lines = _lines(values)
    if detailed and index is not None:
        lines += _gops(index, tail, video)
    if detailed:
        lines.append(("engine", chosen()))
    return Facts(values, lines)


def _gops(index: Index, tail: Tail | None, video: VideoDescriptor) -> list[tuple[str, str]]:
    """A line for every GOP: where it starts, in time and in the file."""
    gops = [entry for entry in index.entries if isinstance(entry, GopEntry)]
    begin = gops[0].start_pts if gops else 0
    frames = [gop.first_frame for gop in gops] + [tail.frame_count if tail else 0]
    return [
        (
            f"GOP {number + 1}",
            f"{float((gop.start_pts - begin) * video.seconds_per_tick):.3f} s, "
            f"{counted(frames[number + 1] - gop.first_frame, 'frame')} from {gop.first_frame}, at byte {gop.offset:,}",
        )
        for number, gop in enumerate(gops)
    ]


def _told(made_by: str, name: str) -> float | None:
    """A setting that the encoder recorded beside its name: `lvc 0.2; quality 50, effort 4`."""
    found = re.search(rf"; (?:.*, )?{name} (\d+(?:\.\d+)?)", made_by)
    return float(found[1]) if found else None


def _sizes(path: str, reader: LvzReader) -> dict[str, int]:
    """Bytes of pictures (what describes them, and their clips) and of sound, framing included, from the beginnings of
    all chunks."""
    entries = reader.index.entries if reader.index else ()
    kinds = {e.offset: reader.copied[e.stream].kind for e in entries if isinstance(e, PacketsEntry)}
    found = {"video": 0, "audio": 0}
    with open(path, "rb") as file:
        for offset, kind, size in chunk_sizes(file):
            if kind in (CLIP_CHUNK, VSTR):
                found["video"] += size
            elif kinds.get(offset) == "audio":
                found["audio"] += size
    return found


def verify_file(
    path: str | os.PathLike[str],
    *,
    full: bool = False,
    model: str | os.PathLike[str] | Model | None = None,
    threads: int | None = None,
    device: str | None = None,
) -> Facts:
    """Check every checksum, count and rule of a `.lvz`.

    Args:
        path: The file: a path, an address, or `-` for standard input.
        full: Decode every frame too, which checks the latents.
        model: The model that the file was made with, if lvc does not find it by itself.
        threads: Cores to use. None takes all.
        device: Where torch runs another project's VAE, as `cuda`.

    Returns:
        Counts, sizes and the file's SHA-256.

    Raises:
        CorruptError: Something is damaged (`TruncatedError`: cut off).
        UnsupportedError: The file needs a newer lvc, or, with `full`, a model that is not here.
        LimitError: The file declares more than the limits allow.
        UsageError: With `full`, standard input, which can be read only once.
        OSError: The file cannot be read.
    """
    return verified(os.fspath(path), VerifyOptions(full=full, model=model, threads=threads, device=device))


def verified(path: str, options: VerifyOptions) -> Facts:
    """What `verify_file` does."""
    full = options.full
    if full and path == STREAM:
        raise UsageError("a pipe can be read only once — --full needs a file")
    with about(path), opened_input(path) as file:
        reader = LvzReader(file)
        summary = reader.verify()
        decoded = 0
        if full and reader.tensors is not None and (reader.tensors.samples or options.model is None):
            from lvc.latents import LatentFile

            with LatentFile(path) as latents:  # integers need no model
                for number, sample in enumerate(latents.samples):
                    latents.integers(number)
                    decoded += sample.frames
        elif full:
            from lvc.files import decode_frames

            frames = decode_frames(path, model=options.model, threads=options.threads, device=options.device)
            decoded = sum(1 for _ in frames)
    text = f"ok, {counted(summary.frames, 'frame')}, {_groups(summary.gops)}, {summary.file_bytes:,} bytes"
    values = {**asdict(summary), "overhead_bytes": summary.overhead_bytes, "decoded": decoded}
    return Facts(values, text=f"{text}, all decoded" if full else text)


@dataclass(frozen=True)
class _Counted:
    """What there is of a video; `ticks` of its time base."""

    frames: int
    clips: int
    gops: int
    ticks: int

    @classmethod
    def of(cls, tail: Tail | None, index: Index | None) -> _Counted | None:
        if tail is None or index is None:
            return None
        return cls(tail.frame_count, tail.clip_count, len(index.gops), tail.end_pts - tail.start_pts)

    @classmethod
    def so_far(cls, reader: LvzReader) -> _Counted:
        """Of a file without an end: one that is being recorded, or was cut off. All of it is read."""
        frames = clips = gops = begin = end = 0
        with contextlib.suppress(CorruptError):
            for record in reader.records():
                if isinstance(record, Clip):
                    begin = begin if clips else record.pts[0]
                    end = record.pts[-1] + record.durations[-1]
                    frames, clips, gops = frames + record.n_frames, clips + 1, gops + record.key
        return cls(frames, clips, gops, end - begin)


def _picture(video: VideoDescriptor) -> dict[str, Any]:
    """The picture's own fields, ratios as strings; what only the codec reads is left out."""
    ratios = {name: "{}/{}".format(*getattr(video, name)) for name in ("time_base", "frame_rate", "sar")}
    colour = ("primaries", "transfer", "matrix", "color_range", "chroma_location", "bit_depth", "chroma")
    names = ("width", "height", "rotation", "hflip", *colour, "source_pix_fmt")
    plain = {name: getattr(video, name) for name in names}
    return {**plain, **ratios}


def _inside(chunk: ModelChunk) -> dict[str, Any]:
    """Of the model in the file: what it takes there, and what it builds on."""
    return {"bytes": len(chunk.data), "base_sha256": chunk.base_sha256.hex() or None}


def _groups(count: int) -> str:
    return f"{counted(count, 'group')} of clips"


def _lines(values: dict[str, Any]) -> list[tuple[str, str]]:
    """For people: only what is there and not what is usual."""
    video = values["video"]
    rate = Fraction(video["frame_rate"]) if not video["frame_rate"].endswith("/0") else None
    size = f"{video['width']}x{video['height']}" + (f", {float(rate):.5g} fps" if rate else "")
    size += f", {video['bit_depth']} bits" * (video["bit_depth"] != 8)
    size += {16: ", HDR (PQ)", 18: ", HDR (HLG)"}.get(video["transfer"], "")
    turned = f", turned by {video['rotation']}°" if video["rotation"] else ""
    beside = values["beside"]
    lines = [("video", size + turned + (", mirrored" if video["hflip"] else ""))]
    said = {"language": beside["language"], **beside["tags"], **beside["properties"]}
    lines += [("", f"{name.replace('_', ' ')}: {text}") for name, text in said.items() if text]
    if values["frames"] is not None:
        frames, clips = counted(values["frames"], "frame"), counted(values["clips"], "clip")
        counts = f"{frames} in {clips}, {_groups(values['gops'])}"
        lines.append(("length", f"{values['duration']:.3f} s, {counts}"))
        if not values["complete"]:
            lines.append(("end", "none yet: it is being recorded, or was cut off"))
    else:
        lines.append(("length", "unknown: the end of the file was not seen"))
    if values["bpp"] is not None:
        rates = f", {values['bitrate'] / 1000:.1f} kbit/s" if values["bitrate"] else ""
        lines.append(("size", f"{values['bytes']:,} bytes, {values['bpp']:.4f} bpp{rates}"))
    if values["video_bytes"] is not None:
        rest = values["bytes"] - values["video_bytes"] - values["audio_bytes"]
        sound = f", sound {values['audio_bytes']:,}" if values["audio_bytes"] else ""
        lines.append(("of that", f"picture {values['video_bytes']:,}{sound}, everything else {rest:,}"))
    if values["quality"] is not None or values["effort"] is not None:
        told = [f"{name} {values[name]:g}" for name in ("quality", "effort") if values[name] is not None]
        lines.append(("encoded", f"{', '.join(told)}, GOPs of up to {values['gop_seconds']:g} s"))
    if values["search_vectors"] is not None:
        kinds = [f"{count} of {name}" for name, count in values["search_vectors"].items() if count]
        lines.append(("search", f"vectors: {', '.join(kinds)}" if kinds else "no vectors: lvc search decodes it"))
    for stream in values["streams"]:
        parts = [stream["codec"], f"{stream['sample_rate']} Hz" if stream["sample_rate"] else ""]
        parts += [f"{stream['channels']} ch" if stream["channels"] else "", stream["language"]]
        lines.append((stream["kind"], ", ".join(filter(None, parts))))
    for item in values["attachments"]:
        lines.append(("cover" if item["cover"] else "attached", f"{item['name']}, {item['bytes']:,} bytes"))
    lines += [(name, text) for name, text in values["tags"].items()]
    lines += [("chapter", f"{c['start']:.3f}–{c['end']:.3f} s {c['title']}".rstrip()) for c in values["chapters"]]
    lines.append(("model", f"{values['model']} ({values['model_sha256'][:16]}…), packed with {values['packing']}"))
    if (inside := values["model_inside"]) is not None:
        base = f", builds on {inside['base_sha256'][:16]}…" if inside["base_sha256"] else ""
        lines.append(("", f"it is in the file, {inside['bytes']:,} bytes{base}"))
    if not values["same_pixels"]:
        lines.append(("", "torch decodes it: pixels may differ a little from machine to machine"))
    if values["frame_checks"]:
        lines.append(("checks", "of every frame, compared while decoding"))
    lines.append(("made by", f"{values['created_by']}, .lvz version {values['version']}"))
    return lines
