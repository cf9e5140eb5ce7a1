"""Kinds of batches, alpha, shares of languages and sources, and what the sampler draws."""

import tempfile
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from parallel_files import parallel_row, write_parallel

from polybatch.core.errors import ConfigError, TrainingError
from polybatch.pairs.table import read_pairs
from polybatch.training.batch_sampler import BatchSampler
from polybatch.training.composition import composition
from polybatch.training.processes import Ranks
from polybatch.training.sampling import AlphaSchedule, Sampling, Shares

EVERY = [
    Sampling("en-en"),
    Sampling("x-x"),
    Sampling("x-x-mono"),
    Sampling("x-y"),
    Sampling("hybrid", 0.5),
]


def make_table(present, query=str, passage=str, source=lambda i: "src", negatives=lambda lang, i: [], paraphrases=()):
    """present: language -> row numbers; query and passage give row i its English text."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        paths = {
            lang: write_parallel(
                folder / f"{lang}.parquet",
                [
                    parallel_row(
                        i, f"{lang} q {query(i)}", f"{lang} p {passage(i)}",
                        source=source(i), hard_negatives=negatives(lang, i),
                    )
                    for i in numbers
                ],
            )
            for lang, numbers in present.items()
        }  # fmt: skip
        extra = None
        if paraphrases:
            rows = [parallel_row(i, f"en r {query(i)}", f"en s {passage(i)}", source=source(i)) for i in paraphrases]
            extra = write_parallel(folder / "paraphrase.parquet", rows)
        most = max(len(negatives(lang, i)) for lang, numbers in present.items() for i in numbers)
        return read_pairs(paths, paraphrases=extra, hard_negatives=most)


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
    return one[:2] == other[:2] and all(np.array_equal(a, b) for a, b in zip(one[2:], other[2:], strict=True))


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
        assert len(set(table.query_keys[batch.rows, 0])) == 24
        assert len(set(table.passage_keys[batch.rows, 0])) == 24


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
    parts = [list(sampler(table, sampling, num_steps=20, ranks=Ranks(rank, 4))) for rank in range(4)]
    for step in range(20):
        assert [len(part[step]) for part in parts] == [4] * 4
        assert [row for part in parts for row in part[step]] == alone[step]


def test_composition_counts_what_the_loader_was_given(table):
    drawn = sampler(table, Sampling("hybrid", 0.4), num_steps=50)
    counts, steps = composition(drawn, 50)
    rows = [row for batch in drawn for row in batch]
    expected = Counter(f"{table.languages[row.query_lang]}-{table.languages[row.passage_lang]}" for row in rows)
    assert counts["directions"] == drawn.drawn.counts()["directions"] == expected
    assert counts["rows"] == len(rows) == 50 * 16
    assert counts["distinct_pairs"] == len({row.row for row in rows})
    assert sum(counts["batches"].values()) == 50
    assert sum(counts["monolingual_batches"].values()) == counts["batches"]["x-x-mono"]
    assert counts["sources"] == {"src": {"batches": 50, "rows": 800}}
    assert composition(drawn, 10)[0]["rows"] == 160
    steps = steps.to_pylist()
    assert [row["step"] for row in steps] == list(range(50))
    assert Counter(row["kind"] for row in steps) == counts["batches"]
    assert Counter(row["lang"] for row in steps if row["lang"]) == counts["monolingual_batches"]
    assert {round(row["alpha"], 6) for row in steps} == {0.4}
    assert f"{counts['batches']['x-y'] / 50:.0%}" in drawn.drawn.line()


# Sources


def by_source(i):
    """Of 1000 pairs 700 from big, 250 from middle, 50 from small."""
    return "big" if i < 700 else "middle" if i < 950 else "small"


@pytest.fixture(scope="module")
def sourced():
    """German lacks the small source, Turkish has the small one alone."""
    return make_table({"en": range(1000), "de": range(950), "tr": range(950, 1000)}, source=by_source)


@pytest.mark.parametrize("sampling", EVERY, ids=lambda s: s.name)
def test_a_batch_has_one_source(sourced, sampling):
    for batch in batches(sourced, sampling, num_steps=200):
        assert {by_source(row) for row in batch.rows} == {sourced.sources[batch.source]}


def source_shares(table, sampling, shares=None, num_steps=2000):
    drawn = batches(table, sampling, num_steps=num_steps, shares=shares)
    counts = Counter(table.sources[batch.source] for batch in drawn)
    return {name: counts[name] / num_steps for name in table.sources}


@pytest.mark.parametrize(
    ("shares", "expected"),
    [
        (Shares(), {"big": 0.7, "middle": 0.25, "small": 0.05}),
        (Shares(source_temperature=2.0), {"big": 0.545, "middle": 0.325, "small": 0.145}),
        (Shares({"small": 950, "big": 475, "middle": 475}), {"big": 0.25, "middle": 0.25, "small": 0.5}),
        (Shares({"small": 950}), {"big": 700 / 1900, "middle": 250 / 1900, "small": 0.5}),
    ],
    ids=["by size", "flattened", "weighted", "one weighted"],
)
def test_sources_are_drawn_by_their_shares(sourced, shares, expected):
    found = source_shares(sourced, Sampling("en-en"), shares)
    # 2000 steps: a standard deviation of 0.011 at most.
    assert all(abs(found[name] - expected[name]) < 0.045 for name in expected), found


def test_a_source_is_drawn_where_it_can_fill_the_batch_alone(sourced):
    """Languages stay uniform; within one, the sources that have it share its batches."""
    drawn = Counter((b.query_langs[0], sourced.sources[b.source]) for b in batches(sourced, Sampling("x-x-mono")))
    assert {source for lang, source in drawn if lang == 1} == {"big", "middle"}
    assert {source for lang, source in drawn if lang == 2} == {"small"}
    assert abs(sum(n for (lang, _), n in drawn.items() if lang == 2) - 100) < 40


def test_sources_that_fill_no_batch_are_all_named_or_left_out():
    table = make_table(
        {"en": range(100), "de": range(100)},
        source=lambda i: "tiny" if i < 5 else "small" if i < 15 else "fit",
    )
    with pytest.raises(TrainingError, match=r"2 source\(s\): small, tiny(.|\n)*small: 10 pairs(.|\n)*tiny: 5 pairs"):
        sampler(table, Sampling("hybrid", 0.5))
    drawn = sampler(table, Sampling("hybrid", 0.5), shares=Shares(drop_small_sources=True))
    counts, _ = composition(drawn, 50)
    assert counts["sources"].keys() == {"fit"} and counts["dropped_sources"] == ["small", "tiny"]


def test_shares_that_cannot_be_used_are_told_at_once(sourced):
    with pytest.raises(ConfigError) as fault:
        Shares({"big": 0, "middle": "2"}, source_temperature=0, language_weights="rare")
    assert all(text in str(fault.value) for text in ("big is 0", "'2'", "source_temperature is 0", "'rare'"))
    with pytest.raises(ConfigError, match="huge"):
        sampler(sourced, Sampling("x-y"), shares=Shares({"huge": 1}))


# Languages


def test_languages_may_be_drawn_by_size():
    table = make_table({"en": range(400), "de": range(100), "tr": range(25)})
    plain, flat = Shares(language_weights="size"), Shares(language_weights="size", language_temperature=2.0)
    for shares, expected in ((plain, (16, 4, 1)), (flat, (4, 2, 1))):
        drawn = Counter(b.query_langs[0] for b in batches(table, Sampling("x-x-mono"), num_steps=2000, shares=shares))
        assert all(abs(drawn[i] / 2000 - expected[i] / sum(expected)) < 0.045 for i in range(3)), drawn
    everywhere = Counter()
    for batch in batches(table, Sampling("x-x"), shares=plain):
        assert table.present[batch.rows, batch.query_langs].all()
        everywhere.update(batch.query_langs[batch.rows < 25].tolist())
    assert abs(everywhere[0] / everywhere.total() - 16 / 21) < 0.1
    for batch in batches(table, Sampling("x-y"), shares=plain):
        assert (batch.query_langs != batch.passage_langs).all()
        assert table.present[batch.rows, batch.query_langs].all()
        assert table.present[batch.rows, batch.passage_langs].all()


# Alpha


def test_alpha_may_change_over_the_training(table):
    sampling = Sampling("hybrid", "1to0.5")
    assert sampling.label == "1to0.5" and sampling.schedule == AlphaSchedule(1.0, 0.5)
    drawn = sampler(table, sampling, num_steps=4001)
    assert [drawn.alpha(step) for step in (0, 2000, 4000)] == [1.0, 0.75, 0.5]
    mono = np.array([drawn.draw(step).kind == "x-x-mono" for step in range(4001)])
    assert mono[:20].all()
    # 1000 steps each: a standard deviation of 0.016 at most.
    assert all(abs(mono[1000 * k :][:1000].mean() - alpha) < 0.06 for k, alpha in enumerate((0.94, 0.81, 0.69, 0.56)))
    _, steps = composition(drawn, 3)
    assert steps["alpha"].to_pylist()[0] == 1.0


@pytest.mark.parametrize(("value", "label"), [(0.5, "0.5"), ("0.5", "0.5"), (1, "1"), ("0to1", "0to1")])
def test_alpha_is_spelled_as_in_run_names(value, label):
    assert Sampling("hybrid", value).label == label


# Paraphrases


def test_english_texts_are_drawn_from_both_variants(table):
    with_second = make_table({"en": range(200), "de": range(200)}, paraphrases=range(100))
    for sampling in EVERY:
        for batch in batches(with_second, sampling, num_steps=50):
            for drawn, langs in (
                (batch.query_paraphrased, batch.query_langs),
                (batch.passage_paraphrased, batch.passage_langs),
            ):
                assert not drawn[(batch.rows >= 100) | (langs != 0)].any()
    rows = [row for batch in sampler(with_second, Sampling("en-en")) for row in batch if row.row < 100]
    seen = Counter((row.query_paraphrased, row.passage_paraphrased) for row in rows)
    assert len(seen) == 4 and max(seen.values()) < 1.3 * min(seen.values())
    assert not any(batch.query_paraphrased.any() for batch in batches(table, Sampling("en-en"), num_steps=20))


def test_a_paraphrase_that_equals_another_query_is_a_false_negative():
    with tempfile.TemporaryDirectory() as name:
        english = [parallel_row(i, f"q {i}", f"p {i}") for i in range(40)]
        write_parallel(Path(name) / "en.parquet", english)
        # The paraphrase of pair i is the query of pair i + 20.
        second = [parallel_row(i, f"q {i + 20}", f"p {i}") for i in range(20)]
        write_parallel(Path(name) / "second.parquet", second)
        paths = {"en": Path(name) / "en.parquet"}
        table = read_pairs(paths, paraphrases=Path(name) / "second.parquet")
    for batch in batches(table, Sampling("en-en"), num_steps=100):
        assert not {row + 20 for row in batch.rows} & set(batch.rows)


# Hard negatives


def negatives_of(lang, i):
    """Two for pairs below 200, one below 300, none beyond; those of pair 0 are the passages of pairs 1 and 2."""
    if i == 0:
        return [f"{lang} p 1", f"{lang} p 2"]
    return [f"{lang} n {i} {k}" for k in range(2 if i < 200 else i < 300)]


@pytest.fixture(scope="module")
def hard():
    return make_table({"en": range(400), "de": range(400)}, negatives=negatives_of)


@pytest.mark.parametrize("sampling", EVERY, ids=lambda s: s.name)
def test_hard_negatives_are_the_rows_own_and_gaps_are_other_passages(hard, sampling):
    columns = Counter()
    for batch in batches(hard, sampling, num_steps=150):
        columns[batch.negative_rows.shape[1]] += 1
        for k in range(batch.negative_rows.shape[1]):
            own = hard.has_negatives(batch.rows, batch.passage_langs)[:, k]
            assert 2 * own.sum() >= len(own)
            place, row = batch.negative_places[:, k], batch.negative_rows[:, k]
            assert (row[place >= 0] == batch.rows[place >= 0]).all()
            assert (place[place >= 0] == k).all()
            clashing = (batch.rows == 0) & np.isin(k + 1, batch.rows)
            assert ((place >= 0) == (own & ~clashing)).all()
            filled = row[place < 0]
            assert not np.isin(filled, batch.rows).any()
            assert hard.present[filled, batch.passage_langs[place < 0]].all()
    assert {1, 2} <= set(columns)


def test_a_negative_that_is_missing_in_one_language_is_filled_there_and_the_next_keeps_its_place():
    def negatives(lang, i):
        given = [f"{lang} n {i} {k}" for k in range(2)]
        return given if lang == "en" or i % 2 else ["", given[1]]

    table = make_table({"en": range(40), "de": range(40)}, negatives=negatives)
    for batch in batches(table, Sampling("x-x-mono"), num_steps=50):
        missing = (batch.passage_langs == table.languages.index("de")) & (batch.rows % 2 == 0)
        if batch.negative_places.shape[1]:  # else most rows lack the first one, and no column may follow
            assert (batch.negative_places == np.column_stack([np.where(missing, -1, 0), np.ones_like(missing)])).all()
        else:
            assert 2 * missing.sum() > len(missing)


def test_a_negative_that_is_a_passage_of_the_batch_is_replaced():
    table = make_table({"en": range(40)}, negatives=lambda lang, i: [f"{lang} p {(i + 1) % 40}"])
    replaced = 0
    for batch in batches(table, Sampling("en-en"), num_steps=50):
        clashes = np.isin((batch.rows + 1) % 40, batch.rows)
        assert (batch.negative_places[:, 0] == np.where(clashes, -1, 0)).all()
        assert not np.isin(batch.negative_rows[clashes, 0], batch.rows).any()
        replaced += clashes.sum()
    assert replaced > 100


def test_gaps_are_filled_from_the_same_source_or_the_column_is_left_out():
    table = make_table(
        {"en": range(200)},
        source=lambda i: "full" if i < 16 else "roomy",
        negatives=lambda lang, i: ["wrong"] if i % 2 else [],
    )
    columns = {name: set() for name in table.sources}
    for batch in batches(table, Sampling("en-en"), num_steps=100, shares=Shares(source_temperature=100)):
        columns[table.sources[batch.source]].add(batch.negative_rows.shape[1])
        assert (table.source[batch.negative_rows] == batch.source).all()
    # All 16 pairs of the one source are in each of its batches: no passage is left.
    assert columns == {"full": {0}, "roomy": {0, 1}}


def test_negatives_are_shared_out_with_their_rows(hard):
    alone = list(sampler(hard, Sampling("hybrid", 0.5), num_steps=20))
    parts = [list(sampler(hard, Sampling("hybrid", 0.5), num_steps=20, ranks=Ranks(r, 4))) for r in range(4)]
    for step in range(20):
        assert [row for part in parts for row in part[step]] == alone[step]
        assert len({len(row.negatives) for row in alone[step]}) == 1
    assert any(row.negatives for row in alone[0] + alone[1])


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
        sampler(table, Sampling("x-y"), ranks=Ranks(0, 3))


@pytest.mark.parametrize("alpha", [None, -0.1, 1.1, float("nan"), "half", "1to2", "1to", "0.5to0.5to"])
def test_hybrid_needs_a_share(alpha):
    with pytest.raises(ConfigError, match="alpha"):
        Sampling("hybrid", alpha)


def test_an_unknown_sampling_is_refused():
    with pytest.raises(ConfigError, match="en-en, x-x, x-x-mono, x-y, hybrid"):
        Sampling("y-z")
