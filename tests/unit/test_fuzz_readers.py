"""The readers of the user's files, on files that hypothesis makes and damages: no traceback, no silent change."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory

import reader_fuzz as fuzz
from hypothesis import given, settings
from hypothesis import strategies as st

few = settings(max_examples=60, derandomize=True, deadline=None)


@few
@given(fuzz.rows, st.sampled_from(fuzz.FORMS), st.sampled_from(fuzz.ENDS), st.booleans())
def test_a_right_file_gives_what_was_written(pairs: list, form: str, end: str, zipped: bool) -> None:
    with TemporaryDirectory() as folder:
        fuzz.require_unchanged(Path(folder), pairs, form, end, zipped)


@settings(few, max_examples=150)
@given(fuzz.rows, st.sampled_from(fuzz.FORMS), st.sampled_from(fuzz.ENDS), fuzz.damages)
def test_a_damaged_file_is_read_or_refused_in_words(pairs: list, form: str, end: str, damages: list) -> None:
    with TemporaryDirectory() as folder:
        raw = fuzz.damaged(fuzz.written(pairs, form, end), damages)
        fuzz.require_told(Path(folder), raw, form, Counter())


@few
@given(fuzz.rows, st.sampled_from(fuzz.BENCHMARK_FILES), fuzz.damages)
def test_a_damaged_benchmark_is_read_or_refused_in_words(pairs: list, name: str, damages: list) -> None:
    with TemporaryDirectory() as folder:
        raw = fuzz.damaged(fuzz.benchmark_file(pairs, name), damages)
        fuzz.require_benchmark_told(Path(folder), raw, name, Counter())
