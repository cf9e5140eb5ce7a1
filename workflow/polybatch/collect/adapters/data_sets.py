"""Adapters: question-answer data sets of the Hugging Face hub, read from a pinned snapshot.

inputs: the record of a fetched repository (polybatch.core.hub)
outputs: (query, passage, hard negatives) pairs, in English

`DATA_SETS` says for each which configurations and splits are read, which columns their files must have, and how rows
become pairs; `parts` finds the files. A data set whose columns changed is an error before any row is read.

Commits named here are ones whose file listing was seen; a branch stands where none was. Sizes are those of Elmahdy,
Lin, Ahmad (arXiv 2408.10536, table 1), after their cleaning.
"""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from polybatch.collect.adapters.hub_data import hub_options, snapshot_at
from polybatch.collect.adapters.parts import fetch_patterns, part_files
from polybatch.collect.options import HubOptions
from polybatch.collect.source import Pair, ParallelText, pair_id
from polybatch.core.errors import DataError
from polybatch.core.files import open_parquet, told_parquet

_BATCH_ROWS = 1_000  # contexts of news articles and film plots are long
Row = dict[str, Any]
Triple = tuple[str, str, list[str]]  # query, passage, hard negatives


@dataclass(frozen=True)
class DataSet:
    """One known data set.

    Attributes:
        repo, revision: Where it is. A revision that is no commit is a branch.
        config, split: What is read by default.
        columns: Column -> "text", "texts" (a list), "number" or "flag".
        pairs: Rows -> (query, passage, hard negatives); counts what it leaves out.
        license: As the repository declares it.
        paper_pairs: Pairs in the paper, for planning.
        passage_words: Length to which passages are cut; 0 for none.
    """

    repo: str
    revision: str
    config: str
    split: str
    columns: dict[str, str]
    pairs: Callable[[Iterable[Row], HubOptions, Counter[str]], Iterator[Triple]]
    license: str
    paper_pairs: int
    passage_words: int = 0


def _answer_sentences(rows: Iterable[Row], options: HubOptions, dropped: Counter[str]) -> Iterator[Triple]:
    """WikiQA: the sentences of a question stand together; those that do not answer it are its hard negatives."""
    for _, group in itertools.groupby(rows, key=lambda row: row["question_id"]):
        sentences = list(group)
        negatives = [_text(row["answer"]) for row in sentences if row["label"] == 0]
        for row in sentences:
            if row["label"] == 1:
                yield _text(row["question"]), _text(row["answer"]), negatives[: options.hard_negatives]


def _triplets(rows: Iterable[Row], options: HubOptions, dropped: Counter[str]) -> Iterator[Triple]:
    """(anchor, positive, negative) rows: a pair's rows stand together and differ in the negative."""
    for (query, passage), group in itertools.groupby(rows, key=lambda row: (row["anchor"], row["positive"])):
        negatives = [_text(row["negative"]) for row in group]
        yield _text(query), _text(passage), negatives[: options.hard_negatives]


def _columns(query: str, passage: str) -> Callable[..., Iterator[Triple]]:
    """Rows that are pairs already."""

    def pairs(rows: Iterable[Row], options: HubOptions, dropped: Counter[str]) -> Iterator[Triple]:
        for row in rows:
            yield _text(row[query]), _text(row[passage]), []

    return pairs


def _spans(passage: str) -> Callable[..., Iterator[Triple]]:
    """Questions on long texts: the passage is the part around the first answer that stands in the text."""

    def pairs(rows: Iterable[Row], options: HubOptions, dropped: Counter[str]) -> Iterator[Triple]:
        for row in rows:
            if row.get("no_answer"):
                dropped["question without an answer"] += 1
                continue
            window = around_answer(_text(row[passage]), list(row["answers"] or []), options.passage_words)
            if window is None:
                dropped["answer not in the text"] += 1
                continue
            yield _text(row["question"]), window, []

    return pairs


def _text(value: str | None) -> str:
    return value or ""


def around_answer(text: str, answers: Sequence[str], words: int) -> str | None:
    """The part of a text that holds an answer, cut at words.

    Args:
        text: The whole text.
        answers: Answer strings; the first that occurs at word boundaries counts, upper and lower case apart only if
            it must.
        words: Length wanted, the answer about in its middle, and whole if it is not longer; 0 leaves the text whole.

    Returns:
        The whole text if it is short enough; else the part, or None if no answer occurs in it.
    """
    pieces = text.split()
    if not words or len(pieces) <= words:
        return text
    found = _place(text, answers)
    if found is None:
        return None
    before, end = (len(text[:at].split()) for at in found)
    first = before - (found[0] > 0 and not text[found[0] - 1].isspace())  # the word in which the answer begins
    start = min(max(before - words // 2, end - words), first)
    start = max(0, min(start, len(pieces) - words))
    return " ".join(pieces[start : start + words])


def _place(text: str, answers: Sequence[str]) -> tuple[int, int] | None:
    """Where the first answer that occurs starts and ends; not inside a word, as "10" in "2010" is."""
    for answer in filter(None, map(str.strip, answers)):
        left, right = (r"\b" if re.match(r"\w", answer[at]) else "" for at in (0, -1))
        for flags in (re.NOFLAG, re.IGNORECASE):
            if found := re.search(f"{left}{re.escape(answer)}{right}", text, flags):
                return found.span()
    return None


_QUESTION, _ANSWERS = {"question": "text"}, {"answers": "texts"}

DATA_SETS: dict[str, DataSet] = {
    # All three splits: the paper's 1,469 pairs are more than the train split has (inferred from the numbers).
    # License: the card says "other" (Microsoft Research Data License Agreement).
    "wiki_qa": DataSet(
        repo="microsoft/wiki_qa",
        revision="dc0d72a442c2500dc110951728a47959e3025d00",  # of refs/convert/parquet: default/wiki_qa-train.parquet
        config="default",
        split="train+validation+test",
        columns={"question_id": "text", **_QUESTION, "answer": "text", "label": "number"},
        pairs=_answer_sentences,
        license="other (Microsoft Research Data License)",
        paper_pairs=1_469,
    ),
    "mr_tydi": DataSet(
        repo="sentence-transformers/mr-tydi",
        revision="bb76efe5e0b8fe4ed74837c22c3a63afa46fcd65",
        config="en-triplet",
        split="train",
        columns={"anchor": "text", "positive": "text", "negative": "text"},
        pairs=_triplets,
        license="not declared",
        paper_pairs=3_547,
    ),
    # Passages are windows of the plot; 100 words are the unit of Karpukhin et al. (2020, section 4.1).
    "duorc": DataSet(
        repo="ibm-research/duorc",
        revision="9a65b20d783dc0069598fe59e248510b17528075",
        config="SelfRC",
        split="train",
        columns={"plot": "text", **_QUESTION, **_ANSWERS, "no_answer": "flag"},
        pairs=_spans("plot"),
        license="mit",
        paper_pairs=33_298,
        passage_words=100,
    ),
    "newsqa": DataSet(
        repo="lucadiliello/newsqa",
        revision="728e52920b8e4ffcfaad93fa47556f26a1d82546",
        config="default",
        split="train",
        columns={"context": "text", **_QUESTION, **_ANSWERS},
        pairs=_spans("context"),
        license="not declared",
        paper_pairs=59_496,
        passage_words=100,
    ),
    # The paper has hard negatives for Natural Questions; this repository has none.
    "natural_questions": DataSet(
        repo="sentence-transformers/natural-questions",
        revision="f9e894e1081e206e577b4eaa9ee6de2b06ae6f17",
        config="pair",
        split="train",
        columns={"query": "text", "answer": "text"},
        pairs=_columns("query", "answer"),
        license="not declared",
        paper_pairs=113_535,
    ),
    # unverified: which of the repository's questions the paper's 135,557 are.
    "yahoo_answers": DataSet(
        repo="sentence-transformers/yahoo-answers",
        revision="93b3605c508cf93e3666c9d3e34640b5fe62b507",
        config="title-question-answer-pair",
        split="train",
        columns={**_QUESTION, "answer": "text"},
        pairs=_columns("question", "answer"),
        license="not declared",
        paper_pairs=135_557,
    ),
    "mfaq": DataSet(
        repo="clips/mfaq",
        revision="a248bfcd24e0b137fea697e0ce7cff68ab5613ad",  # of refs/convert/parquet
        config="en_flat",
        split="train",
        columns={**_QUESTION, "answer": "text"},
        pairs=_columns("question", "answer"),
        license="cc0-1.0",
        paper_pairs=3_567_659,
    ),
    # Validation in the paper. The main branch holds a loading script, which is not run. unverified: a commit.
    "squadshifts": DataSet(
        repo="ludwigschmidt/squadshifts",
        revision="refs/convert/parquet",
        config="amazon+new_wiki+nyt+reddit",
        split="test",
        columns={**_QUESTION, "context": "text"},
        pairs=_columns("question", "context"),
        license="cc-by-4.0",
        paper_pairs=0,
    ),
}


class HubSource:
    """English pairs of one data set of the hub (see the module's docstring); it has no translations.

    Args:
        spec: The config entry, `{name, adapter, ...HubOptions}`.
        record: What `hub.write_record` wrote, or a folder with the repository's files.

    Raises:
        ConfigError: An unknown option.
        DataError: Files or columns are missing, or a column is of another type. Told for all files at once.
    """

    languages: tuple[str, ...] = ()
    examples: int | None = None

    def __init__(self, spec: dict[str, Any], record: Path) -> None:
        self.options = options_of(spec)
        self._data = DATA_SETS[spec["adapter"]]
        self.name, self.license = spec["name"], self.options.license or self._data.license
        self.dropped: dict[str, int] = {}
        self.left_out: dict[str, dict[str, int]] = {}
        self.markup: dict[str, int] = {}
        folder = snapshot_at(record).folder
        self.files = list(itertools.chain.from_iterable(part_files(folder, *part) for part in parts(spec)))
        check_columns(self.files, self._data.columns)

    def english(self) -> Iterator[Pair]:
        """All pairs, in the order of the files."""
        dropped: Counter[str] = Counter()
        self.dropped = dropped
        for query, passage, negatives in self._data.pairs(self._rows(), self.options, dropped):
            yield Pair(pair_id(self.name, query, passage), query, passage, negatives)

    def _rows(self) -> Iterator[Row]:
        for path in self.files:
            with told_parquet(path):
                for batch in open_parquet(path).iter_batches(_BATCH_ROWS, columns=list(self._data.columns)):
                    yield from batch.to_pylist()

    def translations(self, lang: str) -> Iterator[Pair]:
        return iter(())

    def strings(self, lang: str) -> Iterator[ParallelText]:
        return iter(())


def options_of(spec: dict[str, Any]) -> HubOptions:
    """The options in a config entry, with the data set's own limit of passages filled in; see `hub_options`."""
    limit = DATA_SETS[spec["adapter"]].passage_words if spec.get("passage_words", -1) == -1 else spec["passage_words"]
    options: HubOptions = hub_options({**spec, "passage_words": limit})
    return options


def parts(spec: dict[str, Any]) -> list[tuple[str, str]]:
    """(configuration, split) of each part that is read, in order."""
    options, data = options_of(spec), DATA_SETS[spec["adapter"]]
    return list(itertools.product((options.config or data.config).split("+"), (options.split or data.split).split("+")))


def request(spec: dict[str, Any]) -> dict[str, Any]:
    """See `adapters.registry.request`."""
    options, data = options_of(spec), DATA_SETS[spec["adapter"]]
    return {
        "repo": options.repo or data.repo,
        "kind": "dataset",
        "revision": options.revision or (data.revision if not options.repo else "main"),
        "files": list(dict.fromkeys(itertools.chain.from_iterable(fetch_patterns(*part) for part in parts(spec)))),
        "parts": parts(spec),
    }


def check_columns(paths: Sequence[Path], columns: dict[str, str]) -> None:
    """Raises a DataError unless every file has these columns, of these kinds ("text", "texts", "number", "flag")."""
    faults: list[str] = []
    for path in paths:
        schema = open_parquet(path).schema_arrow
        for name, kind in columns.items():
            if name not in schema.names:
                faults.append(f"{path.parent.name}/{path.name}: no column {name}; there are {', '.join(schema.names)}")
            elif not _is_kind(schema.field(name).type, kind):
                faults.append(f"{path.parent.name}/{path.name}: {name} is {schema.field(name).type}")
    if faults:
        raise DataError(
            "A data set does not have the columns that are read from it.",
            where=paths[0].parent,
            expected=", ".join(f"{name} ({kind})" for name, kind in columns.items()),
            found="; ".join(faults[:5]) + (f"; and {len(faults) - 5} more" if len(faults) > 5 else ""),
            remedy="pin the revision that had these columns (sources.<name>.revision)",
        )


def _is_kind(kind: Any, wanted: str) -> bool:
    from pyarrow import types

    if types.is_dictionary(kind):
        kind = kind.value_type
    is_text = types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind)
    if wanted == "texts":
        is_list = types.is_list(kind) or types.is_large_list(kind)
        return is_list and _is_kind(kind.value_type, "text")
    return {"text": is_text, "number": types.is_integer(kind), "flag": types.is_boolean(kind)}[wanted]
