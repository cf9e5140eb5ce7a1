"""How soon the end of a Slurm job is noticed.

inputs: a run of Snakemake that is about to start; POLYBATCH_POLL_SECONDS, which profiles/slurm sets
outputs: none; the executor's class is changed in this process

Snakemake's Slurm executor (2.8) waits ten seconds longer after each look at the queue that finds nothing ended, up to
three minutes, and has no setting for it. A chain of stages that take a minute each then stands still for a third of
its time. A cap bounds that; how jobs are asked about, and everything else, stays the executor's. An executor that keeps
its pace in another way is left alone, with a warning: a pace is not worth a run.
"""

from __future__ import annotations

import logging
import os
from typing import Any

from polybatch.core.errors import ConfigError

VARIABLE = "POLYBATCH_POLL_SECONDS"
_PACE = "next_seconds_between_status_checks"


def look_in_time(workflow: Any) -> None:
    """Caps the seconds between two looks of the Slurm executor at POLYBATCH_POLL_SECONDS; unset or 0 caps nothing.

    Args:
        workflow: Snakemake's, in `onstart`. Nothing happens unless its executor is `slurm`.

    Raises:
        ConfigError: The variable is no whole number of seconds.
    """
    plugin = getattr(workflow, "executor_plugin", None)
    if getattr(plugin, "name", "") != "slurm":
        return
    words = os.environ.get(VARIABLE, "0")
    if not words.isdecimal():
        raise ConfigError(f"{VARIABLE} must be a whole number of seconds, or 0 for the executor's own pace: {words!r}")
    if int(words) and not cap_wait(getattr(plugin, "executor", None), int(words)):
        logging.getLogger("snakemake.logging").warning(
            f"{VARIABLE} has no effect: this version of Snakemake's Slurm executor keeps its pace in another way. The "
            "end of a job may be noticed up to three minutes late."
        )


def cap_wait(executor: Any, seconds: int) -> bool:
    """Bounds the wait between two looks at the queue, for a remote executor's class and its instances.

    Args:
        executor: The class. Its wait must be a property that can be set, as in Snakemake's interface 9.
        seconds: At least 1.

    Returns:
        Whether the wait is capped; otherwise the class is as it was.
    """
    wait = getattr(executor, _PACE, None)
    if not (isinstance(executor, type) and isinstance(wait, property) and wait.fget and wait.fset):
        return False
    read = wait.fget

    def capped(self: Any) -> Any:
        now = read(self)
        return min(now, seconds) if isinstance(now, int | float) else now

    setattr(executor, _PACE, property(capped, wait.fset, doc=wait.__doc__))
    return True
