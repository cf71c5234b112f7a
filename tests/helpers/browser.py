"""Where headless Chromium is, and what it is started with."""

from __future__ import annotations

import shutil

BROWSERS = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
BROWSER_OPTIONS = [
    "--no-sandbox", "--disable-gpu", "--use-angle=swiftshader", "--enable-unsafe-swiftshader",
    "--autoplay-policy=no-user-gesture-required",
]  # fmt: skip


def browser_path() -> str | None:
    return next((found for name in BROWSERS if (found := shutil.which(name))), None)
