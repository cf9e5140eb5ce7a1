"""Means of a model's vectors over training text, by language: what projections are estimated from.

inputs: a model, parallel/<lang>.parquet of all training languages
outputs: means (dim,) float64 and the number of texts behind each; too few texts are refused
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from polybatch.core.errors import DataError
from polybatch.core.stage import Progress, log
from polybatch.embedding.embedder import Embedder, Model, prompt_of
from polybatch.posthoc.options import ProjectionOptions
from polybatch.posthoc.texts import Text, choose, texts_of

if TYPE_CHECKING:
    import numpy as np

_TEXTS_AT_A_TIME = 16_384
# Side of a benchmark -> column of the training text.
COLUMNS = {"queries": "query", "corpus": "passage"}


@dataclass
class Means:
    """Embeds training text with one model, and counts it.

    Attributes:
        model: With the options that the study embeds with.
        parallel: Language -> its training text.
        options: How many texts are taken, and needed.
        counts: "<column>.<lang>" -> texts that a mean is of.
    """

    model: Model
    parallel: Mapping[str, Path]
    options: ProjectionOptions
    counts: dict[str, int] = field(default_factory=dict)

    def of_languages(self, side: str) -> dict[str, np.ndarray]:
        """Language -> the mean of the vectors of its texts of a side ("queries" or "corpus"), each text once.

        Raises:
            DataError: There are too few texts in one or more languages; all of them are told.
        """
        column = COLUMNS[side]
        chosen = {lang: choose(path, column, self.options.texts) for lang, path in self.parallel.items()}
        self._count(column, {lang: len(texts) for lang, texts in chosen.items()})
        return {lang: self._mean(side, lang, [text.text for text in texts]) for lang, texts in chosen.items()}

    def differences(self) -> dict[str, np.ndarray]:
        """Language, but English -> the mean difference of its passages' vectors to those of the same in English.

        Raises:
            DataError: There are too few passages with their English in one or more languages; all of them are told.
        """
        others = {lang: path for lang, path in self.parallel.items() if lang != "en"}
        chosen = {lang: choose(path, "passage", self.options.texts) for lang, path in others.items()}
        wanted = {text.pair_id for texts in chosen.values() for text in texts}
        english = texts_of(self.parallel["en"], "passage", wanted)
        both = {lang: [text for text in texts if text.pair_id in english] for lang, texts in chosen.items()}
        self._count("passage", {lang: len(texts) for lang, texts in both.items()})
        return {lang: self._difference(lang, texts, english) for lang, texts in both.items()}

    def _difference(self, lang: str, texts: Sequence[Text], english: Mapping[str, str]) -> np.ndarray:
        originals = [english[text.pair_id] for text in texts]
        return self._mean("corpus", lang, [text.text for text in texts]) - self._mean("corpus", "en", originals)

    def _count(self, column: str, numbers: Mapping[str, int]) -> None:
        few = {lang: number for lang, number in numbers.items() if number < self.options.min_texts}
        if few:
            raise DataError(
                f"There are too few training texts to say where a language's {column} vectors lie.",
                where=", ".join(str(self.parallel[lang]) for lang in few),
                expected=f"at least {self.options.min_texts} distinct ones in each training language",
                found=", ".join(f"{lang}: {number}" for lang, number in few.items()),
                remedy="train on more text, leave the language out of languages.train, or lower projection.min_texts",
            )
        self.counts.update({f"{column}.{lang}": number for lang, number in numbers.items()})
        log.info("%s vectors of %s", column, ", ".join(f"{number} in {lang}" for lang, number in numbers.items()))

    def _mean(self, side: str, lang: str, texts: Sequence[str]) -> np.ndarray:
        """(dim,) float64."""
        import numpy as np
        import pyarrow as pa

        model = self.model.loaded
        embedder = Embedder(model, side, prompt_of(model, side, self.model.options), self.model.options)
        progress, sums = Progress(f"{side}/{lang}", len(texts), "texts"), []
        for start in range(0, len(texts), _TEXTS_AT_A_TIME):
            part = pa.array(list(texts[start : start + _TEXTS_AT_A_TIME]), pa.string())
            sums.append(embedder.embed(embedder.prepare(part, part), progress).sum(axis=0, dtype=np.float64))
        progress.end()
        mean: np.ndarray = np.sum(sums, axis=0) / len(texts)
        return mean
