"""What encode and decode give back: pipes, ranges, salvage, sound, JSON."""

from __future__ import annotations

import json
import os
import pty
import subprocess
from pathlib import Path
from typing import Any

import pytest

from lvc.files.forecast import _Seen
from lvc.media import CopiedPacket, Frame, MediaReader
from tests.helpers.command import Lvc, names
from tests.helpers.waiting import PATIENCE


def times(path: Path) -> list[float]:
    with MediaReader(path) as video:
        return [float(item.pts * video.video.seconds_per_tick) for item in video if isinstance(item, Frame)]


def packets(path: Path) -> list[tuple[int | None, bytes]]:
    with MediaReader(path) as video:
        return [(item.pts, item.data) for item in video if isinstance(item, CopiedPacket)]


def planes(path: Path) -> list[bytes]:
    with MediaReader(path) as video:
        return [item.y.tobytes() + item.u.tobytes() for item in video if isinstance(item, Frame)]


def test_a_lossless_codec_gives_every_sample_back(fake: Lvc, carphone: Path, encoded: Path) -> None:
    assert fake("decode", encoded, "a.mkv", "--codec", "ffv1").code == 0
    assert planes(fake.folder / "a.mkv") == planes(carphone)
    assert times(fake.folder / "a.mkv") == pytest.approx(times(carphone), abs=0.0006)


@pytest.mark.slow
def test_sound_is_copied_bit_for_bit(fake: Lvc, bunny: Path, with_sound: Path) -> None:
    assert fake("decode", with_sound, "a.mp4").code == 0
    assert packets(fake.folder / "a.mp4") == packets(bunny) != []
    assert fake("encode", bunny, "b.lvz", "--audio", "none", "--duration", "1", "--packing", "zstd").code == 0
    assert json.loads(fake("info", "b.lvz", "--json").out)["streams"] == []


@pytest.mark.slow
def test_a_rate_that_is_missed_is_said(fake: Lvc, carphone: Path) -> None:
    done = fake("encode", carphone, "a.lvz", "--packing", "zstd", "--target-bitrate", "1k", "--json")
    (said,) = [event["message"] for event in done.events if event["event"] == "notice"]
    assert "instead of 1 kbit/s" in said and "--resolution" in said
    assert "notice" not in [event["event"] for event in fake("encode", carphone, "b.lvz", "--json").events]


@pytest.mark.slow
def test_pipes_both_ways(fake: Lvc, carphone: Path, encoded: Path) -> None:
    packed = fake("encode", "-", "-", "--packing", "zstd", "--gop", "1", input=carphone.read_bytes())
    assert packed.code == 0 and packed.out == encoded.read_bytes()
    movie = fake("decode", "-", "-", input=packed.out)
    assert movie.code == 0 and movie.out.startswith(b"YUV4MPEG2 W176 H144 F30000:1001")
    assert movie.out.count(b"FRAME\n") == 120
    other = fake("decode", "-", "-", "--container", "mkv", input=packed.out)
    assert other.code == 0 and other.out.startswith(b"\x1aE\xdf\xa3")
    info = fake("info", "-", input=packed.out)
    assert info.code == 0 and "176x144" in info.text
    assert fake("verify", "-", input=packed.out).code == 0
    assert names(fake.folder) == []


@pytest.mark.slow
def test_reader_of_the_pipe_goes_away(fake: Lvc, encoded: Path) -> None:
    with fake.start("decode", encoded, "-") as process:
        assert process.stdout is not None and process.stderr is not None
        process.stdout.read(100)
        process.stdout.close()
        err = process.stderr.read()
        assert process.wait(timeout=PATIENCE) == 3
    assert err.startswith(b"lvc: error: standard output: ") and err.count(b"\n") == 1


@pytest.mark.slow
def test_binary_to_a_terminal_is_refused(fake: Lvc, carphone: Path) -> None:
    main, terminal = pty.openpty()
    try:
        done = subprocess.run(
            [*fake.program, "encode", str(carphone), "-"], stdout=terminal, stderr=subprocess.PIPE, timeout=PATIENCE
        )
    finally:
        os.close(main)
        os.close(terminal)
    assert done.returncode == 2 and b"terminal" in done.stderr


@pytest.mark.slow
def test_range(fake: Lvc, carphone: Path, encoded: Path) -> None:
    assert fake("decode", encoded, "a.mkv", "--codec", "ffv1", "--start", "1.5", "--end", "0:02").code == 0
    wanted = [i for i, t in enumerate(times(carphone)) if 1.5 <= t < 2]
    assert planes(fake.folder / "a.mkv") == [planes(carphone)[i] for i in wanted]
    assert times(fake.folder / "a.mkv")[0] == 0


@pytest.mark.slow
def test_a_range_is_read_by_the_index_alone(fake: Lvc, encoded: Path) -> None:
    data = bytearray(encoded.read_bytes())
    quarter = len(data) // 8
    data[quarter : quarter + 1000] = bytes(1000)
    (fake.folder / "hole.lvz").write_bytes(data)
    assert fake("decode", "hole.lvz", "all.mkv").code == 4
    assert fake("decode", "hole.lvz", "end.mkv", "--start", "3").code == 0
    assert len(times(fake.folder / "end.mkv")) == 120 - 90


@pytest.mark.slow
def test_range_of_sound(fake: Lvc, bunny: Path, with_sound: Path) -> None:
    assert fake("decode", with_sound, "a.mkv", "--start", "2", "--duration", "1").code == 0
    whole = [data for _, data in packets(bunny)]
    part = [data for _, data in packets(fake.folder / "a.mkv")]
    begin = whole.index(part[0])
    assert part == whole[begin : begin + len(part)]
    assert len(part) == pytest.approx(len(whole) / 5.28, rel=0.1)


@pytest.mark.slow
def test_salvage_saves_the_rest_and_exits_4(fake: Lvc, encoded: Path) -> None:
    data = bytearray(encoded.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 10] = bytes(10)
    (fake.folder / "hole.lvz").write_bytes(data)
    done = fake("decode", "hole.lvz", "a.mkv", "--salvage", "--codec", "ffv1", "--json")
    assert done.code == 4
    by_event = {event["event"]: event for event in done.events}
    assert by_event["done"]["damage"] and by_event["error"]["exit_code"] == 4
    assert done.events[-1]["event"] == "error"
    assert 60 <= len(times(fake.folder / "a.mkv")) == by_event["done"]["frames"] < 120


@pytest.mark.slow
def test_salvage_of_a_cut_file_keeps_every_whole_group(fake: Lvc, encoded: Path) -> None:
    data = encoded.read_bytes()
    (fake.folder / "cut.lvz").write_bytes(data[: len(data) * 6 // 10])
    done = fake("decode", "cut.lvz", "a.mkv", "--salvage")
    assert done.code == 4 and "left out" in done.err
    assert len(times(fake.folder / "a.mkv")) >= 60


@pytest.mark.slow
def test_salvage_of_nothing(fake: Lvc) -> None:
    (fake.folder / "a.lvz").write_bytes(b"\x89LVZ\r\n\x1a\n" + bytes(100))
    assert fake("decode", "a.lvz", "a.mkv", "--salvage").code == 4
    assert names(fake.folder) == ["a.lvz"]


@pytest.mark.slow
def test_verify_while_encoding(fake: Lvc, carphone: Path) -> None:
    done = fake("encode", carphone, "a.lvz", "--verify", "--packing", "zstd", "--json")
    assert done.code == 0 and done.events[-1]["verified"] is True


def check_schema(events: list[dict[str, Any]], command: str, file: str) -> None:
    assert all({"event", "command", "file"} <= set(event) for event in events)
    assert {(event["command"], event["file"]) for event in events} == {(command, file)}
    assert [event["event"] for event in events if event["event"] in ("done", "error")] == [events[-1]["event"]]


@pytest.mark.slow
def test_json_of_encode_and_decode(fake: Lvc, carphone: Path) -> None:
    slow = {"FAKE_DELAY": "0.1"}
    done = fake("encode", carphone, "a.lvz", "--packing", "zstd", "--json", env=slow)
    check_schema(done.events, "encode", str(carphone))
    assert done.err == ""
    progress = [event for event in done.events if event["event"] == "progress"]
    assert progress and {"frames", "frames_total", "bytes_in", "bytes_out", "fps"} <= set(progress[0])
    last = done.events[-1]
    size = (fake.folder / "a.lvz").stat().st_size
    assert last["event"] == "done" and last["frames"] == 120 and last["bytes_out"] == size
    assert last["bpp"] == pytest.approx(8 * size / (120 * 176 * 144), abs=1e-6)
    assert last["bytes_in"] == carphone.stat().st_size and last["duration"] == pytest.approx(4.004)
    done = fake("decode", "a.lvz", "a.mp4", "--json")
    check_schema(done.events, "decode", "a.lvz")
    assert done.events[-1]["bytes_out"] == (fake.folder / "a.mp4").stat().st_size


@pytest.mark.slow
def test_json_error(fake: Lvc, encoded: Path) -> None:
    done = fake("decode", "missing.lvz", "--json")
    assert done.code == 3
    error = done.events[-1]
    assert (error["event"], error["exit_code"], error["file"]) == ("error", 3, "missing.lvz")
    assert error["kind"] and error["message"]


@pytest.mark.slow
def test_json_beside_binary_goes_to_stderr(fake: Lvc, encoded: Path) -> None:
    done = fake("decode", encoded, "-", "--json")
    assert done.out.startswith(b"YUV4MPEG2")
    assert json.loads(done.err.splitlines()[-1])["event"] == "done"


@pytest.mark.slow
def test_quiet_says_nothing_but_errors(fake: Lvc, carphone: Path) -> None:
    done = fake("encode", carphone, "a.lvz", "--packing", "zstd", "--quiet")
    assert (done.code, done.out, done.err) == (0, b"", "")
    assert fake("encode", carphone, "a.lvz", "--quiet").err.startswith("lvc: error: a.lvz:")


@pytest.mark.slow
def test_dry_run_tells_size_and_time_from_a_sample(fake: Lvc, bunny: Path, tmp_path: Path) -> None:
    arguments = (bunny, "a.lvz", "--packing", "zstd", "--resolution", "160x90", "--gop", "1", "--json")
    told = fake("encode", *arguments, "--dry-run")
    assert told.code == 0, told.err
    assert names(fake.folder) == []
    done = fake("encode", *arguments)
    told_last, last = told.events[-1], done.events[-1]
    for name, near in (("frames", 0.02), ("bytes_out", 0.1), ("video_bytes", 0.1), ("audio_bytes", 0.1)):
        assert told_last[name] == pytest.approx(last[name], rel=near), name
    assert told_last["seconds"] > 0 and last["audio_bytes"] > 0
    assert fake("encode", bunny, "b.lvz", "--dry-run", "--target-size", "1M").code == 2
    assert fake("encode", "-", "b.lvz", "--dry-run", input=b"x").code == 2
    assert fake("encode", bunny, "a.lvz", "--dry-run").code == 6


def test_a_longer_video_has_more_groups_than_its_samples() -> None:
    # two samples, each a group of 24 frames: 100 bytes for the first 8 of them, 20 for the rest
    seen = _Seen(frames=48, firsts=2, first_bytes=200, first_frames=16, rest_bytes=40)
    assert seen.picture(24, 1) == pytest.approx(120)
    assert seen.picture(240, 2) == pytest.approx(2 * 100 + (240 - 16) * 20 / 16)


@pytest.mark.slow
def test_what_was_taken_is_what_is_compared(fake: Lvc, bunny: Path) -> None:
    options = ("--packing", "zstd", "--resolution", "64x36", "--json")
    whole = fake("encode", bunny, "a.lvz", *options).events[-1]
    assert whole["bytes_taken"] == whole["bytes_in"] == bunny.stat().st_size
    part = fake("encode", bunny, "b.lvz", *options, "--start", "1", "--duration", "1").events[-1]
    assert part["bytes_taken"] == pytest.approx(whole["bytes_in"] * part["duration"] / whole["duration"], rel=0.05)
    assert 0 < part["audio_bytes"] < whole["audio_bytes"]
    said = fake("encode", bunny, "c.lvz", *options[:-1], "--start", "1", "--duration", "1").err
    assert "of its part of the source" in said and "picture " in said and "sound " in said and " s (" in said


@pytest.mark.slow
def test_encode_and_info_agree_on_what_is_picture_and_sound(fake: Lvc, bunny: Path) -> None:
    told = fake("encode", bunny, "a.lvz", "--packing", "zstd", "--resolution", "64x36", "--json").events[-1]
    facts = fake("info", "a.lvz", "--json").events[-1]
    for name in ("video_bytes", "audio_bytes"):
        assert told[name] == facts[name] > 1000, name


@pytest.mark.slow
def test_info_says_how_and_of_what(fake: Lvc, with_sound: Path) -> None:
    facts = fake("info", with_sound, "--json").events[-1]
    assert facts["quality"] == 50 and facts["effort"] == 4 and facts["gops"] > 1
    rest = facts["bytes"] - facts["video_bytes"] - facts["audio_bytes"]
    assert facts["audio_bytes"] > 10_000 and 0 < rest < 5_000
    assert "GOP 1 " not in fake("info", with_sound).text
    lines = fake("info", with_sound, "-v").text.splitlines()
    assert sum(line.startswith("  GOP ") for line in lines) == facts["gops"]


@pytest.mark.slow
def test_progress_is_for_terminals(fake: Lvc, carphone: Path) -> None:
    done = fake("encode", carphone, "a.lvz", "--packing", "zstd", env={"FAKE_DELAY": "0.1"})
    assert done.err.count("\n") == 1 and "\r" not in done.err and "\x1b" not in done.err


@pytest.mark.slow
@pytest.mark.parametrize("switch", [[], ["--no-progress"], ["--quiet"]])
def test_progress_on_a_terminal(fake: Lvc, carphone: Path, switch: list[str]) -> None:
    main, terminal = pty.openpty()
    with subprocess.Popen(
        [*fake.program, "encode", str(carphone), "a.lvz", "--packing", "zstd", *switch],
        cwd=fake.folder, stdout=subprocess.DEVNULL, stderr=terminal,
        env={**os.environ, "FAKE_DELAY": "0.15", "TERM": "xterm", "COLUMNS": "120"},
    ) as process:  # fmt: skip
        os.close(terminal)
        seen = b""
        while True:
            try:
                piece = os.read(main, 4096)
            except OSError:  # Linux's way to say that the other side has closed
                break
            if not piece:
                break
            seen += piece
        assert process.wait(timeout=PATIENCE) == 0, seen
    os.close(main)
    assert (b"starting" in seen and b" of 120 frames" in seen and b"\x1b" in seen) == (not switch)
    assert (seen == b"") == (switch == ["--quiet"])


@pytest.mark.slow
def test_control_characters_in_names_stay_off_the_terminal(fake: Lvc) -> None:
    done = fake("encode", "\x1b[31mred.mp4", "a.lvz")
    assert done.code == 3 and "\x1b" not in done.err and "\\x1b" in done.err
