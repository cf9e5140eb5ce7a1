"""Groups of a file of one's own: few bytes a row, whatever they are called."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

from polybatch.collect.adapters.local_groups import ByGroup, Groups

NUMBER = 20_000


def test_a_group_takes_a_few_bytes() -> None:
    names = [f"group {i * 7 % NUMBER}" for i in range(NUMBER)]
    tracemalloc.start()
    groups = Groups()
    for lang in ("en", "de"):
        for name in names:
            groups.add(name, lang)
    assert tracemalloc.get_traced_memory()[0] < 2 * NUMBER * 10
    assert groups.repeated() == set()
    groups.tell(Path("mine.csv"), lambda: iter(()))
    by_group = ByGroup((name, int(name[6:]) + 2**63) for name in names)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2 * NUMBER * 10 + NUMBER * 70  # sorted, they are there twice
    assert [by_group.get(f"group {i}") for i in (0, 7, NUMBER - 1, NUMBER)] == [
        2**63,
        2**63 + 7,
        2**63 + NUMBER - 1,
        None,
    ]


def test_no_group_is_none() -> None:
    assert ByGroup([]).get("a") is None
    groups = Groups()
    groups.add("", "en")
    groups.add("", "en")
    assert groups.repeated() == set()
