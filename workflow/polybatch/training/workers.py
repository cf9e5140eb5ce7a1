"""Processes that prepare batches beside a training: how many, and what they must not do.

inputs: the cores of this process, the user's environment
outputs: a number; a process whose signals and tokenizer are set up
"""

from __future__ import annotations

import os
import signal

# One tokenises some ten thousand tokens in 10 ms, which is what a card takes for a step of a small encoder.
_MOST = 4


def beside_a_card() -> int:
    """How many processes prepare batches for a card, by the cores that this process may use."""
    return min(_MOST, max(0, len(os.sched_getaffinity(0)) - 1))


def set_up_worker(_number: int = 0) -> None:
    """Sets such a process up, in it.

    A signal to the whole job must not end it before the training has saved. And a tokenizer's threads did not come with
    the fork, so that waiting for them never ends: the library knows of the fork and does without threads, but not where
    the user's environment asks for them.
    """
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
