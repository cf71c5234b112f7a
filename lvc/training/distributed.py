"""Several processes that train one model (`torchrun … lvc train`), on one machine or many.

Each has the whole model and its share of every batch; gradients are averaged, so that all make the same step. This is
written out here and not left to `DistributedDataParallel`, because a step trains one of two networks, and a step that
is not finite for one process must not be made by any.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar, cast

import torch
import torch.distributed as dist

from ..errors import LvcError, MediaError, UsageError

T = TypeVar("T")
_STEP = timedelta(minutes=10)
_CACHE = timedelta(days=7)
"""How long the others are waited for: in a step, and while the cache of frames is made."""


@dataclass(frozen=True)
class Team:
    """This process is number `rank` of `world`; `turn`: see `in_turn`. `control` is a group that talks about what is
    not on a GPU and waits patiently."""

    rank: int = 0
    world: int = 1
    turn: int = 0
    device: torch.device = torch.device("cpu")
    control: Any = None

    @property
    def leads(self) -> bool:
        """Whether this is the one process that writes."""
        return self.rank == 0

    def average(self, gradients: Sequence[torch.Tensor], figures: Sequence[float]) -> list[float]:
        """Replaces gradients by their means over all processes; returns the means of `figures`. Every process has to
        bring as many numbers, and gets the same back, to the bit."""
        if self.world == 1:
            return list(figures)
        flat = torch.cat([*(g.reshape(-1) for g in gradients), torch.tensor(figures, device=self.device)])
        with _together():
            dist.all_reduce(flat)
        parts = torch.split(flat.div_(self.world), [*(g.numel() for g in gradients), len(figures)])
        for gradient, mean in zip(gradients, parts, strict=False):
            gradient.copy_(mean.view(gradient.shape))
        return cast(list[float], parts[-1].tolist())

    def shared(self, make: Callable[[], T]) -> T:
        """What `make` returns to the first process, for all; likewise the error that it raises."""
        if self.world == 1:
            return make()
        box: list[Any] = [None]
        if self.leads:
            try:
                box = [make()]
            except LvcError as error:
                box = [error]
        with _together():
            dist.broadcast_object_list(box, 0, group=self.control)
        if isinstance(box[0], LvcError):
            raise box[0]
        return cast(T, box[0])

    def in_turn(self, make: Callable[[], T]) -> T:
        """`make` in the first process, then in one of each other machine, then in the rest: what the first ones leave
        on a disk that they share, the others find."""
        result = None
        for turn in range(3):
            if turn == self.turn:
                result = make()
            self.wait()
        return cast(T, result)

    def agree(self, what: object) -> None:
        """Raises `UsageError` unless all processes say the same."""
        if self.world == 1:
            return
        said: list[object] = [None] * self.world
        with _together():
            dist.all_gather_object(said, what, group=self.control)
        if other := [rank for rank, one in enumerate(said) if one != said[0]]:
            raise UsageError(
                f"process {other[0]} sees other footage or has other options than process 0 — start the same command "
                "over the same files everywhere"
            )

    def wait(self) -> None:
        """Until all have come here."""
        if self.world > 1:
            with _together():
                dist.barrier(self.control)


@contextlib.contextmanager
def team() -> Iterator[Team]:
    """The processes that `torchrun` started, or this one alone. Over nccl if there are GPUs, one for each process of a
    machine, else over gloo. Raises `UsageError`, and `MediaError` where the others cannot be reached."""
    cuda = torch.cuda.is_available()
    device = torch.device("cuda" if cuda else "cpu")
    if "RANK" not in os.environ or int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield Team(device=device)
        return
    local = int(os.environ.get("LOCAL_RANK", "0"))
    if cuda:
        if local >= torch.cuda.device_count():
            raise UsageError(
                f"process {local} of this machine has no GPU of its own — start as many processes as there are GPUs, "
                "or hide them with CUDA_VISIBLE_DEVICES="
            )
        torch.cuda.set_device(local)
    with _together():
        dist.init_process_group("nccl" if cuda else "gloo", timeout=_STEP)
        control = dist.new_group(backend="gloo", timeout=_CACHE)
    rank = dist.get_rank()
    joined = Team(rank, dist.get_world_size(), 0 if rank == 0 else 1 + min(local, 1), device, control)
    yield joined  # after an error nothing is tidied up: that would wait for the others
    joined.wait()
    dist.destroy_process_group()


@contextlib.contextmanager
def _together() -> Iterator[None]:
    try:
        yield
    except (RuntimeError, ValueError) as error:
        raise MediaError(
            "another process of this training ended or cannot be reached: look at its message — the same command goes "
            f"on from the last state ({str(error).splitlines()[0][:120]})"
        ) from error
