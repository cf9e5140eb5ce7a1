"""Faults of sources that only the configuration as a whole shows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from polybatch.core.errors import ConfigError
from polybatch.study.resolve import resolve

ROOT = Path(__file__).parents[3]


def study(most: int, **entry: Any) -> dict[str, Any]:
    """The default study on LibreOffice's help, cleaned of passages of more than `most` words."""
    config: dict[str, Any] = yaml.safe_load((ROOT / "config.yaml").read_text("utf-8"))
    changed = {
        "source": "libreoffice",
        "sources": {"libreoffice": {"adapter": "libreoffice", **entry}},
        "languages": {"train": ["en", "de"], "evaluate": ["en", "de"]},
        "split": {**config["split"], "parallel_in": ["de"]},
        "translation": {"languages": []},
        "cleaning": {"max_words": most},
    }
    return {**config, **changed}


def test_a_cleaning_that_drops_what_a_source_puts_together_is_a_fault() -> None:
    with pytest.raises(ConfigError, match=r"cleaning.max_words: 60 drops the passages of 'libreoffice'") as told:
        resolve(study(60))
    assert "up to 100; raise it, or lower sources.libreoffice.max_words" in str(told.value)
    with pytest.raises(ConfigError, match="up to 120"):
        resolve(study(100, max_words=120))


def test_a_source_of_shorter_passages_is_none() -> None:
    assert resolve(study(60, max_words=60))["cleaning"]["max_words"] == 60
    assert resolve(study(100))["cleaning"]["max_words"] == 100


def test_a_limit_that_is_no_number_is_told_as_such() -> None:
    with pytest.raises(ConfigError, match=r"sources.libreoffice.max_words"):
        resolve(study(60, max_words="many"))
