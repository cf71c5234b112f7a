"""`lvc encode --adapt` of one file, with a model that was spoilt in a way that a delta can undo, and with the usual."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from lvc.adaptation.samples import Samples
from lvc.errors import LimitError, UnsupportedError, UsageError
from lvc.facts import info_file, verify_file
from lvc.files import adapted, decode_frames, encode_file, encode_video
from lvc.files.forecast import forecast
from lvc.jobs.identity import origin_of, why_stale
from lvc.lvz import MODEL_DELTA, LvzReader
from lvc.models import inspect, load_model
from lvc.models.delta import write_delta
from lvc.options import EncodeOptions
from tests.helpers.small_footage import film
from tests.helpers.small_models import model_file, same, spoilt


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was spoilt is farther away than what is usually learnt."""
    monkeypatch.setattr(adapted, "RATE", 4.0)
    monkeypatch.setattr(adapted, "STEPS", 40)


@pytest.mark.slow
def test_a_delta_that_pays_is_inside(installed: Path, tmp_path: Path, quick: None) -> None:
    source, base = film(tmp_path / "a.mkv", frames=40, side=160, scene=3), spoilt(installed)
    options = EncodeOptions(model=str(base), quality=90, threads=1, adapt=True, verify=True)
    said: list[str] = []
    made = encode_video(
        str(source), str(tmp_path / "a.lvz"), options, origin=origin_of(str(source), options), notice=said.append
    )  # fmt: skip
    assert made.adapted and made.gain is not None and made.gain > 0 and made.verified
    assert f"a delta of {made.delta_bytes:,} bytes saves {made.gain:.2f} %" in str(made)
    assert said == ["adapting the model to what was seen"]
    with (tmp_path / "a.lvz").open("rb") as file:
        reader = LvzReader(file)
        inside = reader.model_chunk
    assert inside is not None and inside.kind == MODEL_DELTA and inside.base_sha256 == inspect(base).sha256
    assert made.delta_bytes == len(inside.data) < 20_000
    # what the encoder has seen: every frame's checksum is compared on the way
    assert verify_file(tmp_path / "a.lvz", full=True).values["decoded"] == made.frames == 40
    assert info_file(tmp_path / "a.lvz").values["model_inside"]["bytes"] == made.delta_bytes
    # with the base as it is these would be other pictures
    with pytest.raises(UnsupportedError, match="not with spoilt"):
        list(decode_frames(tmp_path / "a.lvz", model=load_model(base)))
    # a folder's job that is resumed knows it by the base
    assert why_stale(str(tmp_path / "a.lvz"), str(source), options, inspect(base).sha256) is None
    assert why_stale(str(tmp_path / "a.lvz"), str(source), options, inspect(model_file()).sha256) is not None
    # the same again gives the same bytes
    encode_file(source, tmp_path / "c.lvz", model=base, quality=90, threads=1, adapt=True)
    pictures = list(decode_frames(tmp_path / "a.lvz"))
    assert same(pictures, list(decode_frames(tmp_path / "c.lvz")))
    base.unlink()
    with pytest.raises(UnsupportedError, match="not installed"):
        list(decode_frames(tmp_path / "a.lvz"))


def test_a_delta_that_does_not_pay_is_not(installed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adapted, "STEPS", 2)
    judged = iter([1.0, 0.9])
    monkeypatch.setattr("lvc.adaptation.learner.judged", lambda *_: next(judged))  # two steps gain nothing
    source = film(tmp_path / "a.mkv", scene=2)
    made = encode_file(source, tmp_path / "a.lvz", model="small", threads=1, adapt=True)
    assert made.adapted is False and made.gain is not None and made.gain < 0 and made.delta_bytes
    assert f"a delta of {made.delta_bytes:,} bytes would cost {-made.gain:.2f} % more than it saves" in str(made)
    plain = encode_file(source, tmp_path / "b.lvz", model="small", threads=1)
    assert (tmp_path / "a.lvz").read_bytes() == (tmp_path / "b.lvz").read_bytes() and plain.adapted is None


def test_nothing_moves(installed: Path, tmp_path: Path) -> None:
    made = encode_file(film(tmp_path / "a.mkv", frames=1), tmp_path / "a.lvz", model="small", threads=1, adapt=True)
    assert (made.adapted, made.gain, made.delta_bytes) == (False, None, None)
    assert "model not adapted: nothing gained" in str(made)


def test_what_makes_no_sense(installed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, target = film(tmp_path / "a.mkv", frames=2), tmp_path / "a.lvz"
    for given in (
        {"target_bitrate": 1e6}, {"target_psnr": 40}, {"target_size": 9e5}, {"target_vmaf": 90}, {"max_bitrate": 1e6},
        {"embed_model": True}, {"model": "taesd:nowhere"},
    ):  # fmt: skip
        with pytest.raises(UsageError, match="--adapt"):
            encode_file(source, target, **{"model": "small", "adapt": True, **given})
    os.mkfifo(tmp_path / "pipe")
    for once in ("-", tmp_path / "pipe"):
        with pytest.raises(UsageError, match="reads the source twice"):
            encode_file(once, target, model="small", adapt=True)
    with pytest.raises(UsageError, match="reads the source twice"):
        encode_file(source, "-", model="small", adapt=True)
    with pytest.raises(UsageError, match="--dry-run cannot predict"):
        forecast(str(source), str(target), EncodeOptions(model="small", adapt=True))
    with pytest.raises(LimitError, match="take about 1.5 GB to encode, .* leave out --adapt"):
        encode_file(source, target, model="small", adapt=True, max_memory=1e9)
    delta = tmp_path / "delta.safetensors"
    write_delta(delta, "d", model_file().read_bytes(), {}, {})
    with pytest.raises(UsageError, match="is a delta"):
        encode_file(source, target, model=delta, adapt=True)

    # an error in the midst of it leaves nothing

    def broken(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("lvc.adaptation.learner.Learner.learn", broken)
    with pytest.raises(KeyboardInterrupt):
        encode_file(source, target, model="small", adapt=True)
    assert sorted(f.name for f in tmp_path.iterdir()) == ["a.mkv", "delta.safetensors", "models", "pipe"]


def test_samples_do_not_depend_on_who_comes_first() -> None:
    one, other = Samples(3), Samples(3)
    ranks = [0.9, 0.1, 0.5, 0.7, 0.3]
    for kept, order in ((one, ranks), (other, ranks[::-1])):
        for rank in order:
            if kept.wants(rank):
                kept.add(rank, rank)  # type: ignore[arg-type]  # whatever it is
    assert one.drawn() == other.drawn() == [0.1, 0.3, 0.5] and len(one) == 3
    assert not one.wants(0.6) and one.wants(0.2)
