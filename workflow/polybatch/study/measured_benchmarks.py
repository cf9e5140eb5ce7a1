"""The benchmarks of `polybatch measure`: what each word of its command line means.

inputs: words: a name of the catalogue, a folder (BEIR's layout, or SQuAD's with a file a language), or a file of
    parallel pairs, of which some are held out; each may be NAME=WORD
outputs: `Benchmark`s: entries of `benchmarks`; what is wrong with one is told before anything is computed

A folder that has the name of a benchmark of the catalogue and its layout holds that benchmark's files: their numbers of
queries and passages are then held against the published ones.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from polybatch.config.catalogue import catalogue
from polybatch.config.user_files import path_fault
from polybatch.core.errors import ConfigError, DataError
from polybatch.core.languages import LANGUAGES
from polybatch.core.lines import opened, reading
from polybatch.study.named import name_of, require_distinct, split_name

_SQUAD = ("lareqa", "mlqa")
_BREAKS = b'"sentence_breaks"'  # what only LAReQA's files hold
# A pair's passage is not shortened or dropped for its length when models are measured on it.
_LONGEST_PASSAGE = 100_000
_TOLD = 5


@dataclass(frozen=True)
class Benchmark:
    """A benchmark to measure on.

    Attributes:
        name: As tables name it.
        words: Where it comes from.
        languages: Of its queries, as far as they are to be measured.
        entry: Its entry of `benchmarks`; empty for one as the catalogue has it.
        notes: What a user must know of it.
        text: Further parts of the configuration, for held-out text: source, split and cleaning.
    """

    name: str
    words: str
    languages: tuple[str, ...]
    entry: dict[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    text: dict[str, Any] = field(default_factory=dict)


def parse_benchmarks(words: Sequence[str], languages: Sequence[str], passages: int) -> list[Benchmark]:
    """The benchmarks of a command line, each with a name of its own.

    Args:
        words: As given.
        languages: Of the queries, of every benchmark; all of each if there are none.
        passages: How many of a file's pairs are held out.

    Raises:
        ConfigError, DataError: A word means no benchmark, two have one name, or one lacks a language.
    """
    languages = list(dict.fromkeys(languages))
    for code in languages:
        if code not in LANGUAGES:
            raise ConfigError(f"Unknown language {code!r}.", where="--languages", expected=" ".join(LANGUAGES))
    found = [parse_benchmark(word, languages, passages) for word in words]
    require_distinct([one.name for one in found], words, "benchmarks")
    if sum(bool(one.text) for one in found) > 1:
        raise ConfigError("Only one file of pairs can be measured on at a time.", found=" ".join(words))
    return found


def parse_benchmark(word: str, languages: Sequence[str], passages: int) -> Benchmark:
    """One benchmark.

    Raises:
        ConfigError: It is no folder or file and not in the catalogue, or lacks a language.
        DataError: A folder holds no benchmark, or lacks the judgements.
    """
    name, text = split_name(word)
    known, path = catalogue()["benchmarks"], Path(os.path.expanduser(text))
    if path.is_dir():
        return _folder(name or name_of(path.resolve().name), path.resolve(), languages)
    if path.is_file():
        return _pairs(name or name_of(path.name.split(".")[0]), path.resolve(), languages, passages)
    if text in known:
        return _of_catalogue(name, text, languages)
    near = difflib.get_close_matches(text, known, 1)
    raise ConfigError(
        f"{text} is no benchmark.",
        expected=f"a folder, a file of parallel pairs, or one of {', '.join(known)}",
        found=path_fault(text, "file or folder"),
        remedy=f"did you mean {near[0]}?" if near else "docs/benchmarks.md says how a folder is laid out",
    )


def _of_catalogue(name: str, text: str, languages: Sequence[str]) -> Benchmark:
    entry = catalogue()["benchmarks"][text]
    if name not in ("", text):
        raise ConfigError(f"{text} of the catalogue keeps its name.", found=f"{name}={text}", remedy=f"write {text}")
    chosen = _chosen(languages, entry.get("languages") or languages, text)
    return Benchmark(text, "of the catalogue", chosen, {"languages": list(chosen)} if languages else {})


def _chosen(languages: Sequence[str], there: Iterable[str], where: object) -> tuple[str, ...]:
    """The languages asked for, all of those that are there if none are."""
    known = list(there)
    missing = [code for code in languages if code not in known]
    if missing:
        raise ConfigError(
            f"The benchmark has no queries in {', '.join(missing)}.",
            where=where,
            expected=f"languages among {' '.join(known)}",
            found=" ".join(languages),
            remedy="take them out of --languages, or add them to the benchmark",
        )
    if not known:
        raise ConfigError(
            "Nothing says which of the benchmark's languages to measure.",
            where=where,
            expected="--languages en de ...",
            found="a task of many languages",
        )
    return tuple(languages or known)


def _folder(name: str, folder: Path, languages: Sequence[str]) -> Benchmark:
    files = {
        path.name.partition(".")[0]: path
        for path in sorted(folder.iterdir())
        if path.name.endswith((".json", ".json.gz")) and path.name.partition(".")[0] in LANGUAGES
    }
    beir = _places(folder, "corpus")
    if files and not beir:
        return _squad(name, folder, files, languages)
    if not beir:
        raise DataError(
            "There is no benchmark in the folder.",
            where=folder,
            expected="corpus.jsonl, queries.jsonl and qrels/test.tsv, or a folder for each language with them (BEIR); "
            "or a <lang>.json for each language (SQuAD)",
            found=", ".join(sorted(path.name for path in folder.iterdir())[:8]) or "no file",
            remedy="docs/benchmarks.md says how a folder is laid out",
        )
    return _beir(name, folder, beir, languages)


def _squad(name: str, folder: Path, files: dict[str, Path], languages: Sequence[str]) -> Benchmark:
    chosen = _chosen(languages, files, folder)
    breaks = _holds_breaks(files[chosen[0]])
    adapter = _SQUAD[0] if breaks else _SQUAD[1]
    published = catalogue()["benchmarks"].get(name, {})
    if published.get("adapter") in _SQUAD and breaks:
        there = _chosen(languages, [code for code in published["languages"] if code in files], folder)
        return Benchmark(name, f"of the catalogue, its files from {folder}", there, _entry(folder, there))
    return Benchmark(name, f"the folder {folder}", chosen, {"adapter": adapter, **_entry(folder, chosen)})


def _entry(folder: Path, languages: Sequence[str]) -> dict[str, Any]:
    return {"path": str(folder), "languages": list(languages)}


def _holds_breaks(path: Path) -> bool:
    end = b""
    with reading(path), opened(path) as handle:
        while block := handle.read(1 << 20):
            if _BREAKS in end + block:
                return True
            end = block[-len(_BREAKS) :]
    return False


def _beir(name: str, folder: Path, corpora: list[str], languages: Sequence[str]) -> Benchmark:
    """A folder in BEIR's layout; [""] of corpora is one without folders for languages."""
    if corpora == [""]:
        if len(languages) != 1:
            raise ConfigError(
                "The language of the benchmark is not known.",
                where=folder,
                expected="--languages with the one language that it is in; for several, a folder for each",
                found=" ".join(languages) or "no --languages",
            )
        asked, passages = list(languages), list(languages)
    else:
        queries = [code for code in _places(folder, "queries") if code]
        asked = list(_chosen(languages, [code for code in queries if code in LANGUAGES], folder))
        passages = [code for code in corpora if code in asked] if set(asked) <= set(corpora) else corpora
    shared = (folder / "qrels" / "test.tsv").is_file()
    own = [code for code in asked if not (folder / code / "qrels" / "test.tsv").is_file()]
    if not shared and (own or corpora == [""]):
        raise DataError(
            "The benchmark has no judgements: which passage answers which query.",
            where=folder,
            expected="qrels/test.tsv beside the folders of the languages, or in each of them",
            found="none" + (f" in {' '.join(own)}" if own and len(own) < len(asked) else ""),
            remedy="tab-separated lines of query id, passage id, relevance: docs/benchmarks.md",
        )
    entry: dict[str, Any] = {"adapter": "beir", **_entry(folder, asked)}
    entry |= {"corpus_languages": passages} if passages != asked else {}
    notes: tuple[str, ...] = ()
    if not shared and len(asked) > 1:
        entry["settings"] = ["monolingual"]
        notes = (
            "its judgements stand inside each language, so nothing says what is a translation of what: only searching "
            "within a language is measured (docs/benchmarks.md: one qrels/test.tsv beside the languages' folders)",
        )
    return Benchmark(name, f"the folder {folder}", tuple(asked), entry, notes)


def _places(folder: Path, side: str) -> list[str]:
    """The languages that have a side ("queries", "corpus") of a benchmark; [""] where it lies in the folder itself."""
    there = [
        place.relative_to(folder).name
        for place in (folder, *sorted(path for path in folder.iterdir() if path.is_dir()))
        if any((place / f"{side}.jsonl{end}").is_file() for end in ("", ".gz"))
    ]
    return [""] if there == [""] else [code for code in there if code]


def _pairs(name: str, path: Path, languages: Sequence[str], passages: int) -> Benchmark:
    """Held-out text of a file of parallel pairs."""
    found = _languages_of_pairs(path)
    chosen = _chosen(languages, found, path)
    text = {
        "source": {"path": str(path), "name": name},
        "split": {
            "test_passages": passages,
            "dev_passages": 0,
            "parallel_in": [code for code in chosen if code != "en"],
        },
        "cleaning": {"max_words": _LONGEST_PASSAGE},
    }
    return Benchmark(name, f"pairs of {path}", chosen, {"split": "test", "languages": list(chosen)}, text=text)


def _languages_of_pairs(path: Path) -> list[str]:
    from polybatch.core.row_files import file_rows, format_of
    from polybatch.core.values import Fault

    form = format_of(path)
    if form is None:
        raise ConfigError(
            "The file's ending does not tell what it is.",
            where=path,
            expected=".jsonl, .csv, .tsv or .parquet with the columns query, passage, lang and group",
            remedy="docs/own-data.md says what such a file holds",
        )
    # What is wrong with single rows is told, with their lines, by the stage that reads them.
    first, found = "", set[str]()
    for where, row in file_rows(path, form, ["lang"]):
        if not isinstance(row, Fault):
            found.add(str(row.get("lang") or "en"))
        else:
            first = first or f"{where}: {row}"
    known = found & set(LANGUAGES)
    if not known:
        raise _no_language(path, sorted(found), first)
    return sorted(known, key=lambda code: (code != "en", code))


def _no_language(path: Path, found: Sequence[str], first_fault: str) -> DataError:
    """What is wrong with a file of pairs none of whose rows is in a language that is known."""
    if found:
        more = f" and {len(found) - _TOLD} more" if len(found) > _TOLD else ""
        return DataError(
            "No row of the file is in a language that is known.",
            where=path,
            expected="in the column lang: two letters, such as en, de or zh",
            found=", ".join(map(repr, found[:_TOLD])) + more,
            remedy="docs/own-data.md says what such a file holds",
        )
    return DataError(
        "No row of the file can be read." if first_fault else "The file holds no row.",
        where=path,
        expected="rows with the columns query, passage, lang and group",
        found=first_fault or "none",
        remedy="docs/own-data.md says what such a file holds",
    )
