"""Means of a model's vectors by language, as `polybatch.posthoc.means` saved them.

inputs: language_means/<run>/<side>.parquet (contracts.LANGUAGE_MEANS)
outputs: means (dim,) float64 and the number of texts behind each; too few texts are refused
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from polybatch.core import contracts, made_from
from polybatch.core.errors import DataError, made_again
from polybatch.core.files import read_parquet
from polybatch.core.stage import log
from polybatch.posthoc.texts import ALL, COLUMNS, ENGLISH, WITH_ENGLISH

if TYPE_CHECKING:
    import numpy as np


class Mean(NamedTuple):
    """A mean of vectors.

    Attributes:
        texts: How many it is of.
        vector: (dim,) float64; empty where there are no texts.
    """

    texts: int
    vector: np.ndarray


@dataclass
class LanguageMeans:
    """The means of one model, and which of them were asked for.

    Attributes:
        found: (side, language, part) -> mean.
        files: Which they were read from.
        min_texts: Of how many texts a mean must be.
        counts: "<column>.<lang>" -> texts behind the means that were asked for.
    """

    found: Mapping[tuple[str, str, str], Mean]
    files: Sequence[Path]
    min_texts: int
    counts: dict[str, int] = field(default_factory=dict)

    @classmethod
    def read(cls, files: Sequence[Path], model: str, min_texts: int) -> LanguageMeans:
        """Reads the means of one or both sides.

        Args:
            files: One a side.
            model: `made_from.digest` of the model that they must be of.
            min_texts: Of how many texts a mean must be, where it is asked for.

        Raises:
            DataError: A file cannot be read, or is of another model.
        """
        found = {}
        for file in files:
            record = made_from.read_record(file)
            if record is None or record["inputs"].get("model") != model:
                raise DataError(
                    "The means of languages are those of another model.",
                    where=file,
                    expected=f"a model whose files have the digest {model}",
                    found=str(record["inputs"].get("model")) if record else "no record of what they were made from",
                    remedy=made_again(file),
                )
            for row in read_parquet(file, contracts.LANGUAGE_MEANS).to_pylist():
                found[row["side"], row["lang"], row["part"]] = Mean(row["texts"], _vector(row["mean"]))
        return cls(found, files, min_texts)

    @property
    def languages(self) -> list[str]:
        """All training languages, in the order of the configuration."""
        return list(dict.fromkeys(lang for _, lang, _ in self.found))

    def of_languages(self, side: str) -> dict[str, np.ndarray]:
        """Language -> the mean of the vectors of its texts of a side ("queries" or "corpus"), each text once.

        Raises:
            DataError: There are too few texts in one or more languages; all of them are told.
        """
        means = self._wanted(side, ALL, self.languages)
        self._count(COLUMNS[side], means)
        return {lang: mean.vector for lang, mean in means.items()}

    def differences(self) -> dict[str, np.ndarray]:
        """Language, but English -> the mean difference of its passages' vectors to those of the same in English.

        Raises:
            DataError: There are too few passages with their English in one or more languages; all of them are told.
        """
        others = [lang for lang in self.languages if lang != "en"]
        theirs, ours = (self._wanted("corpus", part, others) for part in (WITH_ENGLISH, ENGLISH))
        self._count(COLUMNS["corpus"], theirs)
        return {lang: theirs[lang].vector - ours[lang].vector for lang in others}

    def _wanted(self, side: str, part: str, languages: Iterable[str]) -> dict[str, Mean]:
        wanted = {lang: self.found.get((side, lang, part)) for lang in languages}
        if absent := [lang for lang, mean in wanted.items() if mean is None]:
            raise DataError(
                f"There are no means of the {side} ({part}).",
                where=", ".join(map(str, self.files)),
                expected=f"those of {' '.join(wanted)}",
                found=f"none of {' '.join(absent)}",
                remedy="give the files of both sides, made from text of all languages",
            )
        return {lang: mean for lang, mean in wanted.items() if mean is not None}

    def _count(self, column: str, means: Mapping[str, Mean]) -> None:
        numbers = {lang: mean.texts for lang, mean in means.items()}
        few = {lang: number for lang, number in numbers.items() if number < self.min_texts}
        if few:
            raise DataError(
                f"There are too few training texts to say where a language's {column} vectors lie.",
                where=", ".join(map(str, self.files)),
                expected=f"at least {self.min_texts} distinct ones in each training language",
                found=", ".join(f"{lang}: {number}" for lang, number in few.items()),
                remedy="train on more text, leave the language out of languages.train, or lower projection.min_texts",
            )
        self.counts.update({f"{column}.{lang}": number for lang, number in numbers.items()})
        log.info("%s vectors of %s", column, ", ".join(f"{number} in {lang}" for lang, number in numbers.items()))


def _vector(values: Sequence[float]) -> np.ndarray:
    import numpy as np

    return np.asarray(values, np.float64)
