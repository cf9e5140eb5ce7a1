"""The rates that a plan rests on: each with a range, where it is from, and why; the user's own over ours."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from polybatch.core.errors import DataError
from polybatch.study.plan_options import own_words
from polybatch.study.rates import KINDS, at, rates

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize("kind", KINDS)
def test_every_rate_says_where_it_is_from_and_why(kind: str) -> None:
    found = rates(kind)
    assert all(rate.origin in ("measured", "assumed") and rate.why for rate in found.values())
    usual, slow, fast = (at(found, bound) for bound in ("usual", "slow", "fast"))
    for name, value in usual.items():
        assert min(slow[name], fast[name]) <= value <= max(slow[name], fast[name])
        if name.endswith("_per_second"):
            assert slow[name] < fast[name]


def test_both_kinds_have_the_same_rates_and_a_card_says_what_was_measured_where() -> None:
    card, processor = (rates(kind) for kind in KINDS)
    assert set(card) == set(processor)
    differ = {name for name in card if card[name] != processor[name]}
    measured = {name for name in differ if card[name].origin == "measured"}
    assert measured == {"effective_tflops", "launched_layers_per_second", "step_seconds", "device_start_seconds"}
    assert all("H100" in card[name].why and "docs/gpu.md" in card[name].why for name in measured)


def test_own_rates_lie_over_ours(tmp_path: Path) -> None:
    own = tmp_path / "own.yaml"
    own.write_text("effective_tflops: 300\n", "utf-8")
    found = rates("gpu", own)["effective_tflops"]
    assert (found.value, found.slow, found.fast, found.origin) == (300, 300, 300, "given")
    own.write_text("gpu:\n  effective_tflops: {value: 300, range: [250, 350]}\n", "utf-8")
    assert rates("gpu", own)["effective_tflops"].fast == 350
    assert rates("cpu", own)["effective_tflops"] == rates("cpu")["effective_tflops"]


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("efective_tflops: 300", "Unknown rates"),
        ("effective_tflops: many", "cannot be read"),
        ("effective_tflops: 0", "outside of its range"),
        ("effective_tflops: {value: 5, range: [6, 7]}", "outside of its range"),
        ("- 1", "cannot be read"),
        ("gpu: 5", "(?s)cannot be read.*below 'gpu'.*found: 5"),
        ("effective_tflops: [1", "(?s)is not YAML.*own.yaml"),
        ("effective_tflops: .inf", "outside of its range"),
        ("effective_tflops: {value: 5, range: [-1, 7]}", "outside of its range"),
        ("1: 2\nmine: 3", "(?s)Unknown rates.*1, mine"),
    ],
)
def test_what_is_wrong_with_own_rates_is_told(tmp_path: Path, text: str, fault: str) -> None:
    (tmp_path / "own.yaml").write_text(text, "utf-8")
    with pytest.raises(DataError, match=fault):
        rates("gpu", tmp_path / "own.yaml")


@pytest.mark.parametrize(
    ("words", "cards", "told"),
    [
        (["--rates", "nowhere.yaml"], "1", ["The file of rates cannot be read", "nowhere.yaml", "No such file"]),
        ([], "two", ["POLYBATCH_GPUS", "found: two"]),
    ],
)
def test_what_a_plan_cannot_reckon_with_is_told_before_snakemake_starts(
    words: list[str], cards: str, told: list[str]
) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "polybatch.study.ask_plan", *words, "-n"],
        cwd=ROOT,
        env={**os.environ, "POLYBATCH_GPUS": cards},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert [text for text in told if text not in done.stderr] == []
    assert "DAG" not in done.stdout + done.stderr and "Traceback" not in done.stderr


def test_words_give_the_same_options_again(monkeypatch: pytest.MonkeyPatch) -> None:
    import argparse

    from polybatch.study.plan_options import add_plan_options

    monkeypatch.delenv("POLYBATCH_GPUS", raising=False)
    parser = argparse.ArgumentParser()
    add_plan_options(parser)
    for words in ([], ["--devices", "1", "8", "--on", "cpu", "--pairs", "4e7", "--cards", "2", "--rates", "a b.yaml"]):
        asked = parser.parse_args(words)
        assert parser.parse_args(own_words(asked)) == asked
