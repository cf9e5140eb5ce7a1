"""What the pages show as configuration is taken as it stands, over the study that it says it lies over."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from page_examples import EXAMPLES, Example, lay_out, over

from polybatch.config.grid import runs
from polybatch.core.errors import ConfigError
from polybatch.study.resolve import resolve

# Blocks that are no configuration, by how they begin, and why they are not.
NO_CONFIGURATION = {
    "# yaml-language-server": "the line with which a file begins, and nothing below it",
    "url: https://${LAB_USER}": "one key of an entry, to show how secrets are named",
}
WHOLE = [one for one in EXAMPLES if not one.text.startswith(tuple(NO_CONFIGURATION))]


@pytest.mark.parametrize("example", WHOLE, ids=[f"{one.page}-{n}" for n, one in enumerate(WHOLE)])
def test_an_example_is_a_sound_study(example: Example, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lay_out(tmp_path)
    monkeypatch.chdir(tmp_path)
    shown = yaml.safe_load(example.text)
    config = resolve(over(example.over, shown))
    assert runs(config)
    for key in {"encoders", "benchmarks"} & shown.get("study", {}).keys():
        assert set(shown["study"][key]) <= config[key].keys()


def test_what_is_left_out_is_still_there() -> None:
    assert all(any(one.text.startswith(begin) for one in EXAMPLES) for begin in NO_CONFIGURATION)
    assert len(WHOLE) > 30


def test_a_refused_example_would_fail() -> None:
    refused = Example("none", "study: {runs: [{sampling: x-y, seeds: [1], projections: [lir-r8]}]}")
    with pytest.raises(ConfigError, match="at most 5"):
        resolve(over(refused.over, yaml.safe_load(refused.text)))
