"""Texts by number, in a file: for adapters that look texts up and could not hold them all.

inputs: texts, one after the other
outputs: any of them, by its number
"""

from __future__ import annotations

from array import array
from pathlib import Path
from types import TracebackType
from typing import Self


class Texts:
    """Texts by number, in a file, which is closed at the end of a `with`; memory holds where each begins (8 bytes)."""

    def __init__(self, path: Path) -> None:
        self._handle = path.open("w+b")
        self._starts = array("q", [0])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        self._handle.close()

    def add(self, text: str) -> None:
        """Adds a text; its number is how many there were."""
        raw = text.encode("utf-8")
        self._handle.seek(self._starts[-1])
        self._handle.write(raw)
        self._starts.append(self._starts[-1] + len(raw))

    def __len__(self) -> int:
        return len(self._starts) - 1

    def __getitem__(self, number: int) -> str:
        self._handle.seek(self._starts[number])
        return self._handle.read(self._starts[number + 1] - self._starts[number]).decode("utf-8")
