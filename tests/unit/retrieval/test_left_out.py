"""Modules that are left out of a library's import stay away until one of their functions is called."""

from __future__ import annotations

import subprocess
import sys

from polybatch.retrieval.left_out import left_out


def test_a_module_is_imported_at_the_first_call() -> None:
    """In a process of its own: this one may have it already."""
    code = """
import sys
from polybatch.retrieval.left_out import left_out
with left_out("colorsys"):
    from colorsys import rgb_to_hls
assert "colorsys" not in sys.modules
print(rgb_to_hls(0.0, 1.0, 0.0)[1], "colorsys" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.split() == ["0.5", "True"]


def test_a_module_that_is_there_is_not_replaced() -> None:
    with left_out("json"):
        assert sys.modules["json"].__file__
    assert sys.modules["json"].__file__
