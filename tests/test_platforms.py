"""What other platforms lack, simulated: modules that are absent, new processes instead of forks, names
whose letters' case counts for nothing, other separators of paths."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import lvc
from lvc.errors import CorruptError
from lvc.jobs import tree
from lvc.latents.unpack import _parts
from lvc.place import Place

PACKAGE = Path(lvc.__file__).parent


def modules() -> list[str]:
    names = (".".join(p.relative_to(PACKAGE.parent).with_suffix("").parts) for p in sorted(PACKAGE.rglob("*.py")))
    left_out = ("lvc.__main__", "lvc.jobs.cluster", "lvc.models.adapters.diffusers_vae", "lvc.search.export")
    return [name.removesuffix(".__init__") for name in names if name not in left_out]


@pytest.mark.slow
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


def test_names_that_differ_in_case_alone_get_outputs_of_their_own(tmp_path: Path) -> None:
    files = [str(tmp_path / name) for name in ("Film.mov", "film.mp4", "Other.mp4")]
    made = [Path(task.target).name for task in tree.tasks(str(tmp_path), str(tmp_path / "out"), files, ".lvz")]
    assert made == ["Film.mov.lvz", "film.mp4.lvz", "Other.lvz"]


@pytest.mark.parametrize("name", [r"C:\videos\a.mp4", r"..\a.mp4", r"\\server\share\a.mp4", "C:/videos/a.mp4"])
def test_paths_of_windows_are_no_addresses_and_no_names_of_tensors(name: str) -> None:
    assert Place(name).is_local
    with pytest.raises(CorruptError):
        _parts(name)
