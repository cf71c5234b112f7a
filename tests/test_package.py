"""The wheel: complete, and able to encode without the checkout."""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import numpy
import pytest

ROOT = Path(__file__).resolve().parent.parent
pytestmark = pytest.mark.timeout(1200)  # they compile the engine; ziglang's first build makes a libc too


def checkout(folder: Path) -> Path:
    """A copy to build in: the engine of this one is in use."""
    shutil.copytree(ROOT, folder, ignore=shutil.ignore_patterns(".*", "tests", "docs", "*.so"))
    return folder


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `pip install .` would put into site-packages."""
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    done = subprocess.run(build, cwd=checkout(folder / "checkout"), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    with zipfile.ZipFile(next(folder.glob("*.whl"))) as wheel:
        wheel.extractall(folder / "site")
    return folder / "site"


@pytest.mark.slow
def test_everything_is_inside(installed: Path) -> None:
    inside = {p.relative_to(installed / "lvc").as_posix() for p in (installed / "lvc").rglob("*") if p.is_file()}
    source = {p.relative_to(ROOT / "lvc").as_posix() for p in (ROOT / "lvc").rglob("*.py")}
    assert source | {"py.typed", "checkpoints/default.safetensors"} <= inside
    player = ROOT / "packages" / "lvz-player" / "src"
    assert {f"player/{path.name}" for path in player.iterdir()} <= inside
    assert {"engine/_engine.so", "engine/rans.c", "engine/rans.h"} <= inside
    assert not [name for name in inside if name.startswith("tests") or name.endswith((".pyc", ".jsonl"))]
    assert len(list(installed.glob("lvc-*.dist-info/licenses/LICENSE"))) == 1


@pytest.mark.slow
@pytest.mark.parametrize(
    ("compiler", "said"),
    [("no-such-compiler", "CC names 'no-such-compiler', which is not"), ("false", "the C compiler failed: false ")],
)
def test_it_never_builds_without_its_engine(compiler: str, said: str, tmp_path: Path) -> None:
    """A compiler that is missing or fails is said in one sentence, and no wheel is left."""
    env = os.environ | {"CC": compiler}
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    done = subprocess.run(build, cwd=checkout(tmp_path / "lvc"), env=env, capture_output=True, text=True)
    assert done.returncode != 0
    assert said in done.stderr and "Traceback" not in done.stderr
    assert not list(tmp_path.glob("*.whl"))


@pytest.mark.slow
def test_without_any_compiler_one_sentence_says_so(tmp_path: Path) -> None:
    """As with `pip install --no-build-isolation`, which fetches no ziglang."""
    code = "import sys; sys.modules['ziglang'] = None; from hatchling.cli import hatchling; hatchling()"
    build = [sys.executable, "-c", code, "build", "-t", "wheel", "-d", str(tmp_path)]
    env = {key: value for key, value in os.environ.items() if key != "CC"} | {"PATH": str(tmp_path)}
    done = subprocess.run(build, cwd=checkout(tmp_path / "lvc"), env=env, capture_output=True, text=True)
    assert done.returncode != 0
    assert "lvc needs a C compiler to be built" in done.stderr and "Traceback" not in done.stderr
    assert not list(tmp_path.glob("*.whl"))


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux" or platform.machine() != "x86_64", reason="runs what is made for Linux")
def test_a_cross_compiled_wheel_runs_in_a_clean_environment(carphone: Path, tmp_path: Path) -> None:
    """As scripts/build_wheels makes it; beside the wheel the environment has only what lvc depends on."""
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    env = {key: value for key, value in os.environ.items() if not key.startswith(("LVC_", "PYTHON"))}
    where, target = checkout(tmp_path / "checkout"), {"LVC_WHEEL": "linux-x86_64"}
    subprocess.run(build, cwd=where, env=env | target, check=True, capture_output=True)
    wheel = next(tmp_path.glob("*.whl"))
    assert wheel.name.endswith("-py3-none-manylinux_2_17_x86_64.manylinux2014_x86_64.whl")
    venv = tmp_path / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(venv)], check=True)
    site = next(venv.glob("lib/python3*/site-packages"))
    with zipfile.ZipFile(wheel) as content:
        content.extractall(site)
    (site / "dependencies.pth").write_text(f"{Path(numpy.__file__).parents[1]}\n")
    for arguments in (["encode", str(carphone), "a.lvz", "--duration", "0.2"], ["decode", "a.lvz", "a.y4m"]):
        command = [venv / "bin" / "python", "-m", "lvc", *arguments]
        done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    code = "from lvc.engine import library; print(library.LIBRARY, library.chosen())"
    done = subprocess.run([venv / "bin" / "python", "-c", code], cwd=tmp_path, env=env, capture_output=True, text=True)
    where, engine = done.stdout.split()
    assert where.startswith(str(venv)) and engine != "numpy"


@pytest.mark.slow
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
