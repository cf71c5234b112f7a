"""What the file-level jobs give back: `fields()` for machines (docs/json.md), `str()` for people."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any

from lvc.errors import CorruptError

_MOST_NAME = 24  # letters of a tag's name that others are aligned by


def _one_line(text: str) -> str:
    """What a file says, on one line: nothing in it may look like a line of ours."""
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
    """Sizes in bytes (`bytes_in` is None for a pipe), `seconds` of wall time from opening to publishing."""

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
        return self.frames / self.seconds if self.seconds > 0 else 0.0

    def fields(self) -> dict[str, Any]:
        return {**dataclasses.asdict(self), "fps": round(self.fps, 2)}

    @property
    def _took(self) -> str:
        return f"in {clock(self.seconds)} ({self.fps:.1f} fps)"


@dataclass(frozen=True)
class EncodeResult(_Job):
    """`bpp` counts every byte of the file, audio and overhead too; `video_bytes` are those of the latents alone,
    `audio_bytes` those of sound. `bytes_taken`: of `bytes_in`, the share of the part of the time that was taken; None
    if that is unknown. `vmaf`: the mean of all frames, and `quality`: with which it was reached, where a VMAF was the
    target."""

    model: str
    video_bytes: int
    verified: bool
    vmaf: float | None = None
    quality: float | None = None
    audio_bytes: int = 0
    bytes_taken: int | None = None

    @property
    def bpp(self) -> float:
        return 8 * self.bytes_out / (self.frames * self.width * self.height)

    def fields(self) -> dict[str, Any]:
        return {**super().fields(), "bpp": round(self.bpp, 6)}

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
            f"({sizes}){share}, {self.bpp:.4f} bpp{vmaf} → {self.output}"
            f"{', verified' if self.verified else ''}"
        )


@dataclass(frozen=True)
class DecodeResult(_Job):
    """`damage`: one line for everything that `salvage` left out."""

    damage: tuple[str, ...] = ()

    def __str__(self) -> str:
        return (
            f"{counted(self.frames, 'frame')} {self.width}x{self.height} {self._took}, "
            f"{_bytes(self.bytes_in)} → {_bytes(self.bytes_out)} bytes → {self.output}"
        )

    def raise_for_damage(self) -> None:
        """Raises `CorruptError` if something was left out; what could be saved has been written."""
        if self.damage:
            places = "one place" if len(self.damage) == 1 else f"{len(self.damage)} places"
            raise CorruptError(
                f"damaged in {places} — {self.output} contains the {self.frames} frames that were recovered"
            )


@dataclass(frozen=True)
class InterpolateResult(_Job):
    """Of `frames`, `new` were made and `repeated` shown again, over `cuts` and where a picture stands still."""

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
    """Sizes in bytes."""

    output: str
    tensors: int
    files: int
    bytes_in: int
    bytes_out: int
    seconds: float

    def fields(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    def __str__(self) -> str:
        things = f"{counted(self.tensors, 'tensor')} in {counted(self.files, 'file')}"
        return f"{things}, {_bytes(self.bytes_out)} bytes → {self.output}"


@dataclass(frozen=True)
class Facts:
    """What `lvc info` and `lvc verify` found: `values` for machines; a table of `lines`, or a `text`, for people."""

    values: dict[str, Any]
    lines: list[tuple[str, str]] = field(default_factory=list)
    text: str = ""

    def fields(self) -> dict[str, Any]:
        return self.values

    def __str__(self) -> str:
        lines = [(_one_line(name), _one_line(value)) for name, value in self.lines]
        width = min(max((len(name) for name, _ in lines), default=0), _MOST_NAME)
        return self.text or "\n" + "\n".join(f"  {name:<{width}}  {value}" for name, value in lines)
