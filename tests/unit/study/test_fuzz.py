"""A few hundred configurations with one thing changed: each is sound, or refused in words that name the key."""

from __future__ import annotations

import pytest
from config_mutations import ROOT, judge, mutations, shipped

CONFIGS = shipped()


@pytest.mark.parametrize("name", CONFIGS)
def test_a_changed_configuration_is_sound_or_refused_in_words(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    judged = []
    for mutation in mutations(CONFIGS[name], 60, seed=7):
        try:
            judged.append(judge(mutation))
        except Exception as error:
            error.add_note(mutation.told)
            raise
    assert 0 < sum(judged) < len(judged), "some are still sound, and some are not"
