"""Collecting and splitting: what is dropped, what is held out, and that nothing held out leaks into training."""

from __future__ import annotations

import random

import pytest

from polybatch.collect import SplitOptions, clean, rows, split
from polybatch.errors import ConfigError, DataError
from polybatch.parallel import training_rows
from polybatch.parallel_text import human_rows, string_rows
from polybatch.sources import Pair, pair_id
from polybatch.text import text_key


class TinySource:
    """A source in memory, with German for every pair and a few collisions, as real interfaces have."""

    name, license = "tiny", "CC0-1.0"

    def __init__(self, count: int = 200) -> None:
        words = ["lamp", "door", "fan", "heater", "garden", "kitchen", "alarm", "sensor", "valve", "pump"]
        picks = random.Random(0).sample([(a, b, c) for a in words for b in words for c in words], count)
        self.pairs = [self._pair(f"{a} {b} {c}", f"Switches the {a} of the {b} near the {c}") for a, b, c in picks]

    def _pair(self, query: str, passage: str) -> Pair:
        return Pair(pair_id(self.name, query, passage), query, passage)

    def english(self):
        yield from self.pairs

    def translations(self, lang):
        for pair in self.pairs:
            # Every tenth German query is the same word: it collides between splits.
            query = "Taste" if int(pair.pair_id, 16) % 10 == 0 else f"{lang} {pair.query}"
            yield Pair(pair.pair_id, query, f"{lang}: {pair.passage}")

    def strings(self, lang):
        for pair in self.pairs:
            yield pair.passage, f"{lang}: {pair.passage}"
            yield pair.query.upper() + "!", f"{lang} {pair.query}"
        yield "An extra string of the interface", f"{lang} extra"


OPTIONS = SplitOptions(test_passages=20, dev_passages=10)


@pytest.fixture(scope="module")
def source() -> TinySource:
    return TinySource()


@pytest.fixture(scope="module")
def collected(source: TinySource) -> list[dict]:
    pairs, _ = clean(source.english(), OPTIONS)
    translated = {"de": {p.pair_id for p in source.translations("de")}}
    return rows(pairs, split(pairs, translated, OPTIONS), source, OPTIONS)


def held_out_keys(collected: list[dict], translations: list[Pair]) -> set[str]:
    ids = {row["pair_id"] for row in collected if row["split"] != "train"}
    texts = [row for row in collected if row["pair_id"] in ids]
    english = {text_key(t) for row in texts for t in (row["query"], row["passage"])}
    return english | {text_key(t) for p in translations if p.pair_id in ids for t in (p.query, p.passage)}


def test_split_sizes_and_disjoint_passages(collected: list[dict]) -> None:
    by_split = {n: {text_key(r["passage"]) for r in collected if r["split"] == n} for n in ("train", "dev", "test")}
    assert len(by_split["test"]) == 20
    assert len(by_split["dev"]) == 10
    assert not by_split["train"] & (by_split["dev"] | by_split["test"])
    assert not by_split["dev"] & by_split["test"]


def test_no_held_out_text_in_any_training_text(source: TinySource, collected: list[dict]) -> None:
    translations = list(source.translations("de"))
    secret = held_out_keys(collected, translations)
    assert text_key("Taste") in secret, "the fixture must contain a collision, or this test proves nothing"
    human = human_rows(collected, translations)
    retriever = training_rows(collected, human, machine=[])
    assert retriever
    assert not {text_key(t) for row in retriever for t in (row["query"], row["passage"])} & secret
    strings = list(string_rows(collected, translations, source.strings("de"), 0.1))
    assert not {text_key(t) for row in strings for t in (row["english"], row["text"])} & secret


def test_translators_never_see_what_scores_them(source: TinySource, collected: list[dict]) -> None:
    strings = list(string_rows(collected, list(source.translations("de")), source.strings("de"), 0.1))
    aside = {text_key(r["passage"]) for r in collected if r["kind"] == "english_only"}
    assert aside
    assert not {text_key(row["english"]) for row in strings} & aside
    train = {text_key(r["english"]) for r in strings if r["split"] == "train"}
    assert not train & {text_key(r["english"]) for r in strings if r["split"] != "train"}


def test_english_only_pairs_have_no_human_translation_in_training(source: TinySource, collected: list[dict]) -> None:
    aside = {r["pair_id"] for r in collected if r["kind"] == "english_only"}
    training = training_rows(collected, human_rows(collected, list(source.translations("de"))), machine=[])
    assert not {row["pair_id"] for row in training} & aside


def test_split_does_not_depend_on_order(source: TinySource, collected: list[dict]) -> None:
    shuffled = list(source.english())
    random.Random(1).shuffle(shuffled)
    pairs, _ = clean(shuffled, OPTIONS)
    translated = {"de": {p.pair_id for p in source.translations("de")}}
    assert rows(pairs, split(pairs, translated, OPTIONS), source, OPTIONS) == collected


def test_a_held_out_query_identifies_its_passage() -> None:
    source = TinySource()
    source.pairs += [source._pair(source.pairs[i].query, f"Another thing number {i} altogether") for i in range(150)]
    pairs, _ = clean(source.english(), OPTIONS)
    fate = split(pairs, {}, OPTIONS)
    held = [p for p in pairs if fate[p.pair_id] in ("dev", "test")]
    for pair in held:
        assert sum(text_key(p.query) == text_key(pair.query) for p in pairs) == 1


def test_cleaning_counts_every_pair_once() -> None:
    source = TinySource(5)
    bad = [
        source._pair("", "A passage of words"),
        source._pair("q", "short"),
        source._pair("123", "A passage of words"),
    ]
    pairs, counts = clean([*source.pairs, *source.pairs[:2], *bad], OPTIONS)
    assert counts["collected"] == 10
    assert (counts["duplicate"], counts["empty"], counts["query without letters"]) == (2, 1, 1)
    assert counts["passage too short or too long"] == 1
    assert len(pairs) == counts["kept"] == 5


def test_too_few_passages_is_an_error_with_numbers(source: TinySource) -> None:
    pairs, _ = clean(source.english(), OPTIONS)
    with pytest.raises(DataError, match=r"20 test and 10 dev passages are missing"):
        split(pairs, {"de": set()}, OPTIONS)


def test_nothing_left_to_train_on_is_an_error(source: TinySource) -> None:
    options = SplitOptions(test_passages=150, dev_passages=50)
    pairs, _ = clean(source.english(), options)
    with pytest.raises(DataError, match="no training pair is left"):
        rows(pairs, split(pairs, {}, options), source, options)


def test_unknown_split_option_is_named() -> None:
    with pytest.raises(ConfigError, match="test_pasages"):
        SplitOptions.from_json('{"test_pasages": 3}')
