"""The measuring of the benchmarks: commands, their children, ratios, growth, and the page made from the numbers."""

from __future__ import annotations

import json
import re
import sys
import time
from pathlib import Path

import pytest

from polybatch.core.errors import DataError

sys.path.insert(0, str(Path(__file__).parents[3] / "measurements"))

import measure

import report

MEGABYTES = 1_000_000


def _python(code: str) -> list[str]:
    return [sys.executable, "-c", f"import json\n{code}\nprint(json.dumps({{'units': 10, 'seconds': 0.5}}))"]


def _result(seconds: float, peak: int = 100 * MEGABYTES) -> measure.Result:
    return measure.Result(seconds, seconds, peak, units=100, inner_seconds=seconds / 2, said={"units": 100})


def test_time_memory_and_work_of_a_command() -> None:
    start = time.perf_counter()
    result = measure.run(_python("import time; x = bytearray(200_000_000); time.sleep(0.3)"))
    assert 0.3 < result.seconds < time.perf_counter() - start
    assert 200 * MEGABYTES < result.peak_bytes < 260 * MEGABYTES
    assert result.units == 10
    assert result.get("inner_rate") == 20


def test_memory_of_children_is_added_and_ours_is_not() -> None:
    ours = bytearray(500_000_000)  # a child starts with its parent's record of peak memory
    child = "import sys; x = bytearray(150_000_000); print(flush=True); sys.stdin.read()"
    code = (
        "import subprocess, sys, time; pipes = {'stdin': subprocess.PIPE, 'stdout': subprocess.PIPE}\n"
        f"children = [subprocess.Popen([sys.executable, '-c', {child!r}], **pipes) for _ in range(2)]\n"
        "for child in children: child.stdout.readline()\n"
        "time.sleep(1)  # both have their memory now, and somebody looks at it\n"
        "for child in children: child.communicate()"
    )
    peak = measure.run(_python(code)).peak_bytes
    assert 300 * MEGABYTES < peak < 400 * MEGABYTES
    assert ours


@pytest.mark.parametrize("code", ["raise SystemExit(3)", "import os; print('nothing'); os._exit(0)"])
def test_a_command_that_fails_or_says_nothing_is_told(code: str) -> None:
    with pytest.raises(DataError, match=r"ended with 3|how much work"):
        measure.run(_python(code))


def test_cases_run_alternately_and_ratios_are_paired(tmp_path: Path) -> None:
    log = tmp_path / "log"
    cases = {name: _python(f"open({str(log)!r}, 'a').write('{name}')") for name in "ab"}
    measured = measure.paired(cases, rounds=2, warm=True)
    assert log.read_text() == "ababab"
    assert len(measured.ratio("a", "b").each) == 2
    fixed = measure.Measurement({"a": [_result(1), _result(2)], "b": [_result(3), _result(4)]})
    assert fixed.ratio("a", "b").each == (3, 2)
    assert fixed.ratio("a", "b", "seconds").each == (1 / 3, 1 / 2)


def test_growth() -> None:
    sizes = {size: [_result(size**1.1, 100 + size)] for size in (100, 1000, 10_000)}
    growth = measure.Growth(sizes)
    assert growth.exponent() == pytest.approx(1.1)
    assert growth.memory_growth(since=1000) == pytest.approx(10_100 / 1100)


def test_the_page_marks_every_goal(tmp_path: Path) -> None:
    measured = measure.Measurement({"ours": [_result(1), _result(1)], "theirs": [_result(3), _result(4)]}, unit="pairs")
    ratio = measured.ratio("ours", "theirs")
    goals = [
        measure.Goal("speed", ratio, 3, unit="x"),
        measure.Goal("memory", 2.5, 2, at_least=False, unit=" GB", note="Texts are held."),
        measure.Goal("on a card", 0.0, 2, missing=True),
    ]
    growth = measure.Growth({10: [_result(1)], 100: [_result(10)]})
    one = measure.Growth({10: [_result(1)]})
    measure.write(
        "encode", {"mixed lengths": measured, "growth": growth, "one size": one}, goals, folder=tmp_path / "results"
    )
    report.main(["--results", str(tmp_path / "results"), "--docs", str(tmp_path / "docs")])
    text = (tmp_path / "docs/performance.md").read_text("utf-8")
    assert "| encode | speed | at least 3x | 3.5x (3 to 4) | met |" in text
    assert "| encode | memory | at most 2 GB | 2.5 GB | **missed** |" in text
    assert "| on a card | at least 2 | - | not measured |" in text
    assert "Exponent of time without start-up against rows: 1.00." in text
    assert (tmp_path / "docs/performance/encode.svg").stat().st_size > 1000
    at = json.loads((tmp_path / "results/encode.json").read_text())["machine"]
    assert at["cores"] and re.fullmatch(r"\w+ \d+\.\d+, \w+", at["system"])


def test_the_page_has_contents_and_shortens_what_older_results_say_of_their_system() -> None:
    at = {"processor": "x", "cores": 2, "memory_gb": 4, "gpu": [], "python": "3.11.7", "versions": {"torch": "2"}}
    machine = {**at, "system": "Linux 6.18.44-9-generic, x86_64"}
    results = {"growth-collect": {"goals": [], "measurements": {}, "when": "2026-11-27T", "machine": machine}}
    text = report.page(results, "# Performance\n", {"growth-collect": "See [gpu.md](../../docs/gpu.md#what-was-run)."})
    contents = text.split("\n")[2]
    assert (
        contents.startswith("[All goals](#all-goals) · ")
        and "](#growth-collecting-one-to-ten-million-pairs)" in contents
    )
    assert len(re.findall(r"^## ", text, re.MULTILINE)) == contents.count("](#")
    assert "no GPU, Linux 6.18, x86_64, Python 3.11.7; torch 2." in text
    assert "See [gpu.md](gpu.md#what-was-run)." in text
