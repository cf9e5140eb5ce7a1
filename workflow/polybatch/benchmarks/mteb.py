"""Makes a benchmark from a retrieval task of mteb, by its name: MIRACL, BEIR's data sets, MKQA, Belebele, ...

inputs: the record of the task's data set (polybatch.core.hub), in the revision that mteb names
outputs: benchmarks/<name>/ (see benchmark.py), with the texts that mteb gives to a model

mteb (Muennighoff et al., arXiv 2210.07316) knows each data set's place, revision, splits and languages, and reads it;
what is scored here is what its own evaluator scores. Two things differ in the mean over queries: one that is judged,
but has no relevant passage at all, counts as zero in mteb and is left out here (polybatch.retrieval.score; the card
counts them); and mteb ranks the best 1000 passages. A relevant passage that the corpus lacks counts as never found in
both.

The subsets of a multilingual task become one benchmark. Where mteb's own evaluator would search another corpus in a
language for another language of the queries (MLQA), that is not one benchmark, and an error says so.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from polybatch.benchmarks.mteb_tasks import (
    Subset,
    chosen_split,
    chosen_subsets,
    expected_size,
    retrieval_task,
    task_repo,
)
from polybatch.benchmarks.options import MOST_ABSENT
from polybatch.benchmarks.retrieval_data import (
    Data,
    complete,
    join_by_ids,
    joined,
    parts_of,
    relevant,
    require_parallel_ids,
    require_present,
)
from polybatch.benchmarks.write import write_benchmark
from polybatch.core import hub, stage, values
from polybatch.core.errors import ConfigError, DataError
from polybatch.core.files import scratch_folder
from polybatch.core.languages import language
from polybatch.core.text import is_blank
from polybatch.core.values import Fault, shown

if TYPE_CHECKING:
    from mteb.abstasks.retrieval import AbsTaskRetrieval

__all__ = ["build", "expected_size", "task_repo"]

# Tasks whose equal ids in several languages name translations. Unverified against the data itself, so that it is
# checked when it is read: translations of a query must have the same relevant ids.
_PARALLEL_IDS = ("MuPLeR-retrieval",)
_ROWS_AT_A_TIME = 1000


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
    """Writes benchmarks/<name>/ from a retrieval task of mteb.

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
            "queries_without_relevant_passage": data.unanswerable(),
        }
        return write_benchmark(output, parts_of(data, query_languages, corpus_languages), card)


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
    bars = datasets.utils.logging.is_progress_bar_enabled()
    datasets.utils.logging.disable_progress_bar()
    with scratch_folder(output) as folder:
        datasets.config.HF_DATASETS_CACHE = folder
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
        data.qrels[pair] = relevant(part["relevant_docs"], data.queries[subset.query_lang])
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
        require_present(f"mteb's task {task.metadata.name}, {subset.name}", absent, named, most_absent)
        data.corpora[subset.corpus_lang] = _rows_of(part["corpus"])
        data.bodies[subset.corpus_lang] = _bodies_of(part["corpus"])
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
    for i, query, instruction in zip(rows["id"], rows["text"], instructions, strict=True):
        if not isinstance(query, str):
            raise ConfigError(f"mteb's task {task} has conversations for queries, which are not supported.")
        asked = query if instruction is None else f"{query} {instruction}"
        if known.setdefault(i, asked) != asked:
            raise DataError(
                f"Subsets of mteb's task {task} give one id to several queries.",
                where=f"{subset.name}, query {i}",
                expected=known[i],
                found=asked,
                remedy="make one benchmark for each pair of languages: one in languages, one in corpus_languages",
            )


def _passages(corpus: Any) -> Iterator[tuple[str, str, str]]:
    """(id, title, text) of a corpus in its order."""
    titled = "title" in corpus.column_names
    for batch in corpus.iter(_ROWS_AT_A_TIME):
        titles = batch["title"] if titled else [""] * len(batch["id"])
        for i, title, body in zip(batch["id"], titles, batch["text"], strict=True):
            try:
                yield values.identifier(i, "id"), values.text(title, "title"), values.text(body, "text")
            except Fault as fault:
                where = f"passage {shown(i)}"
                raise DataError("A data set cannot be read.", where=where, found=str(fault)) from fault


def _rows_of(corpus: Any) -> Callable[[], Iterator[tuple[str, str]]]:
    """Gives (id, text) of a corpus in its order; a title stands before the text, as mteb joins them."""

    def rows() -> Iterator[tuple[str, str]]:
        for i, title, body in _passages(corpus):
            passage = joined(title, body)
            yield i, "" if is_blank(passage) else passage

    return rows


def _bodies_of(corpus: Any) -> Callable[[], Iterator[tuple[str, str]]]:
    """Gives (id, text without title) of those passages that have a title."""

    def rows() -> Iterator[tuple[str, str]]:
        if "title" in corpus.column_names:
            for i, title, body in _passages(corpus):
                if not is_blank(title) and not is_blank(body):
                    yield i, body.strip()

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


def _add_groups(data: Data, task: AbsTaskRetrieval, snapshot: hub.Snapshot, parallel: str) -> None:
    """Joins translations, and makes every translation of a relevant passage relevant."""
    name = task.metadata.name
    if name == "BelebeleRetrieval":
        _add_belebele_groups(data, snapshot)
    elif (parallel or ("ids" if name in _PARALLEL_IDS else "none")) == "ids":
        require_parallel_ids(data, f"mteb's task {name}")
        join_by_ids(data)


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
    complete(data)
