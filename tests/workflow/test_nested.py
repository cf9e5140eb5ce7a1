"""A configuration that is nested deeper than Python's own recursion goes is a fault like any other, with its line."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_a_configuration_that_is_nested_two_thousand_deep_is_told_with_its_line(tmp_path: Path) -> None:
    deep = tmp_path / "deep.yaml"
    deep.write_text(f"study: {{name: deep}}\ntraining: {'{a: ' * 2000}1{'}' * 2000}\n", "utf-8")
    words = ["-n", "--quiet", "all", "--configfile", str(deep)]
    done = subprocess.run(
        [sys.executable, "-m", "snakemake", *words], cwd=ROOT, capture_output=True, text=True, check=False
    )
    told = done.stdout + done.stderr
    assert done.returncode and "Traceback" not in told and "RecursionError" not in told
    assert f"training.a.a ({deep}, line 2): is nested more than 50 levels deep" in told
