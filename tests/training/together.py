"""One process of a training by `torchrun`, on a small model, as `test_distributed.py` wants it: its settings as JSON.

The noise of the rate is taken out, which is each process's own; `poison` makes one step of one process not finite,
`die` ends one process in the midst of a step.
"""

from __future__ import annotations

import functools
import json
import os
import sys
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).parent.parent))
from small_models import SMALL

from lvc.errors import LvcError
from lvc.training import loop
from lvc.training.settings import TrainSettings


def without_noise(like: torch.Tensor) -> torch.Tensor:
    return torch.full_like(like, 0.5)


def tell(line: dict[str, Any]) -> None:
    print(json.dumps(line), flush=True)


def main() -> None:
    given: dict[str, Any] = json.loads(sys.argv[1])
    rank, poison, die = int(os.environ["RANK"]), given.pop("poison", None), given.pop("die", None)
    data, out, work = tuple(map(Path, given.pop("data"))), Path(given.pop("out")), Path(given.pop("work"))
    torch.rand_like = without_noise
    loop.count_symbols = functools.partial(loop.count_symbols, frames=3, draws=2)
    original, calls = loop.forward, 0

    def forward(*arguments: Any) -> Any:
        nonlocal calls
        calls += 1
        result = original(*arguments)
        if rank == 1 and calls == poison:
            result.loss = result.loss * float("nan")
        if rank == 1 and calls == die:
            os._exit(1)
        return result

    loop.forward = forward
    try:
        loop.train(TrainSettings(data, out, work, **given, config=SMALL), tell)
    except LvcError as error:
        sys.exit(f"process {rank}: {error}")


if __name__ == "__main__":
    main()
