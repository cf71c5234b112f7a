"""Makes `clips` (tests/clips.py) importable, and gives the tests of this room their short names."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
