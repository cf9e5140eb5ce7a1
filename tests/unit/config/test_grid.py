"""The grid that a study asks for, and the names of its runs."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polybatch.config.grid import ALL, NONE, WHOLE, Run, alpha_label, embedded, models, runs, share_label
from polybatch.core.contracts import GRID_COLUMNS, GRID_DEFAULTS, OBJECTIVES, SAMPLINGS

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
    run = Run("e", "hybrid", "0.5", "10", "20", ("en", "de"), 3, "lakda", "lir", "0.5", "lir-r8")
    assert run.name == "e/hybrid-a0.5+lakda+from-lir/n10-mt20/en+de/s3-w0.5-lir-r8"
    assert list(run.grid) == [name for name, _ in GRID_COLUMNS]
    assert run.grid == {
        "encoder": "e",
        "sampling": "hybrid",
        "alpha": "0.5",
        "num_pairs": "10",
        "num_translated": "20",
        "languages": "en+de",
        "seed": 3,
        "objective": "lakda",
        "begin": "lir",
        "share": "0.5",
        "projection": "lir-r8",
    }


def test_what_was_not_asked_for_changes_no_name() -> None:
    run = Run("e", "hybrid", "0.5", "10", "20", ("en", "de"), 3)
    assert run.name == "e/hybrid-a0.5/n10-mt20/en+de/s3"
    assert {name: run.grid[name] for name in GRID_DEFAULTS} == GRID_DEFAULTS
    assert Run.untrained("e").name == "e/untrained"


@pytest.mark.parametrize(
    "run",
    [
        Run("e", "hybrid", "0.5", "10", "20", ("en", "de"), 3),
        Run("e", "hybrid", "1to0.5", "all", "all", ("en",), 0),
        Run("e", "hybrid", "1e-05to1", "all", "0", ("en", "zh"), 12),
        Run("a-a1.b", "x-x-mono", None, "7", "all", ("en", "de"), 3),
        Run.untrained("e5-small"),
        Run.untrained("e", "lir-r12"),
        Run("e", "x-y", None, "7", "all", ("en", "de"), 3, begin="lir"),
        Run("e", "x-y", None, "7", "all", ("en", "de"), 3, share="1e-05", projection="shift"),
    ],
)
def test_a_run_is_read_back_from_its_name(run: Run) -> None:
    assert Run.parse(run.name) == run


@pytest.mark.parametrize(
    "name",
    [
        "e",
        "e/x-y/n10/en/1",
        "e/x-y/nmany/en/s1",
        "e/untrained/s1",
        "e/x-y/n1/en/s1/more",
        "e/untrained-none",
        "e/untrained-w0.5",
        "e/x-y/n1/en/s1-lir-w0.5",
        "e/x-y/n1/en/s1-lir-r0",
        "e/x-y+/n1/en/s1",
    ],
)
def test_no_other_name_is_one(name: str) -> None:
    with pytest.raises(ValueError, match="is no run's name"):
        Run.parse(name)


SHARES = st.floats(0, 1, exclude_min=True).map(share_label).filter(lambda label: float(label) > 0)
PROJECTIONS = st.sampled_from([NONE, "centring", "shift", "lir"]) | st.integers(1, 99).map("lir-r{}".format)
ALPHAS = st.floats(0, 1) | st.builds(lambda a, b: {"from": a, "to": b}, st.floats(0, 1), st.floats(0, 1))
SIZES = st.just(ALL) | st.integers(0, 10**7).map(str)


@st.composite
def some_run(draw: st.DrawFn) -> Run:
    encoder = draw(st.from_regex("[a-z0-9][a-z0-9_.-]{0,12}", fullmatch=True))
    if draw(st.integers(0, 4)) == 0:
        return Run.untrained(encoder, draw(PROJECTIONS))
    sampling = draw(st.sampled_from(SAMPLINGS))
    return Run(
        encoder,
        sampling,
        alpha_label(draw(ALPHAS)) if sampling == "hybrid" else None,
        draw(SIZES),
        draw(SIZES),
        tuple(draw(st.lists(st.sampled_from(["en", "de", "zh", "ar"]), min_size=1, unique=True))),
        draw(st.integers(0, 2**32 - 1)),
        objective=draw(st.sampled_from(OBJECTIVES)),
        begin=draw(st.sampled_from([NONE, "lir"])),
        share=draw(SHARES),
        projection=draw(PROJECTIONS),
    )


@settings(derandomize=True, deadline=None)
@given(some_run())
def test_any_run_is_read_back_from_its_name(run: Run) -> None:
    assert Run.parse(run.name) == run
    for before in filter(None, [run.before, run.start]):
        assert Run.parse(before.name) == before


def test_the_axes_of_an_entry_multiply(config: dict) -> None:
    config["study"]["runs"] = [
        {"sampling": "untrained", "projections": ["lir", "shift"]},
        {
            **{"sampling": "x-y", "seeds": [1, 2], "objectives": ["infonce", "lakda"], "begin": ["none", "lir"]},
            **{"shares": [1, 0.5], "projections": ["none", "lir-r2"]},
        },
    ]
    names = [run.name for run in runs(config)]
    assert names[:3] == ["tiny/untrained", "tiny/untrained-lir", "tiny/untrained-shift"]
    assert len(set(names)) == len(names) == 3 + 2 * 2 * 2 * 2 * 2
    assert "tiny/x-y+lakda+from-lir/nall/en+de+es+fr+tr+zh/s2-w0.5-lir-r2" in names


def test_what_runs_are_made_of_is_known_and_comes_first(config: dict) -> None:
    config["study"]["untrained"] = False
    config["study"]["runs"] = [
        {"sampling": "x-y", "seeds": [1], "begin": ["lir"], "shares": [0.5], "projections": ["shift"]}
    ]
    arm = "tiny/x-y+from-lir/nall/en+de+es+fr+tr+zh"
    assert [run.name for run in runs(config)] == [f"{arm}/s1-w0.5-shift"]
    made = [run.name for run in models(config)]
    assert sorted(made) == sorted(
        ["tiny/untrained", "tiny/untrained-lir", f"{arm}/s1", f"{arm}/s1-w0.5", f"{arm}/s1-w0.5-shift"]
    )
    for run in models(config):
        before = [*filter(None, [run.before]), *([run.start] if run.trained and run.projection == NONE else [])]
        assert all(made.index(one.name) < made.index(run.name) for one in before)
    assert [run.name for run in embedded(config)] == [f"{arm}/s1-w0.5", f"{arm}/s1-w0.5-shift"]


def test_old_studies_have_no_models_beside_their_runs_and_encoders(config: dict) -> None:
    assert models(config) == embedded(config) == runs(config)
    assert all(run.share == WHOLE and run.before is None for run in runs(config))
