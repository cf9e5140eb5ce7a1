"""The three settings, against a plain re-computation from the vectors; what is refused rather than scored."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import faiss
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from small_benchmark import random_embeddings, unit, write_embeddings, write_parallel, write_qrels, write_side

from polybatch.benchmarks.benchmark import absent_schema, excluded_schema
from polybatch.core import contracts
from polybatch.core.contracts import SETTINGS
from polybatch.core.errors import ConfigError, DataError
from polybatch.core.files import read_parquet, write_rows
from polybatch.retrieval.index import build_indexes
from polybatch.retrieval.judgements import pad_judgements
from polybatch.retrieval.judging import score
from polybatch.retrieval.options import IndexOptions, ScoreOptions
from polybatch.retrieval.score import made_ahead, main
from polybatch.retrieval.searchable import open_collection

LANGUAGES = ["en", "de", "tr"]
QUERIES, PASSAGES = 7, 30
GRID = {
    "encoder": "e",
    "sampling": "hybrid",
    "alpha": 0.5,
    "num_pairs": 100,
    "num_translated": "all",
    "languages": "en+de",
    "seed": 1,
}


def run(tmp_path: Path, benchmark: Path, **options: object) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Scores, per-query values, and run, as the stage leaves them on disk."""
    files = [tmp_path / name for name in ("scores.parquet", "per_query.parquet", "run.parquet")]
    flags = {
        "embeddings": tmp_path / "embeddings",
        "index": tmp_path / "index",
        "benchmark": benchmark,
        "grid": json.dumps(GRID),
        "options": json.dumps(options),
        "trec": tmp_path / "trec",
    } | dict(zip(("scores", "per-query", "run"), files, strict=True))
    main([word for flag, value in flags.items() for word in (f"--{flag}", str(value))])
    schemas = (contracts.SCORES, contracts.PER_QUERY, contracts.RUN)
    return tuple(read_parquet(path, schema).to_pandas() for path, schema in zip(files, schemas, strict=True))


@pytest.fixture
def benchmark(tmp_path: Path) -> Path:
    return write_parallel(tmp_path / "test", LANGUAGES, QUERIES, PASSAGES)


def average_precision(ranking: list[str], relevant: set[str]) -> float:
    hits = [passage in relevant for passage in ranking]
    return sum(sum(hits[: i + 1]) / (i + 1) for i, hit in enumerate(hits) if hit) / len(relevant)


def plain_rankings(vectors: dict, query_lang: str, corpus_langs: list[str]) -> list[list[str]]:
    """Every query's ranking of the named corpora, by decreasing cosine, then id."""
    ids = [f"p{i}-{lang}" for lang in corpus_langs for i in range(len(vectors["corpus"][lang]))]
    pool = np.concatenate([vectors["corpus"][lang] for lang in corpus_langs])
    scores = vectors["queries"][query_lang] @ pool.T
    return [[ids[i] for i in sorted(range(len(ids)), key=lambda i: (-row[i], ids[i]))] for row in scores]


def test_every_cell_is_what_a_plain_computation_gives(tmp_path: Path, benchmark: Path) -> None:
    vectors = random_embeddings(tmp_path, benchmark, LANGUAGES)
    scores, per_query, _ = run(tmp_path, benchmark, block=3)
    cells = scores.set_index(["setting", "query_lang", "corpus_lang", "metric"]).value
    # in the pool 19 values, and of each language two shares and that of the pool
    assert len(scores) == 9 * 7 + 3 * (19 + 3 * 3)
    for query_lang in LANGUAGES:
        for corpus_lang in [*LANGUAGES, "all"]:
            corpora = LANGUAGES if corpus_lang == "all" else [corpus_lang]
            setting = (
                "multilingual"
                if corpus_lang == "all"
                else ("monolingual" if corpus_lang == query_lang else "cross_lingual")
            )
            rankings = plain_rankings(vectors, query_lang, corpora)
            relevant = [{f"p{i}-{lang}" for lang in corpora} for i in range(QUERIES)]
            values = [average_precision(*pair) for pair in zip(rankings, relevant, strict=True)]
            assert cells[setting, query_lang, corpus_lang, "map"] == pytest.approx(np.mean(values))
            mine = per_query.query(
                "setting == @setting and query_lang == @query_lang and corpus_lang == @corpus_lang and metric == 'map'"
            )
            assert dict(zip(mine.query_id, mine.value, strict=True)) == pytest.approx(
                {f"q{i}-{query_lang}": value for i, value in enumerate(values)}
            )
            if corpus_lang == "all":
                ranks = [[r.index(p) for p in wanted] for r, wanted in zip(rankings, relevant, strict=True)]
                distance = np.mean([max(r) - min(r) for r in ranks])
                assert cells[setting, query_lang, "all", "rank_distance"] == pytest.approx(distance)
    assert (scores.num_queries == QUERIES).all()
    assert (per_query.group == per_query.query_id.str.extract(r"q(\d+)-")[0].radd("g")).all()


def test_scores_carry_their_grid_point(tmp_path: Path, benchmark: Path) -> None:
    random_embeddings(tmp_path, benchmark, LANGUAGES)
    scores, _, _ = run(tmp_path, benchmark, metrics=["map"], settings=["monolingual"])
    assert scores[list(GRID)].drop_duplicates().to_dict("records") == [{**GRID, "alpha": "0.5", "num_pairs": "100"}]
    assert set(scores.benchmark) == {"test"}
    assert set(scores.setting) == {"monolingual"}


def test_judgements_are_padded_and_the_most_relevant_come_first() -> None:
    """ranx takes the order of the judgements as the ideal ranking of nDCG."""
    rows, passages, relevance = np.array([2, 0, 2, 2]), np.array([5, 9, 4, 7]), np.array([1, 1, 1, 3])
    padded, grades = pad_judgements(rows, passages, relevance, 4)
    assert padded.tolist() == [[9, -1, -1], [-1, -1, -1], [7, 4, 5], [-1, -1, -1]]
    assert grades.tolist() == [[1, 0, 0], [0, 0, 0], [3, 1, 1], [0, 0, 0]]


def test_the_run_holds_the_top_of_every_list(tmp_path: Path, benchmark: Path) -> None:
    vectors = random_embeddings(tmp_path, benchmark, LANGUAGES)
    _, _, lists = run(tmp_path, benchmark, top_k=5)
    assert len(lists) == QUERIES * 3 * 4 * 5
    pooled = lists[(lists.setting == "multilingual") & (lists.query_id == "q2-de")]
    assert pooled["rank"].tolist() == [1, 2, 3, 4, 5]
    assert pooled.passage_id.tolist() == plain_rankings(vectors, "de", LANGUAGES)[2][:5]
    assert (np.diff(pooled.score) <= 0).all()


def read_trec(path: Path, value: int) -> dict[str, list[tuple[float, str]]]:
    """query -> (value, passage) of a TREC file, `value` being the column's number."""
    found: dict[str, list[tuple[float, str]]] = {}
    for line in path.read_text().splitlines():
        words = line.split(" ")
        found.setdefault(words[0], []).append((float(words[value]), words[2]))
    return found


def test_trec_files_give_other_tools_the_same_values(tmp_path: Path, benchmark: Path) -> None:
    random_embeddings(tmp_path, benchmark, LANGUAGES)
    scores, _, _ = run(tmp_path, benchmark)
    cells = scores.set_index(["setting", "query_lang", "corpus_lang", "metric"]).value
    for place in (("monolingual", "en", "en"), ("cross_lingual", "en", "tr"), ("multilingual", "tr", "all")):
        path = tmp_path / "trec" / benchmark.name / place[0] / f"{place[1]}-{place[2]}"
        qrels = read_trec(path.with_suffix(".qrels"), 3)
        ranked = read_trec(path.with_suffix(".run"), 4)
        values = [
            average_precision([p for _, p in sorted(ranked[query], reverse=True)], {p for _, p in qrels[query]})
            for query in qrels
        ]
        assert len(values) == QUERIES
        assert np.mean(values) == pytest.approx(cells[(*place, "map")])


def test_relevant_passages_that_no_corpus_holds_stand_in_the_qrels(tmp_path: Path, benchmark: Path) -> None:
    """trec_eval must see them too: they count as relevant and are never found."""
    judged = [(f"q{i}-{a}", f"p{i}-{b}", 1) for a in LANGUAGES for b in LANGUAGES for i in range(QUERIES)]
    write_qrels(benchmark, [*judged, *((f"q2-{lang}", "gone", 1) for lang in LANGUAGES)])
    write_rows(benchmark / "absent.parquet", [{"passage_id": "gone", "lang": "de"}], absent_schema())
    random_embeddings(tmp_path, benchmark, LANGUAGES)
    run(tmp_path, benchmark, metrics=["map"])
    for place, there in (("monolingual/de-de", True), ("multilingual/en-all", True), ("monolingual/en-en", False)):
        lines = (tmp_path / f"trec/test/{place}.qrels").read_text().splitlines()
        assert any(line.endswith(" gone 1") for line in lines) == there
        assert len(lines) == QUERIES * (3 if "all" in place else 1) + there


def test_of_equal_scores_the_greater_id_stands_first_as_in_trec_eval(tmp_path: Path) -> None:
    benchmark = tmp_path / "ties"
    for lang, ids in (("en", ["p9", "p1", "p5"]), ("de", ["p7", "p2"])):
        write_side(benchmark, "queries", lang, [(f"q-{lang}", "query", "")])
        write_side(benchmark, "corpus", lang, [(i, f"text {i}", "") for i in ids])
    write_qrels(benchmark, [(f"q-{lang}", i, 1) for lang in ("en", "de") for i in ("p5", "p7")])
    same = np.ones((1, 4), np.float32) / 2
    write_embeddings(
        tmp_path / "embeddings",
        benchmark,
        {
            "queries": {"en": same, "de": same},
            "corpus": {"en": np.repeat(same, 3, axis=0), "de": np.repeat(same, 2, axis=0)},
        },
    )
    build_indexes(tmp_path / "embeddings", ["en", "de"], "Flat", IndexOptions(), tmp_path / "index")
    scores, _, lists = run(tmp_path, benchmark)
    pooled = lists[(lists.setting == "multilingual") & (lists.query_id == "q-en")]
    assert pooled.passage_id.tolist() == ["p9", "p7", "p5", "p2", "p1"]
    cells = scores.set_index(["setting", "query_lang", "metric"]).value
    assert cells["multilingual", "en", "map"] == pytest.approx((1 / 2 + 2 / 3) / 2)
    assert cells["multilingual", "en", "rank_distance"] == 1


def test_unjudged_queries_are_left_out_and_counted(tmp_path: Path, benchmark: Path) -> None:
    pairs = [(f"q{i}-{a}", f"p{i}-{b}", 1) for a in LANGUAGES for b in LANGUAGES for i in range(QUERIES)]
    write_qrels(benchmark, [pair for pair in pairs if not pair[0].startswith("q3-")])
    random_embeddings(tmp_path, benchmark, LANGUAGES)
    scores, per_query, _ = run(tmp_path, benchmark)
    assert (scores.num_queries == QUERIES - 1).all()
    assert not per_query.query_id.str.startswith("q3-").any()
    means = per_query.groupby(["setting", "query_lang", "corpus_lang", "metric"]).value.mean()
    cells = scores.set_index(["setting", "query_lang", "corpus_lang", "metric"]).value
    assert np.allclose(means, cells[means.index], rtol=1e-5)
    shares = scores[scores.metric == "language_share@10"].groupby("query_lang").value.sum()
    assert shares.tolist() == pytest.approx([1, 1, 1])


@pytest.mark.parametrize(
    ("metrics", "settings", "values"),
    [
        (["rank_distance"], list(SETTINGS), {"rank_distance"}),
        (["mrc@10"], ["multilingual"], {"mrc@10"}),
        (["language_share@10"], ["multilingual"], set()),
    ],
    ids=str,
)
def test_cells_without_a_value_of_any_query_are_no_fault(
    tmp_path: Path, benchmark: Path, metrics: list, settings: list, values: set
) -> None:
    """Metrics of another setting, of the shares of languages alone, or of a comparison at the end."""
    random_embeddings(tmp_path, benchmark, LANGUAGES)
    scores, per_query, lists = run(tmp_path, benchmark, metrics=metrics, settings=settings)
    assert set(per_query.metric) == values
    assert set(scores.metric) == values | (
        {"language_share@10", "pool_share"} if "language_share@10" in metrics else set()
    )
    assert len(lists)


def test_a_benchmark_that_no_metric_says_anything_of_is_told(tmp_path: Path, benchmark: Path) -> None:
    random_embeddings(tmp_path, benchmark, LANGUAGES)
    with pytest.raises(DataError, match="No metric has a value on this benchmark"):
        run(tmp_path, benchmark, metrics=["ndcg@10-l2"])  # all is judged 1


@pytest.mark.parametrize("how", ["held by no corpus", "excluded"])
def test_queries_with_a_passage_that_cannot_be_found_have_no_rank_distance(
    tmp_path: Path, benchmark: Path, how: str
) -> None:
    """They count in the other metrics, where the passage is never found."""
    vectors = random_embeddings(tmp_path, benchmark, LANGUAGES)
    gone = "gone" if how == "held by no corpus" else "p0-de"
    judged = [(f"q{i}-{a}", f"p{i}-{b}", 1) for a in LANGUAGES for b in LANGUAGES for i in range(QUERIES)]
    if how == "held by no corpus":
        judged += [(f"q0-{lang}", gone, 1) for lang in LANGUAGES]
        write_rows(benchmark / "absent.parquet", [{"passage_id": gone, "lang": "de"}], absent_schema())
    else:
        pairs: list = [{"query_id": f"q0-{lang}", "passage_id": gone} for lang in LANGUAGES]
        write_rows(benchmark / "excluded.parquet", pairs, excluded_schema())
    write_qrels(benchmark, judged)
    scores, per_query, _ = run(tmp_path, benchmark, settings=["multilingual"])
    counted = scores.set_index(["query_lang", "metric"]).num_queries.to_dict()
    values = per_query.set_index(["query_id", "metric"]).value
    for lang in LANGUAGES:
        rankings = plain_rankings(vectors, lang, LANGUAGES)
        for metric in ("rank_distance", "last_relevant_rank"):
            assert counted[lang, metric] == QUERIES - 1
            assert (f"q0-{lang}", metric) not in values
        ranks = [rankings[1].index(f"p1-{other}") + 1 for other in LANGUAGES]
        assert values[f"q1-{lang}", "rank_distance"] == max(ranks) - min(ranks)
        assert values[f"q1-{lang}", "last_relevant_rank"] == max(ranks)
        left = [passage for passage in rankings[0] if how == "held by no corpus" or passage != gone]
        found = {f"p0-{other}" for other in LANGUAGES} - {gone}
        assert counted[lang, "map"] == QUERIES
        whole = average_precision(left, found)
        assert values[f"q0-{lang}", "map"] == pytest.approx(whole * len(found) / (len(found) + 1))
        # With the German passage excluded, the own language has nothing to be first with in German.
        assert counted[lang, "own_language_first"] == QUERIES - (lang == "de" and how == "excluded")


def test_metrics_of_higher_relevance_leave_out_queries_without_such_a_passage(tmp_path: Path, benchmark: Path) -> None:
    rng = np.random.default_rng(5)
    relevance = {
        i: {f"p{j}-en": int(rng.integers(1, 4)) for j in rng.choice(PASSAGES, 4, replace=False)} for i in range(6)
    }
    relevance |= {5: {"p1-en": 2, "p2-en": 1}, 6: {"p3-en": 1, "p4-en": 1}}
    write_side(benchmark, "queries", "en", [(f"q{i}-en", f"query {i}", "") for i in range(QUERIES)])
    write_side(benchmark, "corpus", "en", [(f"p{i}-en", f"passage {i}", "") for i in range(PASSAGES)])
    write_qrels(
        benchmark, [(f"q{i}-en", passage, grade) for i, of in relevance.items() for passage, grade in of.items()]
    )
    vectors = random_embeddings(tmp_path, benchmark, LANGUAGES)
    embedded = {side: {"en": of_lang["en"]} for side, of_lang in vectors.items()}
    write_embeddings(tmp_path / "embeddings", benchmark, embedded)
    build_indexes(tmp_path / "embeddings", ["en"], "Flat", IndexOptions(), tmp_path / "index")
    metrics = ["map", "recall@10", "ndcg@10"]
    names = [f"{metric}{suffix}" for suffix in ("", "-l2", "-l3") for metric in metrics]
    scores, per_query, _ = run(tmp_path, benchmark, settings=["monolingual"], metrics=names)
    expected = {}
    for i, ranking in enumerate(plain_rankings(vectors, "en", ["en"])):
        for least, suffix in ((1, ""), (2, "-l2"), (3, "-l3")):
            grades = {passage: grade for passage, grade in relevance[i].items() if grade >= least}
            if grades:
                dcg, ideal = (
                    sum(grade / np.log2(place + 2) for place, grade in enumerate(order[:10]))
                    for order in (
                        [grades.get(passage, 0) for passage in ranking],
                        sorted(grades.values(), reverse=True),
                    )
                )
                recall = len(set(ranking[:10]) & set(grades)) / len(grades)
                for metric, value in zip(
                    metrics, (average_precision(ranking, set(grades)), recall, dcg / ideal), strict=True
                ):
                    expected[f"q{i}-en", metric + suffix] = value
    assert per_query.set_index(["query_id", "metric"]).value.to_dict() == pytest.approx(expected)
    counts = {metric: sum(name == metric for _, name in expected) for metric in names}
    assert scores.set_index("metric").num_queries.to_dict() == counts
    assert counts["map-l3"] < counts["map-l2"] < counts["map"] == QUERIES


def test_the_languages_of_passages_are_looked_up_for_the_pool_alone(tmp_path: Path, benchmark: Path) -> None:
    random_embeddings(tmp_path, benchmark, LANGUAGES)
    collection = open_collection(tmp_path / "embeddings", tmp_path / "index", benchmark)
    for settings, looked_up in ((["monolingual", "cross_lingual"], False), (["multilingual"], True)):
        list(score(collection, ScoreOptions.from_values({"settings": settings})))
        assert ("pool" in vars(collection)) == looked_up
    assert collection.pool.languages.dtype == np.int16


def test_a_setting_without_any_judged_query_is_an_error(tmp_path: Path) -> None:
    benchmark = tmp_path / "test"
    for lang in ("en", "de"):
        write_side(benchmark, "queries", lang, [(f"q-{lang}", "query", "")])
        write_side(benchmark, "corpus", lang, [(f"p-{lang}", "text", "")])
    write_qrels(benchmark, [("q-en", "p-en", 1), ("q-de", "p-de", 1)])
    random_embeddings(tmp_path, benchmark, ["en", "de"])
    with pytest.raises(DataError, match="No cross_lingual score") as error:
        run(tmp_path, benchmark)
    assert "leave cross_lingual out" in str(error.value)
    assert not (tmp_path / "scores.parquet").exists()
    assert len(run(tmp_path, benchmark, settings=["monolingual"])[0]) == 2 * 7


@pytest.fixture
def english_corpus(tmp_path: Path) -> Path:
    """Queries in en, de and fr over an English corpus, as of a BEIR set with translated queries; with answers."""
    folder = tmp_path / "test"
    for lang in ("en", "de", "fr"):
        rows = [
            {"query_id": f"q{i}-{lang}", "lang": lang, "text": f"query {i}", "group": f"g{i}"} | answers
            for i, answers in enumerate(({"answers": ["the passage"]}, {"answers": []}, {"answers": ["2 or 3"]}))
        ]
        for row in rows if lang == "fr" else []:
            row["answers"] = ["un passage"]  # of the corpus's language count, not of the query's
        write_rows(folder / "queries" / f"{lang}.parquet", rows, contracts.QUERIES)
    write_side(folder, "corpus", "en", [(f"p{i}", f"passage {i}", "") for i in range(6)])
    write_qrels(folder, [(f"q{i}-{lang}", f"p{i}", 1) for i in range(3) for lang in ("en", "de", "fr")])
    corpus = np.eye(6, 8)
    queries = {"en": corpus[:3], "de": corpus[[0, 1, 3]], "fr": corpus[[5, 4, 3]]}
    vectors = {"queries": queries, "corpus": {"en": corpus}}
    write_embeddings(tmp_path / "embeddings", folder, vectors)
    build_indexes(tmp_path / "embeddings", ["en"], "Flat", IndexOptions(), tmp_path / "index")
    return folder


def test_queries_over_a_corpus_of_another_language_have_the_cells_of_their_design(
    tmp_path: Path, english_corpus: Path
) -> None:
    scores, _, _ = run(tmp_path, english_corpus, settings=["monolingual", "cross_lingual"], metrics=["mrr@10"])
    cells = scores.set_index(["setting", "query_lang", "corpus_lang"]).value
    assert list(cells.index) == [
        ("monolingual", "en", "en"),
        ("cross_lingual", "de", "en"),
        ("cross_lingual", "fr", "en"),
    ]
    assert cells["monolingual", "en", "en"] == 1.0
    assert 0.6 < cells["cross_lingual", "de", "en"] < 1.0


def test_a_setting_that_the_languages_do_not_allow_is_an_error(tmp_path: Path, english_corpus: Path) -> None:
    with pytest.raises(DataError, match=r"nothing to score in the setting\(s\) multilingual"):
        run(tmp_path, english_corpus)


def test_token_f1_compares_the_first_passage_with_the_answers_in_its_language(
    tmp_path: Path, english_corpus: Path
) -> None:
    options = {"settings": ["monolingual", "cross_lingual"], "metrics": ["mrr@10", "token_f1"]}
    _, per_query, _ = run(tmp_path, english_corpus, **options)
    found = per_query[per_query.metric == "token_f1"].set_index("query_id").value.to_dict()
    # "passage 0" and "the passage" share one token of two and one; "passage 2" and "2 or 3" one of two and three.
    assert found == pytest.approx(
        {"q0-en": 2 / 3, "q2-en": 2 / 5, "q0-de": 2 / 3, "q2-de": 2 / 5, "q0-fr": 2 / 3, "q2-fr": 2 / 5}
    )


def test_token_f1_without_answers_is_refused(tmp_path: Path, benchmark: Path) -> None:
    random_embeddings(tmp_path, benchmark, LANGUAGES)
    with pytest.raises(DataError, match="needs gold answers"):
        run(tmp_path, benchmark, metrics=["map", "token_f1"])


def test_language_bias_is_that_of_the_rankings(tmp_path: Path, benchmark: Path) -> None:
    """A retriever that knows nothing but languages prefers its own in every measure."""
    rng = np.random.default_rng(0)
    base = {lang: 10 * np.eye(8)[i] for i, lang in enumerate(LANGUAGES)}
    noise = {
        side: {lang: unit(base[lang] + rng.standard_normal((rows, 8)) / 10) for lang in LANGUAGES}
        for side, rows in (("queries", QUERIES), ("corpus", PASSAGES))
    }
    write_embeddings(tmp_path / "embeddings", benchmark, noise)
    build_indexes(tmp_path / "embeddings", LANGUAGES, "Flat", IndexOptions(), tmp_path / "index")
    scores, _, _ = run(tmp_path, benchmark)
    cells = scores[scores.setting == "multilingual"].set_index(["query_lang", "corpus_lang", "metric"]).value
    for lang in LANGUAGES:
        assert cells[lang, "all", "own_language_first"] == 1.0
        assert cells[lang, "all", "first_relevant_own"] + cells[lang, "all", "first_wrong_own"] == 1.0
        assert cells[lang, lang, "language_share@10"] == 1.0
        assert cells[lang, lang, "pool_share"] == pytest.approx(1 / 3)
        assert cells[lang, "all", "language_tvd@10"] == pytest.approx(2 / 3)
        assert cells[lang, "all", "language_tvd@100"] == pytest.approx(0, abs=0.01)  # all there is


def test_what_an_index_did_not_find_is_no_passage(tmp_path: Path, benchmark: Path) -> None:
    random_embeddings(tmp_path, benchmark, LANGUAGES)
    build_indexes(tmp_path / "embeddings", LANGUAGES, "IVF4,Flat", IndexOptions(), tmp_path / "index")
    with pytest.raises(DataError, match="rank distance needs the full ranking"):
        run(tmp_path, benchmark)
    _, _, lists = run(tmp_path, benchmark, metrics=["map", "recall@100"])
    sizes = lists[lists.setting != "multilingual"].groupby(["query_id", lists.passage_id.str[-2:]]).size()
    assert sizes.max() < PASSAGES
    assert not lists.duplicated(["query_id", "passage_id", "setting"]).any()
    full, _, _ = run(tmp_path, benchmark, search_parameters="nprobe=4")
    random_embeddings(tmp_path, benchmark, LANGUAGES)
    assert np.allclose(full.value, run(tmp_path, benchmark)[0].value)


def test_what_an_index_loses_is_said_with_the_scores(
    tmp_path: Path, benchmark: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def recall() -> dict | None:
        run(tmp_path, benchmark, metrics=["map"], search_parameters=parameters, depth=20)
        found = (pq.read_schema(tmp_path / "scores.parquet").metadata or {}).get(b"index_recall")
        return json.loads(found) if found else None

    caplog.set_level("INFO")
    parameters = ""
    vectors = random_embeddings(tmp_path, benchmark, LANGUAGES)
    assert recall() is None
    build_indexes(tmp_path / "embeddings", LANGUAGES, "IVF4,Flat", IndexOptions(), tmp_path / "index")
    found = recall()
    assert list(found) == LANGUAGES and list(found["en"]) == ["recall@10", "recall@30"]
    assert "the index in tr finds, of the exact lists: recall@10 0." in caplog.text
    index = faiss.read_index(str(tmp_path / "index" / "de.faiss"))
    queries = np.concatenate([vectors["queries"][lang] for lang in LANGUAGES])
    exact = np.argsort(-queries @ vectors["corpus"]["de"].T, axis=1)[:, :10]
    both = [len(set(a) & set(b)) for a, b in zip(exact, index.search(queries, 10)[1], strict=True)]
    assert found["de"]["recall@10"] == pytest.approx(np.mean(both) / 10)
    parameters = "nprobe=4"
    assert set(recall()["tr"].values()) == {1.0}


def test_a_depth_cuts_every_list(tmp_path: Path, benchmark: Path) -> None:
    random_embeddings(tmp_path, benchmark, LANGUAGES)
    cut, _, lists = run(tmp_path, benchmark, depth=10, metrics=["ndcg@10", "recall@10"])
    assert lists["rank"].max() == 10
    full, _, _ = run(tmp_path, benchmark, metrics=["ndcg@10", "recall@10"])
    assert np.allclose(cut.value, full.value)  # nothing beyond rank 10 counts in either


def test_copies_tie_in_the_pool_and_in_cut_lists_as_in_full_ones(tmp_path: Path) -> None:
    """A text that stands in two languages is a copy too: interface strings are often left in English."""
    benchmark, rng = tmp_path / "copies", np.random.default_rng(0)
    of = {lang: rng.integers(0, 40, 700) for lang in ("en", "de")}
    distinct, queries = unit(rng.standard_normal((40, 384))), unit(rng.standard_normal((90, 384)))
    for lang, rows in of.items():
        write_side(benchmark, "queries", lang, [(f"q{i}-{lang}", f"query {i}", "") for i in range(len(queries))])
        write_side(benchmark, "corpus", lang, [(f"p{i:03d}-{lang}", f"text {row}", "") for i, row in enumerate(rows)])
    write_qrels(benchmark, [(f"q{i}-{a}", f"p{i:03d}-{b}", 1) for a in of for b in of for i in range(len(queries))])
    corpus = {lang: distinct[rows] for lang, rows in of.items()}
    write_embeddings(tmp_path / "embeddings", benchmark, {"queries": dict.fromkeys(of, queries), "corpus": corpus})
    build_indexes(tmp_path / "embeddings", list(of), "Flat", IndexOptions(), tmp_path / "index")
    exact = (queries.astype(np.float64) @ np.concatenate([*corpus.values()]).T.astype(np.float64)).astype(np.float32)
    ids = np.array([f"p{i:03d}-{lang}" for lang in of for i in range(700)])
    expected = [sorted(sorted(ids, reverse=True), key=dict(zip(ids, -row, strict=True)).get)[:60] for row in exact]
    for depth in (60, "all"):
        options = {"settings": ["multilingual"], "metrics": ["mrr@10", "recall@60"], "top_k": 60, "depth": depth}
        _, _, lists = run(tmp_path, benchmark, **options)
        english = lists[lists.query_id.str.endswith("-en")].passage_id.to_numpy().reshape(len(queries), 60)
        assert english.tolist() == expected, depth


def test_tables_are_made_ahead_in_their_order_and_faults_are_told() -> None:
    def failing() -> Iterator[int]:
        yield 1
        raise DataError("no more")

    assert list(made_ahead(iter(range(1, 20)), 4)) == list(range(1, 20))
    with pytest.raises(DataError, match="no more"):
        list(made_ahead(failing(), 4))


def test_blocks_of_queries_and_of_scores_change_nothing(
    tmp_path: Path, benchmark: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """But the last bit of a score."""
    random_embeddings(tmp_path, benchmark, LANGUAGES)
    whole = run(tmp_path, benchmark)
    monkeypatch.setattr("polybatch.retrieval.judging._MOST_SCORES", 2 * PASSAGES * len(LANGUAGES))
    for one, other in zip(whole, run(tmp_path, benchmark), strict=True):
        assert one.drop(columns="score", errors="ignore").equals(other.drop(columns="score", errors="ignore"))


@pytest.mark.parametrize("depth", ["all", 20])
def test_excluded_passages_have_no_rank(tmp_path: Path, benchmark: Path, depth: int | str) -> None:
    vectors = random_embeddings(tmp_path, benchmark, LANGUAGES)
    rankings = plain_rankings(vectors, "en", ["en"])
    first = [ranking[0] for ranking in rankings]
    pairs = [(f"q{i}-en", passage) for i, passage in enumerate(first) if passage != f"p{i}-en"]
    columns: list[dict[str, object]] = [{"query_id": query, "passage_id": passage} for query, passage in pairs]
    write_rows(benchmark / "excluded.parquet", columns, excluded_schema())
    settings = ["monolingual", "multilingual"]
    _, per_query, lists = run(tmp_path, benchmark, metrics=["mrr"], depth=depth, settings=settings)
    assert pairs and not set(pairs) & set(zip(lists.query_id, lists.passage_id, strict=True))
    mine = per_query[(per_query.setting == "monolingual") & (per_query.query_lang == "en")]
    for query, value in zip(mine.query_id, mine.value, strict=True):
        i = int(query[1 : query.index("-")])
        left = [p for p in rankings[i] if (query, p) not in pairs][: None if depth == "all" else depth]
        wanted = f"p{i}-en"
        assert value == pytest.approx(1 / (left.index(wanted) + 1) if wanted in left else 0)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"depth": 100}, "rank_distance and last_relevant_rank and own_language_first needs depth"),
        (
            {"depth": 10, "metrics": ["map", "recall@100", "ndcg@20-l2"]},
            "recall@100 and ndcg@20-l2 would .* depth 10: .*100",
        ),
        ({"depth": 10, "metrics": ["map", "tlr@20"]}, "tlr@20 would look at the first 10"),
        ({"depth": "full"}, "depth: must be all or a whole number from 1, not 'full'"),
        ({"metrics": ["map", "MAP", "map"]}, "metrics.1: 'MAP' is no metric"),
        ({"settings": []}, "settings: must not be empty"),
        ({"top": 5}, "top: unknown key; did you mean 'top_k'"),
    ],
)
def test_unusable_options_are_refused(options: dict, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        ScoreOptions.from_values(options)


def test_metrics_that_a_depth_is_enough_for_are_taken() -> None:
    """Those of language bias are none of a setting without the pool."""
    metrics = ["map", "mrr", "ndcg@100-l2", "language_share@200"]
    assert ScoreOptions.from_values({"depth": 100, "metrics": metrics, "settings": ["monolingual"]}).metrics == metrics
    assert ScoreOptions.from_values({"depth": 200, "metrics": metrics}).depth == 200


def test_embeddings_of_other_texts_are_refused(tmp_path: Path, benchmark: Path) -> None:
    random_embeddings(tmp_path, benchmark, LANGUAGES)
    write_side(benchmark, "queries", "de", [(f"q{i}-de", f"query {i}", f"g{i}") for i in reversed(range(QUERIES))])
    with pytest.raises(DataError, match="queries/de"):
        run(tmp_path, benchmark)


@pytest.mark.parametrize("damage", ["other vectors", "missing", "damaged"])
def test_indexes_of_other_embeddings_are_refused(tmp_path: Path, benchmark: Path, damage: str) -> None:
    vectors = random_embeddings(tmp_path, benchmark, LANGUAGES)
    if damage == "other vectors":
        vectors["corpus"]["tr"] = unit(vectors["corpus"]["tr"] + 0.1)
        write_embeddings(tmp_path / "embeddings", benchmark, vectors)
    elif damage == "missing":
        (tmp_path / "index" / "tr.faiss").unlink()
    else:
        (tmp_path / "index" / "tr.faiss").write_bytes(b"")
    with pytest.raises(DataError, match="missing, outdated or damaged: tr"):
        run(tmp_path, benchmark)


def test_a_grid_point_with_other_keys_is_refused(
    tmp_path: Path, benchmark: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    random_embeddings(tmp_path, benchmark, LANGUAGES)
    monkeypatch.delitem(GRID, "alpha")
    with pytest.raises(ConfigError, match="encoder, sampling, alpha"):
        run(tmp_path, benchmark)
