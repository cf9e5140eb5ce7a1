"""Where in the user's own files a key stands, and which keys stand there twice.

inputs: the configuration files, YAML or JSON, in the order in which Snakemake merges them
outputs: for a way into the configuration the file and line that it was last given in; faults of repeated keys

Snakemake reads the files itself, and YAML keeps the last of two equal keys without a word.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path as FilePath
from typing import Any, NamedTuple

import yaml

_MOST_NODES, _DEEPEST = 100_000, 50


class Place(NamedTuple):
    """A line of a file, counted from 1."""

    file: str
    line: int

    def __str__(self) -> str:
        return f"{self.file}, line {self.line}"


class Lines:
    """The places of all keys and list items of some files.

    Attributes:
        repeated: (way to a mapping, key, line where it was first given) of each key that a mapping holds twice.
    """

    def __init__(self, files: Sequence[str | FilePath] = ()) -> None:
        self._places: dict[tuple[Any, ...], Place] = {}
        self.repeated: list[tuple[tuple[Any, ...], str, int]] = []
        for file in files:
            self._read(FilePath(file))

    def of(self, path: tuple[Any, ...]) -> Place | None:
        """Where a way, or the nearest one above it that is known, was last given; None where nothing of it was.

        Keys are texts as they are written; those that YAML reads as something else are known by that too.
        """
        while path:
            if path in self._places:
                return self._places[path]
            path = path[:-1]
        return None

    def _read(self, file: FilePath) -> None:
        root = _composed(file)
        shown = _shown(file)
        pending: list[tuple[Any, tuple[Any, ...]]] = [(root, ())]
        seen: set[int] = set()
        # What an anchor stands for is visited again under each of its names, within bounds: it may hold itself.
        for _ in range(_MOST_NODES):
            if not pending:
                break
            node, path = pending.pop()
            if isinstance(node, yaml.MappingNode) and len(path) < _DEEPEST:
                if id(node) not in seen:
                    self.repeated += _repeated(node, path)
                seen.add(id(node))
                pending += self._keys(node, path, shown)
            elif isinstance(node, yaml.SequenceNode) and len(path) < _DEEPEST:
                for i, item in enumerate(node.value):
                    self._places[(*path, i)] = Place(shown, item.start_mark.line + 1)
                    pending.append((item, (*path, i)))

    def _keys(self, node: Any, path: tuple[Any, ...], file: str) -> Iterator[tuple[Any, tuple[Any, ...]]]:
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                continue
            place = Place(file, key.start_mark.line + 1)
            self._places[(*path, key.value)] = place
            if key.tag != "tag:yaml.org,2002:str":
                with contextlib.suppress(ValueError, yaml.YAMLError):
                    self._places[(*path, yaml.safe_load(key.value))] = place
            yield value, (*path, key.value)


def _composed(file: FilePath) -> Any:
    """The nodes of a file; None of one that cannot be read.

    Snakemake has read it, or told what is wrong with it: here only places are lost. The loader written in C is fast,
    and gives up where brackets are nested a thousand deep.
    """
    for loader in (getattr(yaml, "CSafeLoader", yaml.SafeLoader), yaml.SafeLoader):
        with contextlib.suppress(OSError, ValueError, RecursionError, yaml.YAMLError):
            return yaml.compose(file.read_text("utf-8"), Loader=loader)
    return None


def _repeated(node: Any, path: tuple[Any, ...]) -> Iterator[tuple[tuple[Any, ...], str, int]]:
    """Keys that stood in a mapping before, each with the line in which it did so first."""
    lines: dict[tuple[str, str], int] = {}
    for key, _ in node.value:
        if isinstance(key, yaml.ScalarNode) and key.tag != "tag:yaml.org,2002:merge":
            name = (key.tag, key.value)
            if name in lines:
                yield path, key.value, lines[name]
            lines.setdefault(name, key.start_mark.line + 1)


def _shown(file: FilePath) -> str:
    """A path as a user would write it: relative to the working folder where it lies below it."""
    absolute = file.absolute()
    folder = FilePath.cwd()
    return str(absolute.relative_to(folder)) if absolute.is_relative_to(folder) else str(file)
