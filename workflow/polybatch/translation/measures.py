"""Measures of round trips that the filter holds against its thresholds, taken where and while they are translated.

inputs: English texts, their translations, and what came back of these
outputs: the measured columns of contracts.ROUND_TRIP

No threshold is known here: other thresholds are another verdict (polybatch.translation.accept) on the same measures.
They are taken on a thread beside CTranslate2, which computes without Python. Each distinct text is measured once.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, NamedTuple, Self

from polybatch.collect.language_identification import is_known, language_confidence
from polybatch.core import stage
from polybatch.core.languages import language
from polybatch.core.text import same_key, text_key, word_count, word_shingles

EMPTY, COPIED = "empty", "copied source"
_LANGUAGE_MIN_LETTERS = 20  # language identification of anything shorter is a guess
_CONFIDENCE_DIGITS = 6  # lingua's last bits differ from call to call; a shard made again must be the same
_COPY_MIN_WORDS = 3  # a name of one or two words may well be the same in both languages


class Translated(NamedTuple):
    """What is measured of a translation.

    Attributes:
        fault: Why no threshold lets it pass; "" if none.
        repetition: As `repetition` has it.
    """

    fault: str
    repetition: float


class Passage(NamedTuple):
    """What is measured of a translated passage besides.

    Attributes:
        length_ratio: Its characters to those of the English passage, relative to what is usual in the language.
        language_confidence: 0 to 1, to six digits; None if it is too short to be judged, or nobody knows the language.
    """

    length_ratio: float
    language_confidence: float | None


class Measurer:
    """Measures round trips into one language, on a thread of its own while it is entered."""

    def __init__(self, lang: str) -> None:
        self._length = language(lang).length
        self._confidence = language_confidence(lang) if is_known(lang) else None
        if self._confidence is None:
            stage.log.warning("%s: lingua does not know the language; no text is checked to be in it", lang)
        self._beside = ThreadPoolExecutor(1, thread_name_prefix="measures")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._beside.shutdown(cancel_futures=True)

    def begin(self, there: Mapping[str, str], passages: Iterable[str]) -> PartMeasures:
        """Begins with the translations of a part, English text -> translation; `passages` are some of its keys."""
        translated = self._beside.submit(lambda: {text: self._translated(text, there[text]) for text in there})
        passage = self._beside.submit(lambda: {text: self._passage(text, there[text]) for text in set(passages)})
        return PartMeasures(self._beside, there, translated, passage)

    def _translated(self, english: str, text: str) -> Translated:
        key = text_key(text)
        copied = word_count(english) >= _COPY_MIN_WORDS and same_key(english) == key.replace(" ", "")
        return Translated(EMPTY if not key else COPIED if copied else "", repetition(key))

    def _passage(self, english: str, text: str) -> Passage:
        ratio = len(text) / max(1, len(english)) / self._length  # of no English there is no translation: "empty"
        letters = sum(map(str.isalpha, text))
        if self._confidence is None or letters < _LANGUAGE_MIN_LETTERS * self._length:
            return Passage(ratio, None)
        return Passage(ratio, round(self._confidence(text), _CONFIDENCE_DIGITS))


class PartMeasures:
    """The measures of one part of a shard; `came_back` takes its back-translations as they come."""

    def __init__(
        self,
        beside: ThreadPoolExecutor,
        there: Mapping[str, str],
        translated: Future[dict[str, Translated]],
        passages: Future[dict[str, Passage]],
    ) -> None:
        from sacrebleu.metrics import CHRF

        self._beside, self._translated, self._passages = beside, translated, passages
        self._sentence_chrf = CHRF().sentence_score
        self._english: dict[str, list[str]] = defaultdict(list)
        for english, text in there.items():
            self._english[text].append(english)
        self._chrf: list[Future[dict[str, float]]] = []

    def came_back(self, back: Mapping[str, str]) -> None:
        """Takes translation -> English of some of them."""
        self._chrf.append(self._beside.submit(self._chrf_of, back))

    def _chrf_of(self, back: Mapping[str, str]) -> dict[str, float]:
        pairs = [(english, back[text]) for text in back for english in self._english[text]]
        return {english: self._sentence_chrf(text, [english]).score for english, text in pairs}

    def columns(self, pairs: Iterable[tuple[str, str]]) -> list[dict[str, Any]]:
        """The measured columns of pairs of an English query and an English passage; waits for what is not done yet."""
        texts, passages = self._translated.result(), self._passages.result()
        chrf_of = {english: score for part in self._chrf for english, score in part.result().items()}
        rows = []
        for query, passage in pairs:
            faults = {texts[query].fault, texts[passage].fault}
            rows.append(
                {
                    "query_chrf": chrf_of[query],
                    "passage_chrf": chrf_of[passage],
                    "query_repetition": texts[query].repetition,
                    "passage_repetition": texts[passage].repetition,
                    **passages[passage]._asdict(),
                    "fault": next((fault for fault in (EMPTY, COPIED) if fault in faults), ""),
                }
            )
        return rows


def repetition(key: str) -> float:
    """Share of word trigrams (`text.word_shingles`) of a `text_key` that repeat an earlier one; 0 for under four."""
    grams = word_shingles(key, 3)
    return 1 - len(set(grams)) / len(grams) if len(grams) >= 4 else 0.0
