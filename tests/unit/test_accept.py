"""The filter: each reason for refusing a translation, on texts where a reader would agree."""

from __future__ import annotations

from pathlib import Path

import pytest

from polybatch import contracts
from polybatch.accept import AcceptOptions, Verdict, gather, judge, repetition, statistics
from polybatch.errors import ConfigError, DataError
from polybatch.files import write_rows

ENGLISH = ("Turn on light", "Turns on the light in the living room at once.")
GERMAN = ("Licht einschalten", "Schaltet das Licht im Wohnzimmer sofort ein.")


def trip(query: str, passage: str, back: tuple[str, str] = ENGLISH, identity: str = "1") -> dict:
    return {
        "pair_id": identity,
        "source": "s",
        "english_query": ENGLISH[0],
        "english_passage": ENGLISH[1],
        "query": query,
        "passage": passage,
        "query_back": back[0],
        "passage_back": back[1],
    }


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


def test_repetition_of_honest_text_is_low() -> None:
    assert repetition("one two three four five six seven") == 0
    assert repetition("yes yes") == 0
    assert repetition("on and on and on and on and on") > 0.5


def test_chinese_is_not_refused_for_being_short() -> None:
    verdict = Verdict("zh", set(), AcceptOptions())
    assert judge([trip("开灯", "立即打开客厅里的灯，让房间变亮。")], verdict)[0]["reason"] == "accepted"


def collected(ids: list[str]) -> list[dict]:
    return [{"pair_id": i, "kind": "english_only", "split": "train"} for i in ids]


def test_gather_wants_every_pair_once(tmp_path: Path) -> None:
    shards = [tmp_path / "0.parquet", tmp_path / "1.parquet"]
    write_rows(shards[0], [trip(*GERMAN, identity="b")], contracts.ROUND_TRIP)
    write_rows(shards[1], [trip(*GERMAN, identity="a")], contracts.ROUND_TRIP)
    assert [row["pair_id"] for row in gather(shards, collected(["a", "b"]))] == ["a", "b"]
    with pytest.raises(DataError, match="1 pairs missing"):
        gather(shards, collected(["a", "b", "c"]))
    with pytest.raises(DataError, match="each once"):
        gather([*shards, shards[0]], collected(["a", "b"]))
    shards[1].write_bytes(shards[1].read_bytes()[:-10])
    with pytest.raises(DataError, match="truncated"):
        gather(shards, collected(["a", "b"]))


def test_statistics_count_and_score(verdict: Verdict) -> None:
    rows = [trip(*GERMAN, identity="a"), trip("", GERMAN[1], identity="b")]
    human = {"a": {"pair_id": "a", "query": GERMAN[0], "passage": GERMAN[1]}}
    result = statistics("de", rows, judge(rows, verdict), human)
    assert (result["pairs"], result["accepted"]) == (2, 1)
    assert result["reasons"] == result["sources"]["s"]["reasons"] == {"accepted": 1, "empty": 1}
    assert result["round_trip"]["passage"]["bleu"] == 100
    assert statistics("de", rows, judge(rows, verdict), {})["forward"] == {}, "no reference, no score"


def test_options_are_checked() -> None:
    with pytest.raises(ConfigError, match="min_query_chrf must be within 0 and 100"):
        AcceptOptions.from_json('{"min_query_chrf": 101}')
