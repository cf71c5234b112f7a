#!/usr/bin/env python3
"""Builds the documentation's site with Zensical (extra `docs`) and checks every link in it: scripts/docs

Pages are written for a repository's viewer: relative links, README.md as the front page. They are gathered in
.work/site/pages under the same paths, so that the links hold; what they link to comes along. zensical.toml has the
navigation.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tomllib
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import lvc

ROOT = Path(__file__).resolve().parent.parent
CONFIG = ROOT / "zensical.toml"
LINK = re.compile(r"(\]\()([^)\s#]+)")  # of Markdown: `](target`


def gather(pages: Path) -> None:
    """The pages of the navigation, and all files of the repository that can be reached from them by links."""
    waiting = [
        source_of(name) for name in navigated(tomllib.loads(CONFIG.read_text(encoding="utf-8"))["project"]["nav"])
    ]
    seen: set[Path] = set()
    while waiting:
        path = waiting.pop()
        if path in seen or path == ROOT / "docs/api.md":
            continue
        seen.add(path)
        target = pages / page_of(path.relative_to(ROOT).as_posix())
        target.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix != ".md":
            shutil.copyfile(path, target)
            continue
        text = path.read_text(encoding="utf-8")
        linked = [path.parent / m[2] for m in LINK.finditer(text) if not urlsplit(m[2]).scheme]
        waiting += [file.resolve() for file in linked if file.is_file() and file.resolve().is_relative_to(ROOT)]
        target.write_text(LINK.sub(lambda m: m[1] + page_of(m[2]), text), encoding="utf-8")
    (pages / "docs/api.md").write_text(api(), encoding="utf-8")


def navigated(nav: list[Any]) -> list[str]:
    """Every page that the navigation names."""
    names: list[str] = []
    for entry in nav:
        for value in entry.values():
            names += [value] if isinstance(value, str) else navigated(value)
    return names


def page_of(name: str) -> str:
    """A file's name on the site: a README is its folder's index."""
    return re.sub(r"(^|/)README\.md$", r"\1index.md", name)


def source_of(page: str) -> Path:
    path = ROOT / page
    return path.with_name("README.md") if path.name == "index.md" and not path.exists() else path


def api() -> str:
    """The page of public names, which mkdocstrings fills from their docstrings."""
    parts = ["# Python API\n\nThe public names of `lvc`; [Python](python.md) shows how they are used.\n"]
    errors = [name for name, module in lvc._PUBLIC.items() if module == "lvc.errors"]
    for title, names in (("Names", [n for n in lvc._PUBLIC if n not in errors]), ("Errors", errors)):
        parts += [f"## {title}\n", *(f"::: {lvc._PUBLIC[name]}.{name}\n" for name in names)]
    return "\n".join(parts)


class _Page(HTMLParser):
    """The links of a page, and what can be linked to in it."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.anchors: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name == "id" and value:
                self.anchors.add(value)
            elif name in ("href", "src") and value and tag != "link":
                self.links.append(value)


def broken_links(html: Path) -> list[str]:
    """Links within the site that lead nowhere, as `page: link`. Links to other sites are not followed."""
    pages = {path: _Page(path.read_text(encoding="utf-8")) for path in html.rglob("*.html")}
    broken = []
    for path, page in sorted(pages.items()):
        if path.name == "404.html":  # its links start from the server's root
            continue
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            if target.is_dir():
                target /= "index.html"
            anchor = unquote(parts.fragment)
            if not target.is_file() or (anchor and target in pages and anchor not in pages[target].anchors):
                broken.append(f"{path.relative_to(html)}: {link}")
    return broken


def main() -> int:
    site = ROOT / ".work/site"
    shutil.rmtree(site, ignore_errors=True)
    gather(site / "pages")
    done = subprocess.run(
        [sys.executable, "-m", "zensical", "build", "--strict", "--config-file", str(CONFIG)], cwd=ROOT
    )
    if done.returncode:
        return done.returncode
    broken = broken_links(site / "html")
    print("\n".join(["broken links:", *broken]) if broken else f"{site.relative_to(ROOT)}/html: no broken links")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
