"""Folder jobs: many files, the workers that process them, and the claims that separate concurrent runs.

    tree.find ─▶ run.run ─▶ engine (pool: processes here; ray: a cluster) ─▶ work.Worker.do ─▶ lvc.files

Every file goes through `lvc.files`, as a single file does. Outputs mirror the tree of the sources. Each appears
atomically and records its source (`oRIG`), so that a run can resume after it was killed.
"""

from __future__ import annotations
