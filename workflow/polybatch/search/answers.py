"""What one or two models answer to a question, side by side.

inputs: `Retriever`s of one benchmark, and a question: a typed one, or one of the benchmark's own queries
outputs: an `Answer`: the first passages of each model, the languages among them, where translations of a passage stand
"""

from __future__ import annotations

import threading
import time
from collections import Counter, OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from polybatch.core.errors import ConfigError, DataError
from polybatch.core.languages import language
from polybatch.search.questions import Own, Queries, Typed, require_top, usable
from polybatch.search.retriever import OTHER_LANGUAGE, Asked, Ranked, Retriever

if TYPE_CHECKING:
    import numpy as np

SHARE_DEPTHS = (10, 100)
# Questions whose vectors are kept: a filter or a look at translations asks the last one again.
_KEPT_QUESTIONS = 64


@dataclass(frozen=True)
class Hit:
    """A passage that a model found.

    Attributes:
        passage_id, lang, text: As in the benchmark.
        rank: In the pool of all languages, from 1; 0 for one that the benchmark takes out of this query's rankings.
        score: The cosine of passage and question.
        relevant: Whether it is judged relevant; None for a typed question, about which nothing is known.
        translations: Passages of the same group, in other languages or in its own.
    """

    passage_id: str
    lang: str
    text: str
    rank: int
    score: float
    relevant: bool | None
    translations: int


@dataclass(frozen=True)
class OfModel:
    """What one model answers.

    Attributes:
        run: The model's run.
        hits: Its first passages, best first.
        shares: Depth -> language -> share of the first passages of the pool, whatever the filter.
        relevant_ranks: The ranks of all relevant passages, ascending; empty for a typed question.
        encode_ms, search_ms: How long it took. Stored queries and questions that were asked before are not encoded.
        cut: Whether the model read only the beginning of the question.
    """

    run: str
    hits: list[Hit]
    shares: dict[int, dict[str, float]]
    relevant_ranks: list[int]
    encode_ms: float
    search_ms: float
    cut: bool


@dataclass(frozen=True)
class Answer:
    """What all models answer.

    Attributes:
        question: The text.
        own: The benchmark's query that it is, if it is one.
        note: What the reader should know, "" for nothing.
        models: One or two.
    """

    question: str
    own: Own | None
    note: str
    models: list[OfModel]


@dataclass(frozen=True)
class Translation:
    """A passage of a hit's group: the passage, and its rank and score by each model."""

    passage_id: str
    lang: str
    text: str
    ranks: list[int]
    scores: list[float]


class Answers:
    """Asks one or two models.

    Attributes:
        retrievers: The models, of one benchmark in the same languages.
        own: The benchmark's queries.
        turn: Is held while a question is answered: one at a time has the processor, and what is done beside waits.
    """

    def __init__(self, retrievers: Sequence[Retriever]) -> None:
        self.retrievers = list(retrievers)
        _require_same_pool(self.retrievers)
        self.benchmark = self.retrievers[0].collection.benchmark
        self.own = Queries(self.benchmark)
        self.turn = threading.Lock()
        self._asked: OrderedDict[tuple[int, Typed], Asked] = OrderedDict()

    @property
    def languages(self) -> list[str]:
        """Of the corpus."""
        return self.retrievers[0].languages

    @cached_property
    def pool(self) -> dict[str, int]:
        """Language -> how many passages there are."""
        return {lang: len(texts) for lang, texts in self.benchmark.corpus.items()}

    @property
    def queries(self) -> list[Own]:
        """All queries of the benchmark, language by language."""
        return list(self.own.by_id.values())

    @property
    def question_languages(self) -> list[str]:
        """The languages to choose that of a typed question from; none where it does not matter to any model."""
        every = [lang for model in self.retrievers for lang in model.taken_off]
        return [lang for lang in dict.fromkeys(every) if lang != OTHER_LANGUAGE] + [OTHER_LANGUAGE] * bool(every)

    def ask(
        self, question: str = "", query_id: str = "", languages: Sequence[str] = (), top: int = 10, lang: str = ""
    ) -> Answer:
        """Answers a question.

        Args:
            question: The text; one that is, word for word, a query of the benchmark is taken for that query.
            query_id: A query of the benchmark, in place of a text.
            languages: The passages to list; none is all.
            top: How many passages a model lists.
            lang: The language of a typed question, one of `question_languages` where there are any.

        Raises:
            ConfigError: The question is empty or too long, or there is no such query, language or number.
        """
        own, note = self.own.find(question, query_id)
        places = self._places(languages)
        require_top(top)
        asking = own or self._typed(question, lang)
        with self.turn:
            found = [self._of_model(place, asking, places, top) for place in range(len(self.retrievers))]
        return Answer(asking.text, own, note, found)

    def translations(
        self, passage_id: str, question: str = "", query_id: str = "", lang: str = ""
    ) -> list[Translation]:
        """Where the passages of a hit's group stand for a question, the hit among them, in the pool's order of
        languages.

        Raises:
            ConfigError: There is no such passage; and as of `ask`.
        """
        own, _ = self.own.find(question, query_id)
        asking = own or self._typed(question, lang)
        numbers = self._group_of(passage_id)
        with self.turn:
            ranked = [model.rank(self._question(place, asking)[0]) for place, model in enumerate(self.retrievers)]
        ranks, scores = [of.ranks(numbers).tolist() for of in ranked], [of.scores(numbers).tolist() for of in ranked]
        return [
            Translation(*self._passage(number), [of[place] for of in ranks], [of[place] for of in scores])
            for place, number in enumerate(numbers.tolist())
        ]

    def _of_model(self, place: int, asking: Own | Typed, languages: list[int] | None, top: int) -> OfModel:
        asked, encode_ms = self._question(place, asking)
        own = asking if isinstance(asking, Own) else None
        start = time.perf_counter()
        model = self.retrievers[place]
        ranked = model.rank(asked)
        numbers, scores = ranked.first(top, languages)
        relevant = model.relevant(own.lang, own.row) if own else None
        ranks = ranked.ranks(numbers).tolist()
        shares = self._shares(ranked)
        relevant_ranks = [] if relevant is None else sorted(filter(None, ranked.ranks(relevant).tolist()))
        search_ms = 1000 * (time.perf_counter() - start)
        known = None if relevant is None else set(relevant.tolist())
        hits = [
            Hit(*self._passage(number), rank, score, None if known is None else number in known, self._others(number))
            for number, rank, score in zip(numbers.tolist(), ranks, scores.tolist(), strict=True)
        ]
        return OfModel(model.run, hits, shares, relevant_ranks, encode_ms, search_ms, asked.cut)

    def _shares(self, ranked: Ranked) -> dict[int, dict[str, float]]:
        numbers, _ = ranked.first(max(SHARE_DEPTHS))
        found = {}
        for depth in SHARE_DEPTHS:
            counts = Counter(ranked.languages[numbers[:depth]].tolist())
            of = max(1, min(depth, len(numbers)))
            found[depth] = {lang: counts[place] / of for place, lang in enumerate(self.languages)}
        return found

    def _question(self, place: int, asking: Own | Typed) -> tuple[Asked, float]:
        """The question as a model takes it, and the milliseconds that took: none for one that was asked before."""
        model = self.retrievers[place]
        if isinstance(asking, Own):
            return model.stored(asking.lang, asking.row), 0.0
        if (known := self._asked.get((place, asking))) is not None:
            return known, 0.0
        start = time.perf_counter()
        asked = self._asked[place, asking] = model.embed(asking.text, asking.lang)
        if len(self._asked) > _KEPT_QUESTIONS:
            self._asked.popitem(last=False)
        return asked, 1000 * (time.perf_counter() - start)

    def _typed(self, question: str, lang: str) -> Typed:
        """A typed question, with its language where that matters."""
        text, choices = usable(question), self.question_languages
        if choices and lang not in choices:
            needing = ", ".join(model.run for model in self.retrievers if model.taken_off)
            raise ConfigError(
                "The language of the question has to be named.",
                expected=f"one of {' '.join(choices)}: {needing} takes a vector of the question's language off",
                found=lang or "none",
                remedy="choose it beside the question; in the terminal: --question-language",
            )
        return Typed(text, lang if choices else "")

    def _places(self, languages: Sequence[str]) -> list[int] | None:
        unknown = [lang for lang in languages if lang not in self.languages]
        if unknown:
            raise ConfigError(
                "The corpus has no passages in that language.",
                expected="languages of the corpus: " + " ".join(self.languages),
                found=" ".join(unknown),
            )
        return [self.languages.index(lang) for lang in languages] or None

    def _passage(self, number: int) -> tuple[str, str, str]:
        """Id, language and text."""
        lang, row = self._place_of(number)
        texts = self.benchmark.corpus[lang]
        return texts.ids[row].as_py(), lang, texts.texts[row].as_py()

    def _place_of(self, number: int) -> tuple[str, int]:
        return self.languages[int(self.retrievers[0].language_of[number])], int(self._rows[number])

    @cached_property
    def _rows(self) -> np.ndarray:
        """(passages,) int64: the row of each passage in its language's file."""
        import numpy as np

        rows = np.empty(len(self.retrievers[0].collection.passage_ids), np.int64)
        for shard in self.retrievers[0].collection.shards.values():
            rows[shard.numbers] = np.arange(len(shard.numbers))
        return rows

    @cached_property
    def _groups(self) -> tuple[np.ndarray, np.ndarray]:
        """(passages,) int64, the group of each passage by number, -1 for none; and (groups,) how many are in each."""
        import numpy as np
        import pyarrow as pa
        import pyarrow.compute as pc

        corpus = [texts.groups for texts in self.benchmark.corpus.values()]
        coded = pa.chunked_array(corpus, pa.string()).combine_chunks().dictionary_encode()
        empty = pc.index(coded.dictionary, "").as_py()
        codes = coded.indices.to_numpy().astype(np.int64)
        numbers = np.concatenate([shard.numbers for shard in self.retrievers[0].collection.shards.values()])
        groups = np.empty(len(codes), np.int64)
        groups[numbers] = np.where(codes == empty, -1, codes)
        return groups, np.bincount(codes, minlength=len(coded.dictionary))

    def _others(self, number: int) -> int:
        groups, sizes = self._groups
        return 0 if groups[number] < 0 else int(sizes[groups[number]]) - 1

    def _group_of(self, passage_id: str) -> np.ndarray:
        """The passages of a passage's group by number, language by language."""
        import numpy as np
        import pyarrow.compute as pc

        number = pc.index(self.retrievers[0].collection.passage_ids, passage_id).as_py()
        if number < 0:
            raise ConfigError(
                "The benchmark has no such passage.", expected=f"a passage of {self.benchmark.name}", found=passage_id
            )
        groups, _ = self._groups
        found = np.array([number]) if groups[number] < 0 else np.flatnonzero(groups == groups[number])
        order = np.lexsort((-found, self.retrievers[0].language_of[found]))
        return found[order]


def name_of(lang: str) -> str:
    """A language's name in English; its code where the table of languages does not have it."""
    try:
        return language(lang).name
    except ConfigError:
        return lang


def _require_same_pool(retrievers: Sequence[Retriever]) -> None:
    """Raises a DataError unless the models rank the same passages for the same queries."""
    for model in retrievers[1:]:
        one, other = retrievers[0].collection, model.collection
        have = [
            f"{found.run}: queries in {' '.join(found.collection.queries)}, passages in {' '.join(found.languages)}"
            for found in (retrievers[0], model)
        ]
        if set(one.queries) != set(other.queries) or retrievers[0].languages != model.languages:
            raise DataError(
                "The two models hold the benchmark in other languages, and cannot be compared.",
                where=f"benchmark {one.benchmark.name}",
                expected="embeddings in the same languages",
                found="; ".join(have),
                remedy="run `snakemake` for the study of each, with the same languages.evaluate",
            )
