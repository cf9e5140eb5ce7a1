"""The filter: each reason for refusing a translation, on texts where a reader would agree."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path

import pytest

from polybatch.collect.language_identification import language_confidence
from polybatch.core import contracts
from polybatch.core.errors import ConfigError, DataError
from polybatch.core.files import read_json, read_parquet, write_json, write_rows
from polybatch.translation.accept import Verdict, gather, judge, main, read_expected, translated_pairs
from polybatch.translation.measures import Measurer
from polybatch.translation.options import AcceptOptions
from polybatch.translation.statistics import Statistics

ENGLISH = ("Turn on light", "Turns on the light in the living room at once.")
GERMAN = ("Licht einschalten", "Schaltet das Licht im Wohnzimmer sofort ein.")


def trip(query: str, passage: str, back: tuple[str, str] = ENGLISH, identity: str = "1", lang: str = "de") -> dict:
    """A round trip with what a shard measures of it."""
    measures = measurer(lang).begin({ENGLISH[0]: query, ENGLISH[1]: passage}, [ENGLISH[1]])
    measures.came_back({query: back[0], passage: back[1]})
    return {
        "pair_id": identity,
        "source": "s",
        "english_query": ENGLISH[0],
        "english_passage": ENGLISH[1],
        "query": query,
        "passage": passage,
        "query_back": back[0],
        "passage_back": back[1],
        "hard_negatives": [],
        **measures.columns([ENGLISH])[0],
    }


@cache
def measurer(lang: str) -> Measurer:
    return Measurer(lang)


@pytest.fixture(scope="module")
def verdict() -> Verdict:
    return Verdict("de", {"geheim", "geheimer text"}, AcceptOptions())


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (trip(*GERMAN), "accepted"),
        (trip("", GERMAN[1]), "empty"),
        (trip(GERMAN[0], ENGLISH[1]), "copied source"),
        (trip(GERMAN[0], "das Licht an " * 12), "repetition"),
        (trip(GERMAN[0], "Licht an"), "length ratio"),
        (trip(GERMAN[0], "Enciende la luz de la sala de estar de inmediato."), "language"),
        (trip(*GERMAN, back=("Light switch", "Opens all the doors of a garage.")), "round trip"),
        (trip("Geheim!", GERMAN[1]), "held-out text"),
    ],
)
def test_reasons(verdict: Verdict, row: dict, reason: str) -> None:
    judged = judge([row], verdict)[0]
    assert judged["reason"] == reason
    assert judged["accepted"] == (reason == "accepted")


def test_a_short_name_may_stay_the_same(verdict: Verdict) -> None:
    assert judge([trip("Browser", GERMAN[1], back=("Turn on light", ENGLISH[1]))], verdict)[0]["accepted"]


def test_chinese_is_not_refused_for_being_short() -> None:
    verdict = Verdict("zh", set(), AcceptOptions())
    assert judge([trip("开灯", "立即打开客厅里的灯，让房间变亮。", lang="zh")], verdict)[0]["reason"] == "accepted"


def collected(path: Path, ids: list[str], held_out: str = "held") -> Path:
    """Pairs to be translated, one that is not, and one that is held out."""
    kinds = [*((i, "train", "english_only") for i in ids), ("p", "train", "parallel"), (held_out, "test", "parallel")]
    rows = [
        {
            **{"pair_id": i, "source": "s", "query": ENGLISH[0], "passage": ENGLISH[1], "hard_negatives": []},
            **{"license": "MIT", "split": split, "kind": kind},
        }
        for i, split, kind in kinds
    ]
    write_rows(path, rows, contracts.COLLECTED)
    return path


def test_gather_wants_every_pair_once_and_in_order(tmp_path: Path) -> None:
    shards = [tmp_path / "0.parquet", tmp_path / "1.parquet"]
    write_rows(shards[0], [trip(*GERMAN, identity=i) for i in ("a", "c")], contracts.ROUND_TRIP)
    write_rows(shards[1], [trip(*GERMAN, identity="b")], contracts.ROUND_TRIP)
    path = collected(tmp_path / "en.parquet", ["a", "b", "c"])
    pairs = list(translated_pairs(path, frozenset()))
    assert [row["pair_id"] for row in gather(shards, pairs, 3)] == ["a", "b", "c"]
    with pytest.raises(DataError, match=r"4 pairs, each once(.|\n)*found: 3 rows"):
        list(gather(shards, [*pairs, (3, "d")], 4))
    with pytest.raises(DataError, match=r"the pair b in .*not d"):
        list(gather(shards, [(0, "a"), (1, "d"), (2, "c")], 3))
    # A pair that was taken out leaves a gap, and the others stay in their shards.
    write_rows(shards[1], [], contracts.ROUND_TRIP)
    left = list(translated_pairs(path, frozenset({"b"})))
    assert [row["pair_id"] for row in gather(shards, left, 2)] == ["a", "c"]
    shards[1].write_bytes(shards[1].read_bytes()[:-10])
    with pytest.raises(DataError, match="truncated"):
        list(gather(shards, pairs, 3))


def test_gather_refuses_shards_of_another_division(tmp_path: Path) -> None:
    ids = [f"{i:02d}" for i in range(10)]
    pairs = list(translated_pairs(collected(tmp_path / "en.parquet", ids), frozenset()))

    def divided(shards: int) -> list[Path]:
        paths = [tmp_path / f"of{shards}-{shard}.parquet" for shard in range(shards)]
        for shard, path in enumerate(paths):
            write_rows(path, [trip(*GERMAN, identity=i) for i in ids[shard::shards]], contracts.ROUND_TRIP)
        return paths

    two, four = divided(2), divided(4)
    assert [row["pair_id"] for row in gather(four, pairs, 10)] == ids
    for given, told in (
        (four[:2], "found: 6 rows"),  # translation.shards went from 4 to 2, and the first two lie there
        ([*two, *four[2:]], "found: 14 rows"),  # and from 2 to 4
        ([two[0], two[0]], "the pair 00 in .*not 01"),  # one twice
        (two[::-1], "the pair 01 in .*not 00"),
        (two[:1], "found: 5 rows"),
    ):
        with pytest.raises(DataError, match=told):
            list(gather(given, pairs, 10))


def test_expected_pairs_are_counted(tmp_path: Path) -> None:
    expected = read_expected(collected(tmp_path / "en.parquet", ["a", "b"]), frozenset({"b"}))
    assert (expected.count, expected.scored, expected.held_out) == (1, {"a"}, {"held"})


def counted(verdict: Verdict, rows: list[dict]) -> Statistics:
    statistics = Statistics("de")
    for row in rows:  # in batches of one
        statistics.add([row], judge([row], verdict))
    return statistics


def test_statistics_count_and_score(verdict: Verdict) -> None:
    rows = [trip(*GERMAN, identity="a"), trip("", GERMAN[1], identity="b")]
    references = {"a": {"pair_id": "a", "query": GERMAN[0], "passage": GERMAN[1]}}
    result = counted(verdict, rows).result(references)
    assert (result["pairs"], result["accepted"]) == (2, 1)
    assert result["reasons"] == result["sources"]["s"]["reasons"] == {"accepted": 1, "empty": 1}
    assert result["round_trip"]["passage"]["bleu"] == 100
    assert result["distinct_outputs"]["passage"] == 1
    assert result["comet"] == {}
    assert counted(verdict, rows).result({})["forward"] == {}, "no reference, no score"
    assert counted(verdict, []).result({})["pairs"] == 0


def test_of_equal_texts_that_with_a_reference_is_scored(verdict: Verdict) -> None:
    rows = [trip(*GERMAN, identity="a"), trip(*GERMAN, identity="b"), trip(*GERMAN, identity="c")]
    for known in "abc":
        references = {known: {"pair_id": known, "query": GERMAN[0], "passage": GERMAN[1]}}
        result = counted(verdict, rows).result(references)
        assert result["forward"]["passage"]["count"] == result["round_trip"]["passage"]["count"] == 1


class FakeIndex:
    """What polybatch.decontaminate.overlap.Index offers."""

    def find_many(self, texts: Sequence[str], side: str) -> list[object | None]:
        found = ((text, side) == ("Licht einschalten", "query") or "Prüfung" in text for text in texts)
        return [object() if one else None for one in found]


def test_evaluation_text_of_the_language_is_refused_as_a_text_and_as_a_hard_negative() -> None:
    verdict = Verdict("de", {"geheim"}, AcceptOptions(), FakeIndex())  # type: ignore[arg-type]
    assert judge([trip(*GERMAN)], verdict)[0]["reason"] == "evaluation text"
    fine = trip("Licht anschalten", GERMAN[1]) | {"hard_negatives": ["Ein Haus.", "", "Geheim!", "Eine Prüfung."]}
    judged = judge([fine], verdict)[0]
    assert (judged["reason"], judged["hard_negatives"]) == ("accepted", ["Ein Haus.", "", "", ""]), "in their places"
    assert counted(verdict, [fine]).result({})["hard_negatives"] == {"translated": 3, "kept": 1}
    assert judge([trip(*GERMAN) | {"hard_negatives": ["Ein Haus."]}], verdict)[0]["hard_negatives"] == []


def test_evaluation_text_goes_before_held_out_text() -> None:
    """For the sake of evaluation text a pair leaves all languages: an equal text must not do less than a near one."""
    held_out = {"licht einschalten", "geheim"}
    verdict = Verdict("de", held_out, AcceptOptions(), FakeIndex())  # type: ignore[arg-type]
    exam = "Die Prüfung schaltet das Licht im Wohnzimmer sofort ein."
    rows = [trip(*GERMAN), trip("Geheim!", exam), trip("Geheim!", GERMAN[1]), trip("Licht", GERMAN[1]), trip("", exam)]
    reasons = [row["reason"] for row in judge(rows, verdict)]
    assert reasons == ["evaluation text", "evaluation text", "held-out text", "accepted", "empty"]
    assert judge([], verdict) == []


def test_thresholds_at_their_ends_let_everything_pass() -> None:
    off = AcceptOptions(
        min_query_chrf=0, min_passage_chrf=0, min_length_ratio=0, max_length_ratio=1e6, max_repetition=1,
        min_language_confidence=0,
    )  # fmt: skip
    rubbish = trip("x x x x x x x x", "ok", back=("", ""), lang="km")
    assert judge([rubbish], Verdict("km", set(), off))[0]["reason"] == "accepted"
    with pytest.raises(ConfigError, match=r"Khmer cannot be checked(.|\n)*min_language_confidence to 0"):
        Verdict("km", set(), AcceptOptions())
    assert language_confidence("no")("Slå på lyset i stua med en gang du kommer hjem.") > 0.2


def test_the_stage_writes_what_it_judged(tmp_path: Path) -> None:
    for name in ("model.bin", "sentencepiece.bpe.model"):
        (tmp_path / name).touch()
    write_json(tmp_path / "translator.json", {"directions": ["en-de", "de-en"], "license": "MIT"})
    write_rows(tmp_path / "0.parquet", [trip("Geheim", GERMAN[1], identity="a"), trip(*GERMAN, identity="b")],
               contracts.ROUND_TRIP)  # fmt: skip
    supplied = [{"pair_id": "held", "source": "s", "origin": "supplied", "query": "geheim!", "passage": "x",
                 "hard_negatives": []},
                {"pair_id": "b", "source": "s", "origin": "supplied", "query": GERMAN[0], "passage": "y",
                 "hard_negatives": []}]  # fmt: skip
    write_rows(tmp_path / "de.parquet", supplied, contracts.PARALLEL)
    arguments = [
        *("--shards", str(tmp_path / "0.parquet"), "--supplied", str(tmp_path / "de.parquet"), "--lang", "de"),
        *("--collected", str(collected(tmp_path / "en.parquet", ["a", "b"]))),
        *("--forward", str(tmp_path), "--backward", str(tmp_path), "--output", str(tmp_path / "out" / "de.parquet")),
    ]
    main(arguments)
    table = read_parquet(tmp_path / "out" / "de.parquet", contracts.TRANSLATED).to_pylist()
    assert [row["reason"] for row in table] == ["held-out text", "accepted"]
    told = read_json(tmp_path / "out" / "de.json")
    assert told["forward"]["query"]["chrf"] == 100
    assert told["forward"]["passage"]["count"] == 1
    assert told["translators"]["forward"]["license"] == "MIT"
    with pytest.raises(ConfigError, match="COMET was asked for and cannot be used: the package unbabel-comet is not"):
        main([*arguments, "--options", '{"comet_model": "some/model"}'])
    (tmp_path / "out" / "de.parquet").unlink()
    with pytest.raises(DataError, match=r"refused every(.|\n)*length ratio: 2"):
        main([*arguments, "--options", '{"min_length_ratio": 40, "max_length_ratio": 50}'])
    assert not (tmp_path / "out" / "de.parquet").exists()


def test_a_shard_without_measures_is_told(tmp_path: Path) -> None:
    old = {name: value for name, value in trip(*GERMAN).items() if name != "query_chrf"}
    schema = contracts.ROUND_TRIP.remove(contracts.ROUND_TRIP.get_field_index("query_chrf"))
    write_rows(tmp_path / "0.parquet", [old], schema)
    with pytest.raises(DataError, match="query_chrf"):
        list(gather([tmp_path / "0.parquet"], [(0, "1")], 1))


def test_options_are_checked() -> None:
    with pytest.raises(ConfigError, match="min_query_chrf: must be a number from 0 to 100, not 101"):
        AcceptOptions.from_json('{"min_query_chrf": 101}')
