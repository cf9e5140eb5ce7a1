"""Searches a benchmark and judges the rankings: values of every query in each of the settings.

inputs: a Collection
outputs: a Cell for every setting and pair of languages

Every query is searched once in every language's index. Those lists are the monolingual and cross-lingual rankings;
merged by score they are the multilingual one. Of passages of equal score the greater id stands first, as in trec_eval.
Metrics that ranx has are computed by ranx (by_ranx.py), the others in language_bias.py, rank_correlation.py and
token_f1.py.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from polybatch.benchmarks.benchmark import Benchmark, Texts
from polybatch.core import stage
from polybatch.core.contracts import POOL
from polybatch.core.errors import DataError
from polybatch.retrieval import by_ranx
from polybatch.retrieval.keys import ALL, NO_PASSAGE, numbers_of
from polybatch.retrieval.language_bias import bias_values, language_shares, share_depths
from polybatch.retrieval.metrics import (
    LANGUAGE_SHARE,
    PADDING,
    RANK_CORRELATION,
    TOKEN_F1,
    cells_of,
    is_bias_metric,
    is_rank_metric,
    least_relevance,
    setting_of,
)
from polybatch.retrieval.options import ScoreOptions
from polybatch.retrieval.rank_correlation import correlation_depths, rank_correlations
from polybatch.retrieval.searchable import Collection, Ranking
from polybatch.retrieval.token_f1 import token_f1

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

# Scores held at a time, in float32: 256 MB. Ten million passages are ranked in full for six queries at a time.
_MOST_SCORES = 2**26
_QUERIES_OF_A_PASS = 1024
# Ranks of relevant passages that wait until ranx judges them together, 24 bytes each with what they belong to: calls of
# it for each block of a hundred queries took a tenth of the stage's time.
_MOST_RANKS = 2**17


@dataclass
class Cell:
    """One setting's rankings and values for one query language and one corpus.

    Attributes:
        setting, query_lang, corpus_lang: As in contracts.SCORES.
        values: metric -> (queries,) float64, NaN for queries without a relevant passage in this corpus, and for
            those for which the metric has no meaning.
        top: (queries, top_k) keys, see ranking.py; (queries, 0) in a cell of MRC@k, which adds to another's values.
        shares: metric -> (queries, languages) float64, the shares of the pool's languages, NaN as above.
    """

    setting: str
    query_lang: str
    corpus_lang: str
    values: dict[str, np.ndarray]
    top: np.ndarray
    shares: dict[str, np.ndarray] = field(default_factory=dict)


def score(collection: Collection, options: ScoreOptions) -> Iterator[Cell]:
    """Searches and judges, one query language after the other.

    Yields:
        A Cell for every setting and pair of languages; memory holds the cells of one query language. At the end, where
        MRC@k is asked for and queries have translations, a Cell with it for every query language: it compares the first
        k passages in the pool, which are kept so long.

    Raises:
        DataError: A setting has no cell by design, or no judged query in one; a rank cannot be known; gold answers
            are asked for and not there.
    """
    _require_cells(collection, options)
    first: dict[str, np.ndarray] = {}
    for query_lang in collection.queries:
        for judge in _score_language(collection, query_lang, options):
            yield judge.cell
            if judge.first is not None:
                first[query_lang] = judge.first
    yield from _correlation_cells(collection, first, options)


def _correlation_cells(collection: Collection, first: dict[str, np.ndarray], options: ScoreOptions) -> Iterator[Cell]:
    """MRC@k of the judged queries."""
    import numpy as np

    found = rank_correlations(collection, first, correlation_depths(options.metrics)) if len(first) > 1 else {}
    if first and not found:
        stage.log.info("%s: no query in two languages, hence no MRC@k", collection.benchmark.name)
        return
    for lang in first if found else ():
        judged = collection.judged[lang, POOL][1][:, 0] > 0
        values = {f"{RANK_CORRELATION}@{k}": np.where(judged, of_k[lang], np.nan) for k, of_k in found.items()}
        yield Cell(setting_of(lang, POOL), lang, POOL, values, np.empty((judged.size, 0), np.uint64))


def _require_cells(collection: Collection, options: ScoreOptions) -> None:
    queries, corpora = list(collection.queries), list(collection.shards)
    empty = [setting for setting in options.settings if not cells_of(setting, queries, corpora)]
    if empty:
        raise DataError(
            f"The benchmark has nothing to score in the setting(s) {', '.join(empty)}.",
            where=f"benchmark {collection.benchmark.name}",
            expected="a language with queries and corpus (monolingual), a pair of different languages (cross_lingual), "
            "corpora in two languages or more (multilingual)",
            found=f"queries in {' '.join(queries)}, corpora in {' '.join(corpora)}",
            remedy=f"name the settings in the config, under benchmarks.{collection.benchmark.name}.settings",
        )
    has_answers = any(_answers(texts) is not None for texts in collection.benchmark.queries.values())
    if TOKEN_F1 in options.metrics and not has_answers:
        raise DataError(
            f"{TOKEN_F1} needs gold answers.",
            where=f"benchmark {collection.benchmark.name}",
            expected="queries with answers",
            found="none",
            remedy=f"leave {TOKEN_F1} out of the metrics of this benchmark",
        )


def _answers(texts: Texts) -> pa.Array | None:
    """(queries,) lists of gold answers; None where no query has any."""
    import pyarrow.compute as pc

    answers: pa.Array | None = getattr(texts, "answers", None)
    if answers is None or not pc.any(pc.greater(pc.list_value_length(answers), 0)).as_py():
        return None
    return answers


def _score_language(collection: Collection, query_lang: str, options: ScoreOptions) -> list[_Judge]:
    queries, corpora = collection.queries[query_lang], list(collection.shards)
    wanted = [cell[1] for setting in options.settings for cell in cells_of(setting, [query_lang], corpora)]
    if not wanted:
        return []
    judges = {lang: _Judge(collection, query_lang, lang, options) for lang in wanted}
    size, top = _queries_at_a_time(collection, options), _deepest(options)
    blocks = range(0, len(queries), size)
    for start in stage.progress(blocks, total=len(blocks), label=f"queries in {query_lang}", unit="blocks"):
        rows = slice(start, min(start + size, len(queries)))
        rankings = collection.rank(query_lang, rows, wanted, options.depth, top)
        for lang, judge in judges.items():
            judge.judge(rows, rankings[lang])
    for judge in judges.values():
        judge.settle()
    return list(judges.values())


def _queries_at_a_time(collection: Collection, options: ScoreOptions) -> int:
    """Few where all scores are held; many where the vectors pass by once for each block of queries."""
    if options.depth != ALL:
        return max(options.block, _QUERIES_OF_A_PASS)
    return max(1, min(options.block, _MOST_SCORES // len(collection.passage_ids)))


def _deepest(options: ScoreOptions) -> int:
    """How much of the top of a ranking the run file and the metrics of language bias look at."""
    cuts = [int(name.partition("@")[2]) for name in options.metrics if is_bias_metric(name) and "@" in name]
    return max([options.top_k, *cuts])


class _Judge:
    """Fills in one cell, block by block of queries.

    Attributes:
        cell: What is filled in.
        first: (queries, K) the numbers of the passages that MRC@k looks at; None where it is not asked for.
    """

    def __init__(self, collection: Collection, query_lang: str, corpus_lang: str, options: ScoreOptions) -> None:
        """Makes an empty cell, or raises a DataError where no query of it is judged."""
        import numpy as np

        queries, setting = len(collection.queries[query_lang]), setting_of(query_lang, corpus_lang)
        self.judged = collection.judged[query_lang, corpus_lang]
        if not self.judged[1].any():
            raise DataError(
                f"No {setting} score can be computed: no query in {query_lang} has a relevant passage.",
                where=f"queries in {query_lang}, corpus {corpus_lang}, benchmark {collection.benchmark.name}",
                expected="at least one relevant passage",
                remedy=f"leave {setting} out of the settings, or one of the languages out of the evaluation",
            )
        self.by_rank = [name for name in options.metrics if is_rank_metric(name)]
        self.bias = [name for name in options.metrics if setting == "multilingual" and is_bias_metric(name)]
        self.collection, self.query_lang = collection, query_lang
        self.own = list(collection.shards).index(query_lang) if query_lang in collection.shards else -1
        self.answers = (
            None
            if setting == "multilingual" or TOKEN_F1 not in options.metrics
            else _Answers(collection, query_lang, corpus_lang)
        )
        depths = correlation_depths(self.bias)
        self.first = np.full((queries, max(depths)), PADDING, np.int64) if depths else None
        top = np.full((queries, options.top_k), NO_PASSAGE, np.uint64)
        self.cell = Cell(setting, query_lang, corpus_lang, {}, top)
        for metric in self.by_rank:
            self._column(self.cell.values, metric)
        self._waiting: list[tuple[np.ndarray, ...]] = []  # queries, and of each ranks, relevant passages, relevance
        self._ranks_waiting = 0

    def judge(self, rows: slice, found: Ranking) -> None:
        """Fills in the values of the queries `rows`, those of ranx with `settle` at the latest."""
        import numpy as np

        keys = found.keys
        width = min(self.cell.top.shape[1], keys.shape[1])
        self.cell.top[rows, :width] = keys[:, :width]
        if self.first is not None:
            looked_at = numbers_of(keys[:, : self.first.shape[1]])
            self.first[rows, : looked_at.shape[1]] = looked_at
        relevant, relevance = self.judged[0][rows], self.judged[1][rows]
        has = relevance[:, 0] > 0
        if not has.any():
            return
        ranking, ranks, relevant, relevance = numbers_of(keys[has]), found.ranks[has], relevant[has], relevance[has]
        at = np.arange(rows.start, rows.stop)[has]
        self._waiting.append((at, ranks, relevant, relevance))
        self._ranks_waiting += ranks.size
        if self._ranks_waiting >= _MOST_RANKS:
            self.settle()
        values = {}
        if self.bias:
            values = bias_values(
                *(ranking, relevant, relevance, self.collection.pool),
                own=self.own,
                metrics=self.bias,
                ranks=ranks,
                lost=self.collection.lost(self.query_lang, at, relevant),
            )
        if self.answers is not None:
            values[TOKEN_F1] = self.answers.token_f1(at, ranking[:, 0])
        for metric, of_metric in values.items():
            self._column(self.cell.values, metric)[at] = of_metric
        for depth in share_depths(self.bias):
            shares = language_shares(ranking, self.collection.pool, depth)
            self._column(self.cell.shares, f"{LANGUAGE_SHARE}@{depth}", shares.shape[1])[at] = shares

    def settle(self) -> None:
        """Fills in what waits for ranx."""
        import numpy as np

        if self._waiting:
            at, ranks, relevant, relevance = map(np.concatenate, zip(*self._waiting, strict=True))
            self._waiting, self._ranks_waiting = [], 0
            for metric, of_metric in by_ranx.rank_values(ranks, relevant, relevance, self.by_rank).items():
                self.cell.values[metric][at] = np.where(relevance[:, 0] < least_relevance(metric), np.nan, of_metric)

    def _column(self, columns: dict[str, np.ndarray], metric: str, *width: int) -> np.ndarray:
        import numpy as np

        return columns.setdefault(metric, np.full((len(self.cell.top), *width), np.nan))


class _Answers:
    """Gold answers in the language of a corpus, and the texts of its passages.

    The answers to a query are its own where corpus and query share their language, else those of the query of the
    same group in the corpus's language; a query without answers there has no value.
    """

    def __init__(self, collection: Collection, query_lang: str, corpus_lang: str) -> None:
        import numpy as np

        self.lang, self.texts = corpus_lang, collection.benchmark.corpus[corpus_lang].texts
        self.row_of = np.full(len(collection.passage_ids), PADDING, np.int64)
        self.row_of[collection.shards[corpus_lang].numbers] = np.arange(len(self.texts))
        self.answers = self._in_corpus_language(collection.benchmark, query_lang)

    def _in_corpus_language(self, benchmark: Benchmark, query_lang: str) -> list[list[str]]:
        there = benchmark.queries.get(self.lang)
        answers = _answers(there) if there is not None else None
        mine = benchmark.queries[query_lang]
        if there is None or answers is None:
            return [[] for _ in range(len(mine))]
        if query_lang == self.lang:
            return [found or [] for found in answers.to_pylist()]
        by_group = {group: found for group, found in zip(there.groups.to_pylist(), answers.to_pylist(), strict=True)}
        return [(by_group.get(group) or []) if group else [] for group in mine.groups.to_pylist()]

    def token_f1(self, queries: np.ndarray, first: np.ndarray) -> np.ndarray:
        """(n,) float64: of each query's first passage; NaN without answers, 0 where nothing was retrieved."""
        import numpy as np

        values = np.full(len(queries), np.nan)
        for place, (query, passage) in enumerate(zip(queries, first, strict=True)):
            if self.answers[query]:
                text = self.texts[int(self.row_of[passage])].as_py() if passage != PADDING else ""
                values[place] = token_f1(text, self.answers[query], self.lang)
        return values
