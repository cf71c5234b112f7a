"""The workflows of a public repository and CITATION.cff: valid by their schemas, and true to this checkout.

They cannot run here; `scripts/check` is what CI runs.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent
FILES = sorted((ROOT / ".github" / "workflows").glob("*.yml"))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("schema", "files"),
    [
        ("vendor.github-workflows", FILES),
        ("custom.github-workflows-require-timeout", FILES),
        ("vendor.citation-file-format", [ROOT / "CITATION.cff"]),
    ],
    ids=["workflows", "timeouts", "citation"],
)
def test_schemas(schema: str, files: list[Path]) -> None:
    pytest.importorskip("check_jsonschema", reason="pip install check-jsonschema")
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", schema, *map(str, files)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert files and done.returncode == 0, done.stdout + done.stderr


def workflow(name: str) -> Any:
    yaml = pytest.importorskip("ruamel.yaml", reason="comes with check-jsonschema")
    return yaml.YAML(typ="safe").load(ROOT / ".github" / "workflows" / name)


def test_every_extra_is_tested_once() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    rows = workflow("test.yml")["jobs"]["extras"]["strategy"]["matrix"]["include"]
    named = [row["extra"] for row in rows]
    assert sorted(named) == sorted(set(project["optional-dependencies"]) - {"test", "docs"})
    assert not [path for row in rows for path in row["tests"].split() if not (ROOT / path).exists()]


def test_oldest_torch_is_the_oldest_allowed() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    allowed = next(d for d in project["dependencies"] if d.startswith("torch"))
    rows = workflow("test.yml")["jobs"]["torch"]["strategy"]["matrix"]["include"]
    oldest = re.search(r">=([\d.]+)", allowed)
    assert oldest and [row["torch"] for row in rows] == [f"torch=={oldest[1]}.*", allowed]


@pytest.mark.slow
def test_fuzz_targets() -> None:
    done = subprocess.run([sys.executable, ROOT / "scripts/fuzz.py", "--help"], capture_output=True, text=True)
    targets = workflow("nightly.yml")["jobs"]["fuzz"]["strategy"]["matrix"]["target"]
    assert sorted(targets) == sorted(re.search(r"\{([\w,]+)\}", done.stdout)[1].split(","))  # type: ignore[index]


def test_scripts_exist_and_can_be_run() -> None:
    for file in FILES:
        for name in re.findall(r"(?<![\w/])scripts/[\w.]+(?!\w*\*)", file.read_text(encoding="utf-8")):
            path = ROOT / name
            assert name == "scripts/build_" or os.access(path, os.X_OK) or path.suffix == ".py", f"{file.name}: {name}"
