"""Joining sources and splitting: what is dropped, what is held out, and that nothing held out leaks into training."""

from __future__ import annotations

import json
import random
from pathlib import Path

import numpy as np
import pytest

from polybatch.collect import one_source, supplied
from polybatch.collect.english import main, shares
from polybatch.collect.options import MixtureOptions, SplitOptions
from polybatch.core.contracts import COLLECTED, PARALLEL, STRINGS
from polybatch.core.errors import ConfigError, DataError
from polybatch.core.files import read_json, read_parquet
from polybatch.core.text import text_key
from polybatch.translation import strings

WORDS = ["lamp", "door", "fan", "heater", "garden", "kitchen", "alarm", "sensor", "valve", "pump"]
SPLIT = {"test_passages": 20, "dev_passages": 10}


def rows(count: int = 200, seed: int = 0) -> list[dict]:
    """Pairs with German for each, and a few collisions, as real interfaces have."""
    picks = random.Random(seed).sample([(a, b, c) for a in WORDS for b in WORDS for c in WORDS], count)
    found = []
    for number, (a, b, c) in enumerate(picks):
        english = {"query": f"{a} {b} {c}", "passage": f"Switches the {a} of the {b} near the {c}"}
        # Every tenth German query is the same word: it collides between splits.
        query = "Taste" if number % 10 == 0 else f"de {english['query']}"
        german = {"query": query, "passage": f"de: {english['passage']}"}
        found += [{"group": str(number), "lang": lang, **texts} for lang, texts in (("en", english), ("de", german))]
    return found


class Study:
    """Sources in a folder, and the stages run on them through their command lines."""

    def __init__(self, folder: Path, sources: dict[str, list[dict]], **specs: dict) -> None:
        self.folder, self.specs, self.files, self.collected = folder, [], [], []
        for name, content in sources.items():
            file = folder / f"{name}.jsonl"
            file.write_text("".join(json.dumps(row) + "\n" for row in content), "utf-8")
            lang = {"columns": {"lang": "lang", "group": "group"}} if "lang" in content[0] else {}
            spec = {"name": name, "adapter": "local", "license": "CC0-1.0", **lang, **specs.get(name, {})}
            path = folder / "sources" / f"{name}.parquet"
            one_source.main(["--source", json.dumps(spec), "--file", str(file), "--output", str(path)])
            self.specs.append(spec)
            self.files.append(str(file))
            self.collected.append(str(path))

    def collect(self, split: dict = SPLIT, parallel_in: tuple[str, ...] = (), **options: dict) -> list[dict]:
        output = self.folder / "en.parquet"
        flags = [part for name, value in options.items() for part in (f"--{name}", json.dumps(value))]
        flags += ["--split", json.dumps(split), "--parallel-in", *parallel_in]
        main([*self.inputs, "--collected", *self.collected, *flags, "--output", str(output)])
        return read_parquet(output, COLLECTED).to_pylist()

    @property
    def inputs(self) -> list[str]:
        return ["--sources", json.dumps(self.specs), "--files", *self.files]

    def counts(self) -> dict:
        return read_json(self.folder / "en.json")

    def text(self, flag: str, lang: str = "de") -> list[dict]:
        output = self.folder / f"{flag}-{lang}.parquet"
        flags = ["--collected", str(self.folder / "en.parquet"), "--lang", lang, "--output", str(output)]
        if flag == "supplied":
            supplied.main([*self.inputs, *flags])
        else:
            strings.main([*self.inputs, *flags, "--held-out-share", "0.1"])
        return read_parquet(output, PARALLEL if flag == "supplied" else STRINGS).to_pylist()


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    study = Study(tmp_path_factory.mktemp("study"), {"tiny": rows()})
    study.collect(parallel_in=("de",))
    return study


@pytest.fixture(scope="module")
def collected(study: Study) -> list[dict]:
    return read_parquet(study.folder / "en.parquet", COLLECTED).to_pylist()


def keys(texts: list[dict], *columns: str) -> set[str]:
    return {text_key(row[column]) for row in texts for column in columns or ("query", "passage")}


def test_split_sizes_and_disjoint_passages(collected: list[dict]) -> None:
    by_split = {n: {text_key(r["passage"]) for r in collected if r["split"] == n} for n in ("train", "dev", "test")}
    assert len(by_split["test"]) == 20
    assert len(by_split["dev"]) == 10
    assert not by_split["train"] & (by_split["dev"] | by_split["test"])
    assert not by_split["dev"] & by_split["test"]
    assert [row["pair_id"] for row in collected] == sorted(row["pair_id"] for row in collected)


def test_no_held_out_text_in_any_training_text(study: Study, collected: list[dict]) -> None:
    supplied = study.text("supplied")
    held = {row["pair_id"] for row in collected if row["split"] != "train"}
    english = keys([row for row in collected if row["pair_id"] in held])
    german = keys([row for row in supplied if row["pair_id"] in held])
    assert text_key("Taste") in german, "the fixture must contain a collision, or this test proves nothing"
    training = [row for row in supplied if row["pair_id"] not in held]
    assert training
    assert not keys(training) & german
    assert {(row["origin"], row["source"]) for row in supplied} == {("supplied", "tiny")}
    assert not keys(study.text("strings"), "english", "text") & (english | german)


def test_a_supplied_negative_that_is_left_out_keeps_its_place(tmp_path: Path) -> None:
    """So that no later one is taken for the translation of its English counterpart."""
    negatives = {"en": ["One thing", "A second thing", "A third"], "de": ["Eins", "eins!", "Drei"]}
    study = Study(tmp_path, {"tiny": [{**row, "hard_negatives": negatives[row["lang"]]} for row in rows()]})
    assert {tuple(row["hard_negatives"]) for row in study.collect()} == {tuple(negatives["en"])}
    assert {tuple(row["hard_negatives"]) for row in study.text("supplied")} == {("Eins", "", "Drei")}


def test_translators_never_see_what_scores_them(study: Study, collected: list[dict]) -> None:
    strings = study.text("strings")
    aside = keys([row for row in collected if row["kind"] == "english_only"], "passage")
    assert aside
    assert strings
    assert not keys(strings, "english") & aside
    train = keys([row for row in strings if row["split"] == "train"], "english")
    assert not train & keys([row for row in strings if row["split"] != "train"], "english")


def test_pairs_left_to_translators_train_no_encoder(tmp_path: Path, collected: list[dict]) -> None:
    """With the English-only share they are a whole: no person's translation is left to train on."""
    study = Study(tmp_path, {"tiny": rows()})
    found = study.collect({**SPLIT, "english_only": 0.3, "translators_only": 0.7}, ("de",))
    secret = [row for row in collected if row["split"] != "train" or row["kind"] == "english_only"]
    assert found == secret, "neither what is held out nor what is English-only moves"
    left = len(collected) - len(secret)
    steps = {step["step"]: step["removed"] for step in study.counts()["sources"]["tiny"]["steps"]}
    assert steps["left to translators"] == left > 100
    strings = study.text("strings")
    english = keys([row for row in collected if row not in secret], "passage")
    assert keys(strings, "english") & english, "they are what translators learn from"
    assert not keys(strings, "english") & keys(found)


def test_a_share_of_translators_moves_no_other_pair(tmp_path: Path, collected: list[dict]) -> None:
    study = Study(tmp_path, {"tiny": rows()})
    found = [study.collect({**SPLIT, "translators_only": share}, ("de",)) for share in (0.0, 0.2, 0.5)]
    assert found[0] == collected
    ids = [{row["pair_id"] for row in of} for of in found]
    assert ids[0] > ids[1] > ids[2]
    assert all(row in collected for of in found[1:] for row in of)


def test_what_translators_do_not_see_is_counted(study: Study, collected: list[dict]) -> None:
    strings = study.text("strings")
    record = read_json(study.folder / "strings-de.json")
    source, splits = record["sources"]["tiny"], record["splits"]
    removed = {step["step"]: step["removed"] for step in source["steps"]}
    assert source["read"] == 400, "a query and a passage of each of 200 pairs"
    assert source["kept"] == len(strings) == 400 - sum(removed.values()) == sum(splits.values())
    assert splits == {name: sum(row["split"] == name for row in strings) for name in ("train", "dev", "test")}
    # Both texts of a secret pair go, and every "Taste", which is the German of some. Rows of a file have no document.
    secret = {row["query"] for row in collected if row["split"] != "train" or row["kind"] == "english_only"}
    tastes = {row["query"] for row in rows()[::20]}
    assert len(tastes) == 20
    assert tastes & secret
    assert removed["document of a held-out or English-only pair"] == removed["repeated"] == 0
    assert removed["text of such a document or pair, elsewhere"] == 2 * len(secret) + len(tastes - secret)


def test_split_does_not_depend_on_order(tmp_path: Path, collected: list[dict]) -> None:
    shuffled = rows()
    random.Random(1).shuffle(shuffled)
    assert Study(tmp_path, {"tiny": shuffled}).collect(parallel_in=("de",)) == collected


def test_a_held_out_query_identifies_its_passage(tmp_path: Path) -> None:
    english = [{"query": row["query"], "passage": row["passage"]} for row in rows() if row["lang"] == "en"]
    more = [{**row, "passage": f"Another thing number {i} altogether"} for i, row in enumerate(english[:150])]
    found = Study(tmp_path, {"tiny": english + more}).collect()
    for row in (row for row in found if row["split"] != "train"):
        assert sum(text_key(other["query"]) == text_key(row["query"]) for other in found) == 1


def test_a_source_without_translations_is_english_only(tmp_path: Path) -> None:
    plain = [
        {"query": f"plain {row['query']}", "passage": f"Plain: {row['passage']}"}
        for row in rows()
        if row["lang"] == "en"
    ]
    study = Study(tmp_path, {"tiny": rows(), "plain": plain})
    found = study.collect(parallel_in=("de",))
    assert {row["kind"] for row in found if row["source"] == "plain"} == {"english_only"}
    assert {row["source"] for row in found if row["split"] != "train"} == {"tiny"}, "held-out text exists in German"
    assert study.text("supplied", "fr") == []


def test_the_first_source_wins_and_every_step_is_counted(tmp_path: Path) -> None:
    study = Study(tmp_path, {"first": rows(40), "second": rows(60)}, second={"max_pairs": 15})
    found = study.collect({"test_passages": 3, "dev_passages": 2}, ("de",))
    assert len({(row["query"], row["passage"]) for row in found}) == len(found)
    counts = study.counts()
    steps = {step["step"]: step["removed"] for step in counts["sources"]["second"]["steps"]}
    english = [{row["query"] for row in rows(count) if row["lang"] == "en"} for count in (40, 60)]
    assert steps["duplicate of another source"] == len(english[0] & english[1]) > 0
    assert steps["row limit"] == 60 - steps["duplicate of another source"] - 15
    assert {name: entry["collected"] for name, entry in counts["sources"].items()} == {"first": 40, "second": 60}
    for entry in counts["sources"].values():
        assert entry["collected"] - sum(step["removed"] for step in entry["steps"]) == entry["kept"]
    assert sum(entry["kept"] for entry in counts["sources"].values()) == len(found)
    assert counts["splits"]["test"] == 3


def test_near_duplicates_across_sources_go(tmp_path: Path) -> None:
    passage = " ".join(f"{a} {b}" for a in WORDS for b in WORDS[:3])
    first, second = ({"query": "which lamp is near the garden door", "passage": passage + end} for end in ("", " x"))
    study = Study(
        tmp_path, {"a": [first], "b": [second, {"query": "something else", "passage": "Of quite another kind"}]}
    )
    found = study.collect({"test_passages": 0, "dev_passages": 0}, cleaning={"near_duplicate_threshold": 0.8})
    assert sorted(row["query"] for row in found) == ["something else", "which lamp is near the garden door"]


def test_a_larger_limit_keeps_what_a_smaller_one_kept(tmp_path: Path) -> None:
    study = Study(tmp_path, {"big": rows(150), "small": rows(40, seed=5)}, small={"weight": 75})
    none = {"test_passages": 0, "dev_passages": 0}
    kept = []
    for size in (30, 60, 120):
        found = study.collect(none, mixture={"max_pairs": size})
        assert len(found) == size
        kept.append({row["pair_id"] for row in found})
    assert kept[0] < kept[1] < kept[2]
    sources = study.counts()["sources"]
    assert sources["small"]["weight"] == 75
    assert sources["big"]["kept"] == 120 - sources["small"]["kept"] < 150
    shared = next(
        step["removed"] for step in sources["small"]["steps"] if step["step"] == "duplicate of another source"
    )
    assert len(study.collect(none, mixture={"max_pairs": 10_000})) == 150 + 40 - shared


@pytest.mark.parametrize(
    ("sizes", "available", "options", "expected"),
    [
        ([900, 100], [900, 100], {"max_pairs": 100}, [90, 10]),
        ([900, 100], [900, 100], {"max_pairs": 100, "temperature": 1e9}, [50, 50]),
        ([900, 100], [900, 20], {"max_pairs": 100, "temperature": 1e9}, [80, 20]),
        ([1, 1, 1], [9, 9, 9], {"max_pairs": 10}, [4, 3, 3]),
        ([5, 5], [3, 4], {"max_pairs": 100}, [3, 4]),
        ([39_780_811, 113_535], [500_000, 113_535], {"max_pairs": 100_000}, [99_715, 285]),
    ],
)
def test_shares(sizes: list[float], available: list[int], options: dict, expected: list[int]) -> None:
    assert shares(sizes, available, MixtureOptions(**options)) == expected


def test_no_share_shrinks_when_there_is_more_to_share_out() -> None:
    before = [0, 0, 0]
    for total in range(1, 120):
        taken = shares([17, 5.5, 71], [30, 40, 45], MixtureOptions(max_pairs=total, temperature=1.7))
        assert sum(taken) == min(total, 115)
        assert all(now >= then for now, then in zip(taken, before, strict=True))
        before = taken


def test_too_few_passages_is_an_error_with_numbers(tmp_path: Path) -> None:
    study = Study(tmp_path, {"tiny": rows(50)})
    with pytest.raises(DataError, match=r"20 test and 10 dev passages are missing"):
        study.collect(parallel_in=("fr",))
    with pytest.raises(DataError, match=r"0 test and 5 dev passages are missing"):
        study.collect({"test_passages": 40, "dev_passages": 15})


def test_nothing_left_to_train_on_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no training pair is left"):
        Study(tmp_path, {"tiny": rows(50)}).collect({"test_passages": 40, "dev_passages": 10})


def test_unusable_options_are_named(study: Study) -> None:
    with pytest.raises(ConfigError, match="test_pasages"):
        SplitOptions.from_json('{"test_pasages": 3}')
    with pytest.raises(ConfigError, match="translators_only: must not come to more than 1 with english_only"):
        SplitOptions.from_json('{"english_only": 0.5, "translators_only": 0.6}')
    with pytest.raises(ConfigError, match="temperature: needs max_pairs"):
        MixtureOptions.from_json('{"temperature": 2}')
    with pytest.raises(ConfigError, match="1 entries, 2 files"):
        main(
            ["--collected", "a", "--sources", "[{}]", "--files", "a", "b", "--output", str(study.folder / "x.parquet")]
        )


def test_rows_are_put_in_order_through_files_as_in_memory(
    study: Study, collected: list[dict], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("polybatch.core.streams._SORTED_AT_ONCE", 17)
    monkeypatch.setattr("polybatch.core.streams._BUFFERED", 40)
    monkeypatch.setattr("polybatch.core.columns._ROWS_AT_ONCE", 23)
    monkeypatch.setattr("polybatch.core.streams.BATCH_ROWS", 11)
    assert study.collect(parallel_in=("de",)) == collected
    assert not list(study.folder.glob(".*")), "temporary files are gone"


def test_keys_stand_for_ids() -> None:
    from polybatch.core.streams import combined, id_keys, is_first, is_in

    ids = id_keys(["00000000000000ff", "p1", "p1", "ABCDEF0123456789"])
    assert ids[0] == 255
    assert ids[1] == ids[2]
    assert is_first(ids).tolist() == [True, True, False, True]
    assert is_in(ids, np.sort(ids[:2])).tolist() == [True, True, True, False]
    assert combined(ids[:1], ids[1:2]) != combined(ids[1:2], ids[:1])


def test_supplied_translations_are_cleaned_and_counted(tmp_path: Path) -> None:
    """One of each kind; what is left out is not held out either."""
    content = rows()
    german = [row for row in content if row["lang"] == "de"]
    english = {row["group"]: row for row in content if row["lang"] == "en"}
    for row in german[:30]:
        row["passage"] = english[row["group"]]["passage"].upper()
    for row in german[30:50]:
        row["passage"] = f"<i>{row['query']}</i>"
    german[50]["group"] = "nowhere"
    study = Study(tmp_path, {"tiny": content})
    held_out = [row["pair_id"] for row in study.collect(parallel_in=("de",)) if row["split"] != "train"]
    supplied = study.text("supplied")
    assert set(held_out) <= {row["pair_id"] for row in supplied}
    counts = read_json(tmp_path / "supplied-de.json")["sources"]["tiny"]
    removed = {step["step"]: step["removed"] for step in counts["steps"]}
    assert {step: removed[step] for step in list(removed)[:3]} == {
        "no English pair": 1, "passage left in English": 30, "query equals passage": 20,
    }  # fmt: skip
    assert counts["read"] == 200
    assert counts["kept"] == len(supplied) == 200 - sum(removed.values())
