"""Adapter: the user's own pairs, from JSON lines, CSV, TSV, Parquet or SQuAD's JSON.

One row a pair: a query and its relevant passage. With a `lang` column the file may hold translations: rows of
equal `group` are translations of one another. Without it every row is English. Faults in rows are told
together, with their line numbers; nothing is dropped silently.

The file is read once to be checked, and again whenever its pairs are asked for. In memory are, where groups join
translations, 8 bytes a row while it is checked, 16 an English row while translations are read and 24 while strings are,
whose English texts lie in a file meanwhile.

inputs: an entry of `source` or `sources` with `path`; the file
outputs: pairs, translations and parallel strings (polybatch.collect.source.Source)
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from polybatch.collect.adapters.local_groups import SHOWN, ByGroup, Groups, named
from polybatch.collect.adapters.stored_texts import Texts
from polybatch.collect.source import NO_ENGLISH, Pair, ParallelText, pair_id
from polybatch.core import stage
from polybatch.core.errors import ConfigError, DataError
from polybatch.core.languages import language
from polybatch.core.markup import strip_html, strip_markdown
from polybatch.core.row_files import FORMATS, UNANSWERED, Row, file_rows, format_of
from polybatch.core.text import clean_text, hash64, is_blank
from polybatch.core.values import Fault, Faults, identifier, is_missing, looks_converted, shown, text, texts

MARKUP: dict[str, Callable[[str], tuple[str, int]]] = {
    "plain": lambda value: (value, 0),
    "html": strip_html,
    "markdown": strip_markdown,
}
NO_ANSWER = "question without an answer"
_DEFAULT_COLUMNS = {name: name for name in ("query", "passage", "lang", "group", "hard_negatives")}
_READERS: dict[str, Callable[[object, str], Any]] = {
    "query": text,
    "passage": text,
    "lang": text,
    "group": identifier,
    "hard_negatives": texts,
}
_SHOWN_COLUMNS = 20
_TEXTS = ("query", "passage")


class LocalSource:
    """Pairs of one local file (see the module's docstring), as a source (`polybatch.collect.source.Source`).

    Args:
        spec: The config's entry: name, license, format, columns, markup, delimiter, quote.
        path: The file.

    Raises:
        ConfigError: The format is not told.
        DataError: The file, or rows of it, cannot be used.
    """

    def __init__(self, spec: dict[str, Any], path: Path) -> None:
        self.name, self.license, self.path = spec["name"], spec.get("license", "not stated"), path
        self.columns = {**_DEFAULT_COLUMNS, **spec.get("columns", {})}
        self._named = set(spec.get("columns", {})) | {"query", "passage"}
        self._dialect = {key: spec.get(key, "") for key in ("delimiter", "quote")}
        self._form = _format(spec, path)
        meaningless = [key for key, value in self._dialect.items() if value and self._form not in ("csv", "tsv")]
        if meaningless:
            raise ConfigError(
                f"{' and '.join(meaningless)} of the source have a meaning for CSV and TSV alone.",
                where=path,
                found=f"the format {self._form}",
                remedy="take them out, or set source.format",
            )
        self._markup = MARKUP[spec.get("markup", "plain")]
        self.examples: int | None = None
        self.dropped: dict[str, int] = {}
        self.left_out: dict[str, dict[str, int]] = {}
        self.markup: dict[str, int] = {}
        self.languages = tuple(sorted(self._check() - {"en"}))

    def english(self) -> Iterator[Pair]:
        """The English rows, in the file's order, but questions that are marked as having no answer."""
        self.dropped = {}
        for _, row in self._rows():
            if row["lang"] != "en":
                continue
            if row[UNANSWERED]:
                self.dropped[NO_ANSWER] = self.dropped.get(NO_ANSWER, 0) + 1
            else:
                yield self._pair(self._identity(row), row)

    def translations(self, lang: str) -> Iterator[Pair]:
        """Rows in `lang` whose group has an English row; `left_out` counts the others."""
        ids = ByGroup((row["group"], int(self._identity(row), 16)) for row in self._english_of_groups())
        without = 0
        for _, row in self._rows():
            if row["lang"] != lang:
                continue
            if (number := ids.get(row["group"])) is None:
                without += 1
            else:
                yield self._pair(f"{number:016x}", row)
        self.left_out[lang] = {NO_ENGLISH: without} if without else {}

    def strings(self, lang: str) -> Iterator[ParallelText]:
        """Queries and passages with their translations: all the parallel text there is."""
        with tempfile.TemporaryDirectory() as scratch, Texts(Path(scratch) / "english") as english:

            def stored() -> Iterator[tuple[str, int]]:
                for row in self._english_of_groups():
                    yield row["group"], len(english)
                    for side in _TEXTS:
                        english.add(row[side])

            numbers = ByGroup(stored())
            for _, row in self._rows():
                if row["lang"] == lang and (number := numbers.get(row["group"])) is not None:
                    for place, side in enumerate(_TEXTS):
                        yield ParallelText(english[number + place], row[side])

    def _english_of_groups(self) -> Iterator[dict[str, Any]]:
        return (row for _, row in self._rows() if row["lang"] == "en" and row["group"])

    def _identity(self, english: dict[str, Any]) -> str:
        return pair_id(self.name, english["query"], english["passage"])

    def _pair(self, identity: str, row: dict[str, Any]) -> Pair:
        return Pair(identity, row["query"], row["passage"], row["hard_negatives"])

    def _raw_rows(self) -> Iterator[tuple[str, Row | Fault]]:
        return file_rows(self.path, self._form, list(self.columns.values()), **self._dialect)

    def _rows(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """(where, row by our column names); they were checked when the source was opened.

        Raises:
            DataError: A row has a fault after all: the file is another one by now.
        """
        for where, raw in self._raw_rows():
            try:
                yield where, self._row(raw)
            except Fault as fault:
                found = f"{where}: {fault}"
                raise DataError("The source changed while it was read.", where=self.path, found=found) from fault

    def _check(self) -> set[str]:
        """The languages of the rows, or a DataError that lists the first faults and counts all."""
        faults = Faults(self.path)
        groups = Groups()
        languages: set[str] = set()
        where, marked, marks = "", 0, 0
        converted: list[str] = []
        for where, raw in self._raw_rows():
            try:
                row = self._row(raw)
                groups.add(row["group"], row["lang"])
            except Fault as fault:
                faults.add(where, str(fault))
                continue
            languages.add(row["lang"])
            marked, marks = marked + bool(row["marks"]), marks + row["marks"]
            converted += [f"{where}, {name} {shown(row[name])}" for name in _TEXTS if looks_converted(row[name])]
        if not where:
            raise DataError("The source file holds no row.", where=self.path)
        if repeated := groups.repeated():
            faults = self._faults_with_repeated(repeated)
        faults.tell(
            "{number} row(s) of the source cannot be used.",
            expected="in every row a query and a passage, texts that are not empty; with lang, a group for each pair",
            remedy="correct these rows, or say how the file is to be read: source.columns, format, delimiter, quote",
        )
        groups.tell(self.path, lambda: ((where, row["group"], row["lang"]) for where, row in self._rows()))
        if converted:
            told = "; ".join(converted[:SHOWN])
            stage.log.warning(
                "%s: %d texts look like printed missing values or lists, and are taken as they stand: %s%s",
                self.path,
                len(converted),
                told,
                "; ..." if len(converted) > SHOWN else "",
            )
        if marked:
            self.markup = {"rows": marked, "marks": marks}
        return languages

    def _faults_with_repeated(self, repeated: set[tuple[int, str]]) -> Faults:
        """All faults in the file's order; `repeated`: (hash, language) of groups that come twice."""
        faults = Faults(self.path)
        first: dict[tuple[int, str], str] = {}
        for where, raw in self._raw_rows():
            try:
                row = self._row(raw)
                key = (hash64(row["group"]), row["lang"])
                if key in repeated and first.setdefault(key, where) != where:
                    raise Fault(f"{named('group', row['group'])} comes twice in {row['lang']} (first in {first[key]})")
            except Fault as fault:
                faults.add(where, str(fault))
        return faults

    def _row(self, raw: Row | Fault) -> dict[str, Any]:
        """The row by our column names, texts as a person reads them.

        Raises:
            Fault: What is wrong with it, all of it.
        """
        if isinstance(raw, Fault):
            raise raw
        missing = [self.columns[name] for name in sorted(self._named) if self.columns[name] not in raw]
        if missing:
            raise Fault(f"no column {', '.join(missing)} (there are: {_listed(raw)})")
        read, faults = self._values(raw)
        if not faults:
            faults = [
                *self._empty(read["query"], read["passage"]),
                *self._lang_faults(raw, read["lang"], read["group"]),
            ]
        if faults:
            raise Fault(", ".join(faults))
        cleaned, marks = [], 0
        for side in (read["query"], read["passage"], *read["hard_negatives"]):
            plain, found = self._markup(side)
            cleaned.append(clean_text(plain))
            marks += found
        if emptied := self._empty(*cleaned[:2]):
            raise Fault(f"{emptied[0]} once its markup is taken out")
        return {
            "query": cleaned[0],
            "passage": cleaned[1],
            "lang": read["lang"] or "en",
            "group": "" if is_blank(read["group"]) else read["group"],
            "hard_negatives": cleaned[2:],
            "marks": marks,
            UNANSWERED: raw.get(UNANSWERED) is True and self._form == "squad",
        }

    def _values(self, raw: Row) -> tuple[dict[str, Any], list[str]]:
        """The row's values by our names, and the faults of those that could not be read."""
        read, faults = {}, []
        for name, reader in _READERS.items():
            try:
                read[name] = reader(raw.get(self.columns[name]), self.columns[name])
            except Fault as fault:
                faults.append(str(fault))
        return read, faults

    def _empty(self, query: str, passage: str) -> list[str]:
        blank = [
            (self.columns[name], side) for name, side in (("query", query), ("passage", passage)) if is_blank(side)
        ]
        names = " and ".join(name for name, _ in blank)
        unseen = " (invisible characters alone)" if any(side.strip() for _, side in blank) else ""
        return [f"empty {names}{unseen}"] if blank else []

    def _lang_faults(self, raw: Row, lang: str, group: str) -> Iterator[str]:
        name = self.columns["lang"]
        if is_missing(raw.get(name)):
            return
        if is_blank(lang):
            yield f"empty {name}: write en for English"
            return
        try:
            language(lang)
        except ConfigError:
            yield f"unknown language {lang!a} in {name}"
            return
        if is_blank(group):
            yield f"a language but no {self.columns['group']}, so its translations cannot be found"


def _format(spec: dict[str, Any], path: Path) -> str:
    if not path.exists():
        raise DataError("The source file is missing.", where=path, remedy="correct source.path in the config")
    if path.is_dir():
        raise DataError(
            "The source is a folder.",
            where=path,
            expected="one file with the pairs",
            found=", ".join(sorted(entry.name for entry in path.iterdir())[:5]) or "an empty folder",
            remedy="name the file in source.path; write several files as several sources",
        )
    form = spec.get("format") or format_of(path)
    if form is None:
        raise ConfigError(
            "The format of the source file is not known from its name.",
            where=path,
            expected=f"an ending among {' '.join(FORMATS)}, .gz after it or not, or source.format in the config",
            found=path.suffix or "no ending",
        )
    return str(form)


def _listed(raw: Row) -> str:
    names = [name[:60] if name.isprintable() else f"{name[:60]!a}" for name in raw]
    return ", ".join(names[:_SHOWN_COLUMNS]) + (", ..." if len(names) > _SHOWN_COLUMNS else "")
