"""The command line, whose server soon gives up on silent connections, so that tests need not wait for it."""

from __future__ import annotations

from lvc.__main__ import main
from lvc.serve import run

if __name__ == "__main__":
    run.FIRST_REQUEST, run.KEEP_ALIVE = 1.0, 1
    main()
