"""The command line with the real codec, and a model that is found by its hash."""

from __future__ import annotations

import json
import shutil
import signal
import time
from pathlib import Path

import pytest

from lvc.media import Frame, MediaReader, MediaWriter
from tests.helpers.command import Lvc, names
from tests.helpers.small_models import model_file
from tests.helpers.waiting import PATIENCE

FRAMES = 24
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of one model, `tiny`: the shipped one under another name."""
    folder = tmp_path_factory.mktemp("models")
    shutil.copy(model_file("tiny"), folder)
    return folder


@pytest.fixture
def tiny(lvc: Lvc, models: Path, monkeypatch: pytest.MonkeyPatch) -> Lvc:
    monkeypatch.setenv("LVC_MODELS", str(models))
    return lvc


@pytest.fixture(scope="module")
def coded(tmp_path_factory: pytest.TempPathFactory, models: Path, carphone: Path) -> Path:
    """The first frames of carphone, a key frame every 8."""
    folder = tmp_path_factory.mktemp("coded")
    lvc = Lvc(["-m", "lvc"], folder)
    model = models / "tiny.safetensors"
    done = lvc("encode", carphone, "a.lvz", "--model", model, "--duration", "0.8", "--gop", "0.25", "--verify")
    assert done.code == 0 and "verified" in done.err, done.err
    return folder / "a.lvz"


def planes(path: Path) -> list[bytes]:
    with MediaReader(path) as video:
        return [item.y.tobytes() + item.u.tobytes() + item.v.tobytes() for item in video if isinstance(item, Frame)]


def test_round_trip(tiny: Lvc, coded: Path, carphone: Path) -> None:
    facts = json.loads(tiny("info", coded, "--json").out)
    assert (facts["model"], facts["packing"], facts["frames"], facts["gops"]) == ("tiny", "rans", FRAMES, 3)
    assert tiny("verify", coded, "--full").code == 0
    assert tiny("decode", coded, "a.mp4").code == 0
    with MediaReader(tiny.folder / "a.mp4") as back, MediaReader(carphone) as source:
        times = [[f.pts * r.video.seconds_per_tick for f in r if isinstance(f, Frame)] for r in (back, source)]
    assert times[0] == times[1][:FRAMES]


@pytest.mark.slow
def test_a_range_gives_the_same_pictures(tiny: Lvc, coded: Path) -> None:
    assert tiny("decode", coded, "all.mkv", "--codec", "ffv1").code == 0
    assert tiny("decode", coded, "part.mkv", "--codec", "ffv1", "--start", "0.4", "--end", "0.5").code == 0
    part = planes(tiny.folder / "part.mkv")
    assert part == planes(tiny.folder / "all.mkv")[12:15]


@pytest.mark.slow
def test_packing_and_threads_do_not_touch_the_pictures(tiny: Lvc, coded: Path, carphone: Path) -> None:
    options = ["--model", "tiny", "--duration", "0.8", "--gop", "0.25"]
    assert tiny("encode", carphone, "one.lvz", *options, "--threads", "1").code == 0
    assert (tiny.folder / "one.lvz").read_bytes() == coded.read_bytes()
    for packing in ("rans", "zstd"):  # at a quality without detail, which only rans has
        named = "--quality", "5", "--packing", packing
        assert tiny("encode", carphone, f"{packing}.lvz", *options, *named).code == 0
        decoded = f"{packing}.lvz", f"{packing}.mkv", "--codec", "ffv1", "--threads", "1" if packing == "rans" else "2"
        assert tiny("decode", *decoded).code == 0
    assert planes(tiny.folder / "zstd.mkv") == planes(tiny.folder / "rans.mkv")


@pytest.mark.slow
def test_tuned_for_ssim(tiny: Lvc, carphone: Path) -> None:
    """A model made for it is taken by itself where it is installed, also in a folder's job."""
    options = ["--duration", "0.8", "--gop", "0.25", "--tune", "ssim"]
    assert tiny("encode", carphone, "named.lvz", "--model", "tiny", *options, "--verify").code == 0
    (tiny.folder / "more").mkdir()
    shutil.copy(model_file("ssim"), tiny.folder / "more")
    env = {"LVC_MODELS": str(tiny.folder / "more")}
    assert tiny("encode", carphone, "found.lvz", *options, env=env).code == 0
    assert json.loads(tiny("info", "found.lvz", "--json").out)["model"] == "ssim"
    assert tiny("decode", "found.lvz", "a.mkv", env=env).code == 0
    assert tiny("encode", carphone.parent, "--output-dir", "out", *options, "--dry-run", env=env).code == 0


@pytest.mark.slow
def test_every_fourth_frame(tiny: Lvc, coded: Path) -> None:
    assert tiny("decode", coded, "all.mkv", "--codec", "ffv1").code == 0
    assert tiny("decode", coded, "fourth.mkv", "--codec", "ffv1", "--every", "4").code == 0
    assert planes(tiny.folder / "fourth.mkv") == planes(tiny.folder / "all.mkv")[::4]
    with MediaReader(tiny.folder / "fourth.mkv") as video:
        assert [round(float(f.pts * video.video.seconds_per_tick), 2) for f in video if isinstance(f, Frame)] == [
            round(n * 4 / 30, 2) for n in range(6)
        ]
    assert tiny("decode", coded, "none.mkv", "--every", "0").code == 2


@pytest.mark.slow
def test_salvage(tiny: Lvc, coded: Path) -> None:
    data = bytearray(coded.read_bytes())
    data[len(data) // 2] ^= 0x10
    (tiny.folder / "bad.lvz").write_bytes(data)
    assert tiny("decode", "bad.lvz", "a.mkv").code == 4
    done = tiny("decode", "bad.lvz", "a.mkv", "--salvage", "--json")
    assert done.code == 4
    assert [event["frames"] for event in done.events if event["event"] == "done"] == [16]
    assert names(tiny.folder) == ["a.mkv", "bad.lvz"]


@pytest.mark.slow
def test_without_the_model(lvc: Lvc, coded: Path) -> None:
    done = lvc("decode", coded, "a.mp4")
    assert done.code == 5 and "tiny" in done.err
    assert lvc("encode", coded, "b.lvz", "--model", "nobody").code == 2
    assert names(lvc.folder) == []


@pytest.mark.slow
@pytest.mark.parametrize("sent", [0.03, 0.7])
def test_interrupting_a_live_pipe_ends_at_once(tiny: Lvc, carphone: Path, sent: float) -> None:
    """A camera that has stalled, while FFmpeg looks at its header or when every stage waits for the one before it."""
    with MediaReader(carphone) as reader, MediaWriter(tiny.folder / "a.mkv", reader.video) as writer:
        for item in reader:
            writer.write(item)
    stream = (tiny.folder / "a.mkv").read_bytes()
    (tiny.folder / "a.mkv").unlink()
    with tiny.start("encode", "-", "a.lvz", "--model", "tiny", "--json", stdin=-1) as process:
        assert process.stdin is not None and process.stdout is not None
        process.stdin.write(stream[: round(len(stream) * sent)])
        process.stdin.flush()
        if sent > 0.1:
            assert b"progress" in process.stdout.readline()
        time.sleep(1)
        assert process.poll() is None
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=PATIENCE) == 130  # although the pipe is still open
    assert names(tiny.folder) == []


@pytest.mark.slow
def test_a_model_inside_the_file(lvc: Lvc, models: Path, carphone: Path) -> None:
    """The file decodes where the model is not installed, alone and in a folder, and by the second decoder."""
    model = models / "tiny.safetensors"
    (lvc.folder / "in").mkdir()
    done = lvc(
        "encode", carphone, "in/a.lvz", "--model", model, "--embed-model", "--duration", "0.2", "--resolution", "64x48",
        "--verify",
    )  # fmt: skip
    assert done.code == 0, done.err
    facts = json.loads(lvc("info", "in/a.lvz", "--json").out)
    assert facts["model_inside"] == {"bytes": model.stat().st_size, "base_sha256": None} and facts["model"] == "tiny"
    done = lvc("decode", "in", "--output-dir", "out", "--container", "mkv", "--codec", "ffv1")
    assert done.code == 0, done.err
    assert lvc("decode", "in/a.lvz", "b.mkv", "--codec", "ffv1").code == 0
    assert planes(lvc.folder / "out" / "a.mkv") == planes(lvc.folder / "b.mkv")
    second = Lvc([str(ROOT / "formats" / "lvz_decoder.py")], lvc.folder)("in/a.lvz")
    assert second.code == 0 and len(second.text.splitlines()) >= facts["frames"], second.err


@pytest.mark.slow
def test_where_no_model_can_be_inside(lvc: Lvc, carphone: Path) -> None:
    done = lvc("encode", carphone, "a.lvz", "--live", "--embed-model")
    assert done.code == 2 and "--embed-model" in done.err and not names(lvc.folder)
