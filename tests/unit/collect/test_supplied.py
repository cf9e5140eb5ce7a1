"""Supplied translations: held-out ones are read first, and they alone."""

from __future__ import annotations

import json
from pathlib import Path

from polybatch.collect.adapters.local import LocalSource
from polybatch.collect.collected import Collected
from polybatch.collect.options import CleaningOptions
from polybatch.collect.supplied import Supplied
from polybatch.core import contracts
from polybatch.core.files import write_rows


def test_only_held_out_translations_are_cleaned_twice(tmp_path: Path) -> None:
    german = [f"Die Nummer {i} steht hier in einem langen deutschen Satz." for i in range(20)]
    rows = [{"query": f"number {i}", "passage": f"Number {i} stands here.", "group": f"g{i}"} for i in range(20)]
    lines = [row | {"lang": "en"} for row in rows]
    lines += [row | {"lang": "de", "passage": text} for row, text in zip(rows, german, strict=True)]
    path = tmp_path / "mine.jsonl"
    path.write_text("\n".join(map(json.dumps, lines)), "utf-8")
    source = LocalSource({"name": "mine"}, path)
    collected = [
        {
            "pair_id": pair.pair_id,
            "source": "mine",
            "query": pair.query,
            "passage": pair.passage,
            "split": "test" if i < 3 else "train",
            "kind": "parallel",
        }
        for i, pair in enumerate(source.english())
    ]
    write_rows(tmp_path / "en.parquet", collected, contracts.COLLECTED)
    supplied = Supplied([source], "de", Collected(tmp_path / "en.parquet"), CleaningOptions(language_confidence=0.2))
    asked: list[str] = []
    is_foreign = supplied._is_foreign

    def counted(text: str) -> bool:
        asked.append(text)
        return is_foreign(text)

    supplied._is_foreign = counted
    assert sum(map(len, supplied.tables())) == 20
    assert sorted(asked) == sorted([*german[:3], *german])
    assert supplied.record()["sources"]["mine"] == {"read": 20, "steps": [], "kept": 20}
