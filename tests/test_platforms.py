"""What other platforms lack, simulated: modules and operators that are absent, new processes instead of forks, names
whose letters' case counts for nothing, other separators of paths."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent))

import lvc  # noqa: E402
from lvc.codec.settings import EncodeSettings  # noqa: E402
from lvc.codec.video import decode, encode  # noqa: E402
from lvc.errors import CorruptError  # noqa: E402
from lvc.jobs import tree  # noqa: E402
from lvc.latents.unpack import _parts  # noqa: E402
from lvc.lvz import VideoDescriptor  # noqa: E402
from lvc.models import load_model  # noqa: E402
from lvc.models.fused import available  # noqa: E402
from lvc.models.load import fast_dtype  # noqa: E402
from lvc.remote.addresses import is_address  # noqa: E402

PACKAGE = Path(lvc.__file__).parent


def modules() -> list[str]:
    names = (".".join(p.relative_to(PACKAGE.parent).with_suffix("").parts) for p in sorted(PACKAGE.rglob("*.py")))
    left_out = ("lvc.__main__", "lvc.jobs.cluster", "lvc.models.adapters.diffusers_vae", "lvc.search.export")
    return [name.removesuffix(".__init__") for name in names if name not in left_out]


def test_everything_is_imported_where_there_is_neither_resource_nor_fcntl(tmp_path: Path) -> None:
    (tmp_path / "a.y4m").write_bytes(b"YUV4MPEG2 W16 H16 F25:1 C420\n" + (b"FRAME\n" + bytes(384)) * 3)
    code = f"""
import sys
for name in ("resource", "fcntl", "pwd", "grp", "termios"):
    sys.modules[name] = None
import importlib
for name in {modules()!r}:
    importlib.import_module(name)
from lvc.media.usage import cpu_seconds, peak_of_children
assert cpu_seconds() > 0 and peak_of_children() == 0
from pathlib import Path
from lvc.output import publish, sweep
with publish("b.txt") as path:
    path.write_text("b")
    assert sweep(Path(".")) == 0 and path.exists()
from lvc.media import MediaReader
assert len(list(MediaReader("a.y4m"))) == 3
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.fixture
def without_onednn(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in PyTorch's wheels for macOS on ARM: no operator of oneDNN."""
    monkeypatch.setattr(torch.ops, "mkldnn", SimpleNamespace())
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: False)


def test_the_codec_runs_without_operators_of_onednn(without_onednn: None) -> None:
    from small_models import frame, model_file, video

    assert fast_dtype(torch.device("cpu")) == torch.float32 and not available()
    model = load_model(model_file())
    frames = [frame(n, 48, 64, n / 4) for n in range(4)]
    shown = video(48, 64)
    described = VideoDescriptor(**vars(shown), planes=model.planes, packing=5, gop_seconds=10.0)
    clips = list(encode(iter(frames), shown, model, EncodeSettings(effort=4)))
    assert model.codec.intra._fused is None
    decoded = list(decode(iter(clips), described, model))
    assert [f.pts for f in decoded] == [0, 1, 2, 3]
    assert all(np.abs(a.y.astype(int) - b.y).mean() < 30 for a, b in zip(frames, decoded, strict=True))


def test_no_operator_is_asked_for_before_it_is_known_to_be_there() -> None:
    """Two places call oneDNN's operators: one under a guard, the other only after `available`."""
    found = {p.name for p in PACKAGE.rglob("*.py") if "torch.ops.mkldnn" in p.read_text("utf-8")}
    assert found == {"fused.py", "load.py"}


def test_names_that_differ_in_case_alone_get_outputs_of_their_own(tmp_path: Path) -> None:
    files = [str(tmp_path / name) for name in ("Film.mov", "film.mp4", "Other.mp4")]
    made = [Path(task.target).name for task in tree.tasks(str(tmp_path), str(tmp_path / "out"), files, ".lvz")]
    assert made == ["Film.mov.lvz", "film.mp4.lvz", "Other.lvz"]


@pytest.mark.parametrize("name", [r"C:\videos\a.mp4", r"..\a.mp4", r"\\server\share\a.mp4", "C:/videos/a.mp4"])
def test_paths_of_windows_are_no_addresses_and_no_names_of_tensors(name: str) -> None:
    assert not is_address(name)
    with pytest.raises(CorruptError):
        _parts(name)
