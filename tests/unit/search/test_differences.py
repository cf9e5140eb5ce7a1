"""Where two models differ is counted as one would by hand, and sorted by what was asked."""

from __future__ import annotations

import pytest

from polybatch.core.errors import ConfigError
from polybatch.search import differences as module
from polybatch.search.answers import Answers
from polybatch.search.differences import differences, ordered


def test_counts_are_those_of_the_answers(answers: Answers) -> None:
    shares: list[float] = []
    found = differences(answers.retrievers, answers.queries, shares.append)
    assert [one.query for one in found] == answers.queries
    assert shares[-1] == 1
    for one in found:
        first, second = (model.hits for model in answers.ask(query_id=one.query.query_id).models)
        assert one.other == len({hit.passage_id for hit in first} - {hit.passage_id for hit in second})
        assert one.found == tuple(sum(bool(hit.relevant) for hit in hits) for hits in (first, second))
        assert one.own == tuple(sum(hit.lang == one.query.lang for hit in hits) for hits in (first, second))
        assert one.relevant == 4


def test_the_greatest_difference_stands_first(answers: Answers) -> None:
    found = differences(answers.retrievers, answers.queries, lambda share: None)
    sizes = {
        "passages": [one.other for one in ordered(found, "passages")],
        "second": [one.found[1] - one.found[0] for one in ordered(found, "second")],
        "first": [one.found[0] - one.found[1] for one in ordered(found, "first")],
        "language": [abs(one.own[0] - one.own[1]) for one in ordered(found, "language")],
    }
    assert sizes == {name: sorted(of, reverse=True) for name, of in sizes.items()}
    assert {one.query.lang for one in ordered(found, "passages", "zh")} == {"zh"}
    with pytest.raises(ConfigError, match="no such order"):
        ordered(found, "size")


def test_where_all_would_take_minutes_some_are_taken_evenly(answers: Answers, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MOST_COMPARISONS", 4 * 24)
    found = differences(answers.retrievers, answers.queries, lambda share: None)
    assert [one.query.query_id for one in found] == ["q0-en", "q0-ar", "q0-th", "q0-zh"]
