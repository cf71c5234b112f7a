"""Payload of `PKTS`: packets of one copied stream, column by column (`formats/lvz.md`, section 7)."""

from __future__ import annotations

from collections.abc import Sequence

from lvc.errors import LimitError, UnsupportedError
from lvc.limits import Limits
from lvc.lvz import fields as f
from lvc.lvz.clips import TIME_BOUND
from lvc.lvz.records import Packet, PacketGroup

MAX_GROUP_PACKETS = 4096
_HAS_PTS, _HAS_DTS = 1, 2


def pack_packets(group: PacketGroup) -> bytes:
    """Pack 1 to 4096 packets, whose values the caller has validated."""
    packets = group.packets
    marks = [_HAS_PTS * (p.pts is not None) + _HAS_DTS * (p.dts is not None) for p in packets]
    pts_steps: list[int] = []
    dts_steps: list[int] = []
    expected = 0
    for packet in packets:
        if packet.pts is not None:
            pts_steps.append(packet.pts - expected)
        if packet.dts is not None:
            dts_steps.append(packet.dts - (expected if packet.pts is None else packet.pts))
        expected = (expected if packet.time is None else packet.time) + packet.duration
    first = pts_steps[:1]
    return b"".join(
        (
            f.uvarint(group.stream),
            f.uvarint(len(packets)),
            f.ints(marks),
            f.ints([p.flags for p in packets]),
            f.ints([p.duration for p in packets]),
            f.ints(first),
            f.ints(pts_steps[1:]),
            f.ints(dts_steps),
            f.ints([len(p.data) for p in packets]),
            *(p.data for p in packets),
        )
    )


def unpack_packets(payload: bytes, limits: Limits) -> PacketGroup:
    """Raises `CorruptError`, `LimitError` (one packet's size), `UnsupportedError` (reserved mark)."""
    r = f.Fields(payload, "PKTS")
    stream, count = r.uvarint(1 << 16), r.uvarint(MAX_GROUP_PACKETS + 1)
    if count == 0:
        raise r.bad("a group without packets")
    if count > r.left + limits.max_empty_packets:
        raise LimitError(f"{count} packets in {r.left} bytes, limit {limits.max_empty_packets} more than bytes")
    marks, flags, durations = r.ints(count), r.ints(count), r.ints(count)
    if not all(0 <= m <= _HAS_PTS | _HAS_DTS for m in marks):
        raise UnsupportedError("PKTS uses a reserved mark — use a newer lvc")
    if not all(0 <= v < 1 << 32 for v in flags) or not all(0 <= v < TIME_BOUND for v in durations):
        raise r.bad("flags or a duration are out of range")
    n_pts = sum(m & _HAS_PTS for m in marks)
    pts_steps = r.ints(min(n_pts, 1)) + r.ints(max(n_pts - 1, 0))
    dts_steps = r.ints(sum(m >> 1 for m in marks))
    sizes = r.ints(count)
    if min(sizes) < 0:
        raise r.bad("a packet has a negative size")
    if max(sizes) > limits.max_packet:
        raise LimitError(f"a packet of {max(sizes)} bytes, limit {limits.max_packet}")
    packets = []
    expected = 0
    pts_at, dts_at = iter(pts_steps), iter(dts_steps)
    for mark, flag, duration, size in zip(marks, flags, durations, sizes, strict=True):
        pts = expected + next(pts_at) if mark & _HAS_PTS else None
        dts = (expected if pts is None else pts) + next(dts_at) if mark & _HAS_DTS else None
        packet = Packet(pts, dts, duration, flag, r.take(size))
        expected = (expected if packet.time is None else packet.time) + duration
        if any(t is not None and abs(t) >= TIME_BOUND for t in (pts, dts)):
            raise r.bad("a time is out of range")
        packets.append(packet)
    r.end()
    return PacketGroup(stream, packets)


def time_span(packets: Sequence[Packet], previous_end: int) -> tuple[int, int]:
    """Earliest time and latest time + duration, in ticks; a group without times starts at the previous group's end."""
    times = [(p.time, p.time + p.duration) for p in packets if p.time is not None]
    if not times:
        return previous_end, previous_end
    return min(t[0] for t in times), max(t[1] for t in times)
