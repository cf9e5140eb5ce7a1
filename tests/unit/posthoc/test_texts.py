"""Training texts that projections are estimated from: distinct, and the same whatever order files have."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st
from parallel_files import parallel_row, write_parallel

from polybatch.posthoc.texts import choose, texts_of


def rows(texts: list[str]) -> list[dict]:
    return [parallel_row(i, f"q{i}", text) for i, text in enumerate(texts)]


def test_each_text_counts_once_and_no_order_matters(tmp_path: Path) -> None:
    texts = [f"passage {i % 40}" for i in range(100)]
    found = choose(write_parallel(tmp_path / "a.parquet", rows(texts)), "passage", 30)
    assert len(found) == len({text.text for text in found}) == 30
    assert choose(write_parallel(tmp_path / "b.parquet", rows(texts)[::-1]), "passage", 30) == found
    assert len(choose(tmp_path / "a.parquet", "passage", 99)) == 40
    assert choose(tmp_path / "a.parquet", "passage", 7) == found[:7]


def test_languages_share_their_pairs(tmp_path: Path) -> None:
    files = [
        write_parallel(tmp_path / f"{lang}.parquet", rows([f"{lang} {i}" for i in range(90)])) for lang in ("en", "de")
    ]
    english, german = (choose(path, "passage", 20) for path in files)
    assert [text.pair_id for text in english] == [text.pair_id for text in german]
    assert texts_of(files[0], "passage", [text.pair_id for text in german]) == dict(english)


@settings(derandomize=True, deadline=None, max_examples=25)
@given(st.lists(st.sampled_from("abcdefgh"), min_size=1, max_size=40), st.integers(1, 12))
def test_pruning_on_the_way_changes_nothing(tmp_path_factory, texts: list[str], limit: int) -> None:
    path = write_parallel(tmp_path_factory.mktemp("t") / "en.parquet", rows(texts))
    assert choose(path, "passage", limit) == choose(path, "passage", 100)[:limit]
