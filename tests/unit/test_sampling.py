from collections import Counter

import numpy as np
import pyarrow as pa
import pytest

from polybatch.errors import ConfigError, TrainingError
from polybatch.pairs import PairTable
from polybatch.sampling import BatchSampler, Sampling, composition

EVERY = [
    Sampling("en-en"),
    Sampling("x-x"),
    Sampling("x-x-mono"),
    Sampling("x-y"),
    Sampling("hybrid", 0.5),
]


def make_table(present, query=str, passage=str):
    """present: language -> row numbers; query and passage give row i its English text."""
    ids = [f"{i:05}" for i in sorted(present["en"])]
    tables = {
        lang: pa.table(
            {
                "pair_id": [f"{i:05}" for i in rows],
                "query": ["q" + query(i) for i in rows],
                "passage": ["p" + passage(i) for i in rows],
            }
        )
        for lang, rows in present.items()
    }
    return PairTable(tables, ids)


@pytest.fixture(scope="module")
def table():
    """400 pairs in English; German has most of them, Turkish a few."""
    return make_table({"en": range(400), "de": range(10, 400), "tr": range(100)})


def sampler(table, sampling, batch_size=16, num_steps=300, seed=0, **kwargs):
    return BatchSampler(table, sampling, batch_size=batch_size, num_steps=num_steps, seed=seed, **kwargs)


def batches(table, sampling, **kwargs):
    drawn = sampler(table, sampling, **kwargs)
    return [drawn.draw(step) for step in range(len(drawn))]


def same(one, other):
    return one.kind == other.kind and all(np.array_equal(a, b) for a, b in zip(one[1:], other[1:], strict=True))


@pytest.mark.parametrize("sampling", EVERY, ids=lambda s: s.name)
def test_a_batch_depends_on_seed_and_step_alone(table, sampling):
    one, other = sampler(table, sampling, seed=3), sampler(table, sampling, seed=3, num_steps=10_000)
    in_order = [one.draw(step) for step in range(20)]
    for step in (19, 4, 11, 4):
        assert same(other.draw(step), in_order[step])
    assert not any(same(in_order[i], in_order[j]) for i in range(20) for j in range(i))
    assert not same(sampler(table, sampling, seed=4).draw(0), in_order[0])


@pytest.mark.parametrize("sampling", EVERY, ids=lambda s: s.name)
def test_every_text_drawn_exists(table, sampling):
    for batch in batches(table, sampling):
        assert table.present[batch.rows, batch.query_langs].all()
        assert table.present[batch.rows, batch.passage_langs].all()


@pytest.mark.parametrize("sampling", EVERY, ids=lambda s: s.name)
def test_no_two_rows_are_false_negatives_of_each_other(sampling):
    # 60 queries and 80 passages shared by 200 pairs: nearly every random batch would clash.
    table = make_table(
        {"en": range(200), "de": range(200), "tr": range(0, 200, 2)},
        query=lambda i: str(i % 60),
        passage=lambda i: str(i % 80),
    )
    for batch in batches(table, sampling, batch_size=24, num_steps=100):
        assert len(set(batch.rows)) == 24
        assert len(set(table.query_key[batch.rows])) == 24
        assert len(set(table.passage_key[batch.rows])) == 24


def test_monolingual_batches_have_one_language_drawn_uniformly_over_languages(table):
    languages = Counter()
    for batch in batches(table, Sampling("x-x-mono"), num_steps=3000):
        (lang,) = {*batch.query_langs, *batch.passage_langs}
        languages[lang] += 1
    # 1000 expected, standard deviation 26; drawn by size, Turkish would get 337.
    assert all(abs(languages[lang] - 1000) < 130 for lang in range(3))


def test_monolingual_rows_are_drawn_uniformly_from_the_language(table):
    rows = Counter()
    for batch in batches(table, Sampling("x-x-mono"), num_steps=3000):
        if batch.query_langs[0] == 2:
            rows.update(batch.rows.tolist())
    assert set(rows) == set(range(100))
    assert max(rows.values()) < 1.6 * min(rows.values())


def test_cross_lingual_rows_pair_two_languages_uniformly_over_those_the_pair_has(table):
    pairs = Counter()
    for batch in batches(table, Sampling("x-y"), num_steps=3000):
        assert (batch.query_langs != batch.passage_langs).all()
        everywhere = (batch.rows >= 10) & (batch.rows < 100)
        pairs.update(zip(batch.query_langs[everywhere], batch.passage_langs[everywhere], strict=True))
        only_two = batch.rows >= 100
        assert set(batch.query_langs[only_two]) <= {0, 1}
    assert len(pairs) == 6
    assert max(pairs.values()) < 1.15 * min(pairs.values())


def test_a_pair_in_one_language_never_enters_a_cross_lingual_batch():
    table = make_table({"en": range(100), "de": range(50)})
    assert max(row for batch in batches(table, Sampling("x-y")) for row in batch.rows) == 49


def test_same_language_rows_mix_languages_in_a_batch(table):
    drawn = batches(table, Sampling("x-x"))
    assert all((batch.query_langs == batch.passage_langs).all() for batch in drawn)
    assert np.mean([len(set(batch.query_langs)) > 1 for batch in drawn]) > 0.99


def test_english_batches_are_english_wherever_english_stands():
    table = make_table({"de": range(50), "en": range(90)})
    for batch in batches(table, Sampling("en-en")):
        assert {*batch.query_langs, *batch.passage_langs} == {1}


@pytest.mark.parametrize(("alpha", "twin"), [(1.0, "x-x-mono"), (0.0, "x-y")])
def test_hybrid_at_its_ends_is_the_pure_sampling(table, alpha, twin):
    hybrid, pure = batches(table, Sampling("hybrid", alpha)), batches(table, Sampling(twin))
    assert all(same(a, b) for a, b in zip(hybrid, pure, strict=True))


def test_alpha_is_the_share_of_monolingual_batches(table):
    kinds = Counter(batch.kind for batch in batches(table, Sampling("hybrid", 0.3), num_steps=3000))
    assert set(kinds) == {"x-x-mono", "x-y"}
    assert abs(kinds["x-x-mono"] - 900) < 130


@pytest.mark.parametrize("sampling", EVERY, ids=lambda s: s.name)
def test_processes_share_a_step_out_among_them(table, sampling):
    alone = list(sampler(table, sampling, num_steps=20))
    parts = [list(sampler(table, sampling, num_steps=20, rank=rank, world_size=4)) for rank in range(4)]
    for step in range(20):
        assert [len(part[step]) for part in parts] == [4] * 4
        assert [row for part in parts for row in part[step]] == alone[step]


def test_composition_counts_what_the_loader_was_given(table):
    drawn = sampler(table, Sampling("hybrid", 0.4), num_steps=50)
    counts = composition(drawn, 50)
    rows = [row for batch in drawn for row in batch]
    expected = Counter(f"{table.languages[q]}-{table.languages[p]}" for _, q, p in rows)
    assert counts["directions"] == expected
    assert counts["rows"] == len(rows) == 50 * 16
    assert counts["distinct_pairs"] == len({row for row, _, _ in rows})
    assert sum(counts["batches"].values()) == 50
    assert sum(counts["monolingual_batches"].values()) == counts["batches"]["x-x-mono"]
    assert composition(drawn, 10)["rows"] == 160


@pytest.mark.parametrize("sampling", [Sampling("x-x-mono"), Sampling("hybrid", 0.5)], ids=lambda s: s.name)
def test_a_language_with_fewer_pairs_than_a_batch_is_named(sampling):
    table = make_table({"en": range(100), "de": range(100), "tr": range(15)})
    with pytest.raises(TrainingError, match=r"16 rows .* in tr(.|\n)*15 pairs"):
        sampler(table, sampling)
    sampler(table, Sampling("hybrid", 0.0))
    assert len(sampler(table, sampling, batch_size=15).draw(0).rows) == 15


def test_a_language_whose_pairs_all_clash_is_named():
    table = make_table({"en": range(100), "de": range(100)}, passage=lambda i: str(i % 10))
    with pytest.raises(TrainingError, match=r"in en(.|\n)*100 pairs, at most 10"):
        sampler(table, Sampling("en-en"))


def test_clashes_that_only_show_when_drawing_are_told_as_well():
    # 10 distinct queries and 10 distinct passages, but pairs 0..8 share one query and the rest one passage.
    rows = [("0", str(i)) for i in range(9)] + [(str(i), "9") for i in range(1, 10)]
    table = make_table({"en": range(18)}, lambda i: rows[i][0], lambda i: rows[i][1])
    with pytest.raises(TrainingError, match="too many share a query or a passage"):
        sampler(table, Sampling("en-en"), batch_size=8).draw(0)


def test_a_batch_that_cannot_be_divided_is_refused(table):
    with pytest.raises(ConfigError, match="that 3 divides"):
        sampler(table, Sampling("x-y"), world_size=3)


@pytest.mark.parametrize("alpha", [None, -0.1, 1.1, float("nan")])
def test_hybrid_needs_a_share(alpha):
    with pytest.raises(ConfigError, match="alpha"):
        Sampling("hybrid", alpha)


def test_an_unknown_sampling_is_refused():
    with pytest.raises(ConfigError, match="en-en, x-x, x-x-mono, x-y, hybrid"):
        Sampling("y-z")
