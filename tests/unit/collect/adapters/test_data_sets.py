"""Data sets of the hub: from the cache's layout to pairs; columns and files that are not as they should be."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import data_sets
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hub_cache import HubCache

from polybatch.collect.adapters import mmarco
from polybatch.collect.adapters.data_sets import DATA_SETS, around_answer
from polybatch.collect.adapters.mmarco import TsvTexts, distinct_triples
from polybatch.collect.adapters.registry import ADAPTERS, open_source, request
from polybatch.core import hub
from polybatch.core.errors import ConfigError, DataError

ENGLISH_ONLY = [name for name in DATA_SETS if name != "squadshifts"]


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """adapter -> the record of its stand-in, fetched from a cache as offline jobs do."""
    home = tmp_path_factory.mktemp("home")
    data_sets.make(HubCache(home), plant=[{"source": "mfaq", "query": "planted query", "passage": "A planted answer."}])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(home / "hub"))
        patch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
        found = {}
        for adapter in data_sets.ADAPTERS:
            wanted = request(spec(adapter))
            snapshot = hub.fetch(wanted["repo"], wanted["kind"], wanted["revision"], wanted["files"])
            found[adapter] = home / f"{adapter}.json"
            hub.write_record(found[adapter], snapshot)
    return found


def spec(adapter: str, **options: object) -> dict:
    own = {"repo": data_sets.ENTITY_QUESTIONS} if adapter == "entity_questions" else {}
    return {"name": adapter, "adapter": adapter, **own, **options}


def test_every_adapter_that_the_config_may_name_is_known_here() -> None:
    assert {*DATA_SETS, "mmarco", "entity_questions", "homeassistant", "libreoffice", "local"} == set(ADAPTERS)


@pytest.mark.parametrize("adapter", DATA_SETS)
def test_pairs_are_texts_with_ids_and_nothing_is_left_out_unseen(records: dict[str, Path], adapter: str) -> None:
    source = open_source(spec(adapter), records[adapter])
    pairs = list(source.english())
    assert len(pairs) >= 30
    assert pairs == list(source.english()), "a source can be read again"
    assert source.languages == ()
    assert all(isinstance(text, str) for pair in pairs for text in (pair.query, pair.passage, *pair.hard_negatives))
    founded = [pair for pair in pairs if pair.query.startswith("when was")]
    assert all("founded in" in pair.passage for pair in founded if pair.passage)


def test_wikiqa_takes_answers_as_positives_and_other_sentences_as_negatives(records: dict[str, Path]) -> None:
    pairs = list(open_source(spec("wiki_qa", hard_negatives=2), records["wiki_qa"]).english())
    assert len(pairs) == 45, "three quarters of sixty questions have an answer"
    assert {len(pair.hard_negatives) for pair in pairs} == {2}
    assert not any("founded in" in text for pair in pairs for text in pair.hard_negatives)


def test_triplets_of_one_pair_become_one_row(records: dict[str, Path]) -> None:
    pairs = list(open_source(spec("mr_tydi"), records["mr_tydi"]).english())
    assert len(pairs) == 40
    assert {len(pair.hard_negatives) for pair in pairs} == {3}


def test_long_texts_are_cut_around_the_answer_and_others_counted(records: dict[str, Path]) -> None:
    source = open_source(spec("duorc"), records["duorc"])
    pairs = list(source.english())
    assert source.dropped == {"question without an answer": 30, "answer not in the text": 1}
    assert {len(pair.passage.split()) for pair in pairs} == {100}
    assert len({pair.passage for pair in pairs}) > 30
    whole = next(open_source(spec("newsqa", passage_words=0), records["newsqa"]).english())
    assert len(whole.passage.split()) > 300


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        (["ten men came home"], "town grew. (ten men came home)"),  # four of six words
        (['ten men came home) "and then'], '(ten men came home) "and then"'),
        (['town grew. (ten men came home) "and then" one'], "town grew. (ten men came home)"),  # too long: its start
        (["10", "two"], '"and then" one two three four'),  # not the one inside 2010
        (["the TOWN"], "In 2010 the town grew. (ten"),
    ],
)
def test_a_window_holds_the_whole_answer_if_it_can(answers: list[str], expected: str) -> None:
    text = 'In 2010 the town grew. (ten men came home) "and then" one two three four five six seven'
    assert around_answer(text, answers, 6) == expected


@pytest.mark.parametrize(
    ("answers", "expected"),
    [(["six"], "four five six seven"), (["One"], "one two three four"), (["ten"], "seven eight nine ten")],
)
def test_a_window_stays_inside_the_text(answers: list[str], expected: str) -> None:
    text = "one two three four five six seven eight nine ten"
    assert around_answer(text, answers, 4) == expected
    assert around_answer(text, ["eleven", ""], 4) is None
    assert around_answer(text, [], 10) == text


def test_a_planted_row_arrives(records: dict[str, Path]) -> None:
    assert "planted query" in {pair.query for pair in open_source(spec("mfaq"), records["mfaq"]).english()}


def test_parts_and_layouts(records: dict[str, Path]) -> None:
    one = open_source(spec("squadshifts", config="nyt"), records["squadshifts"])
    assert len(list(one.english())) == 8
    wanted = request(spec("squadshifts", config="nyt"))
    assert (wanted["files"], wanted["parts"]) == (["README.md", "nyt/*test*.parquet"], [("nyt", "test")])
    with pytest.raises(DataError, match=r"(?s)configuration amazon, split train.*the splits test"):
        open_source(spec("squadshifts", split="train"), records["squadshifts"])


def test_a_copy_of_the_repository_reads_like_the_snapshot(records: dict[str, Path]) -> None:
    for adapter in ("newsqa", "mmarco"):
        folder = hub.read_record(records[adapter]).folder
        from_folder = list(open_source(spec(adapter), folder).english())
        assert from_folder == list(open_source(spec(adapter), records[adapter]).english())


@pytest.fixture
def changed(tmp_path: Path) -> Path:
    """A snapshot of natural-questions whose columns are others."""
    folder = tmp_path / ("a" * 40)
    (folder / "pair").mkdir(parents=True)
    table = pa.table({"question": ["q"], "answer": [3]})
    pq.write_table(table, folder / "pair" / "train-00000-of-00001.parquet")
    hub.write_record(tmp_path / "r.json", hub.Snapshot("o/n", "dataset", "main", "a" * 40, folder))
    return tmp_path / "r.json"


def test_changed_columns_are_told_before_any_row_is_read(changed: Path) -> None:
    with pytest.raises(DataError) as caught:
        open_source(spec("natural_questions"), changed)
    message = str(caught.value)
    assert "train-00000-of-00001.parquet: no column query; there are question, answer" in message
    assert "answer is int64" in message


def test_unknown_options_are_named(records: dict[str, Path]) -> None:
    with pytest.raises(ConfigError, match="hardnegatives"):
        open_source(spec("wiki_qa", hardnegatives=2), records["wiki_qa"])
    with pytest.raises(ConfigError, match="mMARCO has no tr"):
        request(spec("mmarco", languages=["tr"]))
    with pytest.raises(ConfigError, match="no repository"):
        request({"name": "entity-questions", "adapter": "entity_questions"})


def test_mmarco_pairs_are_parallel_and_sized_by_their_triples(records: dict[str, Path]) -> None:
    source = open_source(spec("mmarco", hard_negatives=3), records["mmarco"])
    english = {pair.pair_id: pair for pair in source.english()}
    assert source.examples == 200
    assert len(english) == 40
    for lang in source.languages:
        translated = list(source.translations(lang))
        assert [pair.pair_id for pair in translated] == list(english)
        for pair in translated:
            assert pair.passage != english[pair.pair_id].passage
            assert len(pair.hard_negatives) == len(set(pair.hard_negatives)) == 3
    with pytest.raises(ConfigError, match="has no fr"):
        next(source.translations("fr"))


def test_mmarco_keeps_the_places_of_negatives_without_a_translation(tmp_path: Path) -> None:
    texts = {lang: {number: f"{lang} {number}" for number in range(4)} for lang in ("en", "de")}
    del texts["de"][1]
    for lang, known in texts.items():
        for path in (mmarco._collection(lang), mmarco._queries(lang)):
            lines = "".join(f"{number}\t{text}\n" for number, text in known.items())
            (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / path).write_text(lines, "utf-8")
    (tmp_path / mmarco.TRIPLES).write_text("0\t0\t1\n0\t0\t2\n0\t0\t3\n", "utf-8")
    source = open_source(spec("mmarco", languages=["de"], hard_negatives=3), tmp_path)
    assert next(source.english()).hard_negatives == ["en 1", "en 2", "en 3"]
    assert next(source.translations("de")).hard_negatives == ["", "de 2", "de 3"]


def test_triples_are_gathered_across_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("polybatch.collect.adapters.mmarco._BLOCK_BYTES", 300)
    rng = np.random.default_rng(0)
    rows = np.stack([rng.integers(5, 15, 900), rng.integers(0, 4, 900), np.arange(900)], axis=1).tolist()
    path = tmp_path / "t.tsv"
    path.write_text("".join(f"{q}\t{p}\t{n}\n" for q, p, n in rows), "utf-8")
    expected: dict[tuple[int, int], list[int]] = {}
    for query, passage, negative in rows:
        expected.setdefault((query, passage), []).append(negative)
    found = distinct_triples(path, 4)
    assert found.examples == 900
    assert [((q, p), n) for q, p, n in found] == [(key, numbers[:4]) for key, numbers in expected.items()]
    assert len(list(distinct_triples(path, 0))) == len(expected)
    path.write_text("1\t2\t3\n4\tfive\t6\n", "utf-8")
    with pytest.raises(DataError, match="three numbers"):
        distinct_triples(path, 1)


def test_texts_are_found_in_their_file(tmp_path: Path) -> None:
    path = tmp_path / "c.tsv"
    path.write_text("7\tsieben\n0\tnull null\n3\tdrei Ω", "utf-8")
    texts = TsvTexts(path)
    assert [texts[n] for n in (0, 3, 7, 5, 99)] == ["null null", "drei Ω", "sieben", None, None]
    texts.close()
    for content, message in (("1\ta\nb\n", "line 2"), ("1\ta\n1\tb\n", "comes twice")):
        path.write_text(content, "utf-8")
        with pytest.raises(DataError, match=message):
            TsvTexts(path)


def test_a_triple_without_text_is_an_error(tmp_path: Path) -> None:
    files = dict(data_sets._mmarco([]))
    files["data/triples.train.ids.small.tsv"] += b"99999\t1\t2\n"
    folder = HubCache(tmp_path).add("unicamp-dl/mmarco", files, kind="dataset")
    hub.write_record(tmp_path / "r.json", hub.Snapshot("unicamp-dl/mmarco", "dataset", "main", folder.name, folder))
    with pytest.raises(DataError, match="question 99999"):
        list(open_source(spec("mmarco"), tmp_path / "r.json").english())


def test_the_only_pair_of_two_sources_is_the_one_meant_to_be(records: dict[str, Path]) -> None:
    seen: Counter[tuple[str, str]] = Counter()
    for adapter in ENGLISH_ONLY:
        pairs = open_source(spec(adapter), records[adapter]).english()
        seen.update({(pair.query, pair.passage) for pair in pairs if len(pair.passage) > 9})
    shared = data_sets.SHARED
    assert [pair for pair, number in seen.items() if number > 1] == [(shared.query(0), shared.passage())]
