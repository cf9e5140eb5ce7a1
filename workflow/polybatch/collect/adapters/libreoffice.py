"""Adapter: LibreOffice's help, natural text that people translated into many languages, out of Debian's packages.

A pair is a heading with the paragraphs below it, up to the next heading. Headings and paragraphs have the same ids in
every language, so that a translation is exact. What nobody has translated stands there in English, and is no
translation. Left out are pairs whose heading stands in several places ("Parameters:"), or whose passage stands on
several pages.

inputs: records of the help in English and in other languages (polybatch.prefetch.fetch_help), one a language
outputs: pairs, translations and parallel strings (polybatch.collect.source.Source); a pair's document is its page
"""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from polybatch.collect.adapters.libreoffice_package import checksum, pages
from polybatch.collect.adapters.libreoffice_pages import Block, blocks
from polybatch.collect.options import LibreOfficeOptions
from polybatch.collect.source import Pair, ParallelText
from polybatch.core import stage
from polybatch.core.errors import DataError
from polybatch.core.files import read_json, sha256_text
from polybatch.core.languages import help_languages, language
from polybatch.core.text import text_key, word_count

# Keys of a config entry that others read.
_NOT_OPTIONS = {"name", "adapter", "license", "weight", "max_pairs", "translate"}
# A text of so many words, of which so large a share stands in the English one, is English.
_WORDS_TO_TELL, _SAME_WORDS = 5, 0.8
_DIGIT, _UNSPACED = re.compile(r"\d"), re.compile("[\u3040-\u30ff\u4e00-\u9fff]")
_COLON = re.compile(r"[:：]\s*$")

MISSING, PARTLY_ENGLISH = "a part missing", "a part left in English"  # of a section

Page = tuple[str, list[Block]]
Texts = dict[tuple[str, str], str]  # (page, id) -> text


def options_of(spec: Mapping[str, Any]) -> LibreOfficeOptions:
    """The options of a config entry `{name, adapter, ...}`; a ConfigError with all faults."""
    return LibreOfficeOptions.from_values({key: value for key, value in spec.items() if key not in _NOT_OPTIONS})


@dataclass(frozen=True)
class Section:
    """A heading and the paragraphs below it that make its passage, all with ids."""

    page: str
    heading: Block
    paragraphs: tuple[Block, ...]

    @property
    def passage(self) -> str:
        """The texts of the paragraphs, joined by single spaces."""
        return " ".join(block.text for block in self.paragraphs)


class LibreOffice:
    """LibreOffice's help (see the module's docstring), as a source (`polybatch.collect.source.Source`).

    Args:
        spec: The entry, `{name, adapter, ...LibreOfficeOptions}`.
        record: The record of the English help; those of the other languages lie beside it, as <lang>.json.

    Raises:
        ConfigError: An unknown option.
        DataError: The English help was not fetched, or changed since.
    """

    def __init__(self, spec: Mapping[str, Any], record: Path) -> None:
        self.options = options_of(spec)
        self.name, self.license = spec["name"], spec.get("license", "MPL-2.0")
        self.languages = help_languages(spec)
        self.examples: int | None = None
        self.dropped: dict[str, int] = {}
        self.left_out: dict[str, dict[str, int]] = {}
        self.markup: dict[str, int] = {}  # tags are how its pages are told apart into texts, and in none of them
        self._records = record.parent
        self._english = _opened(record, "en")
        self._sections: list[Section] | None = None
        self._texts: Texts = {}
        self._last: tuple[str, Texts] = "", {}

    def english(self) -> Iterator[Pair]:
        """The English pairs: a heading, and what stands below it; see the module's docstring for what is left out."""
        for section in self._read():
            yield Pair(self._identity(section), section.heading.text, section.passage, document=self._document(section))

    def translations(self, lang: str) -> Iterator[Pair]:
        """The sections that are translated whole; `left_out` counts those of which a part has no translation.

        Raises:
            DataError: The help in `lang` was not fetched, changed since, or is of a version with other ids.
        """
        sections, other = self._read(), self._other(lang)
        counts: Counter[str] = Counter()
        joint = " " if language(lang).spaced else ""
        for section in sections:
            texts = [other.get((section.page, block.identity), "") for block in (section.heading, *section.paragraphs)]
            if not all(texts):
                counts[MISSING] += 1
            elif any(map(_same, texts, (section.heading.text, *(block.text for block in section.paragraphs)))):
                counts[PARTLY_ENGLISH] += 1
            else:
                passage = joint.join(texts[1:])
                yield Pair(self._identity(section), texts[0], passage, document=self._document(section))
        self.left_out[lang] = dict(counts)

    def strings(self, lang: str) -> Iterator[ParallelText]:
        """Every heading and paragraph that is translated, also those that are in no pair."""
        self._read()
        other = self._other(lang)
        for (page, identity), english in self._texts.items():
            text = other.get((page, identity), "")
            if text and not _same(text, english):
                yield ParallelText(english, text, f"{self.name}/{page}")

    def _read(self) -> list[Section]:
        """The sections that become pairs; fills `dropped` and `_texts`."""
        if self._sections is None:
            read = list(_pages(self._english, "en"))
            self._texts = _texts(read)
            dropped: Counter[str] = Counter()
            self._sections = _unambiguous(_sections(read, self.options, dropped), self.options, dropped)
            self.dropped = dict(dropped)
        return self._sections

    def _other(self, lang: str) -> Texts:
        """The texts of another language; the last one is remembered."""
        if self._last[0] != lang:
            self._last = lang, self._read_other(lang)
        return self._last[1]

    def _read_other(self, lang: str) -> Texts:
        record = _opened(self._records / f"{lang}.json", lang)
        texts = _texts(_pages(record, lang))
        aligned = sum(key in texts for key in self._texts) / max(1, len(self._texts))
        versions = f"English {self._english['version'] or 'unknown'}, {lang} {record['version'] or 'unknown'}"
        if record["version"] != self._english["version"]:
            stage.log.warning("the help is of different versions (%s): %.1f %% aligned", versions, 100 * aligned)
        if aligned < self.options.min_aligned:
            raise DataError(
                f"The help in {language(lang).name} does not fit the English one.",
                where=record["path"],
                expected=f"{self.options.min_aligned:.0%} of the English headings and paragraphs, by their ids",
                found=f"{aligned:.1%}; versions: {versions}",
                remedy="fetch both in the same version: delete the packages and run `snakemake prefetch`",
            )
        return texts

    def _identity(self, section: Section) -> str:
        return sha256_text(self.name, section.page, section.heading.identity)[:16]

    def _document(self, section: Section) -> str:
        return f"{self.name}/{section.page}"


def _opened(record: Path, lang: str) -> dict[str, Any]:
    """The record of a language, whose package is as it was recorded."""
    if not record.is_file():
        raise DataError(
            f"The help in {language(lang).name} was not fetched.", where=record, remedy="run `snakemake prefetch`"
        )
    entry: dict[str, Any] = read_json(record)
    path = Path(entry["path"])
    if not path.exists():
        found = "it is no longer there"
    elif (digest := checksum(path, lang)) != entry["sha256"]:
        found = f"sha256 {digest}"
    else:
        return entry
    raise DataError(
        f"The help in {language(lang).name} is not as it was fetched.",
        where=path,
        expected=f"sha256 {entry['sha256']}",
        found=found,
        remedy=f"put it back, or delete {record} and run `snakemake prefetch`",
    )


def _pages(record: Mapping[str, Any], lang: str) -> Iterator[Page]:
    for page, content in pages(Path(record["path"]), lang):
        yield page, blocks(content)


def _texts(read: Iterable[Page]) -> Texts:
    return {
        (page, block.identity): block.text for page, found in read for block in found if block.identity and block.text
    }


def _same(text: str, english: str) -> bool:
    """Whether a text is the English one, or an earlier wording of it that was left in its place."""
    if text == english:
        return True
    own, other = text_key(text), text_key(english)
    known = set(other.split())
    # A word of a script without spaces is a clause: its characters count.
    words = {word: len(word) if _UNSPACED.search(word) else 1 for word in own.split() if _is_telling(word)}
    shared = sum(word in known for word in words)
    return own == other or (len(words) >= _WORDS_TO_TELL and shared >= _SAME_WORDS * sum(words.values()))


def _is_telling(word: str) -> bool:
    """Whether a word tells languages apart: those of formulas do not."""
    return not _DIGIT.search(word) and (len(word) > 2 or not word.isascii())


def _sections(read: Iterable[Page], options: LibreOfficeOptions, dropped: Counter[str]) -> list[Section]:
    """Every heading with the paragraphs below it; fills `dropped` with headings that have none."""
    sections = []
    for page, found in sorted(read, key=lambda page: page[0]):
        starts = [at for at, block in enumerate(found) if block.is_heading]
        for start, end in itertools.pairwise([*starts, len(found)]):
            heading = found[start]
            if not heading.text:
                continue  # a heading of another page, or an empty one
            paragraphs = _passage(found[start + 1 : end], options.max_words)
            if not heading.identity:
                dropped["heading without an id of its own"] += 1
            elif not paragraphs:
                dropped["heading without a paragraph of at most max_words"] += 1
            else:
                sections.append(Section(page, heading, paragraphs))
    return sections


def _passage(found: list[Block], max_words: int) -> tuple[Block, ...]:
    """The paragraphs, up to `max_words` in all, without those that announce what is left out ("For example:")."""
    kept: list[Block] = []
    words = 0
    for block, following in itertools.pairwise([*found, Block("", "", False)]):
        if (
            not block.identity
            or not any(map(str.isalpha, block.text))
            or (_COLON.search(block.text) and not following.text)
        ):
            continue
        words += word_count(block.text)
        if words > max_words:
            break
        kept.append(block)
    while kept and _COLON.search(kept[-1].text):
        kept.pop()
    return tuple(kept)


def _unambiguous(sections: list[Section], options: LibreOfficeOptions, dropped: Counter[str]) -> list[Section]:
    """The sections of the wanted length whose heading and passage stand in no other; the others are counted."""
    headings = Counter(text_key(section.heading.text) for section in sections)
    passages = Counter(text_key(section.passage) for section in sections)
    kept = []
    for section in sections:
        if word_count(section.passage) < options.min_words:
            dropped["passage of less than min_words"] += 1
        elif headings[text_key(section.heading.text)] > 1:
            dropped["heading in several places"] += 1
        elif passages[text_key(section.passage)] > 1:
            dropped["passage in several places"] += 1
        else:
            kept.append(section)
    return kept
