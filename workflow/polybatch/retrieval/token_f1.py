"""Token F1 of a passage against gold answers, as extractive question answering counts it.

inputs: a passage, the gold answers of its question, their language
outputs: a value from 0 to 1

Source: the evaluation of SQuAD (Rajpurkar et al., arXiv 1606.05250) and its normalisation for other
languages in MLQA's evaluation script (github facebookresearch/MLQA, mlqa_evaluation_v1.py): lower case, no
punctuation, no articles in ar, de, en, es and vi. Chinese is cut into characters there; here every script without
spaces is (`text.word_units`), in whatever language it stands. Other languages keep their articles.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Sequence

from polybatch.core.text import word_units

_ARTICLES = {
    "ar": re.compile("ال"),
    "de": re.compile(r"\b(?:ein|eine|einen|einem|eines|einer|der|die|das|den|dem|des)\b"),
    "en": re.compile(r"\b(?:a|an|the)\b"),
    "es": re.compile(r"\b(?:un|una|unos|unas|el|la|los|las)\b"),
    "vi": re.compile(r"\b(?:của|là|cái|chiếc|những)\b"),
}


def tokens(text: str, lang: str) -> list[str]:
    """The normalised tokens of a text; see the module's text."""
    kept = "".join(c for c in text.lower() if not _is_punctuation(c))
    if lang in _ARTICLES:
        kept = _ARTICLES[lang].sub(" ", kept)
    return word_units(kept)


def _is_punctuation(character: str) -> bool:
    # ASCII's symbols ($, +, <, ^, `, |, ~) count as punctuation in SQuAD's evaluation.
    return unicodedata.category(character).startswith("P") or character in "$+<=>^`|~"


def token_f1(passage: str, answers: Sequence[str], lang: str) -> float:
    """The best F1 of the passage's tokens with those of one of the answers.

    Args:
        passage: The retrieved text.
        answers: Gold answers, at least one.
        lang: ISO 639-1 code of passage and answers.

    Returns:
        0 to 1; 0 without any token in common, and where passage or answer has no token.
    """
    said = Counter(tokens(passage, lang))
    return max(_f1(said, Counter(tokens(answer, lang))) for answer in answers)


def _f1(said: Counter[str], gold: Counter[str]) -> float:
    common = (said & gold).total()
    return 2 * common / (said.total() + gold.total()) if common else 0.0
