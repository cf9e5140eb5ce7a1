"""Which evaluation sets encoders declare, by the metadata of the mteb that is installed."""

from __future__ import annotations

import subprocess
import sys

import pytest

from polybatch.core.files import read_json
from polybatch.decontaminate.exposure import NOT_DECLARED, OWN, UNKNOWN, exposure, main
from polybatch.decontaminate.statuses import DECLARED

ENCODERS = {
    "e5": {"model": "intfloat/multilingual-e5-base"},
    "e5-small": {"model": "intfloat/multilingual-e5-small"},
    "bge": {"model": "BAAI/bge-m3"},
    "xlm-r": {"model": "FacebookAI/xlm-roberta-base"},
    "mbert": {"model": "google-bert/bert-base-multilingual-cased"},
    "scratch": {"model": None},
}
BENCHMARKS = {
    "test": {},
    "xquad-r": {"adapter": "lareqa"},
    "my-mlqa": {"adapter": "mlqa"},
    "hard": {"adapter": "mteb", "task": "MIRACLRetrievalHardNegatives"},
    "mkqa": {"adapter": "mteb", "task": "MKQARetrieval"},
    "nq": {"adapter": "beir", "path": "nq"},
    "mine": {"adapter": "beir", "path": "mine"},
    "mine-r": {"adapter": "lareqa"},
    "scifact-x": {"queries_of": "scifact"},
    "nq-x": {"queries_of": "nq"},
    "test-x": {"queries_of": "test"},
    "other-x": {"queries_of": "other"},
}


@pytest.fixture(scope="module")
def rows():
    return {(row["encoder"], row["benchmark"]): row for row in exposure(ENCODERS, BENCHMARKS)["exposure"]}


def status(rows, encoder, benchmark):
    return rows[encoder, benchmark]["status"]


def test_every_encoder_meets_every_benchmark_in_the_order_given(rows):
    assert list(rows) == [(encoder, benchmark) for encoder in ENCODERS for benchmark in BENCHMARKS]


def test_a_declared_set_counts_for_its_versions_and_what_is_made_from_it(rows):
    assert status(rows, "e5", "hard") == DECLARED
    assert "MIRACLRetrieval (mteb)" in rows["e5", "hard"]["evidence"]
    assert rows["e5", "xquad-r"]["task"] == "XQuADRetrieval"
    assert status(rows, "e5", "xquad-r") == DECLARED
    assert status(rows, "e5", "mkqa") == DECLARED  # its questions are Natural Questions'
    assert "NQ (mteb)" in rows["e5", "mkqa"]["evidence"]


def test_what_makers_declare_outside_mteb_counts_with_its_place(rows):
    assert status(rows, "bge", "xquad-r") == DECLARED
    assert "bge-m3-data" in rows["bge", "xquad-r"]["evidence"]


def test_a_list_without_the_set_is_no_declaration(rows):
    assert status(rows, "e5", "my-mlqa") == NOT_DECLARED
    assert status(rows, "xlm-r", "xquad-r") == NOT_DECLARED
    assert "Multilingual-MiniLM" in rows["e5-small", "my-mlqa"]["evidence"]  # what it was adapted from is in no list


def test_nothing_is_known_of_models_and_sets_that_mteb_lacks(rows):
    assert {status(rows, "mbert", name) for name in BENCHMARKS} == {UNKNOWN, OWN}
    assert {status(rows, "scratch", name) for name in BENCHMARKS} == {UNKNOWN, OWN}
    for name in ("mine", "mine-r", "other-x"):
        assert status(rows, "e5", name) == UNKNOWN
        assert rows["e5", name]["task"] is None


def test_own_held_out_text_is_told_apart_also_in_translation(rows):
    assert {status(rows, encoder, name) for encoder in ENCODERS for name in ("test", "test-x")} == {OWN}


def test_translated_queries_are_judged_by_their_original(rows):
    assert rows["e5", "scifact-x"]["task"] == "SciFact"  # by the catalogue
    assert status(rows, "e5", "scifact-x") == NOT_DECLARED
    assert status(rows, "e5", "nq-x") == status(rows, "e5", "nq") == DECLARED
    assert "translations of nq" in rows["e5", "nq-x"]["evidence"]


def test_mteb_is_not_imported_where_no_model_is_named(tmp_path):
    code = (
        "import sys; from polybatch.decontaminate.exposure import main;"
        'main([\'--encoders\', \'{"a": {"model": null}}\', \'--benchmarks\', \'{"nq": {"adapter": "mteb", "task": '
        "\"NQ\"}}', '--output', sys.argv[1]]); assert 'mteb' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "exposure.json")], check=True)
    record = read_json(tmp_path / "exposure.json")
    assert record["mteb"] is None
    assert record["exposure"][0]["status"] == UNKNOWN


def test_the_record_names_the_version_of_mteb(tmp_path):
    main(
        [
            *("--encoders", '{"e5": {"model": "intfloat/multilingual-e5-base"}}'),
            *("--benchmarks", '{"miracl": {"adapter": "mteb", "task": "MIRACLRetrieval"}}'),
            *("--output", str(tmp_path / "exposure.json")),
        ]
    )
    assert read_json(tmp_path / "exposure.json")["mteb"].startswith("2.")
