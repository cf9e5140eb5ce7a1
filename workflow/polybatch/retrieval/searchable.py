"""A benchmark together with a retriever's embeddings and indexes of it, checked to belong together.

inputs: embeddings/<run>/<name>/, index/<run>/<name>/, benchmarks/<name>/
outputs: a `Collection`
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from polybatch.benchmarks.benchmark import Benchmark, load
from polybatch.core.contracts import POOL
from polybatch.core.device import given_cards
from polybatch.core.errors import DataError
from polybatch.core.files import read_json, sha256_file
from polybatch.embedding.vectors import open_vectors, read_vectors
from polybatch.retrieval import near_ties
from polybatch.retrieval.flat_index import EXACT, flat_vectors
from polybatch.retrieval.judgements import exclusions, judgements
from polybatch.retrieval.keys import ALL, best, merge, numbers_of, without
from polybatch.retrieval.language_bias import Pool
from polybatch.retrieval.metrics import PADDING, relevant_ranks
from polybatch.retrieval.ranking import Shard, copy_on_card, count_before, number_passages, set_search_parameters

if TYPE_CHECKING:
    import faiss
    import numpy as np
    import pyarrow as pa

_RECALL_QUERIES, _RECALL_DEPTHS = 100, (10, 100)


@dataclass(frozen=True)
class Ranking:
    """The rankings of n queries: their best passages, and the ranks of the relevant ones.

    Attributes:
        keys: (n, k) the best passages, see ranking.py; k is what was asked for or more, where there are so many.
        ranks: (n, R) int64, the ranks of the relevant passages, from 1; 0 for padding and those not retrieved.
    """

    keys: np.ndarray
    ranks: np.ndarray


@dataclass(frozen=True)
class Collection:
    """A benchmark with its embeddings and indexes, ready to be searched.

    Attributes:
        benchmark: See Benchmark.
        queries: language -> (queries, dim) float32.
        shards: language -> the index of its corpus.
        passage_ids: The ids of the pool's passages by number.
        judged: (query language, corpus language or "all") -> passages and relevances, both (queries, R), highest
            relevance first, padded with -1 and 0. A number from len(passage_ids) on is a relevant passage that no
            corpus holds (see benchmark.absent_schema): it has no id and no ranking contains it.
        excluded: query language -> (queries, E) passages to take out of each query's rankings, padded with -1; only
            languages that have any.
    """

    benchmark: Benchmark
    queries: dict[str, np.ndarray]
    shards: dict[str, Shard]
    passage_ids: pa.Array
    judged: dict[tuple[str, str], tuple[np.ndarray, np.ndarray]]
    excluded: dict[str, np.ndarray] = field(default_factory=dict)

    def rank(
        self, query_lang: str, rows: slice, corpora: Sequence[str], depth: int | str, top: int
    ) -> dict[str, Ranking]:
        """Ranks corpora for some queries of a language.

        Args:
            query_lang, rows: Which queries.
            corpora: Languages, and "all" for the pool of all languages.
            depth: Entries that a ranking has, or "all".
            top: Entries that are wanted of it.
        """
        searched = list(self.shards) if POOL in corpora else corpora
        if depth == ALL and all(self.shards[lang].exact for lang in searched):
            return self._rank_by_counting(query_lang, rows, searched, corpora, top)
        keys = {lang: self.search(query_lang, rows, lang, depth) for lang in searched}
        if POOL in corpora:
            keys[POOL] = self._pooled(list(keys.values()), self.queries[query_lang][rows], depth)
        return {
            lang: Ranking(keys[lang], relevant_ranks(numbers_of(keys[lang]), self.judged[query_lang, lang][0][rows]))
            for lang in corpora
        }

    def _pooled(self, lists: Sequence[np.ndarray], queries: np.ndarray, depth: int | str) -> np.ndarray:
        """The ranking of the pool, from (n, k) keys of each language: copies of a text in two of them tie too."""
        if depth == ALL or any(shard.on_card or not shard.exact for shard in self.shards.values()):
            return merge(lists, depth)
        margin = near_ties.margin(queries)
        reaching = near_ties.reaching(merge(lists, ALL), int(depth), margin)
        return near_ties.settled(reaching, queries, self.vectors_of, margin, int(depth))

    def _rank_by_counting(
        self, query_lang: str, rows: slice, searched: Sequence[str], corpora: Sequence[str], top: int
    ) -> dict[str, Ranking]:
        """Full rankings without sorting them: all inner products once, for all corpora together."""
        scores = self.scores(self.queries[query_lang][rows], searched)
        for lang, of_lang in scores.items():
            self._exclude(of_lang, query_lang, rows, lang)
        keys = {lang: best(of_lang, self.shards[lang].numbers, top) for lang, of_lang in scores.items()}
        if POOL in corpora:
            keys[POOL] = merge(list(keys.values()), top)
        found = {}
        for lang in corpora:
            among = scores if lang == POOL else {lang: scores[lang]}
            found[lang] = Ranking(keys[lang], self._count_ranks(among, self.judged[query_lang, lang][0][rows]))
        return found

    def scores(self, queries: np.ndarray, corpora: Sequence[str]) -> dict[str, np.ndarray]:
        """Language -> (n, passages) float32 inner products, see `Shard.scores`; where all languages are compared, those
        of copies in two of them are equal too.

        Args:
            queries: (n, dim) float32 of length 1.
            corpora: Languages.
        """
        scores = {lang: self.shards[lang].scores(queries) for lang in corpora}
        for lang, mine, other, theirs in self._copies_of_languages if len(corpora) == len(self.shards) else ():
            scores[lang][:, mine] = scores[other][:, theirs]
        return scores

    def _exclude(self, scores: np.ndarray, query_lang: str, rows: slice, corpus_lang: str) -> None:
        """Gives minus infinity to the passages that are excluded for a query, in (n, passages) scores."""
        import numpy as np

        if query_lang in self.excluded:
            excluded = self.excluded[query_lang][rows]
            langs, places = self._places
            queries, columns = np.nonzero(langs[excluded] == list(self.shards).index(corpus_lang))
            scores[queries, places[excluded[queries, columns]]] = -np.inf

    @cached_property
    def _copies_of_languages(self) -> list[tuple[str, np.ndarray, str, np.ndarray]]:
        """(language, its rows, another language, rows there) of texts that stand in both, with one vector.

        As an interface's strings that nobody translated. Their scores are of different products of matrices, and would
        differ in the last bits (see near_ties.py). A text that was embedded twice may have two vectors: then not.
        """
        import numpy as np
        import pyarrow as pa

        texts = pa.chunked_array([shard.read_texts() for shard in self.shards.values()])
        codes = np.concatenate([chunk.indices.to_numpy() for chunk in texts.dictionary_encode().chunks])
        _, first, inverse = np.unique(codes, return_index=True, return_inverse=True)
        first = first[inverse]
        starts = np.cumsum([0, *(len(shard.numbers) for shard in self.shards.values())])
        langs, found = list(self.shards), []
        for lang, start, end in zip(langs, starts, starts[1:], strict=False):
            owner = np.searchsorted(starts, first[start:end], side="right") - 1
            for code in np.unique(owner[first[start:end] < start]):
                mine = np.flatnonzero(owner == code)
                theirs = first[start:end][mine] - starts[code]
                # Of copies within a language the first one's scores are taken, so its vector is what counts.
                copies = self.shards[lang].first_copy
                one = self.shards[lang].vectors_at(mine if copies is None else copies[mine])
                other = self.shards[langs[code]].vectors_at(theirs)
                same = (one == other).all(axis=1)
                found.append((lang, mine[same], langs[code], theirs[same]))
        return found

    def _count_ranks(self, scores: Mapping[str, np.ndarray], passages: np.ndarray) -> np.ndarray:
        """(n, R) int64: the ranks of passages in the pool of some corpora, see Ranking."""
        import numpy as np

        langs, places = self._places
        own = np.full(passages.shape, np.nan, np.float32)
        held = {lang: langs[passages] == list(self.shards).index(lang) for lang in scores}
        for lang, here in held.items():
            queries, columns = np.nonzero(here)
            own[queries, columns] = scores[lang][queries, places[passages[queries, columns]]]
        own[np.isneginf(own)] = np.nan
        before = np.zeros(passages.shape, np.int64)
        for lang, of_lang in scores.items():
            before += count_before(of_lang, self.shards[lang].numbers, own, passages, held[lang])
        return np.where(np.isnan(own), 0, before + 1)

    @cached_property
    def _places(self) -> tuple[np.ndarray, np.ndarray]:
        """The place of each passage by number: of its language among the shards, and its row in that corpus.

        Absent passages follow with -1, and last, where numpy looks for -1, what stands for PADDING.
        """
        import numpy as np

        behind = sum(map(len, self.benchmark.absent.values())) + 1
        langs, places = (np.full(len(self.passage_ids) + behind, PADDING, np.int64) for _ in range(2))
        for code, shard in enumerate(self.shards.values()):
            langs[shard.numbers], places[shard.numbers] = code, np.arange(len(shard.numbers))
        return langs, places

    @cached_property
    def pool(self) -> Pool:
        """The languages of all passages, int16; a language's number is its place among the shards."""
        import numpy as np

        absent = [len(self.benchmark.absent.get(lang, ())) for lang in self.shards]
        languages = np.empty(len(self.passage_ids) + sum(absent), np.int16)
        for code, shard in enumerate(self.shards.values()):
            languages[shard.numbers] = code
        languages[len(self.passage_ids) :] = np.repeat(np.arange(len(absent)), absent)
        sizes = np.array([len(shard.numbers) for shard in self.shards.values()])
        return Pool(languages, sizes / sizes.sum())

    def lost(self, query_lang: str, queries: np.ndarray, relevant: np.ndarray) -> np.ndarray:
        """(n, R) bool: of the queries' relevant passages, those that no corpus holds or that are excluded for them."""
        gone: np.ndarray = relevant >= len(self.passage_ids)
        if query_lang in self.excluded:
            excluded = self.excluded[query_lang][queries]
            gone |= (relevant != PADDING) & (relevant[:, :, None] == excluded[:, None]).any(axis=2)
        return gone

    def vectors_of(self, passages: np.ndarray) -> np.ndarray:
        """(len(passages), dim) float32: the embeddings of passages that corpora hold, by their numbers."""
        import numpy as np

        langs, places = self._places
        vectors = np.empty((len(passages), next(iter(self.queries.values())).shape[1]), np.float32)
        for code, shard in enumerate(self.shards.values()):
            mine = langs[passages] == code
            vectors[mine] = shard.vectors_at(places[passages[mine]])
        return vectors

    def index_recall(self) -> dict[str, dict[str, float]]:
        """The share of the exact best passages that indexes find which are not exact, with their search parameters.

        Returns:
            corpus language -> "recall@10", "recall@100" (less where the corpus is smaller): the mean share over 100
            queries of all languages, evenly taken. Only languages whose index is not exact.
        """
        import numpy as np

        queries = np.concatenate(list(self.queries.values()))
        some = queries[np.linspace(0, len(queries) - 1, min(len(queries), _RECALL_QUERIES)).astype(int)]
        found: dict[str, dict[str, float]] = {}
        for lang, shard in self.shards.items():
            for depth in sorted(
                {min(depth, len(shard.numbers)) for depth in _RECALL_DEPTHS} if not shard.exact else ()
            ):
                exact, ours = (numbers_of(search(some, depth)) for search in (shard.search_vectors, shard.search))
                both = [len(np.intersect1d(*lists)) for lists in zip(exact, ours, strict=True)]
                found.setdefault(lang, {})[f"recall@{depth}"] = float(np.mean(both)) / depth
        return found

    def search(self, query_lang: str, rows: slice, corpus_lang: str, depth: int | str) -> np.ndarray:
        """Ranks one language's corpus for some queries, without the passages that are excluded for them.

        Returns:
            (n, k) keys, best first, see ranking.py; k is the depth, or the number of passages where that is less.
        """
        queries, shard = self.queries[query_lang][rows], self.shards[corpus_lang]
        if query_lang not in self.excluded:
            return shard.search(queries, depth)
        excluded = self.excluded[query_lang][rows]
        deeper = depth if depth == ALL else int(depth) + excluded.shape[1]
        return without(shard.search(queries, deeper), excluded, depth)


def open_collection(
    embeddings: Path, index: Path, benchmark_folder: Path, search_parameters: str = "", depth: int | str = ALL
) -> Collection:
    """Reads everything that is searched, and makes sure that it belongs together.

    Args:
        embeddings, index: embeddings/<run>/<name> and index/<run>/<name>.
        benchmark_folder: benchmarks/<name>; the languages of queries and corpus are those of the embeddings.
        search_parameters: See `set_search_parameters`.
        depth: Of the searches to come; decides what is worth a copy on a card.

    Raises:
        DataError: The embeddings were made from other texts, or the indexes from other embeddings; a file is
            missing or damaged.
    """
    embedded, indexed = read_json(embeddings / "embeddings.json"), read_json(index / "index.json")
    benchmark = load(benchmark_folder, *embedded_languages(embedded))
    _require_same_texts(embeddings, embedded, benchmark)
    _require_same_vectors(index, indexed, embedded)
    passage_ids, numbers = number_passages([texts.ids for texts in benchmark.corpus.values()])
    shards = {}
    for (lang, texts), of_lang in zip(benchmark.corpus.items(), numbers, strict=True):
        read_texts, path, record = partial(getattr, texts, "texts"), index / f"{lang}.faiss", indexed["corpus"][lang]
        exact = record["factory"] == EXACT and not search_parameters
        if exact and (depth == ALL or not given_cards()):
            shards[lang] = Shard(None, of_lang, read_texts, vectors=flat_vectors(path, record))
            continue
        of_corpus, on_card = _read_index(path, search_parameters, depth)
        vectors = None if exact else open_vectors(embeddings / "corpus" / f"{lang}.npy", embedded["corpus"][lang])
        shards[lang] = Shard(of_corpus, of_lang, read_texts, on_card, vectors)
    queries = {
        lang: read_vectors(embeddings / "queries" / f"{lang}.npy", embedded["queries"][lang])
        for lang in benchmark.queries
    }
    judged = judgements(benchmark, passage_ids, shards)
    return Collection(benchmark, queries, shards, passage_ids, judged, exclusions(benchmark, passage_ids))


def _read_index(path: Path, search_parameters: str, depth: int | str) -> tuple[faiss.Index, faiss.Index | None]:
    """An index, and its copy on a card if there is one."""
    import faiss

    index = faiss.read_index(str(path))
    if search_parameters:
        set_search_parameters(index, search_parameters)
    return index, copy_on_card(index, depth, str(path.with_suffix("")))


def embedded_languages(embedded: dict[str, Any]) -> tuple[list[str], list[str]]:
    """The languages of queries and corpus that embeddings.json lists, in the order in which they were asked for."""
    return embedded["languages"], embedded.get("corpus_languages", embedded["languages"])


def _require_same_texts(folder: Path, embedded: dict[str, Any], benchmark: Benchmark) -> None:
    other = [
        f"{side}/{lang}"
        for side, texts_of in (("queries", benchmark.queries), ("corpus", benchmark.corpus))
        for lang, texts in texts_of.items()
        if embedded[side].get(lang, {}).get("input") != texts.digest()
    ]
    if other:
        raise DataError(
            "The embeddings were made from other texts than the benchmark holds.",
            where=folder,
            expected="embeddings of this benchmark's ids and texts, in their order",
            found="others in " + ", ".join(other),
            remedy="run polybatch.embedding.encode on this benchmark again",
        )


def _require_same_vectors(folder: Path, indexed: dict[str, Any], embedded: dict[str, Any]) -> None:
    records = indexed["corpus"]
    languages = embedded_languages(embedded)[1]
    other = [
        lang
        for lang in languages
        if records.get(lang, {}).get("vectors") != embedded["corpus"][lang]["sha256"]
        or not (folder / f"{lang}.faiss").is_file()
        or sha256_file(folder / f"{lang}.faiss") != records[lang]["sha256"]
    ]
    if other:
        raise DataError(
            "The indexes were not made from these embeddings, or are damaged.",
            where=folder,
            expected=f"one index for each of {' '.join(languages)}",
            found="missing, outdated or damaged: " + " ".join(other),
            remedy="run polybatch.retrieval.index on these embeddings again",
        )
