"""Whether work grows no faster than its input, told by processor time, on a busy machine too."""

from __future__ import annotations

import time
from collections.abc import Callable

ROOM_S = 0.2  # what small times differ by for no reason of theirs


def require_linear(work: Callable[[str], object], text: Callable[[int], str], size: int) -> None:
    """Raises an AssertionError where work on `text(size)` takes over ten times what a quarter of the size takes.

    Linear work takes four times as long, quadratic work sixteen times.
    """
    quarter, whole = (_seconds(work, text(length)) for length in (size // 4, size))
    assert whole < 10 * quarter + ROOM_S, f"{quarter:.3f} s for a quarter of it, {whole:.3f} s for the whole"


def _seconds(work: Callable[[str], object], text: str) -> float:
    start = time.process_time()
    work(text)
    return time.process_time() - start
