import numpy as np
import pytest

from polybatch import contracts
from polybatch.errors import ConfigError, DataError
from polybatch.files import write_rows
from polybatch.pairs import parse_paths, read_pairs


def write_lang(folder, lang, ids, query="frage {}", passage="text {}"):
    rows = [{"pair_id": i, "query": query.format(i), "passage": passage.format(i)} for i in ids]
    write_rows(folder / f"{lang}.parquet", rows, contracts.PARALLEL)
    return folder / f"{lang}.parquet"


@pytest.fixture
def paths(tmp_path):
    ids = [f"p{i:03}" for i in range(50)]
    return {
        "en": write_lang(tmp_path, "en", ids, "Question {}?", "Text {}."),
        "de": write_lang(tmp_path, "de", reversed(ids[10:])),
    }


def test_texts_of_a_row_belong_together_whatever_the_order_in_the_files(paths):
    table = read_pairs(paths)
    for row, pair_id in enumerate(table.pair_ids):
        assert table.query(row, 0) == f"Question {pair_id}?"
        if table.present[row, 1]:
            assert (table.query(row, 1), table.passage(row, 1)) == (f"frage {pair_id}", f"text {pair_id}")
    assert table.counts() == {"en": 50, "de": 40}
    with pytest.raises(IndexError, match="p000 does not exist in de"):
        table.query(0, 1)


def test_keys_are_equal_exactly_for_the_same_english_text(tmp_path):
    rows = [("a", "Port", "x"), ("b", "port ", "y"), ("c", "Host", "X."), ("d", "Hosts", "z")]
    write_rows(
        tmp_path / "en.parquet",
        [dict(zip(("pair_id", "query", "passage"), row, strict=True)) for row in rows],
        contracts.PARALLEL,
    )
    table = read_pairs({"en": tmp_path / "en.parquet"})
    same = lambda keys: [(i, j) for i in range(4) for j in range(i) if keys[i] == keys[j]]  # noqa: E731
    assert same(table.query_key) == [(1, 0)]
    assert same(table.passage_key) == [(2, 0)]


def test_a_smaller_subset_lies_in_a_larger_one_and_does_not_depend_on_languages(paths):
    small, large = (set(read_pairs(paths, n).pair_ids) for n in (7, 20))
    assert len(small) == 7 and small < large
    assert small == set(read_pairs({"en": paths["en"]}, 7).pair_ids)
    assert small != {f"p{i:03}" for i in range(7)}
    table = read_pairs(paths, 20)
    assert table.present.shape == (20, 2) and len(table.query_key) == 20
    assert table.present[:, 1].sum() == np.sum([i >= "p010" for i in table.pair_ids])


@pytest.mark.parametrize("number", [0, 51])
def test_a_subset_that_does_not_exist_is_refused(paths, number):
    with pytest.raises(DataError, match="from 1 to 50"):
        read_pairs(paths, number)


def test_english_must_be_there(paths):
    with pytest.raises(ConfigError, match="English is not among"):
        read_pairs({"de": paths["de"]})


def test_an_unknown_language_is_refused(paths):
    with pytest.raises(ConfigError, match="Unknown language 'xx'"):
        read_pairs({**paths, "xx": paths["de"]})


def test_a_missing_file_is_named(paths, tmp_path):
    with pytest.raises(DataError, match=r"fr\.parquet"):
        read_pairs({**paths, "fr": tmp_path / "fr.parquet"})


def test_a_pair_that_english_lacks_is_named(paths, tmp_path):
    paths["fr"] = write_lang(tmp_path, "fr", ["p001", "stray"])
    with pytest.raises(DataError, match="stray"):
        read_pairs(paths)


def test_a_pair_given_twice_is_refused(paths, tmp_path):
    paths["fr"] = write_lang(tmp_path, "fr", ["p001", "p001"])
    with pytest.raises(DataError, match="more than once"):
        read_pairs(paths)


@pytest.mark.parametrize("text", ["", "  ", None])
def test_an_empty_text_is_refused(paths, tmp_path, text):
    rows = [{"pair_id": "p001", "query": "q", "passage": text}]
    write_rows(tmp_path / "fr.parquet", rows, contracts.PARALLEL)
    with pytest.raises(DataError, match="passage is empty or missing"):
        read_pairs({**paths, "fr": tmp_path / "fr.parquet"})


def test_a_language_without_pairs_is_refused(paths, tmp_path):
    paths["fr"] = write_lang(tmp_path, "fr", [])
    with pytest.raises(DataError, match="no pair in fr"):
        read_pairs(paths)


@pytest.mark.parametrize("flags", [["en"], ["=x"], ["en="], ["en=a", "en=b"]])
def test_a_malformed_language_flag_is_refused(flags):
    with pytest.raises(ConfigError, match=r"given (wrongly|twice)"):
        parse_paths(flags)
