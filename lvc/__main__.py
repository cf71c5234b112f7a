"""`python -m lvc` and the entry point `lvc`."""

from __future__ import annotations

from lvc.cli import main

if __name__ == "__main__":
    main()
