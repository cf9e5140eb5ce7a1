"""Values of stages' command lines that several of them take.

inputs: words of a command line
outputs: their values, or a ConfigError
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from polybatch.core.errors import ConfigError
from polybatch.core.files import read_json


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


def json_argument(text: str, flag: str) -> dict[str, Any]:
    """A JSON object that is given as text or as the path of a file.

    Raises:
        ConfigError: The text is no JSON, or no object.
        DataError: There is no such file, or it is no JSON.
    """
    try:
        value = json.loads(text) if text.lstrip().startswith("{") else read_json(text, object)
    except json.JSONDecodeError as error:
        raise ConfigError(f"{flag} is not JSON.", found=str(error)) from error
    if not isinstance(value, dict):
        raise ConfigError(f"{flag} is not a JSON object.", found=type(value).__name__)
    return value
