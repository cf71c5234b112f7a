"""The wheel: complete, and able to encode without the checkout."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `pip install .` would put into site-packages."""
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    done = subprocess.run(build, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    with zipfile.ZipFile(next(folder.glob("*.whl"))) as wheel:
        wheel.extractall(folder / "site")
    return folder / "site"


def test_everything_is_inside(installed: Path) -> None:
    inside = {p.relative_to(installed / "lvc").as_posix() for p in (installed / "lvc").rglob("*") if p.is_file()}
    source = {p.relative_to(ROOT / "lvc").as_posix() for p in (ROOT / "lvc").rglob("*.py")}
    assert source | {"py.typed", "checkpoints/default.safetensors"} <= inside
    assert {"engine/_engine.so", "engine/rans.c", "engine/rans.h"} <= inside
    assert not [name for name in inside if name.startswith("tests") or name.endswith((".pyc", ".jsonl"))]
    assert len(list(installed.glob("lvc-*.dist-info/licenses/LICENSE"))) == 1


@pytest.mark.parametrize(
    ("compiler", "said"),
    [("no-such-compiler", "CC names 'no-such-compiler', which is not"), ("false", "the C compiler failed: false ")],
)
def test_it_never_builds_without_its_engine(compiler: str, said: str, tmp_path: Path) -> None:
    """A compiler that is missing or fails is said in one sentence, and no wheel is left."""
    shutil.copytree(ROOT, tmp_path / "lvc", ignore=shutil.ignore_patterns(".*", "tests", "docs", "*.so"))
    env = os.environ | {"CC": compiler}
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    done = subprocess.run(build, cwd=tmp_path / "lvc", env=env, capture_output=True, text=True)
    assert done.returncode != 0
    assert said in done.stderr and "Traceback" not in done.stderr
    assert not list(tmp_path.glob("*.whl"))


def test_it_encodes_without_the_checkout(installed: Path, carphone: Path, tmp_path: Path) -> None:
    env = {key: value for key, value in os.environ.items() if key != "LVC_MODELS"} | {"PYTHONPATH": str(installed)}
    code = f"import lvc; assert lvc.__file__.startswith({str(installed)!r}); from lvc.cli import main; main()"
    command = [sys.executable, "-P", "-c", code, "encode", str(carphone), "a.lvz", "--duration", "0.2"]
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert [p.name for p in tmp_path.iterdir()] == ["a.lvz"]


def test_constraints_pin_every_dependency_within_its_range() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pins = {line.split("==")[0].lower(): line.split("==")[1] for line in lines if "==" in line}
    extras = [item for extra in project["optional-dependencies"].values() for item in extra]
    for requirement in project["dependencies"] + extras:
        name, bounds = re.fullmatch(r"([\w-]+)(.*)", requirement).groups()  # type: ignore[union-attr]
        version = tuple(int(part) for part in pins[name.lower()].split("."))
        for operator, text in re.findall(r"(>=|<)([\d.]+)", bounds):
            bound = tuple(int(part) for part in text.split("."))
            assert version >= bound if operator == ">=" else version < bound, requirement
    core = {re.match(r"[\w-]+", requirement)[0] for requirement in project["dependencies"]}  # type: ignore[index]
    assert core == {"torch", "av", "numpy", "typer", "zstandard", "rich"} | {
        "safetensors",
        "constriction",
        "urllib3",
        "pillow",  # weights, entropy coding, addresses, contact sheets
    }
