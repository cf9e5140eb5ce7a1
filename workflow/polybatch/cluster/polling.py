"""How soon the end of a Slurm job is noticed.

inputs: a run of Snakemake that is about to start; POLYBATCH_POLL_SECONDS, which profiles/slurm sets
outputs: none

Snakemake's Slurm executor (2.8) waits ten seconds longer after each look at the queue that finds nothing ended, up to
three minutes, and has no setting for it. A chain of stages that take a minute each then stands still for a third of
its time. A cap bounds that; how jobs are asked about, and everything else, stays the executor's.
"""

from __future__ import annotations

import os
from typing import Any

from polybatch.core.errors import ConfigError

VARIABLE = "POLYBATCH_POLL_SECONDS"


def look_in_time(workflow: Any) -> None:
    """Caps the seconds between two looks of the Slurm executor at POLYBATCH_POLL_SECONDS; unset or 0 caps nothing.

    Args:
        workflow: Snakemake's, in `onstart`. Nothing happens unless its executor is `slurm`.

    Raises:
        ConfigError: The variable is no whole number of seconds.
    """
    if workflow.executor_plugin is None or workflow.executor_plugin.name != "slurm":
        return
    words = os.environ.get(VARIABLE, "0")
    if not words.isdecimal():
        raise ConfigError(f"{VARIABLE} must be a whole number of seconds, or 0 for the executor's own pace: {words!r}")
    if int(words):
        cap_wait(workflow.executor_plugin.executor, int(words))


def cap_wait(executor: type, seconds: int) -> None:
    """Of a remote executor's class, and of what was made from it: no wait between two looks is longer than this."""
    wait: Any = executor.next_seconds_between_status_checks  # type: ignore[attr-defined]
    capped = property(lambda self: min(wait.fget(self), seconds), wait.fset, doc=wait.__doc__)
    executor.next_seconds_between_status_checks = capped  # type: ignore[attr-defined]
