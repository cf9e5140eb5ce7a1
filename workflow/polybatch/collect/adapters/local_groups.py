"""The groups of a file of the user's own: which rows are translations of which, and what is wrong with that.

inputs: the group and the language of every row, in the file's order
outputs: groups that come twice in a language; a warning of rows whose group has no English row; a number for a group

In memory are 8 bytes a row: its group stands for itself as a hash of 64 bits (`text.hash64`). What a message names is
looked up in the file again, which happens only where there is something to be told.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np

from polybatch.core import stage
from polybatch.core.errors import DataError
from polybatch.core.streams import is_in
from polybatch.core.text import clean_text, hash64

SHOWN = 3  # groups that a message names
Rows = Callable[[], Iterator[tuple[str, str, str]]]  # where, group and language of each row, as often as it is asked


class ByGroup:
    """A number for each group, 16 bytes each.

    Args:
        entries: (group, number below 2^64), each group once.
    """

    def __init__(self, entries: Iterable[tuple[str, int]]) -> None:
        keys, values = array("Q"), array("Q")
        for group, value in entries:
            keys.append(hash64(group))
            values.append(value)
        order = np.argsort(np.frombuffer(keys, dtype=np.uint64))
        self._keys, self._values = (
            array("Q", np.frombuffer(column, dtype=np.uint64)[order].tobytes()) for column in (keys, values)
        )

    def get(self, group: str) -> int | None:
        """The group's number; None if there is no such group."""
        key = hash64(group)
        at = bisect_left(self._keys, key)
        return self._values[at] if at < len(self._keys) and self._keys[at] == key else None


class Groups:
    """Which groups each language has."""

    def __init__(self) -> None:
        self._keys: dict[str, array[int]] = {}

    def add(self, group: str, lang: str) -> None:
        """Takes in a row; one without a group is a pair of its own."""
        if group:
            self._keys.setdefault(lang, array("Q")).append(hash64(group))

    def repeated(self) -> set[tuple[int, str]]:
        """(hash, language) of the groups that come more than once in a language."""
        found: set[tuple[int, str]] = set()
        for lang in self._keys:
            keys, counts = np.unique(self._of(lang), return_counts=True)
            found |= {(key, lang) for key in keys[counts > 1].tolist()}
        return found

    def tell(self, path: Path, rows: Rows) -> None:
        """Warns of the rows that are the translation of none.

        Raises:
            DataError: They are all the rows of a language.
        """
        english = np.sort(self._of("en"))
        others = [lang for lang in self._keys if lang != "en"]
        without = {lang: int((~is_in(self._of(lang), english)).sum()) for lang in others}
        first = _first_without(rows, english, {lang: min(SHOWN, number) for lang, number in without.items()})
        near = _near_ones(rows, [group for places in first.values() for _, group in places])
        for lang, places in first.items():
            told = "; ".join(_orphan(where, group, near) for where, group in places)
            more = f"; and {without[lang] - SHOWN} more" if without[lang] > SHOWN else ""
            if without[lang] == len(self._of(lang)):
                raise DataError(
                    f"No row in {lang} has an English row of its group.",
                    where=path,
                    found=f"{without[lang]} row(s): {told}{more}",
                    remedy="write the groups alike in all languages, or take these rows out",
                )
            stage.log.warning(
                "%s: %d of %d rows in %s have no English row of their group and are left out: %s%s",
                path,
                without[lang],
                len(self._of(lang)),
                lang,
                told,
                more,
            )

    def _of(self, lang: str) -> np.ndarray:
        return np.frombuffer(self._keys.get(lang, array("Q")), dtype=np.uint64)


def _first_without(rows: Rows, english: np.ndarray, wanted: dict[str, int]) -> dict[str, list[tuple[str, str]]]:
    """language -> (where, group) of its first rows without an English one: as many as are `wanted`."""
    missing = sum(wanted.values())
    found: dict[str, list[tuple[str, str]]] = {}
    for where, group, lang in rows() if missing else ():
        if len(found.get(lang, [])) < wanted.get(lang, 0) and group:
            if is_in(np.array([hash64(group)], dtype=np.uint64), english)[0]:
                continue
            found.setdefault(lang, []).append((where, group))
            missing -= 1
            if not missing:
                break
    return found


def _near_ones(rows: Rows, groups: list[str]) -> dict[str, str]:
    """What a group is but for spaces, zeros and case -> the English group that is the same but for these."""
    wanted = set(map(_alike, groups))
    english = (group for _, group, lang in rows() if lang == "en" and group) if wanted else ()
    return {alike: group for group in english if (alike := _alike(group)) in wanted}


def _orphan(where: str, group: str, near: dict[str, str]) -> str:
    hint = f", while an English row has {near[alike]!a}" if (alike := _alike(group)) in near else ""
    return f"{where}, {named('group', group)}{hint}"


def named(name: str, value: str) -> str:
    """A name and its value, with what cannot be seen spelled out."""
    return f"{name} {value!a}" if value != value.strip() or not value.isprintable() else f"{name} {value!r}"


def _alike(group: str) -> str:
    """An id without what spreadsheets change: spaces, zeros in front, ".0" behind, case."""
    plain = clean_text(group).casefold()
    return plain.removesuffix(".0").lstrip("0") or plain
