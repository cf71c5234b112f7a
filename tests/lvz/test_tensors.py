"""`LTNT` of a stranger: whatever breaks the rules of formats/lvz.md, 5.6, is refused before a tensor is made of it, by
both readers."""

from __future__ import annotations

import io
import math
import struct
from dataclasses import replace

import lvz_reader
import pytest

from lvc.errors import CorruptError, LimitError, LvcError, UnsupportedError, UsageError
from lvc.limits import DEFAULT
from lvc.lvz import LvzReader, PlaneSpec
from lvc.lvz import chunks as c
from lvc.lvz import fields as f
from lvc.lvz.descriptors import pack_head, pack_video
from lvc.lvz.records import PACKING_FIELD, PACKING_ZSTD, VideoDescriptor
from lvc.lvz.tensors import MAX_CODING, Sample, TensorSet, pack_tensors, unpack_tensors
from tests.helpers.lvz_build import HEADER

LATENT = PlaneSpec("latent", "int16", 2, 8)
VIDEO = VideoDescriptor(32, 16, (LATENT,), PACKING_ZSTD, align=8)
EXACT = replace(VIDEO, planes=(replace(LATENT, name="whole"), *(PlaneSpec(f"rest{i}", "int8", 2, 8) for i in range(2))))
WIDE = replace(VIDEO, planes=(replace(LATENT, channels=1025),), packing=PACKING_FIELD)
TWO_SIZES = replace(EXACT, planes=(*EXACT.planes[:2], PlaneSpec("rest1", "int8", 2, 16)))
ONE = Sample("a", "CTHW", 3, 2, 4)


def described(*samples: Sample, element: int = 1, flags: int = 0, rest: bytes | None = None) -> bytes:
    if rest is None:
        rest = pack_tensors(TensorSet("bfloat16", samples=samples))[2:]
    return f.u8(element) + f.u8(flags) + rest


BROKEN: dict[str, tuple[bytes, VideoDescriptor, type[LvcError]]] = {
    "an unknown element type": (described(ONE, element=4), VIDEO, UnsupportedError),
    "a reserved flag": (described(ONE, flags=4), VIDEO, UnsupportedError),
    "a step out of range": (described(flags=2, rest=f.svarint(161) + b"\0\0"), EXACT, CorruptError),
    "a matrix that is not finite": (
        described(flags=1, rest=struct.pack("<4f", 1, 0, math.nan, 1) + b"\0\0"), VIDEO, CorruptError,
    ),
    "planes of two sizes": (described(flags=2, rest=f.svarint(0) + b"\0\0"), TWO_SIZES, CorruptError),
    "an exact file of one plane": (described(flags=2, rest=f.svarint(0) + b"\0\0"), VIDEO, CorruptError),
    "several planes, not exact": (described(ONE), EXACT, CorruptError),
    "too many channels for the packing": (described(), WIDE, CorruptError),
    "no columns": (described(replace(ONE, axes="CTH")), VIDEO, CorruptError),
    "an axis twice": (described(replace(ONE, axes="CCHW")), VIDEO, CorruptError),
    "frames without time": (described(replace(ONE, axes="CHW")), VIDEO, CorruptError),
    "no frames": (described(replace(ONE, frames=0)), VIDEO, CorruptError),
    "more rows than the planes": (described(replace(ONE, rows=3)), VIDEO, CorruptError),
    "more columns than the planes": (described(replace(ONE, columns=5)), VIDEO, CorruptError),
    "bytes left over": (described(ONE) + b"\0", VIDEO, CorruptError),
    "more tensors than bytes": (described(rest=b"\0" + f.uvarint(1 << 40)), VIDEO, CorruptError),
    "large parameters": (described(rest=f.blob(bytes(MAX_CODING + 1)) + b"\0"), VIDEO, LimitError),
}  # fmt: skip


@pytest.mark.parametrize("what", BROKEN)
def test_what_breaks_a_rule_is_refused_by_both_readers(what: str) -> None:
    payload, video, error = BROKEN[what]
    with pytest.raises(error) as caught:
        unpack_tensors(payload, video, DEFAULT)
    assert type(caught.value) is error
    chunks = ((c.HEAD, pack_head(HEADER)), (c.VSTR, pack_video(video)), (c.LTNT, payload))
    data = c.SIGNATURE + b"".join(c.pack_chunk(kind, content) for kind, content in chunks)
    for read in (lambda: list(LvzReader(io.BytesIO(data)).records()), lambda: lvz_reader.read_file(io.BytesIO(data))):
        with pytest.raises(Exception) as found:
            read()
        assert type(found.value).__name__ == error.__name__  # and not that the file ends here


def test_limits_of_numbers_and_sizes() -> None:
    payload = described(ONE, ONE)
    assert unpack_tensors(payload, VIDEO, DEFAULT).starts() == [0, 3, 6]
    for limits in (replace(DEFAULT, max_samples=1), replace(DEFAULT, max_metadata=len(payload) - 1)):
        with pytest.raises(LimitError):
            unpack_tensors(payload, VIDEO, limits)


def test_other_element_types_cannot_be_written() -> None:
    with pytest.raises(UsageError, match="float64"):
        pack_tensors(TensorSet("float64"))
