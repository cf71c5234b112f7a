"""`lvc train` in seconds: from pictures and videos made here to a model that encodes; and what it says of bad data."""

from __future__ import annotations

import json
import shutil
import threading
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from lvc.codec import EncodeSettings, decode, encode
from lvc.errors import LvcError, MediaError, UnsupportedError, UsageError
from lvc.lvz import Clip, VideoDescriptor
from lvc.models import load_model
from lvc.training import footage, inter, intra, recipe, stills
from lvc.training.board import Board
from lvc.training.loop import small, write
from lvc.training.networks import Intra
from lvc.training.settings import TrainSettings, read_recipe
from lvc.training.watch import Watch, draw
from tests.helpers.small_footage import film, photo
from tests.helpers.small_models import frame, video


def settings(folder: Path, *data: Path, **more: Any) -> TrainSettings:
    usual = {"max_steps": 2, "batch": 1, "crop": 64, "threads": 1}
    return TrainSettings(data or (folder,), folder / "m.safetensors", folder / "m.work", **{**usual, **more})


def trained(wanted: TrainSettings) -> list[tuple[str, dict[str, Any]]]:
    said: list[tuple[str, dict[str, Any]]] = []
    recipe.train(wanted, lambda event, **fields: said.append((event, fields)))
    return said


@pytest.mark.slow
def test_from_footage_to_a_model_that_encodes(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    film(data / "a.mkv")
    photo(data / "b.png")
    wanted = settings(tmp_path, data, name="mine")
    said = trained(wanted)
    assert [e for e, _ in said][-1] == "done" and {"stage", "data", "step"} <= {e for e, _ in said}
    assert [(f["phase"], f.get("stage")) for e, f in said if e == "stage"] == [
        ("looking for footage", None), ("reading data", "stills"), ("reading data", "clips"), ("training", "intra"),
        ("training", "inter"),
        ("calibrating", "intra-quantised"), ("training", "intra-quantised"), ("calibrating", "inter-quantised"),
        ("training", "inter-quantised"), ("exporting", None), ("counting symbols", None),
    ]  # fmt: skip
    log = [json.loads(line) for line in (tmp_path / "m.log.jsonl").read_text().splitlines()]
    # where a machine is slow, silence is broken: not in the log
    assert [{"event": e, **f} for e, f in said if e == "done" or "seconds" not in f] == log
    assert (tmp_path / "m.png").read_bytes()[1:4] == b"PNG"
    with safe_open(wanted.out, "np") as file:
        about = json.loads(file.metadata()["lvc.model"])
    assert about["name"] == "mine" and about["tune"] == "psnr" and about["made"]["recipe"] == "default"
    assert about["made"]["steps"] == [2, 2] and [s["steps"] for s in about["made"]["stages"]] == [2] * 4
    model = load_model(wanted.out)
    assert model.id == "mine" and model.can_encode and wanted.out.stat().st_mode & 0o044 == 0o044
    frames = [frame(n, 64, 80, shift=n) for n in range(6)]
    coded = list(encode(iter(frames), video(64, 80), model, EncodeSettings()))
    clips = [Clip(c.pts[0], c.key, c.pts, c.durations, None, c.payload, c.checks, 32) for c in coded]
    described = VideoDescriptor(**vars(video(64, 80)), planes=model.planes, packing=5, checks=True)
    shown = list(decode(iter(clips), described, model))
    assert all(np.abs(a.y.astype(int) - b.y).mean() < 30 for a, b in zip(shown, frames, strict=True))

    # what is done is done; more steps go on from the weights that are kept
    again = trained(wanted)
    phases = [f["phase"] for e, f in again if e == "stage"]
    assert phases == ["looking for footage", "exporting", "counting symbols"]
    assert not [e for e, _ in again if e == "data"]
    weights = wanted.out.with_suffix(".weights.safetensors")
    other = tmp_path / "other"
    other.mkdir()
    trained(replace(settings(other, data, start=weights), max_steps=1))
    before, after = load_file(weights), load_file(other / "m.weights.safetensors")
    assert before.keys() == after.keys()
    moved = [float((before[k].float() - after[k].float()).abs().max()) for k in before]
    assert 0 < max(moved) < 0.1


@pytest.mark.slow
def test_a_stage_that_was_killed_goes_on(tmp_path: Path) -> None:
    film(tmp_path / "a.mkv")
    wanted = settings(tmp_path, tmp_path / "a.mkv")
    steps = 0

    def killing(event: str, **fields: Any) -> None:
        nonlocal steps
        steps += event == "step"
        if event == "stage" and fields.get("stage") == "inter":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        recipe.train(wanted, killing)
    assert not wanted.out.exists() and (wanted.work / "intra.done").exists()
    (wanted.work / "of mine.txt").write_text("kept")
    stages = [f.get("stage") for e, f in trained(wanted) if e == "stage"]
    assert stages[:2] == [None, "inter"] and wanted.out.exists()
    assert json.loads((wanted.work / "sources.json").read_text())[-1] == 64


@pytest.mark.parametrize(
    ("make", "error", "said"),
    [
        (lambda d: d.rmdir(), MediaError, "no such file or folder"),
        (lambda d: (d / "a.txt").write_text("no"), UsageError, "contains no video or photograph"),
        (lambda d: (d / "a.mp4").write_bytes(b"no video"), UsageError, "no picture is at least 64 samples"),
        (lambda d: film(d / "a.mkv", side=48), UsageError, "no picture is at least 64 samples"),
        (lambda d: film(d / "a.mkv", frames=3), UsageError, "no clip of 9 frames"),
        (lambda d: photo(d / "a.png", side=48), UsageError, "no picture is at least 64 samples"),
    ],
)
def test_data_that_nothing_can_be_learnt_from(tmp_path: Path, make: Any, error: type[LvcError], said: str) -> None:
    data = tmp_path / "data"
    data.mkdir()
    make(data)
    with pytest.raises(error, match=said):
        trained(settings(tmp_path, data))
    assert [p.name for p in tmp_path.iterdir() if p.name != "data"] == []


def test_weights_and_settings_are_checked_first(tmp_path: Path) -> None:
    film(tmp_path / "a.mkv")
    save_file({"intra.x": torch.zeros(3)}, tmp_path / "w.safetensors")
    (tmp_path / "v.safetensors").write_bytes(b"no")
    for name in ("w", "v"):
        with pytest.raises(UnsupportedError, match="weights"):
            trained(settings(tmp_path, start=tmp_path / f"{name}.safetensors"))
    with pytest.raises(MediaError, match="no such file"):
        trained(settings(tmp_path, start=tmp_path / "gone.safetensors"))
    with pytest.raises(UsageError, match="multiple of 64"):
        trained(settings(tmp_path, crop=100))
    assert not (tmp_path / "m.work").exists()


def test_footage_that_will_do(tmp_path: Path) -> None:
    """Portrait, one clip, photographs alone: caches of all of them can be trained on."""
    tall = tmp_path / "tall.mkv"
    with av.open(str(tall), "w") as out:
        stream = out.add_stream("ffv1", rate=Fraction(25))
        stream.width, stream.height, stream.pix_fmt = 64, 192, "yuv420p"
        for n in range(9):
            out.mux(stream.encode(av.VideoFrame.from_ndarray(np.full((288, 64), 20 * n, np.uint8), "yuv420p")))
        out.mux(stream.encode(None))
    for path in (tall, photo(tmp_path / "a.png")):
        told: list[str] = []
        assert stills.build([path], tmp_path / "s", 64, told.append, 1 << 30) == 1
        assert footage.build([path], tmp_path / "c", 64, told.append, 1 << 30) == 1 and not told
        y, uv = footage.Clips(tmp_path / "c").crop(np.random.default_rng(0), 9, 64)
        assert y.shape == (9, 64, 64) and uv.shape == (9, 2, 32, 32)


def test_caches_are_bounded(tmp_path: Path) -> None:
    paths = [photo(tmp_path / f"{n}.png") for n in range(3)]
    told: list[str] = []
    assert stills.build(paths, tmp_path / "s", 64, told.append, 128 * 128 * 2) == 2
    assert len(told) == 1 and "the cache is full" in told[0]


@pytest.mark.slow
@pytest.mark.parametrize("network", ["intra", "inter"])
def test_from_a_saved_state_on_the_losses_are_the_same_to_the_bit(tmp_path: Path, network: str) -> None:
    film(tmp_path / "a.mkv")
    stills.build([tmp_path / "a.mkv"], tmp_path / "s", 64, print, 1 << 30)
    footage.build([tmp_path / "a.mkv"], tmp_path / "c", 64, print, 1 << 30)
    write(small(Intra().state_dict(), 0), tmp_path / "intra.pt")
    module = intra if network == "intra" else inter
    given = [tmp_path / "s"] if network == "intra" else [tmp_path / "c", tmp_path / "intra.pt"]
    words = [*map(str, given), str(tmp_path / "out.pt"), "--max-steps", "6", "--crop", "64", "--batch", "1"]
    words += ["--threads", "1", "--repeatable", "--report", "0"]
    losses: list[dict[int, tuple[float, float]]] = []

    def run(*more: str, after: int = 9) -> None:
        options = module.parser().parse_args([*words, *more])
        seen: dict[int, tuple[float, float]] = {}
        losses.append(seen)

        def tell(line: dict[str, Any]) -> None:
            if "loss" in line:
                seen[line["step"]] = line["loss"], line["norm"]
                if line["step"] == after:
                    raise KeyboardInterrupt

        options.tell = tell
        module.run(options)

    torch.manual_seed(0)
    with pytest.raises(KeyboardInterrupt):
        run("--save", "0", after=3)  # a state after each step; the third's is the last
    saved = (tmp_path / "out.pt").read_bytes()
    run("--save", "1000")
    (tmp_path / "out.pt").write_bytes(saved)
    run("--save", "1000")
    assert losses[1] == losses[2] and list(losses[1])[0] == 4 and list(losses[1])[-1] == 6
    # and a training that is not killed goes on from the state it has saved as one that was
    (tmp_path / "out.pt").unlink()
    torch.manual_seed(0)
    run("--save", "0")
    whole = losses[-1]
    assert losses[0] == {k: whole[k] for k in (1, 2, 3)} and whole[4] == losses[1][4]


def test_recipes_are_checked(tmp_path: Path) -> None:
    default = Path(recipe.__file__).with_name("recipes") / "default.toml"
    text = default.read_text()
    mine = tmp_path / "mine.toml"
    mine.write_text(text)
    assert read_recipe(str(mine)).stages == read_recipe("default").stages
    assert abs(sum(s.share or 0 for s in read_recipe("default").stages) - 1) < 1e-9
    mine.write_text(text.replace("share = 0.3", "steps = 100").replace("share = 0.2", "steps = 50"))
    assert [s.steps for s in read_recipe(str(mine)).stages] == [100, 100, 50, 50]
    for old, new, said in (
        ("share = 0.2", "share = 0.3", "together 1"),
        ("share = 0.2", "share = 0.2\nsteps = 5", "not both|together 1"),
        ("share = 0.2", "steps = 5", "together 1"),
        ("crop = 256 ", "crop = 100 ", "multiple of 64"),
        ("batch = 8", "batch = 0", "batch is a whole number"),
        ("muon = 5e-3", "muon = nan", "muon is a number"),
        ("muon = 5e-3", "", r"\[intra\] muon is missing"),
        ("muon = 5e-3", "muon = 5e-3\nmoun = 1", "moun is not a setting"),
        ("[inter-quantised]", "[later]", "later is not a setting"),
        ("minutes = 120", "minutes = ", "not a recipe"),
    ):
        mine.write_text(text.replace(old, new))
        with pytest.raises(UsageError, match=said):
            read_recipe(str(mine))
    with pytest.raises(MediaError, match="cannot be read"):
        read_recipe(str(tmp_path / "none.toml"))
    with pytest.raises(UsageError, match="no such recipe: 'none'"):
        read_recipe("none")


def test_silence_is_broken(tmp_path: Path) -> None:
    """While the main thread computes, the phase and the time left are told all the same; the log holds what is new."""
    told, heard = [], threading.Event()

    def tell(event: str, **fields: Any) -> None:
        told.append((event, fields))
        if event == "step":
            heard.set()

    with Watch(tell, every=0.05) as watch:
        watch.phase("calibrating", 12.0, stage="intra-quantised")
        assert heard.wait(60) and not (tmp_path / "log").exists()
        watch.keep(tmp_path / "log")
    event, fields = told[1]
    assert event == "step" and fields["phase"] == "calibrating" and fields["minutes_left"] == 12.0
    assert len((tmp_path / "log").read_text().splitlines()) == 1
    draw(tmp_path / "log", tmp_path / "log.png")  # nothing to draw yet: no error
    assert (tmp_path / "log.png").exists()


def test_figures_for_tensorboard(tmp_path: Path) -> None:
    board = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    with Watch(lambda event, **fields: None) as watch:
        shown = Board(tmp_path / "board")
        watch.keep(tmp_path / "log", shown.add)
        watch.phase("training", 3.0, stage="intra")
        for step in (50, 100):
            watch.step(2.0, step=step, loss=step / 10, bpp=0.5)
        shown.close()
    assert str(tmp_path / "board") in shown.how_to_look
    found = board.EventAccumulator(str(tmp_path / "board"))
    found.Reload()
    assert set(found.Tags()["scalars"]) == {"intra/loss", "intra/bpp", "intra/minutes_left"}
    assert [(e.step, e.value) for e in found.Scalars("intra/loss")] == [(50, 5.0), (100, 10.0)]


@pytest.mark.slow
def test_pictures_and_histograms_for_tensorboard(tmp_path: Path) -> None:
    """Of a family's training, and of the codec's key frames."""
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    (tmp_path / "data").mkdir()
    film(tmp_path / "data" / "a.mkv")
    photo(tmp_path / "data" / "b.png")
    for family in ("vae", "codec"):
        trained(settings(tmp_path, tmp_path / "data", family=family, tensorboard=True, max_steps=1, resume=False))
        found = accumulator.EventAccumulator(str(tmp_path / "m.work" / "tensorboard"))
        found.Reload()
        tags, stage = found.Tags(), "vae" if family == "vae" else "intra"
        assert f"{stage}/pictures" in tags["images"] and f"{stage}/symbols" in tags["histograms"]
        wanted = {"vae/gradients/net.encoder", "vae/gradients/net.decoder_linear"}
        wanted = wanted if family == "vae" else {"intra/gradients/entropy", "inter/gradients/entropy"}
        assert wanted <= set(tags["histograms"])
        shutil.rmtree(tmp_path / "m.work")


def test_what_is_no_log(tmp_path: Path) -> None:
    for text in ("no json", "[1]", "{}"):
        (tmp_path / "log").write_text(text)
        with pytest.raises(MediaError, match="not a training log"):
            draw(tmp_path / "log", tmp_path / "log.png")
