"""Finding and loading models: by hash only, never by a path from a file; every wrong file has its own error."""

from __future__ import annotations

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
from safetensors.torch import load_file, save_file
from small_models import SMALL, codec, model_file, save

from lvc.errors import CorruptError, UnsupportedError, UsageError
from lvc.models import default_model_path, find_model, inspect, load_model, resolve, store, tuned
from lvc.models.config import ModelConfig
from lvc.models.load import fast_dtype, pick_device


def sha(path: Path) -> bytes:
    return hashlib.sha256(path.read_bytes()).digest()


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only folder in which models are looked for."""
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
    assert resolve(path).config == SMALL
    for name in ("other", "../models/mine", str(tmp_path / "none.safetensors")):
        with pytest.raises(UsageError):
            resolve(name)


def test_a_tuned_model_is_taken_where_it_is_installed_and_nobody_names_another(installed: Path) -> None:
    assert tuned(None, "ssim") is None and tuned("mine", "ssim") == "mine"
    (installed / "ssim.safetensors").touch()
    assert tuned(None, "ssim") == "ssim" and tuned("mine", "ssim") == "mine"
    assert tuned(None, "psnr") is None and tuned(None, None) is None


def rewritten(target: Path, metadata: Any = None, drop: str = "", **replace: torch.Tensor) -> Path:
    tensors = {k: v for k, v in load_file(model_file()).items() if k != drop}
    for name, value in replace.items():
        tensors[name.replace("__", ".")] = value
    save_file(tensors, target, {"config": SMALL.to_json()} if metadata is None else metadata)
    return target


def config(**changes: Any) -> dict[str, str]:
    return {"config": json.dumps({**json.loads(SMALL.to_json()), **changes})}


@pytest.mark.parametrize(
    ("metadata", "match"),
    [
        ({"x": "y"}, "no lvc model"),
        ({"config": "{"}, "cannot be read"),
        ({"config": "[1]"}, "cannot be read"),
        ({"config": '{"nonsense": 1}'}, "cannot be read"),
        (config(architecture="lvc-motion-99"), "unknown"),
    ],
)
def test_foreign_configurations_are_unsupported(tmp_path: Path, metadata: dict[str, str], match: str) -> None:
    path = rewritten(tmp_path / "x.safetensors", metadata)
    with pytest.raises(UnsupportedError, match=match):
        load_model(path)


def test_a_config_of_unfit_numbers_is_an_error_of_lvcs(tmp_path: Path) -> None:
    unfit = [{"latent": 48}, {"hyper": -1}, {"latent": "a"}, {"scale_hidden": 4096}, {"inter_width": None}]
    for change in [*unfit, {"inter_latent": 0}, {"inter_latent": 33}, {"inter_latent": 16}]:
        with pytest.raises((CorruptError, UnsupportedError)):
            load_model(rewritten(tmp_path / "x.safetensors", config(**change)))


def test_a_config_that_does_not_name_the_channels_of_predicted_frames_gives_them_all() -> None:
    given = json.loads(SMALL.to_json())
    del given["inter_latent"]
    found = ModelConfig.from_json(json.dumps(given))
    assert found.latents(intra=False) == found.latents(intra=True) == SMALL.latent
    assert ModelConfig.from_json(found.to_json()) == found and "inter_latent" not in found.to_json()


def test_wrong_tensors_are_corrupt(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    cases: list[dict[str, Any]] = [
        {"drop": "intra.encoder_in.weight"},
        {"drop": "tables.latent"},
        {"drop": "tables.hyper"},
        {"extra": torch.zeros(3)},
        {"intra__encoder_in__weight": torch.zeros(3)},
        {"tables__reach": torch.full((64,), 2**30, dtype=torch.int32)},
        {"tables__reach": torch.zeros(3, dtype=torch.int32)},
        {"tables__latent": torch.zeros(64, 512, dtype=torch.int32)},
        {"tables__hyper": torch.full((2, SMALL.hyper, 63), -5, dtype=torch.int32)},
        {"tables__other": torch.zeros(3)},
    ]
    for case in cases:
        with pytest.raises(CorruptError):
            load_model(rewritten(path, **case))


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
    path = model_file()
    model = load_model(path, dtype=torch.float32)
    assert (model.id, model.sha256, model.config) == ("small", sha(path), SMALL)
    assert [p.name for p in model.planes] == ["skip", "copy", "motion", "hyper", "latent"]
    assert not any(p.requires_grad for p in model.codec.parameters())
    assert load_model(path).dtype == fast_dtype(torch.device("cpu"))


def test_half_precision_weights_load_too(tmp_path: Path) -> None:
    net = codec().half()
    assert load_model(save(net, tmp_path / "half.safetensors"), dtype=torch.float32).config == SMALL


def test_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    assert pick_device(None).type == "cpu"
    with pytest.raises(UnsupportedError):
        pick_device("nonsense")
    monkeypatch.setenv("LVC_DEVICE", "cuda:77")
    with pytest.raises(UnsupportedError):
        pick_device(None)


def test_finding_a_model_needs_no_torch() -> None:
    code = "import sys, lvc.models; lvc.models.folders(); sys.exit('torch' in sys.modules or 'numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_default_config_is_the_shipped_architecture() -> None:
    assert ModelConfig().architecture == "lvc-motion-1"


@pytest.mark.parametrize(
    "change",
    [{"intra_width": 8000}, {"intra_width": 2048}, {"intra_encoder_blocks": 10**9}, {"side": True}, {"hyper": 2.5}]
    + [{"name": 7}, {"name": "x" * 300}, {"latent": 4096, "scale_hidden": 100}],
)
def test_sizes_of_a_configuration_are_compared_before_anything_is_built(
    tmp_path: Path, change: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def built(*_: Any, **__: Any) -> None:
        raise AssertionError("memory was taken for a model that does not fit its file")

    monkeypatch.setattr(torch.nn.Module, "to_empty", built)
    empty = tmp_path / "x.safetensors"
    save_file({}, empty, config(**change))
    for path in (empty, rewritten(tmp_path / "y.safetensors", config(**change))):
        with pytest.raises((CorruptError, UnsupportedError)):
            load_model(path)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf"), 1e30])
def test_weights_that_no_training_gives_are_refused(tmp_path: Path, value: float) -> None:
    weight = load_file(model_file())["intra.encoder_in.weight"].clone()
    weight[0, 0] = value
    with pytest.raises(CorruptError):
        load_model(rewritten(tmp_path / "x.safetensors", intra__encoder_in__weight=weight))


def test_gains_are_bounded_because_they_are_exponents(tmp_path: Path) -> None:
    gains = torch.full_like(load_file(model_file())["intra.output_gain.table"], 100.0)
    with pytest.raises(CorruptError):
        load_model(rewritten(tmp_path / "x.safetensors", intra__output_gain__table=gains))


def test_tables_without_weights_or_of_floats_are_refused(tmp_path: Path) -> None:
    for table in (torch.zeros(2, SMALL.hyper, 63, dtype=torch.int32), torch.full((2, SMALL.hyper, 63), float("nan"))):
        with pytest.raises(CorruptError):
            load_model(rewritten(tmp_path / "x.safetensors", tables__hyper=table))


@pytest.mark.parametrize("where", ["config", "header"])
def test_deeply_nested_json_is_refused(tmp_path: Path, where: str) -> None:
    deep = "[" * 50_000 + "]" * 50_000
    header = json.dumps({"__metadata__": {"config": deep}}) if where == "config" else '{"x": ' + deep + "}"
    path = tmp_path / "x.safetensors"
    path.write_bytes(struct.pack("<Q", len(header)) + header.encode())
    with pytest.raises((CorruptError, UnsupportedError)):
        inspect(path)


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


def test_loading_a_model_does_not_import_the_compiler() -> None:
    code = "import sys; from lvc import models; models.load_model(); sys.exit('torch._dynamo' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
