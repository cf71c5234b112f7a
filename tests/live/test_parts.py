"""Times of frames as they come, names of segments, files that are followed."""

from __future__ import annotations

import fcntl
import threading
import time
from datetime import UTC, datetime
from fractions import Fraction
from pathlib import Path

import pytest

from lvc.codec import lower_efforts
from lvc.errors import UsageError
from lvc.live import is_live
from lvc.live.pace import Pace
from lvc.live.segments import Segments
from lvc.lvz.follow import FollowedFile
from lvc.media.timing import ArrivalClock
from tests.helpers.waiting import PATIENCE


def stamps(arrivals: list[int], pts: list[int | None]) -> list[int]:
    """At 25 frames a second, in a time base of 1/25."""
    coming = iter(arrivals)
    clock = ArrivalClock(lambda: next(coming), Fraction(1, 25), Fraction(25))
    return [clock.stamp(p, None, 0) for p in pts]


def test_frames_get_the_times_at_which_they_come() -> None:
    irregular = [1000, 1040, 1082, 1500, 1545, 9000]
    assert stamps(irregular, [0, 1, 2, 3, 4, 5]) == irregular
    assert stamps(irregular, [7, 8, 9, 0, 1, 2]) == irregular  # the camera began anew
    assert stamps(irregular, [None] * 6) == irregular


def test_a_rush_is_spread_and_caught_up_with() -> None:
    rush = stamps([0, 500, 500, 501, 501, 502], list(range(6)))
    assert rush == [0, 500, 539, 578, 617, 656]
    steady = stamps([0] * 10 + [40 * i for i in range(1, 800)], list(range(809)))
    assert all(a < b for a, b in zip(steady, steady[1:], strict=False))
    assert steady[10] - 40 > 300 and steady[-1] == 40 * 799


def test_what_waited_in_the_decoder_came_with_what_was_before() -> None:
    now = [100]
    clock = ArrivalClock(lambda: now[0], Fraction(1, 25), Fraction(25))
    assert clock.stamp(10, None, 0) == 100 and clock.offset == Fraction(10, 25) - Fraction(1, 10)
    now[0] = 20_000
    clock.over = True
    assert clock.stamp(11, None, 0) == 139


class Encoder:
    """A camera of 25 frames a second and an encoder, without a clock: a frame takes `base` + `per_effort` * effort."""

    def __init__(self, latency: float) -> None:
        self.now, self.longest, self.frame, self.dropped = 0.0, 0.0, 0, 0
        self.said: list[str] = []
        self.latency = latency
        self.pace = Pace([4, 3, 2, 1, 0], latency, self.waited, self.said.append, lambda: self.now)

    def waited(self) -> float:
        return max(0.0, self.now - self.frame / 25)

    def run(self, seconds: float, base: float, per_effort: float) -> list[int]:
        """The effort of each frame."""
        efforts, end = [], self.now + seconds
        while self.now < end:
            self.now = max(self.now, self.frame / 25)
            if self.waited() > self.latency:  # half of those that wait
                count = int(self.waited() * 25 / 2)
                self.dropped, self.frame = self.dropped + count, self.frame + count
            self.longest = max(self.longest, self.waited())
            efforts.append(self.pace())
            self.frame += 1
            self.now += base + per_effort * efforts[-1]
        return efforts


def test_effort_goes_down_before_frames_are_dropped_and_up_again() -> None:
    encoder = Encoder(latency=4)
    assert set(encoder.run(60, 0.01, 0.001)) == {4} and not encoder.said
    busy = encoder.run(60, 0.01, 0.014)  # keeps up with effort 2
    assert encoder.dropped == 0 and 2 < encoder.longest < 4
    assert busy[0] == 4 and min(busy) <= 2 and encoder.said[0] == "the encoder is falling behind: lowering effort to 3"
    again = encoder.run(120, 0.01, 0.001)
    assert again[-1] == 4 and encoder.said[-1] == "the encoder keeps up: raising effort to 4"


def test_what_was_tried_in_vain_is_tried_less_often() -> None:
    encoder = Encoder(latency=4)
    encoder.run(3600, 0.01, 0.014)
    first = len(encoder.said)
    encoder.run(3600, 0.01, 0.014)
    assert encoder.dropped == 0 and first < 40 and len(encoder.said) - first < 10


def test_frames_are_dropped_when_effort_can_go_no_lower() -> None:
    encoder = Encoder(latency=4)
    efforts = encoder.run(60, 0.05, 0.03)
    assert encoder.dropped > 100 and efforts[-1] == 0
    assert [text[-1] for text in encoder.said] == ["3", "2", "1", "0"]


def test_every_step_of_effort_makes_a_difference() -> None:
    assert [lower_efforts(effort) for effort in (9, 6, 4, 1, 0)] == [[9, 6, 1], [6, 1], [4, 1], [1], [0]]


def test_names_of_segments(tmp_path: Path) -> None:
    begin = datetime(2026, 1, 31, 23, 59, 0, 250_000, UTC).timestamp()
    segments = Segments(str(tmp_path / "cam.lvz"))
    assert segments.name(begin) == str(tmp_path / "cam-20260131T235900.250000Z.lvz")
    nested = Segments(str(tmp_path / "%Y-%m-%d" / "%H%M%S.lvz"))
    assert nested.name(begin) == str(tmp_path / "2026-01-31" / "235900.lvz") and (tmp_path / "2026-01-31").is_dir()
    for bad in ("%H%M%S.lvz", "%Y%m%d.lvz", "%Y%Y%m%d%H%M%S.lvz", "%Y%m%d%H%M%S%p.lvz"):
        with pytest.raises(UsageError):
            Segments(bad)


@pytest.mark.parametrize("pattern", ["cam.lvz", "%Y-%m-%d/%H%M%S.lvz", "sub/c%Y%m%d_%H%M%S.lvz"])
def test_only_old_segments_are_deleted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pattern: str) -> None:
    monkeypatch.chdir(tmp_path)
    segments = Segments(pattern)
    names = [segments.name(1_800_000_000 + 3600 * i) for i in range(30)]
    for name in [
        *names,
        "cam.lvz",
        "cam-2026.lvz",
        "cam-20271399T000000.000000Z.lvz",
        "other-20200101T000000.000000Z.lvz",
    ]:
        Path(name).write_bytes(b"x")
    assert segments.older_than(1_800_000_000 + 3600 * 28) == names[:28]


def test_streams_are_known_by_their_names() -> None:
    assert all(map(is_live, ["rtsp://a/b", "udp://0.0.0.0:1", "tcp://a:1", "/dev/video0"]))
    assert not any(map(is_live, ["a.mp4", "-", "https://a/b.mp4", "/dev/null", "C:/video"]))


def test_a_file_is_followed_as_long_as_it_is_locked(tmp_path: Path) -> None:
    path = tmp_path / "a.lvz"
    path.touch()

    def write() -> None:
        with path.open("ab", buffering=0) as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            begun.set()
            for _ in range(4):
                file.write(b"12345")
                time.sleep(0.1)  # longer than the follower is patient without a lock

    begun = threading.Event()
    writer = threading.Thread(target=write)
    writer.start()
    assert begun.wait(PATIENCE)
    with FollowedFile(path, patience=0.05) as file:
        assert file.read(3) == b"123" and not file.seekable()
        rest = b""
        while piece := file.read(100):
            rest += piece
    writer.join()
    assert b"123" + rest == b"12345" * 4
