"""Adapter: EntityQuestions (Sciavolino et al., EMNLP 2021), whose questions get a passage by BM25.

inputs: `dataset/train/P*.train.json` files (lists of {question, answers}; .jsonl with one a line), in a fetched
    repository, a folder or the zip archive of github.com/princeton-nlp/EntityQuestions; and passages, English, from
    other collected sources or a file
outputs: (question, passage) pairs: of the best passages by BM25 the first that holds an answer; a question without
    one is dropped and counted

The data set has questions and answers only; how its passages were found for training is not said in the paper that
this project follows (arXiv 2408.10536). unverified: that it was done like this. An answer counts as held when its
`text.text_key` stands in the passage's, at word boundaries.
"""

from __future__ import annotations

import tempfile
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from polybatch.collect.adapters.hub_data import hub_options
from polybatch.collect.adapters.stored_texts import Texts
from polybatch.collect.options import MiningOptions
from polybatch.collect.source import Pair, ParallelText, pair_id
from polybatch.core import json_text, stage, values
from polybatch.core.errors import ConfigError, DataError
from polybatch.core.files import open_parquet, read_json
from polybatch.core.hub import read_record
from polybatch.core.streams import told
from polybatch.core.text import clean_text, hash64, is_blank, text_key
from polybatch.core.values import Fault, Faults, shown

PAPER_PAIRS = 176_975  # Elmahdy, Lin, Ahmad (arXiv 2408.10536, table 1), after their cleaning
_PATTERN = "P*.{split}.json*"
_QUESTIONS_AT_ONCE = 256
_TEXT_COLUMNS = ("passage", "text")  # of a file of passages: ours, then what most call it
_JSON_ENDINGS = (".json", ".jsonl")

Question = tuple[str, list[str]]  # its text, its answers


def request(spec: dict[str, Any]) -> dict[str, Any]:
    """See `adapters.registry.request`; the config must name a repository, or the address of the archive."""
    options = hub_options(spec, MiningOptions)
    if not options.repo and "url" in spec:
        return {"kind": "files", "files": {"questions": {k: spec[k] for k in ("url", "sha256") if k in spec}}}
    if not options.repo:
        raise ConfigError(
            f"The source {spec['adapter']} has no repository of its own on the hub.",
            expected="sources.<name>.repo with its revision, or sources.<name>.path",
            remedy="see docs/collect.md",
        )
    return {
        "repo": options.repo,
        "kind": "dataset",
        "revision": options.revision or "main",
        "files": [f"*{_PATTERN.format(split=options.split or 'train')}"],
    }


class EntityQuestions:
    """Questions with a mined passage (see the module's docstring).

    Args:
        spec: The config entry, `{name, adapter, ...MiningOptions}`.
        path: A hub record, or a folder or zip archive that holds the question files at any depth.
        passages: Parquet files with a text column "passage" or "text".

    Raises:
        ConfigError: An unknown option.
    """

    languages: tuple[str, ...] = ()
    examples: int | None = None

    def __init__(self, spec: dict[str, Any], path: Path, passages: Sequence[Path] = ()) -> None:
        self.options = hub_options(spec, MiningOptions)
        self.name, self.license = spec["name"], self.options.license or "not declared"
        self.dropped: dict[str, int] = {}
        self.left_out: dict[str, dict[str, int]] = {}
        self.markup: dict[str, int] = {}
        self.passages = list(passages)
        self.path, self._split = path, self.options.split or "train"

    def english(self) -> Iterator[Pair]:
        """Pairs in the order of the questions; a question that is met again is passed over.

        Raises:
            ConfigError: There are no passages, or more than `max_passages`.
            DataError: A file of questions or passages cannot be read.
        """
        if not self.passages:
            raise ConfigError(
                f"The questions of {self.name} have no passages, and none are given to look them up in.",
                expected=f"sources.{self.name}.passages (--passages): files with English passages",
            )
        dropped: Counter[str] = Counter()
        self.dropped = dropped
        with tempfile.TemporaryDirectory() as scratch, Texts(Path(scratch) / "passages") as texts:
            index = Bm25(stored(distinct_passages(self.passages), texts, self.options.max_passages))
            stage.log.info("%s: %d passages indexed", self.name, len(texts))
            questions = _distinct(read_questions(self.path, self._split), dropped)
            for question, passage in mine(questions, index, texts, self.options.depth, dropped):
                yield Pair(pair_id(self.name, question, passage), question, passage)

    def translations(self, lang: str) -> Iterator[Pair]:
        return iter(())

    def strings(self, lang: str) -> Iterator[ParallelText]:
        return iter(())


def mine(
    questions: Iterable[Question], index: Bm25, texts: Texts, depth: int, dropped: Counter[str]
) -> Iterator[tuple[str, str]]:
    """(question, passage) for each question that one of its `depth` best passages answers."""
    waiting: list[Question] = []
    for question in questions:
        waiting.append(question)
        if len(waiting) == _QUESTIONS_AT_ONCE:
            yield from _mine(waiting, index, texts, depth, dropped)
            waiting.clear()
    yield from _mine(waiting, index, texts, depth, dropped)


def _mine(
    questions: list[Question], index: Bm25, texts: Texts, depth: int, dropped: Counter[str]
) -> Iterator[tuple[str, str]]:
    for (question, answers), found in zip(questions, index.best([q for q, _ in questions], depth), strict=True):
        passage = next((text for text in map(texts.__getitem__, found) if holds_answer(text, answers)), None)
        if passage is None:
            dropped["no passage holds an answer"] += 1
        else:
            yield question, passage


def holds_answer(passage: str, answers: Iterable[str]) -> bool:
    """Whether an answer stands in the passage, by `text_key`, at word boundaries."""
    inside = f" {text_key(passage)} "
    return any(f" {key} " in inside for key in map(text_key, answers) if key)


class Bm25:
    """A BM25 index (bm25s, Lucene's formula with its defaults) of texts by their number."""

    def __init__(self, texts: Iterable[str]) -> None:
        import bm25s
        from bm25s.tokenization import Tokenized

        self.vocabulary: dict[str, int] = {}
        number = self.vocabulary.setdefault
        ids = [[number(word, len(self.vocabulary)) for word in text_key(text).split()] for text in texts]
        self.size = len(ids)
        if not self.size or not self.vocabulary:
            raise DataError("There is no passage to look questions up in.", found="no text in the files of passages")
        self._index = bm25s.BM25()
        self._index.index(Tokenized(ids=ids, vocab=self.vocabulary), create_empty_token=False, show_progress=False)

    def best(self, queries: Sequence[str], depth: int) -> list[list[int]]:
        """For each query the numbers of its best texts, best first, equal scores by number; none of score 0."""
        known = [[word for word in text_key(query).split() if word in self.vocabulary] for query in queries]
        found: list[list[int]] = [[] for _ in queries]
        asked = [i for i, words in enumerate(known) if words]
        if asked:
            numbers, scores = self._index.retrieve(
                [known[i] for i in asked], k=min(depth, self.size), show_progress=False, n_threads=1
            )
            for i, row, values in zip(asked, numbers, scores, strict=True):
                order = np.lexsort((row, -values))
                found[i] = [int(row[j]) for j in order if values[j] > 0]
        return found


def stored(passages: Iterable[str], texts: Texts, limit: int) -> Iterator[str]:
    """Adds passages to `texts` and yields each; a ConfigError if there are more than `limit`."""
    for passage in passages:
        if len(texts) == limit:
            raise ConfigError(
                "There are more passages to look questions up in than the limit allows.",
                expected=f"at most {limit} distinct passages (max_passages)",
                remedy="raise max_passages, at about 6.5 KB of memory each, or give fewer passages",
            )
        texts.add(passage)
        yield passage


def distinct_passages(paths: Sequence[Path]) -> Iterator[str]:
    """Clean texts of the files' passage columns, each once.

    Raises:
        DataError: A file is no Parquet, or has no text column of a known name.
    """
    seen: set[int] = set()
    for path in paths:
        parquet = open_parquet(path)
        column = next((name for name in _TEXT_COLUMNS if name in parquet.schema_arrow.names), None)
        if column is None:
            raise DataError(
                "A file of passages has no column of text.",
                where=path,
                expected=" or ".join(_TEXT_COLUMNS),
                found=", ".join(parquet.schema_arrow.names),
            )
        for batch in told(parquet.iter_batches(columns=[column]), path):
            for text in batch.column(0).to_pylist():
                clean = clean_text(text or "")
                key = hash64(text_key(clean))
                if clean and key not in seen:
                    seen.add(key)
                    yield clean


def _distinct(questions: Iterable[Question], dropped: Counter[str]) -> Iterator[Question]:
    seen: set[int] = set()
    for question, answers in questions:
        key = hash64(text_key(question))
        if key in seen:
            dropped["question met before"] += 1
            continue
        seen.add(key)
        yield question, answers


def read_questions(path: Path, split: str) -> Iterator[Question]:
    """Questions of all relations, in the order of the file names.

    Args:
        path: See EntityQuestions.
        split: "train", "dev" or "test"; part of the file names.

    Raises:
        DataError: There is no such file, or one is not JSON of the expected form.
    """
    pattern = _PATTERN.format(split=split)
    for where, raw in _question_files(path, pattern):
        yield from _questions(where, raw)


def _question_files(path: Path, pattern: str) -> Iterator[tuple[str, bytes]]:
    files: Iterator[tuple[str, bytes]]
    if path.suffix == ".json" and "files" in (record := read_json(path)):
        path = Path(record["files"]["questions"]["path"])  # an archive, fetched by its address
    if path.is_dir():
        found = _one_form([p for p in path.rglob(pattern) if p.suffix in _JSON_ENDINGS])
        files = ((str(p), p.read_bytes()) for p in found)
    elif zipfile.is_zipfile(path):
        found, files = _zipped(path, pattern)
    else:
        found = _one_form([p for p in read_record(path).files(f"*{pattern}") if p.suffix in _JSON_ENDINGS])
        files = ((str(p), p.read_bytes()) for p in found)
    if not found:
        raise DataError("There are no questions.", where=path, expected=f"files {pattern}", found="none")
    yield from files


def _zipped(path: Path, pattern: str) -> tuple[list[Any], Iterator[tuple[str, bytes]]]:
    with _told(path):
        archive = zipfile.ZipFile(path)
    names = [Path(name) for name in archive.namelist()]
    found = _one_form([name for name in names if name.match(pattern) and "__MACOSX" not in name.parts])

    def member(name: Path) -> tuple[str, bytes]:
        with _told(path):
            return f"{path}: {name}", archive.read(name.as_posix())

    return found, map(member, found)


@contextmanager
def _told(path: Path) -> Iterator[None]:
    """What a damaged archive raises becomes a DataError; RuntimeError is zipfile's word for one that it cannot read."""
    try:
        yield
    except (OSError, EOFError, RuntimeError, UnicodeDecodeError, zipfile.BadZipFile, zlib.error) as error:
        found = f"{type(error).__name__}: {error}"
        raise DataError("An archive cannot be read.", where=path, found=found, remedy="fetch it again") from error


def _one_form(paths: list[Path]) -> list[Path]:
    """Sorted; of P1.train.json and P1.train.jsonl, which say the same, only the first."""
    by_stem: dict[Path, Path] = {}
    for path in sorted(paths, key=lambda p: p.as_posix()):
        by_stem.setdefault(path.with_suffix(""), path)
    return list(by_stem.values())


def _questions(where: str, raw: bytes) -> Iterator[Question]:
    expected = 'a list of {"question": text, "answers": [text, ...]}, or one such a line'
    faults = Faults(where)
    questions: list[Question] = []
    for place, row in _question_rows(where, raw):
        try:
            if not isinstance(row, dict):
                raise row if isinstance(row, Fault) else Fault(f"no object: {shown(row)}")
            question = values.text(row.get("question"), "question")
            answers = values.texts(row.get("answers"), "answers")
            if is_blank(question):
                raise Fault("no question")
            questions.append((question, answers))
        except Fault as fault:
            faults.add(place, fault)
    faults.tell("A file of questions cannot be read: {number} fault(s).", expected=expected)
    yield from questions


def _question_rows(where: str, raw: bytes) -> Iterator[tuple[str, Any]]:
    if raw.lstrip()[:1] == b"[":
        yield from ((f"item {number}", row) for number, row in enumerate(json_text.parse_document(raw, where)))
        return
    for number, line in enumerate(raw.splitlines(), start=1):
        if line.strip():
            try:
                row: Any = json_text.parse(line.decode("utf-8"))
            except UnicodeDecodeError as error:
                row = Fault(f"not UTF-8: {error.reason} at byte {error.start + 1}")
            except Fault as fault:
                row = fault
            yield f"line {number}", row
