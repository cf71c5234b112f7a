"""Coding of the flags of predicted frames: which blocks are skipped, which of these are copied."""

from __future__ import annotations

import numpy as np

from .adaptive import Scored, learned, score
from .coder import Coding, IntArray
from .passes import MARGIN, diagonal, flag_passes, size_class, straight

YOUNG = 3
"""Frames after a key frame that are told apart."""
BUSY = 31


class FlagCoder:
    """Flags of one GOP, frame by frame. After `code` the frame's other integers are told by `learn`."""

    def __init__(self, height: int, width: int) -> None:
        """In blocks."""
        none = np.zeros((height, width), np.int64)
        self._age = 0
        self._skip = self._copy = self._older_skip = self._older_copy = self._busy = self._changed = none
        self._models = [(learned()[name], Scored(learned()[name]["rows"])) for name in ("skip", "copy")]

    def code(self, coding: Coding, skip: IntArray | None, copy: IntArray | None) -> tuple[IntArray, IntArray]:
        """Flags [1,H,W] to write, None when reading. Returns both, uint8 [H,W]."""
        features: list[IntArray | int] = [
            self._skip, straight(self._skip), diagonal(self._skip),
            self._copy, straight(self._copy), diagonal(self._copy), self._older_skip, self._older_copy,
            self._busy, straight(self._busy), self._changed, straight(self._changed), self._age,
        ]  # fmt: skip
        now = self._flags(coding, 0, skip, features, np.ones(self._skip.shape, bool))
        features += [straight(now), diagonal(now)]
        copied = self._flags(coding, 1, copy, features, now > 0)
        self._older_skip, self._older_copy, self._skip, self._copy = self._skip, self._copy, now, copied
        self._age = min(self._age + 1, YOUNG)
        return now.astype(np.uint8), copied.astype(np.uint8)

    def learn(self, latent: IntArray, changed: IntArray) -> None:
        """`latent` [M,H,W]: the frame's symbols. `changed` int64 [H,W]: where motion was not as predicted."""
        self._busy = np.zeros_like(self._skip)
        at = self._skip == 0  # elsewhere there are none
        self._busy[at] = size_class(np.minimum(np.count_nonzero(latent[:, at], axis=0), BUSY))
        self._changed = changed

    def _flags(
        self, coding: Coding, which: int, flags: IntArray | None, features: list[IntArray | int], among: IntArray
    ) -> IntArray:
        """Flags int64 [H,W], coded where `among` bool [H,W]."""
        weights, model = self._models[which]
        height, width = among.shape
        out = np.zeros((height, width), np.int64)
        known = np.zeros((height + 2 * MARGIN) * (width + 2 * MARGIN), np.int64)
        inside = known.reshape(height + 2 * MARGIN, -1)[MARGIN:-MARGIN, MARGIN:-MARGIN]
        still = score(weights["frame"], features)
        before = 2 * self._copy + self._older_copy if which else 2 * self._skip + self._older_skip
        for bias, (ys, xs, around) in zip(weights["pass"], flag_passes(height, width), strict=True):
            if which:
                coded = np.flatnonzero(among[ys, xs])
                ys, xs, around = ys[coded], xs[coded], around[:, coded]
            want = None if flags is None else flags[0][ys, xs]
            scores = still[ys, xs] + score(weights["around"], list(known[around])) + bias
            found = model.code_flags(coding, want, scores, before[ys, xs])
            out[ys, xs] = found
            inside[ys, xs] = 2 * found - 1
        return out
