"""The processes that train one model together: how many there are, whether they can start, what they agree on.

inputs: RANK, WORLD_SIZE, LOCAL_RANK and LOCAL_WORLD_SIZE as torch's launcher sets them; none of them for one process
outputs: `Ranks`, whose answers are the same in every process

Flags travel over the CPU (gloo) even where gradients do not, so that no step waits for its card just to be asked
whether it should stop.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from polybatch.core.errors import ConfigError, PolybatchError, TrainingError

if TYPE_CHECKING:
    from polybatch.training.options import TrainingOptions

# The launcher looks at its processes ten times a second and names the one whose end it sees first.
_NOTICE_S = 2.0


@dataclass
class Ranks:
    """One process among those of a training; `Ranks()` trains alone.

    Attributes:
        rank: Its number, from 0; the first one logs, writes and deletes.
        world_size: How many there are.
        local_world_size: How many of them on this machine.
    """

    rank: int = 0
    world_size: int = 1
    local_world_size: int = 1
    _group: Any = field(default=None, repr=False)

    @classmethod
    def of_environment(cls, environ: Mapping[str, str] | None = None) -> Ranks:
        """The process as torch's launcher describes it in the environment; `Ranks()` where there is no launcher."""
        environ = os.environ if environ is None else environ
        world_size = int(environ.get("WORLD_SIZE", "1"))
        local = int(environ.get("LOCAL_WORLD_SIZE", str(world_size)))
        return cls(int(environ.get("RANK", "0")), world_size, local)

    @property
    def first(self) -> bool:
        """Whether this is the process that logs, writes and deletes."""
        return self.rank == 0

    @property
    def several(self) -> bool:
        """Whether there are more processes than this one."""
        return self.world_size > 1

    def share(self, batch_size: int) -> slice:
        """Which rows of a batch are this process's.

        Raises:
            ConfigError: The batch cannot be divided.
        """
        if batch_size % self.world_size:
            raise ConfigError(
                f"A batch of {batch_size} cannot be divided among {self.world_size} processes.",
                where="training.batch_size",
                expected=f"a batch_size that {self.world_size} divides",
                found=str(batch_size),
                remedy="train with another number of cards (the resource gpu), or change batch_size",
            )
        rows = batch_size // self.world_size
        return slice(self.rank * rows, (self.rank + 1) * rows)

    def check(self, options: TrainingOptions) -> None:
        """Raises a ConfigError if these processes cannot train so: the batch does not divide, cards are missing."""
        import torch

        self.share(options.batch_size)
        cards = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if cards and cards < self.local_world_size:
            raise ConfigError(
                f"There are more training processes than cards: {self.local_world_size} for {cards}.",
                expected=f"{self.local_world_size} cards in CUDA_VISIBLE_DEVICES",
                found=f"{cards}: {os.environ.get('CUDA_VISIBLE_DEVICES', 'CUDA_VISIBLE_DEVICES is not set')}",
                remedy="start a process for each card (polybatch.cluster.launch --gpu N --distributed does)",
            )

    def seed(self, *numbers: int) -> int:
        """A seed of this process's own, from numbers that all of them share."""
        return int(np.random.SeedSequence([*numbers, self.rank]).generate_state(1, np.uint64)[0] >> 1)

    # What follows has to be called by all processes, in the same order.

    def any(self, *flags: bool) -> list[bool]:
        """For each flag, whether it is set in at least one process."""
        if not self.several:
            return list(flags)
        import torch
        import torch.distributed as dist

        together = torch.tensor(flags, dtype=torch.int32)
        dist.all_reduce(together, op=dist.ReduceOp.MAX, group=self._cpu_group())
        return [bool(flag) for flag in together.tolist()]

    def of_first(self, number: int) -> int:
        """The number that the first process has."""
        if not self.several:
            return number
        import torch
        import torch.distributed as dist

        told = torch.tensor([number], dtype=torch.int64)
        dist.broadcast(told, src=0, group=self._cpu_group())
        return int(told)

    def mean(self, number: float) -> float:
        """The mean over the processes, the same bits in each of them."""
        if not self.several:
            return number
        import torch
        import torch.distributed as dist

        total = torch.tensor([number], dtype=torch.float64)
        dist.reduce(total, dst=0, group=self._cpu_group())
        dist.broadcast(total, src=0, group=self._cpu_group())
        return float(total) / self.world_size

    def wait(self) -> None:
        """Returns when all processes are here."""
        self.any(False)

    def part(self) -> None:
        """Closes torch's process group, if there is one."""
        import torch.distributed as dist

        if self.several and dist.is_initialized():
            dist.destroy_process_group()

    def _cpu_group(self) -> Any:
        """The processes by way of the CPU; made at the first call."""
        import torch.distributed as dist

        if self._group is None:
            alike = dist.get_backend() == "gloo"
            self._group = dist.group.WORLD if alike else dist.new_group(backend="gloo")
        return self._group


@contextmanager
def told_once(ranks: Ranks, *, together: type[PolybatchError]) -> Iterator[None]:
    """A context: an error that all processes meet is raised by the first one, any other by the process that met it.

    A process that ends makes the launcher end the others. So the first one to end is the one with something to say:
    the others wait a little before they do.

    Args:
        ranks: The processes.
        together: What is never raised by one alone, so that the first one's words are enough.

    Raises:
        TrainingError: In place of an exception which only says that another process is gone.
    """
    try:
        yield
    except PolybatchError as error:
        if ranks.first:
            raise
        time.sleep(_NOTICE_S)
        if isinstance(error, together):
            sys.exit(1)
        raise
    except RuntimeError as error:
        if not ranks.several or not _is_lost_peer(error):
            raise
        time.sleep(_NOTICE_S)
        raise TrainingError(
            "Another process of this training has ended.",
            where=f"process {ranks.rank} of {ranks.world_size}",
            found=str(error).splitlines()[0],
            remedy="see what that process said before; the same command goes on from the last checkpoint",
        ) from error


def _is_lost_peer(error: BaseException) -> bool:
    words = ("connection closed by peer", "connection reset by peer", "broken pipe", "remote process exited")
    return any(word in str(error).lower() for word in words)
