"""Finding and loading models: by hash only, never by a path from a file; every wrong file has its own error."""

from __future__ import annotations

import copy
import hashlib
import json
import os
import shutil
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from lvc.engine import library, nets, program
from lvc.engine.devices import pick_device
from lvc.errors import CorruptError, UnsupportedError, UsageError
from lvc.files import encode_file
from lvc.models import default_model_path, find_model, inspect, load_model, resolve, store, tuned
from tests.helpers.small_models import NAME, model_file


def sha(path: Path) -> bytes:
    return hashlib.sha256(path.read_bytes()).digest()


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only folder in which models are looked for."""
    model_file()
    folder = tmp_path / "models"
    folder.mkdir()
    monkeypatch.setattr(store, "folders", lambda: [folder])
    return folder


def test_a_model_is_found_by_its_hash_under_any_name(installed: Path) -> None:
    path = shutil.copy(model_file(), installed / "whatever it is called.safetensors")
    assert find_model("another name", sha(path)) == path
    with pytest.raises(UnsupportedError, match="LVC_MODELS"):
        find_model("whatever it is called", hashlib.sha256(b"else").digest())


def test_a_path_in_a_file_is_never_followed(installed: Path, tmp_path: Path) -> None:
    outside = Path(shutil.copy(model_file(), tmp_path / "outside.safetensors"))
    for name in (str(outside), "../outside", "../outside.safetensors", "file://" + str(outside)):
        with pytest.raises(UnsupportedError):
            find_model(name, sha(outside))


def test_things_that_are_no_models_do_not_stop_the_search(installed: Path) -> None:
    (installed / "a.safetensors").symlink_to(installed / "gone")
    (installed / "b.safetensors").mkdir()
    (installed / "c.safetensors").write_bytes(b"no")
    path = shutil.copy(model_file(), installed / "z.safetensors")
    assert find_model("x", sha(path)) == path


def test_huge_files_are_not_read(installed: Path) -> None:
    with open(installed / "huge.safetensors", "wb") as f:
        f.truncate(store._MAX_FILE + 1)
    with pytest.raises(UnsupportedError):
        find_model("x", bytes(32))
    with pytest.raises(UnsupportedError, match="larger"):
        inspect(installed / "huge.safetensors")


def test_folders_come_from_the_environment_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    a, b = tmp_path / "a", tmp_path / "b"
    a.mkdir()
    monkeypatch.setenv("LVC_MODELS", os.pathsep.join([str(a), str(b), ""]))
    assert store.folders()[0] == a and b not in store.folders()
    path = shutil.copy(model_file(), a / "default.safetensors")
    assert default_model_path() == path
    assert find_model("x", sha(path)) == path
    assert resolve("default").sha256 == sha(path)
    monkeypatch.delenv("LVC_MODELS")
    assert a not in store.folders()


def test_no_default_is_unsupported(installed: Path) -> None:
    with pytest.raises(UnsupportedError, match="--model"):
        default_model_path()
    with pytest.raises(UnsupportedError):
        load_model()


def test_resolve_by_path_and_by_name(installed: Path, tmp_path: Path) -> None:
    path = shutil.copy(model_file(), installed / "mine.safetensors")
    assert resolve("mine").path == resolve(path).path == resolve(str(path)).path == path
    assert resolve(path).name == NAME
    for name in ("other", "../models/mine", str(tmp_path / "none.safetensors")):
        with pytest.raises(UsageError):
            resolve(name)


def test_a_tuned_model_is_taken_where_it_is_installed_and_nobody_names_another(installed: Path) -> None:
    assert tuned(None, "ssim") is None and tuned("mine", "ssim") == "mine"
    (installed / "ssim.safetensors").touch()
    assert tuned(None, "ssim") == "ssim" and tuned("mine", "ssim") == "mine"
    assert tuned(None, "psnr") is None and tuned(None, None) is None


def rewritten(target: Path, drop: str = "", about: dict[str, str] | None = None, **programs: program.Program) -> Path:
    """The model without one of its programs, or with others, or saying something else of itself."""
    found = program.load(model_file())
    found.programs = {k: v for k, v in (found.programs | programs).items() if k != drop}
    program.save(found, target, {"lvc.model": json.dumps({"name": NAME})} if about is None else about)
    return target


@pytest.mark.parametrize(
    "said", ["", "{", "[]", "{}", '{"name": 7}', '{"name": ""}', json.dumps({"name": "x" * 300}), "[" * 50_000]
)
def test_a_file_that_does_not_say_what_model_it_is_is_unsupported(tmp_path: Path, said: str) -> None:
    with pytest.raises(UnsupportedError, match="lvc train"):
        inspect(rewritten(tmp_path / "x.safetensors", about={"lvc.model": said}))
    with pytest.raises(UnsupportedError, match="lvc train"):
        inspect(rewritten(tmp_path / "x.safetensors", about={"else": "{}"}))


def test_programs_that_are_no_codec_s_are_corrupt(tmp_path: Path) -> None:
    good, path = program.load(model_file()), tmp_path / "x.safetensors"
    swapped = {"key": good.programs["predicted"], "predicted": good.programs["key"]}
    for wrong in ({"drop": "key"}, {"drop": "predicted"}, swapped, {"key": good.programs["key_analysis"]}):
        with pytest.raises(CorruptError, match="program"):
            load_model(rewritten(path, **wrong))  # type: ignore[arg-type]
    good.laps = None
    program.save(good, path, {"lvc.model": json.dumps({"name": NAME})})
    with pytest.raises(CorruptError, match="lapping"):
        load_model(path)


def test_a_model_that_can_only_decode_says_so(tmp_path: Path) -> None:
    model = load_model(rewritten(tmp_path / "x.safetensors", drop="key_analysis"))
    assert not model.can_encode and load_model(model_file()).can_encode


def test_damaged_files_are_corrupt_or_unsupported(tmp_path: Path) -> None:
    data, path = model_file().read_bytes(), tmp_path / "x.safetensors"
    (length,) = struct.unpack_from("<Q", data)
    cuts = (0, 1, 7, 8, 9, length // 2, length + 7, length + 8, length + 9, len(data) // 2, len(data) - 1)
    for damaged in (
        *(data[:n] for n in cuts),
        b"\xff" * 100,
        struct.pack("<Q", 1 << 60) + data[8:],
        struct.pack("<Q", length - 1) + data[8:],
        data[:8] + b"\xff" * 8 + data[16:],
        data + b"x",
        b"PK\x03\x04" + data[4:],
    ):
        path.write_bytes(damaged)
        with pytest.raises((CorruptError, UnsupportedError)):
            load_model(path)


def test_a_missing_or_unreadable_file_is_a_usage_error(tmp_path: Path) -> None:
    for path in (tmp_path / "none.safetensors", tmp_path):
        with pytest.raises(UsageError):
            inspect(path)


def test_a_loaded_model_says_what_it_is() -> None:
    model = load_model(model_file())
    assert (model.id, model.sha256) == (NAME, sha(model_file()))
    names = ["key_hyper", "key_latent", "skip", "copy", "mode", "vectors", "hyper", "latent"]
    assert [p.name for p in model.planes] == names
    assert load_model(model_file("another")).sha256 != model.sha256


def test_a_model_is_loaded_again_when_its_file_is_another(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    shutil.copy(model_file(), path)
    model = load_model(path)
    assert load_model(path) is model
    shutil.copy(model_file("another"), path)
    assert load_model(path).sha256 == sha(path) != model.sha256


def test_a_model_needs_no_torch() -> None:
    code = "import sys, lvc.models as m; m.load_model().network('key'); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
    code = "import sys, lvc.models; lvc.models.folders(); sys.exit('numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_configurations_of_diffusers_are_compared_with_their_weights() -> None:
    from lvc.models.adapters.diffusers_vae import _check_size, _is_modest

    class Kind(torch.nn.Module):
        @classmethod
        def from_config(cls, config: dict[str, Any]) -> torch.nn.Module:
            return torch.nn.Linear(config["width"], config["width"])

    assert _is_modest({"block_out_channels": [128, 512], "layers_per_block": 2, "sample_size": 1024})
    for odd in ({"layers_per_block": 10**6}, {"x": [{"decoder_layers": 99}]}, {"width": 1 << 30}, {"x": [1] * 100}):
        assert not _is_modest(odd)
    _check_size(Kind, {"width": 10}, 440)
    with pytest.raises(ValueError, match="numbers"):
        _check_size(Kind, {"width": 16384}, 440)


@pytest.mark.parametrize("name", ["key_analysis", "predicted_analysis"])
@pytest.mark.parametrize("ends", ["inputs", "outputs"])
def test_analysis_programs_of_another_shape_are_refused(tmp_path: Path, name: str, ends: str) -> None:
    wrong = copy.deepcopy(program.load(model_file()))
    chosen = wrong.programs[name]
    chosen.tensors.append(program.Tensor("more", program.S16, 3, 96))
    more = len(chosen.tensors) - 1 if ends == "inputs" else chosen.layers[0].out
    setattr(chosen, ends, [*getattr(chosen, ends), more])
    program.save(wrong, tmp_path / "a.safetensors", {"lvc.model": json.dumps({"name": "a"})})
    with pytest.raises(CorruptError, match=f"{name}.*other inputs or outputs"):
        load_model(tmp_path / "a.safetensors")


def test_a_device_that_is_not_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LVC_DEVICE", "nonsense")
    loaded = load_model(model_file())
    with pytest.raises(UsageError, match="LVC_DEVICE: torch has no device 'nonsense'"):
        nets.Network(loaded.programs, "key", "torch")
    with pytest.raises(UsageError, match="torch has no device 'cuda:77'"):
        pick_device("cuda:77")


def test_encoding_without_the_compiled_engine_is_refused_before_anything_is_read(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(library, "_loaded", lambda: None)
    with pytest.raises(UsageError, match="compiled engine is missing, and without it lvc can only decode"):
        encode_file(tmp_path / "not there.mp4", tmp_path / "a.lvz")
