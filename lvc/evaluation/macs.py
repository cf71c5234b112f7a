"""Counts the networks' multiply-accumulates while they run, padding included.

The engine reports the cost of each program per block; blocks that are not computed do not count. What torch computes
(external VAEs) goes through a few functions. Both are wrapped here, in a worker's process, on all of its
threads; a call costs a microsecond more. Sums and activations are not counted, as is usual.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any


class Macs:
    """`total` grows with every program of the engine, convolution and matrix product of torch after `count`."""

    def __init__(self) -> None:
        self.total = 0
        self._lock = threading.Lock()

    def count(self) -> None:
        """Wrap the functions, for the rest of the process."""
        import torch
        import torch.nn.functional as F

        from lvc.engine.nets import Network

        def wrapped(function: Callable[..., Any], cost: Callable[..., int]) -> Callable[..., Any]:
            def counting(*args: Any, **kwargs: Any) -> Any:
                result = function(*args, **kwargs)
                with self._lock:
                    self.total += cost(result, *args, **kwargs)
                return result

            return counting

        for owner, name, cost in (
            (F, "conv2d", _conv),
            (F, "conv_transpose2d", _conv_transpose),
            (F, "linear", _linear),
            (torch, "matmul", _matmul),
            (torch, "bmm", _matmul),
            (Network, "run", _program),
        ):
            setattr(owner, name, wrapped(getattr(owner, name), cost))


def _conv(result: Any, x: Any, weight: Any, *_: Any, **__: Any) -> int:
    """Every output is a sum over the kernel and the channels of its group."""
    return int(result.numel() * weight[0].numel())


def _program(
    result: Any, network: Any, inputs: Any, size: tuple[int, int], *_: Any, wanted: Any = None, **__: Any
) -> int:
    pixels = size[0] * size[1] if wanted is None else 4 * int((wanted != 0).sum())
    return int(network.program.macs() * pixels)


def _conv_transpose(result: Any, x: Any, weight: Any, *_: Any, **__: Any) -> int:
    """Every input is spread over the kernel and the output channels of its group."""
    return int(x.numel() * weight[0].numel())


def _linear(result: Any, x: Any, weight: Any, *_: Any, **__: Any) -> int:
    return int(result.numel() * weight.shape[-1])


def _matmul(result: Any, a: Any, *_: Any, **__: Any) -> int:
    return int(result.numel() * a.shape[-1])
