#!/usr/bin/env python3
"""The example of docs/search.md: whose footage is it? `scripts/features/classify.py FEATURES.npz` (scikit-learn)

A classifier learns the moments of the first half of each video and names those of the second half.
"""

from __future__ import annotations

import sys

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score

data = np.load(sys.argv[1])
path, time, vector = data["path"], data["time"], data["vector"]

end = {name: time[path == name].max() for name in set(path)}
early = np.array([t <= end[name] / 2 for t, name in zip(time, path, strict=True)])

model = LogisticRegression(C=10, max_iter=1000).fit(vector[early], path[early])
print(f"{early.sum()} moments of {len(end)} videos learnt, {(~early).sum()} to be named")
print(f"right: {accuracy_score(path[~early], model.predict(vector[~early])):.3f}")
