"""An English benchmark asked in other languages, by a translator of the hub's kind."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "standins"))

import translators as standins
from hub_cache import HubCache

from polybatch.benchmarks.benchmark import excluded_schema, load
from polybatch.core import contracts, made_from
from polybatch.core.errors import ConfigError, DataError
from polybatch.core.files import read_json, read_parquet, write_json, write_rows
from polybatch.translation.model_files import open_source
from polybatch.translation.options import TranslatorSource
from polybatch.translation.pretrained import convert
from polybatch.translation.queries import main, translated_queries

QUERIES = [
    {"query_id": "q1", "lang": "en", "text": "what opens the door?", "group": "", "answers": ["the king"]},
    {"query_id": "q2", "lang": "en", "text": "who is the king?", "group": "g2", "answers": []},
]


@pytest.fixture(scope="module")
def translator(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("hf")
    (snapshot,) = standins.make(HubCache(home), [standins.NLLB])
    convert(open_source(snapshot), ["en-de", "en-th"], TranslatorSource(quantization="float32"), home / "nllb")
    return home / "nllb"


@pytest.fixture
def original(tmp_path: Path) -> Path:
    folder = tmp_path / "scifact"
    passages = [{"passage_id": f"p{i}", "lang": "en", "text": f"passage {i}", "group": ""} for i in range(3)]
    write_rows(folder / "queries" / "en.parquet", QUERIES, contracts.QUERIES)
    write_rows(folder / "corpus" / "en.parquet", passages, contracts.CORPUS)
    documents = [{"document_id": "d", "lang": "en", "text": "a document"}]
    write_rows(folder / "documents" / "en.parquet", documents, contracts.DOCUMENTS)
    qrels = [
        {"query_id": "q1", "passage_id": "p0", "relevance": 2},
        {"query_id": "q2", "passage_id": "p1", "relevance": 1},
    ]
    write_rows(folder / "qrels.parquet", qrels, contracts.QRELS)
    write_rows(folder / "excluded.parquet", [{"query_id": "q2", "passage_id": "p2"}], excluded_schema())
    write_json(
        folder / "card.json", {"name": "scifact", "license": "CC BY-SA 4.0", "queries": {"en": 2}, "judgements": 2}
    )
    return folder


def derive(original: Path, translator: Path, *languages: str) -> Path:
    output = original.parent / "scifact-x"
    pairs = [f"{lang}={translator}" for lang in languages]
    main(["--benchmark", str(original), "--languages", *languages, "--translators", *pairs, "--output", str(output)])
    return output


def test_translations_join_their_query(original: Path, translator: Path) -> None:
    folder = derive(original, translator, "de", "th")
    found = load(folder, ["en", "de", "th"], ["en"])
    assert found.queries["de"].ids.to_pylist() == ["q1.de", "q2.de"]
    assert [found.queries[lang].groups.to_pylist() for lang in ("en", "de", "th")] == [["q1", "g2"]] * 3
    assert found.queries["de"].texts.to_pylist() != [query["text"] for query in QUERIES]
    judged = {(row["query_id"], row["passage_id"], row["relevance"]) for row in found.qrels.to_pylist()}
    assert judged == {
        (f"{q}{lang}", p, r) for q, p, r in (("q1", "p0", 2), ("q2", "p1", 1)) for lang in ("", ".de", ".th")
    }
    assert sorted(found.excluded["query_id"].to_pylist()) == ["q2", "q2.de", "q2.th"]
    rows = read_parquet(folder / "queries" / "de.parquet", contracts.QUERIES).to_pylist()
    assert rows[0]["answers"] == ["the king"]
    assert (folder / "documents" / "en.parquet").read_bytes() == (original / "documents" / "en.parquet").read_bytes()
    card = read_json(folder / "card.json")
    assert (card["name"], card["derived_from"], card["license"]) == ("scifact-x", "scifact", "CC BY-SA 4.0")
    assert "machine-translated" in card["note"]
    assert (card["queries"], card["judgements"]) == ({"en": 2, "de": 2, "th": 2}, 6)
    assert card["machine_translated_queries"]["de"]["license"] == "cc-by-nc-4.0"
    assert card["machine_translated_queries"]["de"]["left_out"] == 0


def test_the_card_says_what_they_were_made_from(original: Path, translator: Path) -> None:
    found = made_from.read_record(derive(original, translator, "de") / "card.json")
    inputs = {"queries": original / "queries/en.parquet", "qrels": original / "qrels.parquet"}
    assert found == made_from.record({"decoding": {}}, **inputs, translators={"de": translator})


def test_only_what_is_missing_can_be_translated(original: Path, translator: Path) -> None:
    german = [query | {"query_id": query["query_id"] + "x", "lang": "de"} for query in QUERIES]
    write_rows(original / "queries" / "de.parquet", german, contracts.QUERIES)
    with pytest.raises(ConfigError, match="in de already"):
        derive(original, translator, "de")
    (original / "queries" / "en.parquet").unlink()
    with pytest.raises(ConfigError, match="none in English"):
        derive(original, translator, "th")
    with pytest.raises(ConfigError, match="no translator for th"):
        main(["--benchmark", str(original), "--languages", "th", "--translators", f"de={translator}", "--output", "x"])


def test_empty_translations_are_left_out_and_many_are_an_error() -> None:
    queries = [{"query_id": str(i), "lang": "en", "text": f"t{i}", "group": "", "answers": []} for i in range(20)]
    said = {query["text"]: query["text"].upper() for query in queries}
    assert len(translated_queries(queries, said | {"t3": " "}, "de")) == 19
    with pytest.raises(DataError, match="2 empty translations"):
        translated_queries(queries, said | {"t3": "", "t4": " "}, "de")
