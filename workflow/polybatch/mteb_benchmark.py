"""Makes a benchmark from a retrieval task of mteb, by its name: MIRACL, BEIR's data sets, MKQA, Belebele, ...

inputs: the record of the task's data set (see hub.py), in the revision that mteb names
outputs: benchmarks/<name>/ (see benchmark.py), with the texts that mteb gives to a model

mteb (Muennighoff et al., arXiv 2210.07316) knows each data set's place, revision, splits and languages, and reads it;
what is scored here is what its own evaluator scores. Two things differ in the mean over queries: one that is judged,
but has no relevant passage at all, counts as zero in mteb and is left out here (see score.py; the card counts them);
and mteb ranks the best 1000 passages. A relevant passage that the corpus lacks counts as never found in both.

The subsets of a multilingual task become one benchmark. Where mteb's own evaluator would search another corpus in a
language for another language of the queries (MLQA), that is not one benchmark, and an error says so.
"""

from __future__ import annotations

import argparse
import hashlib
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from polybatch import hub, stage
from polybatch.benchmark_files import Parts, write_benchmark
from polybatch.errors import ConfigError, DataError
from polybatch.languages import language
from polybatch.mteb_tasks import (
    PAIR_ORDERS,
    Subset,
    chosen_split,
    chosen_subsets,
    expected_size,
    retrieval_task,
    task_repo,
)

if TYPE_CHECKING:
    from mteb.abstasks.retrieval import AbsTaskRetrieval

__all__ = ["build", "expected_size", "main", "task_repo"]

# Tasks whose equal ids in several languages name translations. Unverified against the data itself, so that it is
# checked when it is read: translations of a query must have the same relevant ids.
_PARALLEL_IDS = ("MuPLeR-retrieval",)
PARALLEL = ("ids", "none")
# A share of relevant passages that no corpus holds up to which a data set has slips (ArguAna: 5 of 1406).
MOST_ABSENT = 0.01
_ROWS_AT_A_TIME = 1000
_NAMED = 3


@dataclass
class Data:
    """What was read of a task. Ids are the task's own.

    Attributes:
        queries: language -> id -> text.
        corpora: language -> a function that gives the rows (id, text) of its corpus anew.
        qrels: (query language, corpus language) -> query id -> passage id -> relevance above 0.
        judged: (query language, corpus language) -> ids of queries that are judged at all.
        query_groups, passage_groups: language -> id -> group; what is not named has no translation.
        same_ids_excluded: Whether a passage with a query's id is taken out of that query's rankings.
    """

    queries: dict[str, dict[str, str]] = field(default_factory=dict)
    corpora: dict[str, Callable[[], Iterator[tuple[str, str]]]] = field(default_factory=dict)
    qrels: dict[tuple[str, str], dict[str, dict[str, int]]] = field(default_factory=dict)
    judged: dict[tuple[str, str], list[str]] = field(default_factory=dict)
    query_groups: dict[str, dict[str, str]] = field(default_factory=dict)
    passage_groups: dict[str, dict[str, str]] = field(default_factory=dict)
    same_ids_excluded: bool = False


def build(
    name: str,
    snapshot: hub.Snapshot,
    output: Path,
    query_languages: Sequence[str],
    corpus_languages: Sequence[str] | None = None,
    *,
    split: str = "",
    pair_order: str = "",
    parallel: str = "",
    most_absent: float = MOST_ABSENT,
) -> dict[str, Any]:
    """Makes the benchmark.

    Args:
        name: A retrieval task of mteb, for example "SciFact" or "MIRACLRetrieval".
        snapshot: The task's data set.
        output: benchmarks/<name>.
        query_languages, corpus_languages: ISO 639-1 codes; the corpora's are the queries' if not given.
        split: One of the task's; its only one, else "test", if not given.
        pair_order: Of the two languages of the task's subsets, where it is not known here: see PAIR_ORDERS.
        parallel: "ids" where equal ids in several languages name translations, "none" where they do not; "" for
            what is known of the task.
        most_absent: The share of relevant passages that the corpora may lack.

    Returns:
        The card as written.

    Raises:
        ConfigError: mteb has no such retrieval task, or the task lacks a language or the split.
        DataError: The data set does not hold what mteb reads, its subsets are not one benchmark, or its judgements
            name passages that are not there.
    """
    corpus_languages = query_languages if corpus_languages is None else corpus_languages
    task = retrieval_task(name)
    _require_dataset(task, snapshot)
    split = chosen_split(task, split)
    subsets = chosen_subsets(task, query_languages, corpus_languages, pair_order)
    with _folder_for_arrow(output):
        data = _read(task, snapshot, split, subsets, most_absent)
        _add_groups(data, task, snapshot, parallel)
        card = {
            "adapter": "mteb",
            "task": name,
            "split": split,
            "subsets": [subset.name for subset in subsets],
            "data_set": {"repo": snapshot.repo_id, "commit": snapshot.commit},
            "license": task.metadata.license or "",
            "queries_without_relevant_passage": _unanswerable(data),
        }
        return write_benchmark(output, _parts(data, query_languages, corpus_languages), card)


def _require_dataset(task: AbsTaskRetrieval, snapshot: hub.Snapshot) -> None:
    wanted = task.metadata.dataset
    if snapshot.repo_id != wanted["path"]:
        raise DataError(
            f"The record is of another data set than that of mteb's task {task.metadata.name}.",
            expected=f"{wanted['path']}@{wanted['revision'][:12]}",
            found=f"{snapshot.repo_id}@{snapshot.commit[:12]}",
        )
    if snapshot.revision != wanted["revision"]:
        stage.log.warning(
            "%s: revision %s, while mteb names %s: scores may differ from published ones",
            task.metadata.name,
            snapshot.revision,
            wanted["revision"],
        )


@contextmanager
def _folder_for_arrow(output: Path) -> Iterator[None]:
    """The datasets library copies what it reads into its own cache: a folder beside the output that is then removed."""
    import datasets

    before = datasets.config.HF_DATASETS_CACHE
    output.parent.mkdir(parents=True, exist_ok=True)
    bars = datasets.utils.logging.is_progress_bar_enabled()
    datasets.utils.logging.disable_progress_bar()
    with tempfile.TemporaryDirectory(prefix=".arrow-", dir=output.parent) as folder:
        datasets.config.HF_DATASETS_CACHE = Path(folder)
        try:
            yield
        finally:
            datasets.config.HF_DATASETS_CACHE = before
            if bars:
                datasets.utils.logging.enable_progress_bar()


def _read(
    task: AbsTaskRetrieval, snapshot: hub.Snapshot, split: str, subsets: Sequence[Subset], most_absent: float
) -> Data:
    loaded = _load(task, snapshot, split, subsets)
    data = Data(same_ids_excluded=task.ignore_identical_ids)
    digests: dict[str, tuple[str, str]] = {}
    for subset in subsets:
        part = loaded[subset.name][split]
        if part.get("top_ranked"):
            raise ConfigError(f"mteb's task {task.metadata.name} ranks given candidates, and searches no corpus.")
        _add_queries(data, part["queries"], subset, task.metadata.name)
        pair = subset.query_lang, subset.corpus_lang
        data.qrels[pair] = _relevant(part["relevant_docs"], data.queries[subset.query_lang])
        data.judged[pair] = [i for i in part["relevant_docs"] if i in data.queries[subset.query_lang]]
        named = {passage for grades in data.qrels[pair].values() for passage in grades}
        shared = [other.corpus_lang for other in subsets].count(subset.corpus_lang) > 1
        digest, absent = _scan(part["corpus"], named, shared)
        known, first = digests.setdefault(subset.corpus_lang, (digest, subset.name))
        if known != digest:
            raise DataError(
                f"Subsets of mteb's task {task.metadata.name} have other passages in the same language.",
                where=f"{first} and {subset.name}, corpus in {subset.corpus_lang}",
                expected="one corpus a language, whatever the language of the queries",
                found="two",
                remedy="make one benchmark for each pair of languages: one in languages, one in corpus_languages",
            )
        _require_present(task.metadata.name, subset, absent, named, most_absent)
        data.corpora[subset.corpus_lang] = _rows_of(part["corpus"])
    if not any(any(of.values()) for of in data.qrels.values()):
        raise DataError(
            f"mteb's task {task.metadata.name} has no relevant passage.",
            where=f"{snapshot.repo_id}, split {split}",
            remedy="name another split",
        )
    return data


def _load(
    task: AbsTaskRetrieval, snapshot: hub.Snapshot, split: str, subsets: Sequence[Subset]
) -> Mapping[str, Mapping[str, Any]]:
    """subset -> split -> queries, corpus, relevant_docs, top_ranked, as mteb's loader gives them."""
    here = {**task.metadata.dataset, "path": str(snapshot.folder)}
    task.metadata = task.metadata.model_copy(update={"dataset": here})
    if task.metadata.is_multilingual:
        task.hf_subsets = [subset.name for subset in subsets]
    task._eval_splits = [split]
    try:
        task.load_data()
        task.convert_v1_dataset_format_to_v2(None)
    except Exception as error:  # loaders of the tasks raise whatever the datasets library does
        raise DataError(
            f"mteb cannot read the data set of its task {task.metadata.name}.",
            where=f"{snapshot.repo_id}@{snapshot.commit[:12]}, split {split}",
            expected="the files of the revision that mteb names: " + str(here["revision"]),
            found=f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}",
            remedy="fetch it again without restricting its files; a task that loads from elsewhere cannot be used",
        ) from error
    return task.dataset


def _add_queries(data: Data, rows: Any, subset: Subset, task: str) -> None:
    """Adds a subset's queries; one that stands in several subsets must be the same in all."""
    known = data.queries.setdefault(subset.query_lang, {})
    instructions = rows["instruction"] if "instruction" in rows.column_names else [None] * len(rows)
    for i, text, instruction in zip(rows["id"], rows["text"], instructions, strict=True):
        if not isinstance(text, str):
            raise ConfigError(f"mteb's task {task} has conversations for queries, which are not supported.")
        asked = text if instruction is None else f"{text} {instruction}"
        if known.setdefault(str(i), asked) != asked:
            raise DataError(
                f"Subsets of mteb's task {task} give one id to several queries.",
                where=f"{subset.name}, query {i}",
                expected=known[str(i)],
                found=asked,
                remedy="make one benchmark for each pair of languages: one in languages, one in corpus_languages",
            )


def _relevant(judgements: Mapping[str, Mapping[str, int]], queries: Mapping[str, str]) -> dict[str, dict[str, int]]:
    """Judgements above 0 of queries that are there, in the queries' order, which does not depend on hashes."""
    return {
        i: {
            str(passage): int(judgements[i][passage]) for passage in sorted(judgements[i]) if judgements[i][passage] > 0
        }
        for i in queries
        if i in judgements
    }


def _rows_of(corpus: Any) -> Callable[[], Iterator[tuple[str, str]]]:
    """Gives (id, text) of a corpus in its order; a title stands before the text, as mteb joins them."""

    def rows() -> Iterator[tuple[str, str]]:
        titled = "title" in corpus.column_names
        for batch in corpus.iter(_ROWS_AT_A_TIME):
            titles = batch["title"] if titled else [""] * len(batch["id"])
            for i, title, text in zip(batch["id"], titles, batch["text"], strict=True):
                yield str(i), f"{title} {text}".strip() if title else text.strip()

    return rows


def _scan(corpus: Any, named: Iterable[str], with_digest: bool) -> tuple[str, set[str]]:
    """A digest of a corpus, where it is asked for, and which of the named passages it lacks."""
    digest, missing = hashlib.sha256(), set(named)
    for i, text in _rows_of(corpus)():
        missing.discard(i)
        if with_digest:
            for value in (i, text):
                raw = value.encode("utf-8")
                digest.update(b"%d:" % len(raw) + raw)
    return digest.hexdigest(), missing


def _require_present(task: str, subset: Subset, absent: set[str], named: set[str], most_absent: float) -> None:
    if absent:
        told = ", ".join(sorted(absent)[:_NAMED])
        stage.log.warning(
            "%s %s: %d of %d relevant passages are not in the corpus (%s) and count as never found",
            task,
            subset.name,
            len(absent),
            len(named),
            told,
        )
    if len(absent) > max(1, most_absent * len(named)):  # one of a handful says nothing
        raise DataError(
            f"The judgements of mteb's task {task} name passages that are not in the corpus.",
            where=subset.name,
            expected=f"at most {most_absent:.1%} of them",
            found=f"{len(absent)} of {len(named)}: {told}",
            remedy="fetch the data set again; if it is so, allow for it with --most-absent",
        )


def _add_groups(data: Data, task: AbsTaskRetrieval, snapshot: hub.Snapshot, parallel: str) -> None:
    """Joins translations, and makes every translation of a relevant passage relevant."""
    name = task.metadata.name
    if name == "BelebeleRetrieval":
        _add_belebele_groups(data, snapshot)
    elif (parallel or ("ids" if name in _PARALLEL_IDS else "none")) == "ids":
        _require_parallel_ids(data, name)
        data.query_groups = {lang: {i: i for i in queries} for lang, queries in data.queries.items()}
        data.passage_groups = {lang: {i: i for i, _ in rows()} for lang, rows in data.corpora.items()}
    if data.passage_groups:
        _complete(data)


def _add_belebele_groups(data: Data, snapshot: hub.Snapshot) -> None:
    """mteb numbers Belebele's texts in each language anew; the rows say which passage and question they are."""
    import datasets

    for lang in dict.fromkeys([*data.queries, *data.corpora]):
        rows = datasets.load_dataset(str(snapshot.folder), name=language(lang).nllb, split="test")
        passages = {row["flores_passage"].strip(): row["link"] for row in rows}
        questions: dict[str, set[str]] = defaultdict(set)
        for row in rows:
            questions[row["question"]].add(f"{row['link']} {row['question_number']}")
        # A question asked of two passages is one query in mteb, and the translation of none in particular.
        data.query_groups[lang] = {
            i: next(iter(questions[text]))
            for i, text in data.queries.get(lang, {}).items()
            if len(questions[text]) == 1
        }
        if lang in data.corpora:
            data.passage_groups[lang] = {i: passages[text] for i, text in data.corpora[lang]()}


def _require_parallel_ids(data: Data, task: str) -> None:
    """Raises a DataError unless each query has the same relevant ids in all pairs of languages."""
    seen: dict[str, tuple[str, set[str]]] = {}
    other = []
    for (query_lang, corpus_lang), qrels in data.qrels.items():
        for i, grades in qrels.items():
            place, relevant = seen.setdefault(i, (f"{query_lang}-{corpus_lang}", set(grades)))
            if relevant != set(grades):
                other.append(f"query {i} in {place} and {query_lang}-{corpus_lang}")
    if other:
        raise DataError(
            f"Equal ids do not name translations in mteb's task {task}.",
            expected="the same relevant passages for a query in every language",
            found=f"others for {len(other)}: {'; '.join(other[:_NAMED])}",
            remedy="make the benchmark with --parallel none, and score it monolingually",
        )


def _complete(data: Data) -> None:
    """Adds judgements: what is relevant to a query is so in every language, and to every translation of the query."""
    members: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for lang, groups in data.passage_groups.items():
        for i, group in groups.items():
            members[group].append((lang, i))

    def asked(lang: str, i: str) -> tuple[str, str]:
        group = data.query_groups[lang].get(i)
        return ("", group) if group else (lang, i)

    relevant: dict[tuple[str, str], dict[str, int]] = defaultdict(dict)
    for (query_lang, corpus_lang), qrels in data.qrels.items():
        for i, grades in qrels.items():
            found = relevant[asked(query_lang, i)]
            for passage, grade in grades.items():
                group = data.passage_groups[corpus_lang].get(passage, "")
                if group:
                    found[group] = max(grade, found.get(group, 0))
    for query_lang, queries in data.queries.items():
        for i in queries:
            for group, grade in relevant[asked(query_lang, i)].items():
                for corpus_lang, passage in members[group]:
                    data.qrels.setdefault((query_lang, corpus_lang), {}).setdefault(i, {})[passage] = grade


def _unanswerable(data: Data) -> dict[str, int]:
    """ "query-corpus" language -> queries that are judged and have no relevant passage."""
    counts = {
        f"{query_lang}-{corpus_lang}": sum(not data.qrels[query_lang, corpus_lang].get(i) for i in judged)
        for (query_lang, corpus_lang), judged in data.judged.items()
    }
    return {pair: count for pair, count in counts.items() if count}


def _parts(data: Data, query_languages: Sequence[str], corpus_languages: Sequence[str]) -> Parts:
    """The benchmark's rows; ids get their language in front where several languages could share one."""
    query_id = _namer(query_languages)
    passage_id = _namer(corpus_languages)
    excluded: list[dict[str, str]] = []
    missing: dict[str, set[str]] = {lang: set() for lang in corpus_languages}
    for (_, corpus_lang), of_query in data.qrels.items():
        missing[corpus_lang].update(passage for grades in of_query.values() for passage in grades)

    def corpus(lang: str) -> Iterator[dict[str, str]]:
        groups = data.passage_groups.get(lang, {})
        for i, text in data.corpora[lang]():
            missing[lang].discard(i)
            if data.same_ids_excluded:
                excluded.extend(
                    {"query_id": query_id(asked, i), "passage_id": passage_id(lang, i)}
                    for asked, queries in data.queries.items()
                    if i in queries
                )
            yield {"passage_id": passage_id(lang, i), "text": text, "group": groups.get(i, "")}

    def queries(lang: str) -> Iterator[dict[str, Any]]:
        groups = data.query_groups.get(lang, {})
        for i, text in data.queries[lang].items():
            yield {"query_id": query_id(lang, i), "text": text, "group": groups.get(i, ""), "answers": []}

    def qrels() -> Iterator[dict[str, Any]]:
        for (query_lang, corpus_lang), of_query in data.qrels.items():
            for i, grades in of_query.items():
                for passage, grade in grades.items():
                    yield {
                        "query_id": query_id(query_lang, i),
                        "passage_id": passage_id(corpus_lang, passage),
                        "relevance": grade,
                    }

    return Parts(
        corpus={lang: corpus(lang) for lang in corpus_languages},
        queries={lang: queries(lang) for lang in query_languages},
        qrels=qrels(),
        excluded=(row for row in excluded),
        absent=(
            {"passage_id": passage_id(lang, i), "lang": lang} for lang, ids in missing.items() for i in sorted(ids)
        ),
    )


def _namer(languages: Sequence[str]) -> Callable[[str, str], str]:
    return (lambda lang, i: f"{lang}-{i}") if len(languages) > 1 else (lambda lang, i: i)


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="polybatch.mteb_benchmark", description=__doc__.split("\n")[0])
    parser.add_argument("--task", required=True, help="a retrieval task of mteb, by its name")
    parser.add_argument("--record", required=True, type=Path, help="of the task's data set, as hub.py writes it")
    parser.add_argument("--languages", required=True, nargs="+", help="of the queries")
    parser.add_argument("--corpus-languages", nargs="+", help="those of the queries if not given")
    parser.add_argument("--split", default="", help="one of the task's")
    parser.add_argument("--pair-order", default="", choices=["", *PAIR_ORDERS])
    parser.add_argument("--parallel", default="", choices=["", *PARALLEL], help="whether equal ids name translations")
    parser.add_argument("--most-absent", default=MOST_ABSENT, type=float, metavar="SHARE")
    parser.add_argument("--output", required=True, type=Path, help="benchmarks/<name>")
    args = parser.parse_args(argv)
    build(
        args.task,
        hub.read_record(args.record),
        args.output,
        args.languages,
        args.corpus_languages,
        split=args.split,
        pair_order=args.pair_order,
        parallel=args.parallel,
        most_absent=args.most_absent,
    )


if __name__ == "__main__":
    stage.run(main)
