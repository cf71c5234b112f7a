"""The rooms of lvc and their order: a room imports only from rooms above it, and only the outside packages it may."""

from __future__ import annotations

import ast
import functools
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "lvc"

# room -> packages from outside the standard library; the order is the order of import
ROOMS: dict[str, set[str]] = {
    "errors": set(),
    "limits": set(),
    "notices": set(),
    "kinds": set(),
    "installed": set(),
    "pipeline": set(),
    "threads": set(),
    "remote": {"fsspec", "urllib3"},
    "place": set(),
    "output": set(),
    "results": set(),
    "lvz": set(),
    "engine": {"numpy", "safetensors", "torch"},
    "entropy": {"numpy", "zstandard", "constriction"},
    "media": {"av", "numpy", "imageio_ffmpeg"},
    "models": {"torch", "numpy", "safetensors", "diffusers"},
    "options": set(),
    "codec": {"numpy"},
    "adaptation": {"torch", "numpy"},
    "latents": {"torch", "numpy", "safetensors", "zstandard"},
    "features": {"numpy", "safetensors"},
    "files": set(),
    "interpolate": {"torch", "numpy", "safetensors"},
    "synthesize": {"torch", "numpy", "PIL"},
    "search": {"numpy", "safetensors", "pyarrow", "PIL"},
    "facts": set(),
    "video": {"numpy", "PIL"},
    "live": set(),
    "jobs": {"ray"},
    "serve": {"starlette", "uvicorn", "anyio", "jinja2", "av", "PIL"},
    "training": {"torch", "numpy", "safetensors", "av", "matplotlib"},
    "evaluation": {"torch", "numpy", "av", "rich", "PIL"},
    "cli": {"typer", "rich"},
    "__init__": set(),
    "__main__": set(),
}
ORDER = list(ROOMS)
# The version stands in lvc/__init__.py and is everybody's; the public names there are loaded lazily, by name.
EVERYBODYS = {"__init__"}


def room_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


@functools.cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


@functools.cache
def imports(path: Path) -> list[tuple[int, str]]:
    """(line, absolute dotted name) of every import in a file, wherever it stands."""
    inside = path.is_relative_to(PACKAGE)
    package = ["lvc", *path.relative_to(PACKAGE).parts[:-1]] if inside else []
    found = []
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.Import):
            found += [(node.lineno, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, *(node.module or "").split(".")]).strip(".")
            if module == "lvc":
                found += [(node.lineno, f"lvc.{alias.name}") for alias in node.names]
            else:
                found.append((node.lineno, module))
    return found


def inside_target(name: str) -> str:
    parts = name.split(".")
    if len(parts) == 1 or not ((PACKAGE / parts[1]).exists() or (PACKAGE / f"{parts[1]}.py").exists()):
        return "__init__"
    return parts[1]


def complaint(room: str, name: str) -> str | None:
    top = name.split(".")[0]
    if top in sys.stdlib_module_names:
        return None
    if top != "lvc":
        return None if top in ROOMS[room] else f"{room} may not import {top}"
    target = inside_target(name)
    if target in EVERYBODYS or ORDER.index(target) <= ORDER.index(room):
        return None
    return f"{room} stands above {target} and may not import {name}"


def test_every_file_belongs_to_a_room() -> None:
    rooms = {room_of(path) for path in PACKAGE.rglob("*.py")}
    assert rooms == set(ROOMS), "a new room needs a place in ROOMS, and a row in docs/architecture.md"


def test_the_document_has_the_same_rooms_in_the_same_order() -> None:
    table = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8").split("| room | contents | imports |")[1]
    names = {"PIL": "pillow", "imageio_ffmpeg": "imageio-ffmpeg"}
    said: dict[str, set[str]] = {}
    for row in re.findall(r"^\| (`.*`) \|.*\| (.*) \|$", table, re.M):
        for room in re.findall(r"`(\w+)(?:/|\.py)`", row[0]):
            said[room] = set() if row[1] == "–" else set(row[1].split(", "))
    wanted = {room: {names.get(p, p) for p in outside} for room, outside in ROOMS.items()}
    assert said == wanted and list(said) == list(wanted)


@pytest.mark.parametrize("room", ORDER)
def test_room_imports_only_from_above(room: str) -> None:
    complaints = [
        f"{path.relative_to(ROOT)}:{line}: {text}"
        for path in sorted(PACKAGE.rglob("*.py"))
        if room_of(path) == room
        for line, name in imports(path)
        if (text := complaint(room, name))
    ]
    assert not complaints, "\n".join(complaints)


def on_loading(node: ast.AST) -> Iterator[ast.Import | ast.ImportFrom]:
    """The imports that a file makes while it is loaded: none of its functions, and none for type checkers."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import | ast.ImportFrom):
            yield child
        elif isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            continue
        elif not isinstance(child, ast.FunctionDef | ast.expr):
            yield from on_loading(child)


def module_of(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def test_no_circles() -> None:
    """No module waits, while it is loaded, for one that waits for it."""
    paths = {module_of(path): path for path in PACKAGE.rglob("*.py")}
    waits: dict[str, set[str]] = {}
    for module, path in paths.items():
        package = path.relative_to(ROOT).parts[:-1]
        waits[module] = set()
        for node in on_loading(parsed(path)):
            if isinstance(node, ast.Import):
                found = [alias.name for alias in node.names]
            else:
                base = ".".join(
                    [*package[: len(package) - node.level + 1 if node.level else 0], node.module or ""]
                ).strip(".")
                found = [name if (name := f"{base}.{alias.name}") in paths else base for alias in node.names]
            waits[module] |= {name for name in found if name in paths and name != module}
    free = True
    while free:  # whoever waits for nobody is loaded, and nobody waits for it
        free = {module for module, others in waits.items() if not others}
        waits = {module: others - free for module, others in waits.items() if module not in free}
    assert not waits, f"circles among {sorted(waits)}"


def test_the_second_reader_never_imports_lvc() -> None:
    for path in (ROOT / "formats").rglob("*.py"):
        names = {name.split(".")[0] for _, name in imports(path)}
        allowed = {*sys.stdlib_module_names, "zstandard", "numpy", "lvz_reader"}
        assert names <= allowed, f"{path.name} imports {sorted(names)}"


MEDIA_OPEN = PACKAGE / "media" / "open.py"


def test_media_are_opened_in_one_place() -> None:
    """`lvc/media/open.py` has the whitelists: whoever calls PyAV around it may open what a stranger's file names."""
    around = []
    for path in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(parsed(path)):
            named = isinstance(node, ast.Attribute) and node.attr == "open" and ast.unparse(node.value) == "av"
            imported = isinstance(node, ast.ImportFrom) and node.module in ("av", "av.container")
            imported = imported and any(alias.name == "open" for alias in node.names)
            if (named or imported) and path != MEDIA_OPEN:
                around.append(f"{path.relative_to(ROOT)}:{node.lineno}: {ast.unparse(node)}")
    assert not around, "\n".join(around)


HEAVY = ["torch", "av", "numpy", "rich.progress", "matplotlib", "safetensors", "zstandard"]


@pytest.mark.slow
@pytest.mark.parametrize("module", ["lvc", "lvc.cli", "lvc.facts", "lvc.lvz"])
def test_start_up_stays_light(module: str) -> None:
    code = f"import sys, {module}; print([m for m in {HEAVY!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
