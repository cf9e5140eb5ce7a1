"""Whether an encoder has seen a benchmark in its own training: the words for it."""

from __future__ import annotations

DECLARED, NOT_DECLARED, UNKNOWN, OWN = "declared", "not declared", "unknown", "own held-out text"


STATUSES = (DECLARED, NOT_DECLARED, UNKNOWN, OWN)
