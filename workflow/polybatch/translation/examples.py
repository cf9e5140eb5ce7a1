"""Parallel strings as examples of a direction, for training and for scoring translators.

inputs: strings/<lang>.parquet (contracts.STRINGS)
outputs: `Example`s, in memory
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from polybatch.core import contracts
from polybatch.core.errors import ConfigError, DataError
from polybatch.core.files import read_parquet
from polybatch.core.languages import parse_direction


@dataclass(frozen=True)
class Example:
    """One sentence pair in one direction."""

    source_lang: str
    target_lang: str
    source: str
    target: str


def read_examples(strings: dict[str, Path], directions: list[str], split: str) -> list[Example]:
    """The examples of one split, for every direction. One side of a direction is English."""
    examples = []
    for pair in directions:
        source, target = parse_direction(pair)
        lang = target if source == "en" else source
        if "en" not in (source, target) or lang not in strings:
            raise ConfigError(
                f"No strings to train {pair} on.",
                expected="a direction from or into English with --strings for its other language",
                found=", ".join(strings) or "no strings",
            )
        for row in read_parquet(strings[lang], contracts.STRINGS).to_pylist():
            if row["split"] == split:
                texts = (row["english"], row["text"])
                examples.append(Example(source, target, *(texts if source == "en" else texts[::-1])))
    if not examples:
        raise DataError(f"The strings hold no {split} rows.", where=", ".join(map(str, strings.values())))
    return examples
