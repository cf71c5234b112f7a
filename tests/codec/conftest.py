"""Lets the tests here import the helpers in `tests/` (pytest runs with `--import-mode=importlib`)."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))
