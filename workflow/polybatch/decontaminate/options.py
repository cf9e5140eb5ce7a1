"""The options of decontamination: what counts as overlap between training and evaluation text."""

from __future__ import annotations

from polybatch.core.option_types import Names
from polybatch.core.options import Options, Section, option

QUERY = "query"


class OverlapOptions(Options):
    """What counts as overlap: n-grams in words, thresholds as shares from 0 to 1."""

    ngram: int = option(5, "Passages: words of an n-gram.", ge=1)
    threshold: float = option(0.5, "Passages: the share of the shorter text's n-grams that must be shared.", gt=0, le=1)
    query_ngram: int = option(3, "Queries: words of an n-gram.", ge=1)
    query_threshold: float = option(
        0.6, "Queries: the share of the longer one's n-grams that must be shared.", gt=0, le=1
    )
    min_shared: int = option(
        3,
        "Distinct n-grams that must be shared, whatever the share: a short sentence must be there nearly whole.",
        ge=1,
    )
    min_words: int = option(3, "Texts of fewer words are compared as wholes alone.", ge=1)
    max_ngram_passages: int = option(
        200_000,
        "Of a larger corpus, in one language, only the relevant passages are compared by n-grams; all are compared as "
        "wholes.",
        ge=1,
    )
    max_texts_per_ngram: int = option(
        200, "An n-gram of more evaluation texts is a phrase of the trade: it counts nowhere.", ge=1
    )

    def of(self, family: str) -> tuple[int, float]:
        """(n, threshold) for a family of texts, "query" or "passage"."""
        return (self.query_ngram, self.query_threshold) if family == QUERY else (self.ngram, self.threshold)


class DecontaminationSection(Section, OverlapOptions):
    """`decontamination` of a configuration."""

    enabled: bool = option(True, "`false` trains on everything.")
    benchmarks: Names = option([], "Benchmarks kept out beyond those of the study, which always are.")
