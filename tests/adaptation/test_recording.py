"""`lvc encode --adapt --segment`: a model that was spoilt is adapted beside a recording, by the real process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from lvc.adaptation import tuning, worker
from lvc.adaptation.beside import Excerpt
from lvc.adaptation.worker import Pupil
from lvc.codec import EncodeSettings
from lvc.errors import UsageError
from lvc.facts import info_file, verify_file
from lvc.files.coding import OwnModel
from lvc.live import adapting, record
from lvc.live.adapting import Adapting
from lvc.media import Frame
from lvc.models import load_model
from lvc.options import RecordOptions
from tests.helpers.small_footage import film
from tests.helpers.small_models import frame, spoilt, video
from tests.helpers.waiting import wait_for

SIDE = 96
LIVE = EncodeSettings(quality=80, gop=120, threads=1, low_delay=True, clip_frames=8)


def seen(count: int) -> Iterator[Frame]:
    return (replace(frame(n, SIDE, SIDE, shift=n, seed=n // 3), pts=40 * n, duration=40) for n in range(count))


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> int:
    """Excerpts of few frames, and a process that other tests do not keep from working. Returns how many are one."""
    monkeypatch.setattr(adapting, "NICE", 0)
    monkeypatch.setattr(adapting, "LEARNT", 16)
    monkeypatch.setattr(adapting, "PASSED", 3)
    monkeypatch.setattr(adapting, "HELD_BACK", 7)
    return 26


@pytest.fixture
def beside(installed: Path, short: int) -> Iterator[tuple[Adapting, list[str]]]:
    path, said = spoilt(installed), []
    with Adapting(load_model(path), path.read_bytes(), video(SIDE, SIDE), LIVE, said.append) as one:
        yield one, said


@pytest.mark.slow
def test_a_segment_begins_with_what_pays(beside: tuple[Adapting, list[str]], short: int) -> None:
    one, said = beside
    base = one.model(0)
    frames = list(seen(short + 5))
    # the recording sees every frame, in time, whatever becomes of them
    assert list(one.watch(iter(frames))) == frames
    assert base.inside is None and not said  # nobody has waited
    wait_for(one._idle.is_set)
    # the little that sixty steps undo of the spoiling saves the delta's bytes only in a very long segment
    assert one.model(2).inside is None
    (stays,) = said
    assert stays.startswith("segments stay with the model as it is: a delta of ") and "would save about" in stays
    assert one.model(3).inside is None and len(said) == 1
    model = one.model(10**9)
    assert model.inside is not None and model.inside.base_sha256 == base.sha256 != model.sha256
    assert said[1].startswith(f"segments begin with a delta of {len(model.inside.data):,} bytes, which saves about ")


@pytest.mark.slow
def test_the_process_may_die(beside: tuple[Adapting, list[str]], short: int) -> None:
    one, said = beside
    list(one.watch(seen(short)))
    wait_for(lambda: one._beside is not None)
    assert one._beside is not None and one._beside._process.pid is not None
    os.kill(one._beside._process.pid, signal.SIGKILL)
    wait_for(lambda: bool(said))
    assert said == [
        "adapting has stopped, and the recording goes on without it: its process was ended — is there enough memory?"
    ]
    assert one.model(10**9).inside is None
    assert len(list(one.watch(seen(2 * short)))) == 2 * short


@pytest.mark.slow
def test_the_process_ends_with_the_recording(installed: Path, short: int) -> None:
    path, said = spoilt(installed), []
    with Adapting(load_model(path), path.read_bytes(), video(SIDE, SIDE), LIVE, said.append) as one:
        list(one.watch(seen(short)))
        wait_for(lambda: one._beside is not None)
    assert one._beside is not None and not one._beside._process.is_alive() and not one._thread.is_alive() and not said


def test_what_is_learnt_is_judged_on_frames_held_back(installed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tuning, "RATE", 4.0)
    monkeypatch.setattr(worker, "STEPS", 10)
    path, frames = spoilt(installed), list(seen(30))
    pupil = Pupil("spoilt", path.read_bytes(), video(SIDE, SIDE), LIVE)
    first = pupil.learn(Excerpt(frames[:16], frames[20:]))
    assert first is not None and first.saving > 0
    kept = len(pupil._samples)
    again = pupil.learn(Excerpt(frames[:16], frames[20:]))
    # it goes on from where it was, with the samples of both
    assert again is not None and again.saving > first.saving and len(pupil._samples) > kept
    assert pupil.learn(Excerpt(frames[:1] * 4, frames[:1] * 4)) is None or len(pupil._samples) <= worker.MOST


@pytest.mark.slow
def test_segments_carry_their_delta(installed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The recorder with a model that is ready when the second segment begins."""
    monkeypatch.setattr(tuning, "RATE", 4.0)
    monkeypatch.setattr(worker, "STEPS", 5)
    path, frames = spoilt(installed), list(seen(30))

    class Ready(Adapting):
        def __enter__(self) -> Ready:
            super().__enter__()
            learnt = Pupil("spoilt", path.read_bytes(), video(SIDE, SIDE), LIVE).learn(
                Excerpt(frames[:16], frames[20:])
            )
            assert learnt is not None
            self._ready = worker.model_of_bytes(learnt.file, "spoilt"), learnt
            return self

        def model(self, frames: int) -> OwnModel:
            made, learnt = self._ready
            return OwnModel(made, learnt.inside) if frames else self._base

    monkeypatch.setattr(record, "Adapting", Ready)
    options = RecordOptions(model=str(path), quality=80, segment=0.1, threads=1, adapt=True)
    source = film(tmp_path / "a.mkv", frames=60, side=SIDE, scene=3)
    made = record.record(str(source), str(tmp_path / "cam.lvz"), replace(options, reconnect=0))
    assert len(made.files) > 1 and made.adapted == len(made.files) - 1 and made.frames == 60
    assert str(made).endswith(f", {made.adapted} with a delta")
    for number, name in enumerate(made.files):
        assert verify_file(name, full=True).values["decoded"] > 0
        assert bool(info_file(name).values["model_inside"]) == (number > 0)


def test_what_makes_no_sense(installed: Path, tmp_path: Path) -> None:
    source = str(film(tmp_path / "a.mkv", frames=2))
    with pytest.raises(UsageError, match="--segment"):
        record.record(source, str(tmp_path / "a.lvz"), RecordOptions(adapt=True))
    with pytest.raises(UsageError, match="--max-bitrate"):
        record.record(source, str(tmp_path / "a.lvz"), RecordOptions(adapt=True, segment=1.0, max_bitrate=1e6))
    assert not list(tmp_path.glob("*.lvz"))


@pytest.mark.slow
def test_the_recorder_does_not_load_what_learns() -> None:
    code = "import sys, lvc.live.record, lvc.adaptation.beside; print([m for m in ('torch',) if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
