"""Values of stages' command lines that several of them take.

inputs: words of a command line
outputs: their values, or a ConfigError
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from polybatch.core.errors import ConfigError


def parse_paths(flags: Sequence[str]) -> dict[str, Path]:
    """`["en=a.parquet", "de=b.parquet"]` -> language -> path; a ConfigError if one is malformed or twice."""
    paths: dict[str, Path] = {}
    for flag in flags:
        lang, _, path = flag.partition("=")
        if not lang or not path or lang in paths:
            raise ConfigError(
                "A language's file is given wrongly." if lang not in paths else f"{lang} is given twice.",
                expected="lang=path, each language once",
                found=flag,
            )
        paths[lang] = Path(path)
    return paths
