"""How sound is coded again, as `--audio` says it. No PyAV in here: an option is read before anything is opened."""

from __future__ import annotations

from dataclasses import dataclass

from lvc.errors import UsageError

CODECS = "opus", "flac", "aac"
WITH_RATE = "opus", "aac"
_COPIED = ("copy", "none")


@dataclass(frozen=True)
class SoundCoding:
    """`codec` is opus, flac or aac; `bits_per_second` None: what suits the number of channels."""

    codec: str
    bits_per_second: int | None = None


def sound_coding(audio: str) -> SoundCoding | None:
    """Of `flac`, `aac` or `opus:48k`; None for `copy` and `none`. Raises `UsageError`."""
    if audio in _COPIED:
        return None
    name, _, value = audio.partition(":")
    if name in CODECS and not value and not audio.endswith(":"):
        return SoundCoding(name)
    digits = value.lower().removesuffix("k")
    if name in WITH_RATE and digits.isascii() and digits.isdigit() and len(digits) < 8:
        rate = int(digits) * (1000 if value.lower().endswith("k") else 1)
        if 6000 <= rate <= 510_000:
            return SoundCoding(name, rate)
    raise UsageError(f"audio {audio!r} is not understood — use copy, none, flac, or opus:48k or aac:48k (6k to 510k)")
