"""`python -m lvc` and the entry point `lvc`."""

from __future__ import annotations

import os
import signal


def main() -> None:
    """Run the command line. Until it is loaded, which takes a moment, an interrupt finds nothing to clear up."""
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):  # Windows knows no SIGHUP
        number = getattr(signal, name, None)
        if number is not None and (name != "SIGHUP" or signal.getsignal(number) is not signal.SIG_IGN):
            signal.signal(number, _end)
    from lvc.cli import main as run

    run()


def _end(number: int, frame: object) -> None:
    os.write(2, b"lvc: error: interrupted\n")
    os._exit(130)


if __name__ == "__main__":
    main()
