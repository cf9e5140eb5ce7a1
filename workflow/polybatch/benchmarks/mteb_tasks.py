"""Retrieval tasks of mteb: their data sets, splits, languages and sizes, without reading any data.

inputs: the name of a task
outputs: repository, split, subsets and sizes, in memory, for the stages that fetch, plan and read its data

mteb (Muennighoff et al., arXiv 2210.07316) comes with all of this as metadata of its tasks.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from polybatch.core import stage
from polybatch.core.errors import ConfigError
from polybatch.core.languages import from_mteb, language

if TYPE_CHECKING:
    from mteb.abstasks.retrieval import AbsTaskRetrieval

# mteb lists a subset's two languages without saying which is the queries'. Read off its loaders and statistics of
# text lengths (mteb 2.26), per task: does the corpus's language come first?
_CORPUS_FIRST = {
    "BelebeleRetrieval": True,
    "MLQARetrieval": True,
    "XPQARetrieval": True,
    "CUREv1": False,
    "CrossLingualSemanticDiscriminationWMT19": False,
    "CrossLingualSemanticDiscriminationWMT21": False,
}
PAIR_ORDERS = ("corpus-query", "query-corpus")


@dataclass(frozen=True)
class Subset:
    """One of a task's subsets, with the languages of its two sides."""

    name: str
    query_lang: str
    corpus_lang: str


def task_repo(name: str, languages: Sequence[str] | None = None) -> tuple[str, str, tuple[str, ...]]:
    """Where a task's data lies: repository, revision, and shell patterns of the files wanted (none: all of them).

    All languages are fetched, whatever `languages` says: only a repository's README tells which files belong to one.

    Raises:
        ConfigError: mteb has no such retrieval task, or the task lacks one of the languages.
    """
    task = retrieval_task(name)
    if languages is not None:
        known = {lang for subset in _subsets(task, "") for lang in (subset.query_lang, subset.corpus_lang)}
        _require_languages(name, "languages", languages, known)
    dataset = task.metadata.dataset
    return dataset["path"], dataset["revision"], ()


def expected_size(
    name: str, languages: Sequence[str] | None = None, corpus_languages: Sequence[str] | None = None
) -> dict[str, float] | None:
    """How many queries and passages a task has in some languages, from the statistics that come with mteb.

    Returns:
        {"queries", "passages"}; None where mteb has no statistics.
    """
    task = retrieval_task(name)
    statistics: Any = (task.metadata.descriptive_stats or {}).get(chosen_split(task, ""))
    if statistics is None:
        return None
    sides: dict[str, dict[str, float]] = {"queries": {}, "passages": {}}
    for subset in _subsets(task, ""):
        queries_wanted = languages is None or subset.query_lang in languages
        corpora = corpus_languages or languages
        if queries_wanted and (corpora is None or subset.corpus_lang in corpora):
            found = (statistics.get("hf_subset_descriptive_stats") or {}).get(subset.name, statistics)
            passages = found.get("num_documents") or found["documents_text_statistics"]["unique_texts"]
            sides["passages"][subset.corpus_lang] = passages
            sides["queries"][subset.query_lang] = found.get("num_queries") or found["num_samples"] - passages
    return {side: float(sum(counts.values())) for side, counts in sides.items()}


def retrieval_task(name: str) -> AbsTaskRetrieval:
    """The task of this name.

    Raises:
        ConfigError: There is none, or it is no retrieval of texts by texts.
    """
    with stage.importing():
        import mteb
        from mteb.abstasks.retrieval import AbsTaskRetrieval

    try:
        task = mteb.get_task(name)
    except KeyError as error:
        known = [task.metadata.name for task in mteb.get_tasks()]
        close = difflib.get_close_matches(name, known, n=4, cutoff=0.5)
        raise ConfigError(
            f"mteb has no task {name!r}.",
            found=f"names like it: {', '.join(close)}" if close else f"{len(known)} others",
            remedy="write the task's name as mteb does",
        ) from error
    if not isinstance(task, AbsTaskRetrieval) or "Reranking" in str(task.metadata.type):
        parts = [part.metadata.name for part in getattr(task, "tasks", None) or getattr(task.metadata, "tasks", [])]
        raise ConfigError(
            f"mteb's task {name} is no retrieval task.",
            expected="a task whose queries are searched in a corpus",
            found=str(task.metadata.type),
            remedy=f"name its parts, each as a benchmark: {', '.join(parts)}" if parts else "name another task",
        )
    if set(task.metadata.modalities) != {"text"} or task.skip_first_result:
        raise ConfigError(f"mteb's task {name} cannot be evaluated here.", expected="queries and passages of text")
    return task


def chosen_split(task: AbsTaskRetrieval, split: str) -> str:
    """`split`, or where it is empty the task's only one or "test"; a ConfigError if the task has none such."""
    splits = list(task.metadata.eval_splits)
    chosen = split or (splits[0] if len(splits) == 1 else "test")
    if chosen not in splits:
        raise ConfigError(
            f"mteb evaluates {task.metadata.name} on other splits.",
            expected=" or ".join(splits),
            found=split or "none chosen",
            remedy="name one of them",
        )
    return chosen


def _subsets(task: AbsTaskRetrieval, pair_order: str) -> list[Subset]:
    """The task's subsets whose languages have codes here."""
    name, codes = task.metadata.name, task.metadata.eval_langs
    of_subset: Mapping[str, Sequence[str]] = codes if isinstance(codes, Mapping) else {"default": codes}
    found = []
    for subset, langs in of_subset.items():
        known = list(dict.fromkeys(lang for lang in map(_iso, langs) if lang))
        # Three codes and more are variants of one language, as mteb lists them for Norwegian.
        if len(known) == 1 and (len(set(langs)) == 1 or len(langs) > 2):
            found.append(Subset(subset, known[0], known[0]))
        elif len(langs) == 2 and len(known) == 2:
            first, second = known
            query, corpus = (second, first) if _corpus_first(name, pair_order) else (first, second)
            found.append(Subset(subset, query, corpus))
    return found


def _iso(code: str) -> str:
    try:
        return from_mteb(code)
    except ConfigError:
        # So mteb spells the Greek of MuPLeR. Unverified: that its text, from EU law, is in Greek script.
        return "el" if code == "ell-Latn" else ""


def _corpus_first(name: str, pair_order: str) -> bool:
    if pair_order:
        return pair_order == "corpus-query"
    if name not in _CORPUS_FIRST:
        raise ConfigError(
            f"It is not known in which order mteb's task {name} lists the languages of a subset.",
            expected=" or ".join(PAIR_ORDERS),
            remedy="look at the task's loader in mteb, and say which in benchmarks.<name>.options.pair_order",
        )
    return _CORPUS_FIRST[name]


def chosen_subsets(
    task: AbsTaskRetrieval, query_languages: Sequence[str], corpus_languages: Sequence[str], pair_order: str
) -> list[Subset]:
    """The subsets between these languages, one of each pair.

    Raises:
        ConfigError: A language has no such subset.
    """
    name, known = task.metadata.name, _subsets(task, pair_order)
    for lang in (*query_languages, *corpus_languages):
        language(lang)
    chosen = {
        (subset.query_lang, subset.corpus_lang): subset
        for subset in reversed(known)
        if subset.query_lang in query_languages and subset.corpus_lang in corpus_languages
    }
    subsets = [chosen[pair] for pair in ((q, c) for q in query_languages for c in corpus_languages) if pair in chosen]
    queries, corpora = {s.query_lang for s in subsets}, {s.corpus_lang for s in subsets}
    if not subsets or queries != set(query_languages) or corpora != set(corpus_languages):
        _require_languages(name, "languages", query_languages, {s.query_lang for s in known})
        _require_languages(name, "corpus_languages", corpus_languages, {s.corpus_lang for s in known})
        raise ConfigError(
            f"mteb's task {name} does not combine these languages.",
            expected="for each language a subset: " + " ".join(f"{s.query_lang}-{s.corpus_lang}" for s in known[:40]),
            found=f"queries in {' '.join(query_languages)}, corpora in {' '.join(corpus_languages)}",
            remedy="leave out languages, or add those that they are combined with",
        )
    return subsets


def _require_languages(name: str, what: str, wanted: Sequence[str], known: set[str]) -> None:
    missing = [lang for lang in wanted if lang not in known]
    if missing:
        raise ConfigError(
            f"mteb's task {name} lacks {', '.join(missing)}.",
            where=what,
            expected=" ".join(sorted(known)) or "no language that has a code here",
            found=" ".join(wanted),
            remedy="leave these languages out of this benchmark",
        )
