import errno
import os

import numpy as np
import pytest
from parallel_files import pair_id, parallel_row, write_parallel

from polybatch.core.arguments import parse_paths
from polybatch.core.errors import ConfigError, DataError
from polybatch.pairs.table import read_pairs


def write_lang(folder, lang, numbers, query="frage {}", passage="text {}", **changes):
    rows = [
        parallel_row(i, query.format(i), passage.format(i), **{k: v(i) for k, v in changes.items()}) for i in numbers
    ]
    return write_parallel(folder / f"{lang}.parquet", rows)


def numbers(table):
    return [int(table.pair_id(row), 16) for row in range(len(table))]


@pytest.fixture
def paths(tmp_path):
    return {
        "en": write_lang(tmp_path, "en", range(50), "Question {}?", "Text {}."),
        "de": write_lang(tmp_path, "de", reversed(range(10, 50))),
    }


def test_texts_of_a_row_belong_together_whatever_the_order_in_the_files(paths):
    table = read_pairs(paths)
    for row, number in enumerate(numbers(table)):
        assert table.query(row, 0) == f"Question {number}?"
        if table.present[row, 1]:
            assert (table.query(row, 1), table.passage(row, 1)) == (f"frage {number}", f"text {number}")
    assert table.counts() == {"en": 50, "de": 40}
    with pytest.raises(IndexError, match=f"{pair_id(0)} does not exist in de"):
        table.query(0, 1)


def test_keys_are_equal_exactly_for_the_same_english_text(tmp_path):
    rows = [("Port", "x"), ("port ", "y"), ("Host", "X."), ("Hosts", "z")]
    write_parallel(tmp_path / "en.parquet", [parallel_row(i, *row) for i, row in enumerate(rows)])
    table = read_pairs({"en": tmp_path / "en.parquet"})
    same = lambda keys: [(i, j) for i in range(4) for j in range(i) if keys[i] == keys[j]]  # noqa: E731
    assert same(table.query_keys[:, 0]) == [(1, 0)]
    assert same(table.passage_keys[:, 0]) == [(2, 0)]


def test_a_smaller_subset_lies_in_a_larger_one_and_does_not_depend_on_languages(paths):
    small, large = (set(numbers(read_pairs(paths, n))) for n in (7, 20))
    assert len(small) == 7 and small < large
    assert small == set(numbers(read_pairs({"en": paths["en"]}, 7)))
    assert small != set(range(7))
    table = read_pairs(paths, 20)
    assert table.present.shape == (20, 2) and len(table.query_keys) == 20
    assert table.present[:, 1].sum() == np.sum([i >= 10 for i in numbers(table)])


def test_translations_by_machine_are_bounded_and_nested_and_others_are_left(tmp_path):
    """20 pairs with German by people, 30 by machine, of which Turkish has 10 and 10 of its own."""
    origin = {"origin": lambda i: "supplied" if i < 20 else "machine"}
    paths = {
        "en": write_lang(tmp_path, "en", range(60), origin=lambda i: "english"),
        "de": write_lang(tmp_path, "de", range(50), **origin),
        "tr": write_lang(tmp_path, "tr", range(40, 60), **origin),
    }
    none, few, more, every = (read_pairs(paths, num_translated=n) for n in (0, 5, 15, 40))
    assert every.counts() == read_pairs(paths).counts() == {"en": 60, "de": 50, "tr": 20}
    assert none.counts() == {"en": 60, "de": 20, "tr": 0}
    assert few.machine.any(axis=1).sum() == 5 and more.machine.any(axis=1).sum() == 15
    assert (few.machine <= more.machine).all() and (more.machine <= every.machine).all()
    assert all(table.present[:20, 1].all() and table.present[:, 0].all() for table in (none, few, more))
    assert (few.present[20:, 1:] == few.machine[20:, 1:]).all()
    # In whatever languages a pair is translated, all of its translations stay or go together.
    both = slice(40, 50)
    assert (more.machine[both, 1] == more.machine[both, 2]).all()
    with pytest.raises(DataError, match="from 0 to 40"):
        read_pairs(paths, num_translated=41)


def test_sources_are_known_whatever_file_order(tmp_path):
    path = write_lang(tmp_path, "en", [5, 3, 1, 4], source=lambda i: "zeta" if i > 3 else "alpha")
    table = read_pairs({"en": path})
    assert table.sources == ("alpha", "zeta")
    assert table.source.tolist() == [0, 0, 1, 1]
    assert table.counts_by_source() == {"alpha": 2, "zeta": 2}


def test_hard_negatives_are_those_of_the_language_and_at_most_as_many_as_asked(tmp_path, caplog):
    given = lambda lang: lambda i: [f"{lang} wrong {i} {k}" for k in range(i % 4)]  # noqa: E731
    paths = {
        "en": write_lang(tmp_path, "en", range(12), hard_negatives=given("en")),
        "de": write_lang(tmp_path, "de", range(12), hard_negatives=lambda i: given("de")(i) if i != 7 else ["one"]),
        "tr": write_lang(tmp_path, "tr", range(12), hard_negatives=lambda i: None),
    }
    with caplog.at_level("INFO"):
        table = read_pairs(paths, hard_negatives=2)
    assert places(table, 0).tolist() == [[k < i % 4 for k in range(2)] for i in range(12)]
    assert not places(table, 1)[7].any() and "1 texts are not used" in caplog.text
    assert not places(table, 2).any()
    assert table.negative(3, 1, 1) == "de wrong 3 1"
    assert table.negative_keys.shape == (12, 2) and (table.negative_keys[0] == 0).all()
    assert read_pairs(paths).negatives.shape == (12, 3, 0)


def places(table, lang):
    rows = np.arange(len(table))
    return table.has_negatives(rows, np.full(len(rows), lang))


def test_hard_negative_k_is_the_translation_of_the_english_one(tmp_path):
    """A list that lost an entry may have as many of the first few as the English one has."""
    german = [["b", "c"], ["", "b", "c"], ["a", "", ""], ["a", "b", "c", "d"]]
    paths = {
        "en": write_lang(tmp_path, "en", range(4), hard_negatives=lambda i: ["A", "B", "C"]),
        "de": write_lang(tmp_path, "de", range(4), hard_negatives=lambda i: german[i]),
    }
    table = read_pairs(paths, hard_negatives=2)
    assert places(table, 0).all()
    assert places(table, 1).tolist() == [[False, False], [False, True], [True, False], [False, False]]
    assert (table.negative(1, 1, 0), table.negative(1, 1, 1), table.negative(1, 0, 1)) == (None, "b", "B")
    # More places than fit into a byte, and an English gap, which closes the place in all languages.
    paths = {
        "en": write_lang(tmp_path, "en", range(1), hard_negatives=lambda i: ["A", "", *"CDEFGHIJ"]),
        "de": write_lang(tmp_path, "de", range(1), hard_negatives=lambda i: [*"abcdefgh", "", "j"]),
    }
    table = read_pairs(paths, hard_negatives=10)
    assert table.negative_keys[0, 1] == 0
    assert np.flatnonzero(~places(table, 1)[0]).tolist() == [1, 8]


@pytest.mark.parametrize("wrong", [" ", None])
def test_a_blank_hard_negative_is_refused(tmp_path, wrong):
    path = write_lang(tmp_path, "en", range(3), hard_negatives=lambda i: ["good", wrong])
    with pytest.raises(DataError, match="hard_negatives is empty"):
        read_pairs({"en": path})


def test_paraphrases_stand_beside_the_english_texts(paths, tmp_path):
    extra = write_lang(tmp_path, "paraphrase", [3, 5, 400], "Asked {}?", "Text {}.")
    table = read_pairs(paths, paraphrases=extra)
    assert np.flatnonzero(table.paraphrased).tolist() == [3, 5]
    assert table.query(3, 0, paraphrase=True) == "Asked 3?" and table.query(3, 0) == "Question 3?"
    assert table.query_keys[3, 0] != table.query_keys[3, 1]
    assert table.passage_keys[3, 0] == table.passage_keys[3, 1]
    with pytest.raises(IndexError, match="as a paraphrase"):
        table.passage(4, 0, paraphrase=True)


def test_texts_are_converted_once_and_again_when_the_file_changes(paths, tmp_path):
    cache = tmp_path / "cache"
    read_pairs(paths, text_cache=cache)
    made = list(cache.rglob("texts.arrow"))
    assert len(made) == 2
    for path in made:
        os.utime(path, ns=(1, 1))
    table = read_pairs(paths, text_cache=cache)
    assert {path: path.stat().st_mtime_ns for path in cache.rglob("texts.arrow")} == dict.fromkeys(made, 1)
    assert table.query(0, 0) == "Question 0?"
    write_lang(tmp_path, "de", range(10, 50), "neu {}")
    os.utime(paths["de"], ns=(1, 1))
    assert read_pairs(paths, text_cache=cache).query(12, 1) == "neu 12"


def test_two_that_convert_at_a_time_without_locks_both_go_on(paths, tmp_path, monkeypatch):
    """As on two machines that share a file system: here the folder of the other appears while one is at work."""
    from polybatch.pairs import text_store

    def no_lock(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    def converted(path, target, *args):
        convert(path, target, *args)
        starts.append(path)
        if len(starts) == 1:
            others.append(read_pairs(paths, text_cache=tmp_path / "texts"))

    convert, starts, others = text_store._convert, [], []
    monkeypatch.setattr("filelock.FileLock.acquire", no_lock)
    monkeypatch.setattr(text_store, "_convert", converted)
    table = read_pairs(paths, text_cache=tmp_path / "texts")
    assert [one.query(3, 0) for one in (table, *others)] == ["Question 3?"] * 2
    assert len(list((tmp_path / "texts").iterdir())) == 2


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
    paths["fr"] = write_lang(tmp_path, "fr", [1, 999])
    with pytest.raises(DataError, match=pair_id(999)):
        read_pairs(paths)


def test_a_pair_given_twice_is_refused(paths, tmp_path):
    paths["fr"] = write_lang(tmp_path, "fr", [1, 1])
    with pytest.raises(DataError, match="more than once"):
        read_pairs(paths)


@pytest.mark.parametrize("text", ["", "  ", None])
def test_an_empty_text_is_refused_and_leaves_nothing_behind(paths, tmp_path, text):
    paths["fr"] = write_parallel(tmp_path / "fr.parquet", [parallel_row(1, "q", text)])
    for _ in range(2):
        with pytest.raises(DataError, match="passage is empty or missing"):
            read_pairs(paths, text_cache=tmp_path / "cache")


def test_a_language_without_pairs_is_refused(paths, tmp_path):
    paths["fr"] = write_lang(tmp_path, "fr", [])
    with pytest.raises(DataError, match="no pair in fr"):
        read_pairs(paths)


@pytest.mark.parametrize("flags", [["en"], ["=x"], ["en="], ["en=a", "en=b"]])
def test_a_malformed_language_flag_is_refused(flags):
    with pytest.raises(ConfigError, match=r"given (wrongly|twice)"):
        parse_paths(flags)
