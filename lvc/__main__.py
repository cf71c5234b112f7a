"""`python -m lvc` and the entry point `lvc`."""

from __future__ import annotations

import os
import signal


def main() -> None:
    """Run the command line. Until it is loaded, which takes a moment, an interrupt finds nothing to clear up."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _end)
    from lvc.cli import main as run

    run()


def _end(number: int, frame: object) -> None:
    os.write(2, b"lvc: error: interrupted\n")
    os._exit(130)


if __name__ == "__main__":
    main()
