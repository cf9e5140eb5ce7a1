"""A retrieval data set as it was read, with its own ids, and how it becomes the rows of a benchmark.

inputs: queries, corpora and judgements by language, from mteb.py or beir.py
outputs: rows for write.write_benchmark

Ids of the data set may name other texts in other languages, or translations. Where they name translations, or
something else tells which texts are, texts are joined into groups, and judgements are completed: what is relevant to
a query is so in every language, and to every translation of the query.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from polybatch.benchmarks.write import Parts
from polybatch.core import stage
from polybatch.core.errors import DataError

# A share of relevant passages that no corpus holds up to which a data set has slips (ArguAna: 5 of 1406, by the
# statistics that come with mteb).
_NAMED = 3


@dataclass
class Data:
    """A retrieval data set as it was read, with its own ids: texts of queries in memory, corpora as streams.

    Attributes:
        queries: language -> id -> text.
        corpora: language -> a function that gives the rows (id, text) of its corpus anew.
        bodies: language -> a function that gives (id, text without title) of those passages that have a title.
        qrels: (query language, corpus language) -> query id -> passage id -> relevance above 0.
        judged: (query language, corpus language) -> ids of queries that are judged at all.
        query_groups, passage_groups: language -> id -> group; what is not named has no translation.
        same_ids_excluded: Whether a passage with a query's id is taken out of that query's rankings.
    """

    queries: dict[str, dict[str, str]] = field(default_factory=dict)
    corpora: dict[str, Callable[[], Iterator[tuple[str, str]]]] = field(default_factory=dict)
    bodies: dict[str, Callable[[], Iterator[tuple[str, str]]]] = field(default_factory=dict)
    qrels: dict[tuple[str, str], dict[str, dict[str, int]]] = field(default_factory=dict)
    judged: dict[tuple[str, str], list[str]] = field(default_factory=dict)
    query_groups: dict[str, dict[str, str]] = field(default_factory=dict)
    passage_groups: dict[str, dict[str, str]] = field(default_factory=dict)
    same_ids_excluded: bool = False

    def unanswerable(self) -> dict[str, int]:
        """<query language>-<corpus language> -> queries that are judged and have no relevant passage there."""
        counts = {
            "-".join(pair): sum(not self.qrels[pair].get(i) for i in judged) for pair, judged in self.judged.items()
        }
        return {pair: count for pair, count in counts.items() if count}


def joined(title: str | None, text: str) -> str:
    """A title before its text, as mteb gives passages to a model (BEIR's own code does so too)."""
    return f"{title} {text}".strip() if title else text.strip()


def relevant(judgements: Mapping[str, Mapping[str, int]], queries: Mapping[str, str]) -> dict[str, dict[str, int]]:
    """Judgements above 0 of queries that are there, in the queries' order, which does not depend on hashes."""
    return {
        i: {passage: judgements[i][passage] for passage in sorted(judgements[i]) if judgements[i][passage] > 0}
        for i in queries
        if i in judgements
    }


def require_present(where: str, absent: set[str], named: set[str], most_absent: float) -> None:
    """Raises a DataError if the corpus lacks more of the relevant passages than a few; tells of a few in a warning."""
    if absent:
        told = ", ".join(sorted(absent)[:_NAMED])
        stage.log.warning(
            "%s: %d of %d relevant passages are not in the corpus (%s) and count as never found",
            where,
            len(absent),
            len(named),
            told,
        )
    if len(absent) > max(1, most_absent * len(named)):  # one of a handful says nothing
        raise DataError(
            "The judgements of a benchmark name passages that are not in its corpus.",
            where=where,
            expected=f"at most {most_absent:.1%} of them",
            found=f"{len(absent)} of {len(named)}: {told}",
            remedy="make the data set again; if it is so, allow for it with benchmarks.<name>.options.most_absent",
        )


def require_parallel_ids(data: Data, name: str) -> None:
    """Raises a DataError if a query has other relevant ids in another language: then ids do not name translations."""
    seen: dict[str, tuple[str, set[str]]] = {}
    other = []
    for (query_lang, corpus_lang), qrels in data.qrels.items():
        for i, grades in qrels.items():
            place, first = seen.setdefault(i, (f"{query_lang}-{corpus_lang}", set(grades)))
            if first != set(grades):
                other.append(f"query {i} in {place} and {query_lang}-{corpus_lang}")
    if other:
        raise DataError(
            f"Equal ids do not name translations in {name}.",
            expected="the same relevant passages for a query in every language",
            found=f"others for {len(other)}: {'; '.join(other[:_NAMED])}",
            remedy="set benchmarks.<name>.options.parallel to none, and settings to [monolingual]",
        )


def join_by_ids(data: Data) -> None:
    """Takes equal ids for translations."""
    data.query_groups = {lang: {i: i for i in queries} for lang, queries in data.queries.items()}
    data.passage_groups = {lang: {i: i for i, _ in rows()} for lang, rows in data.corpora.items()}
    complete(data)


def complete(data: Data) -> None:
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


def parts_of(data: Data, query_languages: Sequence[str], corpus_languages: Sequence[str]) -> Parts:
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

    def bodies(lang: str) -> Iterator[dict[str, str]]:
        return ({"document_id": passage_id(lang, i), "text": text} for i, text in data.bodies[lang]())

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
        bodies={lang: bodies(lang) for lang in corpus_languages if lang in data.bodies},
        qrels=qrels(),
        excluded=(row for row in excluded),
        absent=(
            {"passage_id": passage_id(lang, i), "lang": lang} for lang, ids in missing.items() for i in sorted(ids)
        ),
    )


def _namer(languages: Sequence[str]) -> Callable[[str, str], str]:
    return (lambda lang, i: f"{lang}-{i}") if len(languages) > 1 else (lambda lang, i: i)
