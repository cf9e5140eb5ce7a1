"""The grid that a study asks for, and the names of its runs."""

from __future__ import annotations

import pytest

from polybatch.config.grid import Run, runs

STUDY = {"encoders": ["tiny"], "untrained": True, "num_pairs": ["all"], "num_translated": ["all"]}
LANGUAGES = {"train": ["en", "de", "es", "fr", "tr", "zh"]}


@pytest.fixture
def config() -> dict:
    runs_ = [{"sampling": "x-x", "seeds": [1]}]
    return {"study": {**STUDY, "runs": runs_}, "languages": LANGUAGES}


def test_a_schedule_of_alpha_has_a_name_of_its_own(config: dict) -> None:
    config["study"]["runs"] = [{"sampling": "hybrid", "alphas": [0.50, {"from": 1, "to": 0.5}], "seeds": [1]}]
    grid = runs(config)[1:]
    assert [run.alpha for run in grid] == ["0.5", "1to0.5"]
    assert grid[1].name == "tiny/hybrid-a1to0.5/nall/en+de+es+fr+tr+zh/s1"
    assert grid[1].grid["alpha"] == "1to0.5"


def test_numbers_of_pairs_and_of_translations_are_crossed(config: dict) -> None:
    config["study"] |= {
        "num_pairs": [100, "all"],
        "num_translated": [0, 50, "all"],
        "runs": [{"sampling": "x-y", "seeds": [7]}],
    }
    names = [run.name.split("/")[2] for run in runs(config)[1:]]
    assert names == ["n100-mt0", "n100-mt50", "n100", "nall-mt0", "nall-mt50", "nall"]


def test_english_batches_run_once_for_all_numbers_of_translations(config: dict) -> None:
    config["study"] |= {"num_translated": [10, 100, "all"], "untrained": False, "num_pairs": [5, "all"]}
    config["study"]["runs"] = [{"sampling": "en-en", "seeds": [1]}, {"sampling": "x-x", "seeds": [1]}]
    grid = runs(config)
    english = [run for run in grid if run.sampling == "en-en"]
    assert [(run.num_pairs, run.num_translated) for run in english] == [("5", "all"), ("all", "all")]
    assert sum(run.sampling == "x-x" for run in grid) == 6


def test_every_encoder_has_its_floor_unless_it_is_not_wanted(config: dict) -> None:
    config["study"] |= {"encoders": ["tiny", "labse"]}
    assert [run.name for run in runs(config) if not run.trained] == ["tiny/untrained", "labse/untrained"]
    config["study"]["untrained"] = False
    assert all(run.trained for run in runs(config))


def test_a_run_s_name_tells_every_grid_column() -> None:
    run = Run("e", "hybrid", "0.5", "10", "20", ("en", "de"), 3)
    assert run.name == "e/hybrid-a0.5/n10-mt20/en+de/s3"
    assert run.grid == {
        "encoder": "e",
        "sampling": "hybrid",
        "alpha": "0.5",
        "num_pairs": "10",
        "num_translated": "20",
        "languages": "en+de",
        "seed": 3,
    }


@pytest.mark.parametrize(
    "run",
    [
        Run("e", "hybrid", "0.5", "10", "20", ("en", "de"), 3),
        Run("e", "hybrid", "1to0.5", "all", "all", ("en",), 0),
        Run("e", "hybrid", "1e-05to1", "all", "0", ("en", "zh"), 12),
        Run("a-a1.b", "x-x-mono", None, "7", "all", ("en", "de"), 3),
        Run.untrained("e5-small"),
    ],
)
def test_a_run_is_read_back_from_its_name(run: Run) -> None:
    assert Run.parse(run.name) == run


@pytest.mark.parametrize("name", ["e", "e/x-y/n10/en/1", "e/x-y/nmany/en/s1", "e/untrained/s1", "e/x-y/n1/en/s1/more"])
def test_no_other_name_is_one(name: str) -> None:
    with pytest.raises(ValueError, match="is no run's name"):
        Run.parse(name)
