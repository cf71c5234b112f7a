"""The `.lvz` container: bytes, not tensors; standard library only. The law is `formats/lvz.md`."""

from lvc.lvz.features import FeatureTrack
from lvc.lvz.geometry import KIND_KEY, KIND_PREDICTED, Geometry, PlaneSpec
from lvc.lvz.reader import LvzReader, Record, clips_only
from lvc.lvz.records import (
    PACKET_KEY,
    PACKING_FIELD,
    PACKING_NAMES,
    PACKING_RANS,
    PACKING_ZSTD,
    Chapter,
    Clip,
    CopiedStream,
    Damage,
    GopEntry,
    Header,
    Index,
    Metadata,
    Origin,
    Packet,
    PacketGroup,
    PacketsEntry,
    Summary,
    Tail,
    VideoDescriptor,
)
from lvc.lvz.tensors import Sample, TensorSet
from lvc.lvz.writer import LvzWriter

__all__ = [
    "KIND_KEY",
    "KIND_PREDICTED",
    "PACKET_KEY",
    "PACKING_FIELD",
    "PACKING_NAMES",
    "PACKING_RANS",
    "PACKING_ZSTD",
    "Chapter",
    "Clip",
    "CopiedStream",
    "Damage",
    "FeatureTrack",
    "Geometry",
    "GopEntry",
    "Header",
    "Index",
    "LvzReader",
    "LvzWriter",
    "Metadata",
    "Origin",
    "Packet",
    "PacketGroup",
    "PacketsEntry",
    "PlaneSpec",
    "Record",
    "Sample",
    "Summary",
    "Tail",
    "TensorSet",
    "VideoDescriptor",
    "clips_only",
]
