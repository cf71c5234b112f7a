"""The content of an `.lvz` file as dataclasses. Field names are those of `formats/lvz.md`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction

from lvc.lvz.geometry import Geometry, PlaneSpec

PACKING_ZSTD = 1
RETIRED_RANS = (2, 4)
"""`rans` of earlier codecs, which is no longer read."""
PACKING_FIELD = 3
PACKING_RANS = 5
PACKING_NAMES = {PACKING_ZSTD: "zstd", PACKING_RANS: "rans", PACKING_FIELD: "field"}
MODEL_WHOLE, MODEL_DELTA = 0, 1
STREAM_KINDS = ("audio", "subtitle", "data")
CHROMAS = (400, 420, 422, 444)
PACKET_KEY = 1


@dataclass(frozen=True)
class Header:
    """`HEAD`. `model_sha256` is 32 bytes, all zero if the model has no file of weights."""

    model_id: str
    model_sha256: bytes = bytes(32)
    created_by: str = ""
    required_features: int = 0
    optional_features: int = 0
    version: int = 1


@dataclass(frozen=True)
class VideoDescriptor:
    """`VSTR`: the picture, its time base, and the latents.

    `time_base`, `frame_rate`, `sar` are (numerator, denominator); `frame_rate` (0, 0) is unknown. `rotation` is in
    degrees clockwise, 0..359, applied after `hflip`. Colour fields are H.273 / FFmpeg numbers. `packing`: 1 zstd,
    3 field, 5 rans. `checks`: frames have checksums of their decoded planes.
    """

    width: int
    height: int
    planes: tuple[PlaneSpec, ...]
    packing: int
    align: int = 16
    time_base: tuple[int, int] = (1, 1000)
    frame_rate: tuple[int, int] = (0, 0)
    sar: tuple[int, int] = (1, 1)
    rotation: int = 0
    hflip: bool = False
    primaries: int = 2
    transfer: int = 2
    matrix: int = 2
    color_range: int = 0
    chroma_location: int = 0
    bit_depth: int = 8
    chroma: int = 420
    source_pix_fmt: str = ""
    gop_seconds: float = 0.0
    temporal_stride: int = 1
    temporal_lead: int = 1
    checks: bool = False

    @property
    def geometry(self) -> Geometry:
        return Geometry(self.width, self.height, self.align, self.planes, self.temporal_stride, self.temporal_lead)

    @property
    def seconds_per_tick(self) -> Fraction:
        return Fraction(*self.time_base)


@dataclass(frozen=True)
class CopiedStream:
    """`CSTR`: a stream whose packets are copied bit for bit. `params` is opaque here (made by `lvc.media`)."""

    kind: str
    codec: str
    time_base: tuple[int, int]
    language: str = ""
    sample_rate: int = 0
    channels: int = 0
    disposition: int = 0
    metadata: dict[str, str] = field(default_factory=dict)
    params: bytes = b""

    @property
    def seconds_per_tick(self) -> Fraction:
        return Fraction(*self.time_base)


@dataclass(frozen=True)
class Chapter:
    """From `start` to `end`, in ticks of `time_base`."""

    start: int
    end: int
    time_base: tuple[int, int]
    tags: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Metadata:
    """`mETa`: tags and chapters of the whole file; a later one replaces an earlier one."""

    tags: dict[str, str] = field(default_factory=dict)
    chapters: tuple[Chapter, ...] = ()


@dataclass(frozen=True)
class Side:
    """`sIDe`: properties of the video beside its pictures; the format names them."""

    language: str = ""
    disposition: int = 0
    tags: dict[str, str] = field(default_factory=dict)
    properties: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Attachment:
    """`aTTa`: an attached file, such as cover art or a font."""

    name: str
    mime: str
    data: bytes
    cover: bool = False
    tags: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Origin:
    """`oRIG`: what the file was made from: size and SHA-256 of the source's bytes, and the settings of the encoder."""

    source_bytes: int
    source_sha256: bytes
    settings: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class ModelChunk:
    """`MODL`: the model that `HEAD` names. `data` is its file, or a delta to the file whose SHA-256 is `base_sha256`
    (`lvc.entropy.model_file`)."""

    kind: int
    data: bytes
    base_sha256: bytes = b""


@dataclass(frozen=True)
class Clip:
    """Consecutive frames, packed together. Times in ticks of the video's time base; a duration of 0 is unknown.

    `first_frame` counts video frames from 0; `key`: starts a GOP; `latents_crc`: CRC-32 of the integer latents, None
    with packing `rans`; `payload`: at least one byte, read by the stream's packing. `checks`, where the stream has
    them: the CRC-32 of the decoded planes of every frame, in display order. A reader returns them folded to
    `check_bits` (`lvc.lvz.fold`). A writer takes 0 as 32 and never stores more than `check_bits`.
    """

    first_frame: int
    key: bool
    pts: list[int]
    durations: list[int]
    latents_crc: int | None
    payload: bytes
    checks: tuple[int, ...] | None = None
    check_bits: int = 0

    @property
    def n_frames(self) -> int:
        return len(self.pts)


@dataclass(frozen=True, slots=True)
class Packet:
    """One packet of a copied stream. Times in ticks of its stream; `flags` bit 0: key, the rest as FFmpeg's."""

    pts: int | None
    dts: int | None
    duration: int
    flags: int
    data: bytes

    @property
    def time(self) -> int | None:
        return self.dts if self.pts is None else self.pts


@dataclass(frozen=True)
class PacketGroup:
    """`PKTS`: packets of one copied stream, in the source's order. `stream` counts copied streams from 0."""

    stream: int
    packets: list[Packet]


@dataclass(frozen=True, slots=True)
class GopEntry:
    """Start of a GOP: byte `offset` of its first `CLIP` chunk, its first frame, and that frame's pts."""

    offset: int
    first_frame: int
    start_pts: int


@dataclass(frozen=True, slots=True)
class PacketsEntry:
    """Offset of a `PKTS` chunk, and the time span of its packets in ticks of that stream."""

    offset: int
    stream: int
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class MetadataEntry:
    offset: int


IndexEntry = GopEntry | PacketsEntry | MetadataEntry


@dataclass(frozen=True)
class Index:
    """`INDX`, entries in file order; `offset` in bytes is its own."""

    offset: int
    entries: tuple[IndexEntry, ...]

    @property
    def gops(self) -> list[GopEntry]:
        return [e for e in self.entries if isinstance(e, GopEntry)]


@dataclass(frozen=True)
class Tail:
    """`TAIL`: totals at the end of the file. `end_pts` is the last frame's pts + duration; `sha256` of all earlier
    bytes."""

    index_offset: int
    frame_count: int
    clip_count: int
    start_pts: int
    end_pts: int
    sha256: bytes


@dataclass(frozen=True)
class Damage:
    """Salvage mode: damage at `offset` (bytes), which was skipped."""

    offset: int
    reason: str

    def __iter__(self) -> Iterator[int | str]:
        return iter((self.offset, self.reason))


@dataclass(frozen=True)
class Summary:
    """Totals of `LvzReader.verify`. Sizes in bytes; `overhead_bytes` is all that is neither clip nor packet."""

    frames: int
    clips: int
    gops: int
    packets: tuple[int, ...]
    file_bytes: int
    clip_bytes: int
    packet_bytes: int
    start_pts: int
    end_pts: int
    sha256: str

    @property
    def overhead_bytes(self) -> int:
        return self.file_bytes - self.clip_bytes - self.packet_bytes
