"""Many files as one job: folders, their workers, and what keeps two runs out of each other's way.

    tree.find ─▶ run.run ─▶ engine (pool: processes here; ray: a cluster) ─▶ work.Worker.do ─▶ lvc.files

Every file goes through the same jobs of `lvc.files` as a single one does. Outputs mirror the tree of the sources; each
appears at once and whole, and says what it was made from (`oRIG`), so that a run that was killed goes on where it was.
"""

from __future__ import annotations
