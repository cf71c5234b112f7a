"""The documents match the code: commands in README and tutorial run, the reference and its tables are current."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from lvc import errors
from lvc.media import MediaReader, MediaWriter

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
TUTORIAL = (ROOT / "docs" / "tutorial.md").read_text(encoding="utf-8")
REFERENCE = (ROOT / "docs" / "reference.md").read_text(encoding="utf-8")
ARCHITECTURE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
NOT_HERE = ("pip ", "git ", "scripts/", "lvc play ")  # set-up; and what waits for a browser, which has tests of its own


def blocks(language: str, text: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.M | re.S)


def section(title: str) -> str:
    return REFERENCE.split(f"## {title}\n")[1].split("\n#")[0]


def commands() -> list[str]:
    found = [*blocks("sh", README), *blocks("sh", TUTORIAL)]
    lines = [line.split("  #")[0].strip() for block in found for line in block.splitlines()]
    return list(dict.fromkeys(line for line in lines if line and not line.startswith(NOT_HERE)))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, clips: Path) -> Path:
    """A folder with holiday.mp4: three seconds, with sound."""
    folder = tmp_path_factory.mktemp("readme")
    source = clips / "bigbuckbunny.mp4"
    with MediaReader(source, resolution="160x90", fps=10, duration=3) as reader:
        with MediaWriter(folder / "holiday.mp4", reader.video, reader.copied) as writer:
            for item in reader:
                writer.write(item)
    return folder


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_commands_run(folder: Path) -> None:
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    results = {}
    for command in commands():
        done = subprocess.run(
            ["sh", "-c", command], cwd=folder, env={**os.environ, "PATH": path}, capture_output=True, text=True
        )
        results[command] = (done.returncode, done.stderr[-500:] if done.returncode else "")
    assert len(results) >= 20 and not {c: r for c, r in results.items() if r[0]}
    code = f"import os; os.chdir({str(folder)!r})\n" + "\n".join(blocks("python", README))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("(90, 160, 3)") == 5
    assert not [p.name for p in folder.iterdir() if p.name.startswith(".")]


def test_named_scripts_exist() -> None:
    for name in re.findall(r"`((?:scripts|formats|docs|tests|lvc|checkpoints)/[\w./]+)", README):
        assert (ROOT / name).exists() or name == "lvc/checkpoints/", name
    for name in ("scripts/demo", "scripts/test", "scripts/check", ".ci/run"):
        assert os.access(ROOT / name, os.X_OK), name
    assert "`scripts/demo" in README and "`scripts/test`" in README and len(README.splitlines()) <= 150


def _script(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, ROOT / "scripts" / f"{name}.py")
    if spec is None or spec.loader is None:
        pytest.fail(f"scripts/{name}.py is missing")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_reference_is_what_the_commands_say() -> None:
    assert _script("cli_reference").renewed(REFERENCE) == REFERENCE, "run python scripts/cli_reference.py"


def test_examples_of_help_use_options_that_exist() -> None:
    for command, text in re.findall(r"^## lvc (\w+)\n\n```text\n(.*?)^```", REFERENCE, re.M | re.S):
        examples, options = text.split("Arguments:")[0], text.split("Options:")[1]
        for option in re.findall(r"(?<=\s)--?[a-z][\w-]*", "\n".join(re.findall(rf"lvc {command} .*", examples)[1:])):
            assert re.search(rf"(?m)^  .*{option}\b", options), f"lvc {command}: {option}"


DEFAULT = {"tag": "tag apply"}
"""What a group of commands does without the name of one."""
OPTION = r"(?<=\s)--?[a-z][\w-]*"


@pytest.mark.parametrize("page", sorted([*(ROOT / "docs").glob("*.md"), ROOT / "README.md"]), ids=lambda p: p.name)
def test_commands_of_every_page_exist_with_their_options(page: Path) -> None:
    """In blocks of code and in running text; a command is `lvc`, up to two words, and options."""
    text = page.read_text(encoding="utf-8").replace("\\\n", " ")
    fenced = r"^```.*\n((?s:.*?))^```"
    lines = [line for block in re.findall(fenced, text, re.M) for line in block.splitlines()]
    lines += re.findall(r"^    .*", text, re.M) + re.findall(r"`([^`\n]*)`", re.sub(fenced, "", text, flags=re.M))
    helps = dict(re.findall(r"^## lvc ([\w ]+)\n\n```text\n(?s:.*?)^Options:((?s:.*?))^```", REFERENCE, re.M))
    groups = {name.split()[0] for name in helps}
    for line in lines:
        for name, second, rest in re.findall(r"(?:^|[\s|$;&])lvc (\w+)( \w+)?((?: [^|;&#`]*)?)", f" {line}"):
            if not set(re.findall(OPTION, rest)) and name not in groups:
                continue  # words of a sentence
            command = name + second if name + second in helps else DEFAULT.get(name, name)
            for option in re.findall(OPTION, rest):
                assert command in helps, line
                assert re.search(rf"(?m)^  .*(?<![\w-]){option}\b", helps[command]), f"{line}: {option}"


def test_exit_codes() -> None:
    codes = set(re.findall(r"^\| (\d+) \|", section("Exit codes"), re.M))
    tree = {c.exit_code for c in vars(errors).values() if isinstance(c, type) and issubclass(c, errors.LvcError)}
    assert codes == {str(code) for code in tree | {0, 1, 130}}


def test_environment() -> None:
    named = set(re.findall(r"^\| `(LVC_\w+)`", section("Environment"), re.M))
    used = {
        name for path in (ROOT / "lvc").rglob("*.py") for name in re.findall(r"\"(LVC_[A-Z_]+)\"", path.read_text())
    }
    assert named == used


def test_every_room_is_described() -> None:
    table = ARCHITECTURE.split("## Rooms")[1]
    named = set(re.findall(r"`(\w+(?:\.py|/))`", "\n".join(re.findall(r"^\| (.*?) \|", table, re.M))))
    rooms = {p.name for p in (ROOT / "lvc").iterdir() if p.suffix == ".py"}
    rooms |= {f"{p.name}/" for p in (ROOT / "lvc").iterdir() if p.is_dir() and (p / "__init__.py").exists()}
    assert named == rooms


def anchors(text: str) -> set[str]:
    """The names that a repository's viewer gives to a page's headings."""
    names: set[str] = set()
    for heading in re.findall(r"^#+ (.+)$", re.sub(r"(?ms)^```.*?^```", "", text), re.M):
        shown = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading).lower()
        name = re.sub(r"[^\w\- ]", "", shown).replace(" ", "-")
        names.add(name if name not in names else f"{name}-1")
    return names


def test_links_lead_somewhere() -> None:
    listed = subprocess.run(["git", "ls-files", "*.md"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    broken = []
    for name in listed.splitlines():
        page = ROOT / name
        text = re.sub(r"(?ms)^```.*?^```|`[^`\n]*`|^    [^\n]*$", "", page.read_text(encoding="utf-8"))
        for link in re.findall(r"\]\(([^)\s]+)\)", text):
            address, _, anchor = link.partition("#")
            target = page.parent / address if address else page
            if "://" in address or link.startswith("mailto:"):
                continue
            if not target.exists() or (anchor and anchor not in anchors(target.read_text(encoding="utf-8"))):
                broken.append(f"{name}: {link}")
        # the site takes [a][b] for a link by reference and is not built if there is none
        broken += [f"{name}: {found}" for found in re.findall(r"\[[^]\n]*\]\[[^]\n]*\]", text)]
    assert not broken


def test_site_has_every_page() -> None:
    listed = subprocess.run(["git", "ls-files", "docs"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    navigation = (ROOT / "zensical.toml").read_text(encoding="utf-8")
    pages = [name for name in listed.splitlines() if name.endswith(".md") and "/decisions/" not in name]
    assert pages and not [name for name in pages if f'"{name}"' not in navigation]


def test_no_machine_is_named() -> None:
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split(
        "\n"
    )
    for name in listed:
        if name.endswith((".py", ".md", ".toml", ".txt", ".sh")):
            text = (ROOT / name).read_text(encoding="utf-8")
            assert not re.search(r"(^|[^\w./-])/(work|farm|root|home)/\w", text), name
