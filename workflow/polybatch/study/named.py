"""Names for what a command line gives: `NAME=THING`, or a name made from the thing's own.

inputs: words of a command line
outputs: names that folders and tables can carry (core.option_types.Name)
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from polybatch.core.errors import ConfigError
from polybatch.core.option_types import LONGEST_NAME, NAME_PATTERN

_OTHER = re.compile(r"[^a-z0-9_.-]+")
_NAMED = re.compile(rf"({NAME_PATTERN.strip('^$')})=(.+)", re.DOTALL)


def split_name(word: str) -> tuple[str, str]:
    """`NAME=THING` as (name, thing); ("", word) where no name is given, or the whole word is a path that is there."""
    found = _NAMED.fullmatch(word)
    if found is None or Path(word).exists():
        return "", word
    return found[1], found[2]


def name_of(text: str) -> str:
    """A name made from a folder's, a file's or a model's: small letters, other characters become `-`.

    Raises:
        ConfigError: Nothing of it can be in a name.
    """
    name = _OTHER.sub("-", text.lower()).lstrip("_.-")[:LONGEST_NAME].rstrip("-")
    if not name:
        raise ConfigError(
            f"No name can be made of {text!r}.",
            expected="letters or digits of ASCII in it",
            remedy="give it one: NAME=" + text,
        )
    return name


def require_distinct(names: Sequence[str], words: Sequence[str], kind: str) -> None:
    """Raises a ConfigError if two things of a kind ("models") have one name; `words` are what was given for them."""
    for name in names:
        same = [word for word, other in zip(words, names, strict=True) if other == name]
        if len(same) > 1:
            raise ConfigError(
                f"Two {kind} are called {name}.",
                found=" and ".join(same),
                remedy=f"give each a name of its own: {name}-1={same[0]} {name}-2={same[1]}",
            )
