"""Results of file-level jobs: `fields()` for programs (docs/json.md), `str()` for people."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any

from lvc.errors import CorruptError

_MOST_NAME = 24  # letters of a tag's name that others are aligned by


def _one_line(text: str) -> str:
    """Text from a file on one line, so that it cannot imitate a line of lvc's output."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def _bytes(n: int | None) -> str:
    return "?" if n is None else f"{n:,}"


def counted(number: int, noun: str) -> str:
    """`1 file`, `2 files`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def clock(seconds: float) -> str:
    """`9.8 s`, `3:05`, `1:02:03`."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


@dataclass(frozen=True)
class _Job:
    """What all jobs say.

    Attributes:
        output: Where it went.
        frames: How many.
        width: Columns as coded.
        height: Rows as coded.
        duration: Seconds of video.
        bytes_in: Size of the source; None for a pipe, or frames.
        bytes_out: Size of the output.
        seconds: Of wall time, from opening to publishing.
    """

    output: str
    frames: int
    width: int
    height: int
    duration: float
    bytes_in: int | None
    bytes_out: int
    seconds: float

    @property
    def fps(self) -> float:
        """Frames a second of wall time."""
        return self.frames / self.seconds if self.seconds > 0 else 0.0

    def fields(self) -> dict[str, Any]:
        """What the command prints with `--json`."""
        return {**dataclasses.asdict(self), "fps": round(self.fps, 2)}

    @property
    def _took(self) -> str:
        return f"in {clock(self.seconds)} ({self.fps:.1f} fps)"


@dataclass(frozen=True)
class EncodeResult(_Job):
    """What came of encoding.

    Attributes:
        output: Where it went.
        frames: How many.
        width: Columns as coded.
        height: Rows as coded.
        duration: Seconds of video.
        bytes_in: Size of the source; None for a pipe, or frames.
        bytes_out: Size of the `.lvz`.
        seconds: Of wall time, from opening to publishing.
        model: The model's name.
        video_bytes: Of the clips and what describes the video, framing included, as `lvc info` says.
        verified: Whether it was decoded before it was published.
        vmaf: The mean of all frames, where a VMAF was the target.
        quality: With which that was reached.
        audio_bytes: Of sound, framing included.
        bytes_taken: Of `bytes_in`, those of the time that was taken; None if that is unknown.
        adapted: Whether a delta is inside, where the model was to be adapted; otherwise None.
        delta_bytes: Of that delta, or of the one that was not kept; None if none was made.
        gain: Percent by which it lowers the bits and what errors are worth in bits, its own counted: negative if it
            would cost more than it saves.
    """

    model: str
    video_bytes: int
    verified: bool
    vmaf: float | None = None
    quality: float | None = None
    audio_bytes: int = 0
    bytes_taken: int | None = None
    adapted: bool | None = None
    delta_bytes: int | None = None
    gain: float | None = None

    @property
    def bpp(self) -> float:
        """Bits a pixel: of every byte of the file, sound and overhead too."""
        return 8 * self.bytes_out / (self.frames * self.width * self.height)

    def fields(self) -> dict[str, Any]:
        """What the command prints with `--json`."""
        return {**super().fields(), "bpp": round(self.bpp, 6)}

    @property
    def _adaptation(self) -> str:
        if self.adapted is None:
            return ""
        if self.gain is None:
            return ", model not adapted: nothing gained"
        delta = f"a delta of {_bytes(self.delta_bytes)} bytes"
        if self.adapted:
            return f", model adapted: {delta} saves {self.gain:.2f} %"
        return f", model not adapted: {delta} would cost {-self.gain:.2f} % more than it saves"

    def __str__(self) -> str:
        share = ""
        if self.bytes_taken:
            part = "the source" if self.bytes_taken == self.bytes_in else "its part of the source"
            share = f", {100 * self.bytes_out / self.bytes_taken:.1f} % of {part}"
        sizes = f"picture {_bytes(self.video_bytes)}"
        if self.audio_bytes:
            sizes += f", sound {_bytes(self.audio_bytes)}"
        vmaf = "" if self.vmaf is None else f", VMAF {self.vmaf:.1f} at quality {self.quality:.1f}"
        return (
            f"{counted(self.frames, 'frame')} {self.width}x{self.height} {self._took}, {_bytes(self.bytes_out)} bytes "
            f"({sizes}){share}, {self.bpp:.4f} bpp{vmaf}{self._adaptation} → {self.output}"
            f"{', verified' if self.verified else ''}"
        )


@dataclass(frozen=True)
class DecodeResult(_Job):
    """What came of decoding.

    Attributes:
        output: Where it went.
        frames: How many.
        width: Columns as coded.
        height: Rows as coded.
        duration: Seconds of video.
        bytes_in: Size of the `.lvz`; None for a pipe.
        bytes_out: Size of the video.
        seconds: Of wall time, from opening to publishing.
        damage: One line for everything that `salvage` left out.
    """

    damage: tuple[str, ...] = ()

    def __str__(self) -> str:
        return (
            f"{counted(self.frames, 'frame')} {self.width}x{self.height} {self._took}, "
            f"{_bytes(self.bytes_in)} → {_bytes(self.bytes_out)} bytes → {self.output}"
        )

    def raise_for_damage(self) -> None:
        """Complain if something was left out; what could be saved has been written.

        Raises:
            CorruptError: There is damage.
        """
        if self.damage:
            places = "one place" if len(self.damage) == 1 else f"{len(self.damage)} places"
            raise CorruptError(
                f"damaged in {places} — {self.output} contains the {self.frames} frames that were recovered"
            )


@dataclass(frozen=True)
class InterpolateResult(_Job):
    """What came of interpolation.

    Attributes:
        output: Where it went.
        frames: How many.
        width: Columns as coded.
        height: Rows as coded.
        duration: Seconds of video.
        bytes_in: Size of the source; None for a pipe.
        bytes_out: Size of the output.
        seconds: Of wall time, from opening to publishing.
        new: Frames that were made.
        repeated: Frames shown again, over cuts and where a picture stands still.
        cuts: Places where nothing leads from one frame to the next.
    """

    new: int
    repeated: int
    cuts: int

    def __str__(self) -> str:
        cuts = {0: "no cut", 1: "one cut"}.get(self.cuts, f"{self.cuts} cuts")
        return (
            f"{counted(self.frames, 'frame')} {self.width}x{self.height}, {self.new} new, "
            f"{self.repeated} repeated, {cuts}, {self._took}, {_bytes(self.bytes_out)} bytes → {self.output}"
        )


@dataclass(frozen=True)
class SynthesizeResult(_Job):
    """What came of synthesis.

    Attributes:
        output: Where it went.
        frames: How many.
        width: Columns.
        height: Rows.
        duration: Seconds of video; 0 for a picture.
        bytes_in: None.
        bytes_out: Size of the output.
        seconds: Of wall time, from opening to publishing.
        model: What made it.
        seed: Of the random numbers.
    """

    model: str
    seed: int

    def __str__(self) -> str:
        return (
            f"{counted(self.frames, 'frame')} {self.width}x{self.height} by {self.model}, seed {self.seed}, "
            f"{self._took}, {_bytes(self.bytes_out)} bytes → {self.output}"
        )


@dataclass(frozen=True)
class PackResult:
    """Sizes in bytes; `bytes_in` are those of the numbers alone. Errors as measured on what was written: the largest,
    and their RMS over the RMS of the values."""

    output: str
    tensors: int
    values: int
    bytes_in: int
    bytes_out: int
    seconds: float
    packing: str
    step: float
    max_error: float
    rms_error: float

    @property
    def bits(self) -> float:
        """Bits a value, every byte of the file counted."""
        return 8 * self.bytes_out / self.values

    @property
    def ratio(self) -> float:
        return self.bytes_out / self.bytes_in

    def fields(self) -> dict[str, Any]:
        return {**dataclasses.asdict(self), "bits": round(self.bits, 4), "ratio": round(self.ratio, 4)}

    def __str__(self) -> str:
        error = (
            f"error {100 * self.rms_error:.3g} % RMS, {self.max_error:.3g} at most" if self.max_error else "no error"
        )
        return (
            f"{counted(self.tensors, 'tensor')}, {_bytes(self.bytes_in)} → {_bytes(self.bytes_out)} bytes "
            f"({100 * self.ratio:.1f} %), {self.bits:.2f} bits a value, {error} → {self.output}"
        )


@dataclass(frozen=True)
class UnpackResult:
    """Sizes in bytes. `frames`: of a video, whose latents are `tensors` arrays; otherwise None."""

    output: str
    tensors: int
    files: int
    bytes_in: int
    bytes_out: int
    seconds: float
    frames: int | None = None

    def fields(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    def __str__(self) -> str:
        things = f"{counted(self.tensors, 'tensor')} in {counted(self.files, 'file')}"
        if self.frames is not None:
            things = f"{counted(self.frames, 'frame')} in {counted(self.tensors, 'array')}"
        return f"{things}, {_bytes(self.bytes_out)} bytes → {self.output}"


@dataclass(frozen=True)
class Facts:
    """What `lvc info` and `lvc verify` found; `str()` of it is for people.

    Attributes:
        values: By name, for programs.
        lines: A table for people: name and value.
        text: A sentence for people, in place of the table.
    """

    values: dict[str, Any]
    lines: list[tuple[str, str]] = field(default_factory=list)
    text: str = ""

    def fields(self) -> dict[str, Any]:
        """What the command prints with `--json`."""
        return self.values

    def __str__(self) -> str:
        lines = [(_one_line(name), _one_line(value)) for name, value in self.lines]
        width = min(max((len(name) for name, _ in lines), default=0), _MOST_NAME)
        return self.text or "\n" + "\n".join(f"  {name:<{width}}  {value}" for name, value in lines)
