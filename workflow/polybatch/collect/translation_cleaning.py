"""Cleaning of the translations that come with sources: what a translated pair must be to be kept, every step counted.

Steps, in this order: a side of which nothing can be seen; a passage that is the English one; a query that is its own
passage; a passage in another language (where CleaningOptions asks for it). A query may be the English one: names are.

inputs: translated pairs of a source, as a stream, and the English texts that they translate
outputs: the pairs kept, and a count for every step
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator

import numpy as np

from polybatch.collect.source import IN_ENGLISH, Pair
from polybatch.core import stage
from polybatch.core.errors import ConfigError
from polybatch.core.languages import language
from polybatch.core.streams import id_key
from polybatch.core.text import is_blank, same_hash, same_key

EMPTY, SAME, OTHER_LANGUAGE = "empty", "query equals passage", "another language"
_LANGUAGE_MIN_LETTERS = 24  # below, no identifier of languages is to be trusted; of English ones, as in `cleaning`


class EnglishPassages:
    """The English passage of each pair, as what counts as the same text.

    Args:
        ids: (n,) uint64 keys of pairs (`streams.id_keys`).
        passages: (n,) uint64, `text.same_hash` of their English passages.
    """

    def __init__(self, ids: np.ndarray, passages: np.ndarray) -> None:
        order = np.argsort(ids, kind="stable")
        self._ids, self._passages = ids[order], passages[order]

    def is_left(self, pair: Pair) -> bool:
        """Whether the passage of a translated pair is the English one; False of pairs that are not known."""
        key = np.uint64(id_key(pair.pair_id))
        at = int(np.searchsorted(self._ids, key))
        if at == len(self._ids) or self._ids[at] != key:
            return False
        return int(self._passages[at]) == same_hash(pair.passage)


def clean_translations(
    pairs: Iterable[Pair], english: EnglishPassages, is_foreign: Callable[[str], bool], counts: Counter[str]
) -> Iterator[Pair]:
    """The pairs that may be used; counts the others by their first fault."""
    for pair in pairs:
        if fault := _fault(pair, english, is_foreign):
            counts[fault] += 1
        else:
            yield pair


def _fault(pair: Pair, english: EnglishPassages, is_foreign: Callable[[str], bool]) -> str:
    if is_blank(pair.query) or is_blank(pair.passage):
        return EMPTY
    if english.is_left(pair):
        return IN_ENGLISH
    if same_key(pair.query) == same_key(pair.passage):
        return SAME
    return OTHER_LANGUAGE if is_foreign(pair.passage) else ""


def foreign_check(lang: str, confidence: float) -> Callable[[str], bool]:
    """A function text -> whether it is not in the language with this confidence; with 0, nothing is.

    Texts too short to tell, and all in a language that the identifier does not know, pass: the latter is logged.
    """
    if not confidence:
        return lambda text: False
    from polybatch.collect.language_identification import language_confidence

    try:
        sure = language_confidence(lang)
    except ConfigError:
        stage.log.warning("%s cannot be identified: its supplied translations are not checked for it", lang)
        return lambda text: False
    fewest = _LANGUAGE_MIN_LETTERS * language(lang).length
    return lambda text: sum(map(str.isalpha, text)) >= fewest and sure(text) < confidence
