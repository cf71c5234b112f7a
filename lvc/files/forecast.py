"""`lvc encode --dry-run` of one file: predicts the size of the output and the time to encode it, from samples."""

from __future__ import annotations

import math
import os
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from lvc.errors import MediaError, UsageError
from lvc.files.coding import loaded
from lvc.files.common import Notice
from lvc.files.encode import encode_once, refuse_lvz, seconds_of
from lvc.latents.foreign import is_continuous
from lvc.lvz import Clip, LvzReader
from lvc.media import MediaReader
from lvc.options import EncodeOptions
from lvc.output import about, check_output
from lvc.place import STREAM
from lvc.results import EncodeResult, Facts, clock

SAMPLES, SECONDS = 3, 2.0
"""Number and length of the samples of a long video; a short one is encoded whole."""


@dataclass
class _Seen:
    """Sums over the samples. `first`: the first clip of each group of pictures, with the key frame; `rest`: the
    others. `framing`: what the picture takes besides their payloads. `model`: an embedded model; one sample has it."""

    frames: int = 0
    first_bytes: int = 0
    first_frames: int = 0
    firsts: int = 0
    rest_bytes: int = 0
    framing_bytes: int = 0
    audio_bytes: int = 0
    other_bytes: int = 0
    model_bytes: int = 0
    duration: float = 0.0
    seconds: float = 0.0

    def add(self, path: Path, result: EncodeResult) -> None:
        self.framing_bytes += result.video_bytes
        with path.open("rb") as file:
            reader = LvzReader(file)
            for record in reader.records():
                if not isinstance(record, Clip):
                    continue
                self.framing_bytes -= len(record.payload)
                if record.key:
                    self.firsts += 1
                    self.first_bytes += len(record.payload)
                    self.first_frames += record.n_frames
                else:
                    self.rest_bytes += len(record.payload)
        model = 0 if reader.model_chunk is None else len(reader.model_chunk.data)
        self.model_bytes += model
        self.frames += result.frames
        self.audio_bytes += result.audio_bytes
        self.other_bytes += result.bytes_out - result.video_bytes - result.audio_bytes - model
        self.duration += result.duration
        self.seconds += result.seconds

    def picture(self, frames: float, gops: float) -> float:
        """Return the predicted bytes of `frames` frames in `gops` groups of pictures."""
        first = self.first_bytes / self.firsts
        rest_frames = self.frames - self.first_frames
        per_frame = self.rest_bytes / rest_frames if rest_frames else self.first_bytes / self.first_frames
        return gops * first + max(0.0, frames - gops * self.first_frames / self.firsts) * per_frame


def forecast(
    source: str, target: str, options: EncodeOptions, *, force: bool = False, notice: Notice | None = None
) -> Facts:
    """Predict the result of `encode_file` with these options. Writes nothing to the target's folder.

    Raises what `encode_file` does, and `UsageError` for pipes and for targets that take several passes.
    """
    if options.target_size is not None or options.target_vmaf is not None:
        raise UsageError("--dry-run cannot predict --target-size or --target-vmaf — give a --quality")
    if options.adapt:
        raise UsageError("--dry-run cannot predict what --adapt gains — leave one of them out")
    if source == STREAM:
        raise UsageError("a pipe can be read only once — --dry-run needs a file")
    check_output(source, target, force=force, writes=["lvz"])
    refuse_lvz(source)
    started = time.monotonic()
    with about(source), MediaReader(
        source, resolution=options.resolution, fps=options.fps, start=options.start, duration=options.duration,
        audio="none", subtitles="none", allow_playlists=options.allow_playlists,
    ) as reader:  # fmt: skip
        length, rate = seconds_of(reader), reader.video.rate
    if length is None or rate is None:
        raise MediaError("does not state its length — encode a part of it with --duration")
    if not is_continuous(options.model):
        from lvc import models

        options = replace(options, model=loaded(models.tuned(options.model, options.tune)))
    preparing = time.monotonic() - started
    whole = length <= SAMPLES * SECONDS * 1.5
    cuts = [0.0] if whole else [(n + 0.5) * length / SAMPLES - SECONDS / 2 for n in range(SAMPLES)]
    seen = _Seen()
    with tempfile.TemporaryDirectory(prefix="lvc-") as folder:
        for number, cut in enumerate(cuts):
            path = Path(folder, f"{number}.lvz")
            part = replace(options, verify=False, embed_model=options.embed_model and number == 0)
            if not whole:
                part = replace(part, start=(options.start or 0.0) + cut, duration=SECONDS)
            seen.add(path, encode_once(source, str(path), part, notice=notice if number == 0 else None))
    frames, share = round(length * float(rate)), length / seen.duration
    picture = seen.picture(frames, max(1, math.ceil(length / options.gop)))
    if options.target_bitrate:
        picture = options.target_bitrate * length / 8
    picture += seen.framing_bytes * share
    audio, other = seen.audio_bytes * share, seen.other_bytes * share + seen.model_bytes
    seconds = preparing + seen.seconds * frames / seen.frames
    values: dict[str, Any] = {
        "output": target, "frames": frames, "duration": round(length, 3), "bytes_out": round(picture + audio + other),
        "video_bytes": round(picture), "audio_bytes": round(audio), "seconds": round(seconds, 1),
        "fps": round(frames / seconds, 2), "sampled": round(seen.duration, 3),
    }  # fmt: skip
    sound = f", sound {_rounded(audio)}" if audio else ""
    size = os.path.getsize(source) if os.path.isfile(source) and not (options.start or options.duration) else 0
    ratio = f", {100 * values['bytes_out'] / size:.0f} % of the source" if size else ""
    judged = f"judging by {clock(seen.duration)} of {clock(length)}"
    return Facts(
        values,
        text=f"about {_rounded(picture + audio + other)} bytes (picture {_rounded(picture)}{sound}){ratio}, in about "
        f"{clock(seconds)} ({frames / seconds:.1f} fps), {judged} → {target}",
    )


def _rounded(size: float) -> str:
    """Format a size with two significant digits; samples are no more accurate."""
    digits = max(0, len(str(round(size))) - 2)
    return f"{round(size, -digits):,.0f}"
