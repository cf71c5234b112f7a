"""Steering towards a bit rate or a PSNR, against a simulated encoder whose rate and PSNR follow the level."""

from __future__ import annotations

import math

import pytest

from lvc.codec import EncodeSettings
from lvc.codec.control import Bitrate, Constant, Control, control_of
from lvc.errors import UsageError

CLIP = 16 / 25


def run(control: Control, complexity: float, seconds: float, slope: float, gop: int = 16) -> list[float]:
    """Bits of each clip: a key frame every `gop` clips costs six clips' worth more."""
    out = []
    for number in range(round(seconds / CLIP)):
        key = number % gop == 0
        bits = complexity * CLIP * 2 ** (slope * (control.level - 11)) * (7 if key else 1)
        control.packed(round(bits), CLIP, key)
        out.append(bits)
    return out


@pytest.mark.parametrize("complexity", [3e4, 3e5, 2e6])
@pytest.mark.parametrize("slope", [0.35, 0.5, 0.7])
def test_a_bit_rate_is_met_whatever_the_footage_costs(complexity: float, slope: float) -> None:
    target = complexity * 1.3
    settings = EncodeSettings(target_bitrate=target, gop=16 * CLIP)
    bits = run(Bitrate(settings, target, 640 * 360), complexity, 16 * 6 * CLIP, slope)
    last = sum(bits[32:]) / (len(bits[32:]) * CLIP)
    assert abs(last / target - 1) < 0.03


@pytest.mark.parametrize("clips", [12, 24, 27, 60])
@pytest.mark.parametrize("complexity", [3e4, 3e5])
def test_a_video_of_known_length_is_on_target_at_its_end(clips: int, complexity: float) -> None:
    """Also where a key frame stands shortly before it."""
    target = complexity * 1.3
    settings = EncodeSettings(target_bitrate=target, gop=16 * CLIP, seconds=clips * CLIP)
    bits = run(Bitrate(settings, target, 640 * 360), complexity, clips * CLIP, 0.5)
    assert len(bits) == clips and abs(sum(bits) / (clips * CLIP * target) - 1) < 0.03


def test_cuts_in_a_row_are_paid_in_instalments() -> None:
    settings = EncodeSettings(target_bitrate=3e5, gop=10)
    control = Bitrate(settings, 3e5, 640 * 360)
    for number in range(60):
        key = number in (0, 20, 21, 22)
        if number == 20:
            before = control.level
        bits = 3e5 * CLIP * 2 ** (0.5 * (control.level - 11)) * (5 if key else 1)
        control.packed(round(bits), CLIP, key)
        if number >= 20:
            assert control.level > before - 4  # all at once it would be the dial's end
    assert abs(control.level - before) < 0.5


def test_a_psnr_is_met_on_average() -> None:
    control = control_of(EncodeSettings(target_psnr=38.0), 640 * 360)
    values = []
    for number in range(300):
        values.append(33 + 1.3 * (control.level - 8) + math.sin(number / 9))
        control.measured(values[-1])
        control.packed(1000, 0.04, False)
    assert abs(sum(values[24:]) / len(values[24:]) - 38) < 0.1


@pytest.mark.parametrize("target", [32.0, 38.0, 45.0])
def test_a_clip_far_from_its_psnr_is_coded_again(target: float) -> None:
    """And what was thrown away is not heard of."""
    heard: list[float] = []
    control = control_of(EncodeSettings(target_psnr=target, told_psnr=heard.append), 640 * 360)

    def coded(key: bool) -> float:
        psnr = 36 + 1.8 * (control.level + (1.6 if key else 0.0) - 11)
        control.measured(psnr)
        return psnr

    for key in (True, False):
        times, psnr = 1, coded(key)
        while control.refused(1000, 1.0, key):
            times, psnr = times + 1, coded(key)
        assert times <= 4 and abs(psnr - target - (2.4 if key else 0)) < 1
        control.packed(1000, 1.0, key)
        assert heard[-1] == psnr
    assert len(heard) == 2


def test_a_psnr_out_of_reach_does_not_go_on_for_ever() -> None:
    control = control_of(EncodeSettings(target_psnr=90.0), 640 * 360)
    tries = 0
    control.measured(48.0)
    while control.refused(1000, 1.0, False):
        control.measured(48.0)
        tries += 1
    assert tries == 1, "at the end of the dial there is nothing else to try"


def test_without_a_target_the_level_stays() -> None:
    control = control_of(EncodeSettings(quality=30), 1)
    assert isinstance(control, Constant) and not control.wants_sizes and not control.wants_psnr
    level = control.level
    for _ in range(5):
        control.packed(10**9, 0.1, False)
        control.measured(10)
    assert control.level == level


@pytest.mark.parametrize(
    "wrong",
    [{"target_bitrate": 0}, {"target_psnr": math.inf}, {"target_bitrate": 1e5, "target_psnr": 30}, {"effort": 10}],
)
def test_senseless_targets_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(UsageError):
        EncodeSettings(**wrong)  # type: ignore[arg-type]


def test_who_asked_for_a_psnr_hears_what_came_of_it() -> None:
    heard: list[float] = []
    control = control_of(EncodeSettings(target_psnr=38.0, told_psnr=heard.append), 1)
    for psnr in (37.0, 38.5):
        control.measured(psnr)
    control.packed(1000, 0.08, False)
    assert heard == [37.0, 38.5]


def peaks(sizes: list[tuple[float, float]], rate: float) -> float:
    """The most seconds by which a stretch of clips (bits, seconds) is ahead of `rate`."""
    most = ahead = 0.0
    for bits, seconds in sizes:
        ahead += bits / rate
        most = max(most, ahead)
        ahead = max(ahead - seconds, 0.0)
    return most


@pytest.mark.parametrize("complexity", [3e4, 1e5, 1.5e5])
@pytest.mark.parametrize("buffer", [1.5, 4.0])
def test_a_peak_rate_is_never_passed_whatever_the_footage_costs(complexity: float, buffer: float) -> None:
    rate = 3e5
    control = control_of(EncodeSettings(quality=80, max_bitrate=rate, buffer=buffer), 640 * 360)
    sizes, again = [], 0
    for number in range(200):
        key = number % 16 == 0
        busy = complexity * (2 if 80 < number < 120 else 1)

        def coded(key: bool = key, busy: float = busy) -> int:
            return round(busy * CLIP * 2 ** (0.5 * (control.level - 11)) * (7 if key else 1))

        bits = coded()
        while control.refused(bits, CLIP, key):
            bits, again = coded(), again + 1
        control.packed(bits, CLIP, key)
        sizes.append((bits, CLIP))
    assert peaks(sizes, rate) <= buffer + 1e-9
    assert again < 60
    mean = sum(bits for bits, _ in sizes) / (CLIP * len(sizes))
    asked = complexity * 2 ** (0.5 * (13.5 - 11))
    assert mean > 0.6 * min(rate, asked)  # what may be spent mostly is


def test_a_peak_that_cannot_be_held_is_refused() -> None:
    control = control_of(EncodeSettings(max_bitrate=1000, buffer=1), 640 * 360)
    with pytest.raises(UsageError, match="--buffer"):
        while control.refused(100_000, 0.04, True):
            pass


def test_a_peak_and_a_psnr_hear_of_each_frame_once() -> None:
    heard: list[float] = []
    control = control_of(EncodeSettings(target_psnr=40, max_bitrate=1e5, buffer=1, told_psnr=heard.append), 640 * 360)
    control.measured(50.0)
    assert control.refused(200_000, 0.04, True)
    control.measured(41.0)
    assert not control.refused(45_000, 0.04, True)
    control.packed(45_000, 0.04, True)
    assert heard == [41.0]
