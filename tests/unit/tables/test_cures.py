"""Arms that differ in more than their sampling: their names, their order, and files that know of none of it."""

from __future__ import annotations

import pyarrow as pa
import pytest
from synthetic_study import config, inputs, write_run

from polybatch.core.contracts import GRID_DEFAULTS, SCORES
from polybatch.core.files import read_parquet, write_parquet
from polybatch.tables.findings import before_and_after, model_words, sentences
from polybatch.tables.make import make
from polybatch.tables.scores import View
from polybatch.tables.significance import reference_arm
from polybatch.tables.summary import Arm, read_scores, summarise

CURES = [
    ({}, "x-y", "trained across languages (x-y)"),
    ({"objective": "lakda"}, "x-y, LaKDA", "trained across languages (x-y), LaKDA objective"),
    ({"begin": "lir"}, "from LIR: x-y", "trained across languages (x-y), LIR before training"),
    (
        {"share": "0.5"},
        "x-y, half interpolated (w 0.5)",
        "trained across languages (x-y), half interpolated (w 0.5)",
    ),
    ({"share": "0.25"}, "x-y, interpolated (w 0.25)", "trained across languages (x-y), interpolated (w 0.25)"),
    ({"projection": "lir"}, "x-y, LIR", "trained across languages (x-y), LIR afterwards"),
    ({"projection": "lir-r8"}, "x-y, LIR of rank 8", "trained across languages (x-y), LIR of rank 8 afterwards"),
    ({"projection": "shift"}, "x-y, SHIFT", "trained across languages (x-y), SHIFT afterwards"),
]


@pytest.fixture(scope="module")
def view(tmp_path_factory):
    base = tmp_path_factory.mktemp("cures")
    for projection in ("lir", "none", "centring"):
        write_run(base, "untrained", -1, projection=projection)
    for cure, _, _ in reversed(CURES):
        write_run(base, "x-y", 0, **cure)
    write_run(base, "hybrid", 0)
    return View(summarise(sorted(base.glob("scores/**/test.parquet"))), "test", reference="untrained")


def test_every_arm_has_words_of_its_own_and_a_place(view):
    labels = [view.summary.label(arm) for arm in view.arms]
    untrained = ["untrained", "untrained, centring", "untrained, LIR"]
    trained = ["x-y", "x-y, LIR", "x-y, LIR of rank 8", "x-y, SHIFT", "x-y, half interpolated (w 0.5)"]
    trained += ["x-y, interpolated (w 0.25)", "from LIR: x-y", "x-y, LaKDA", "hybrid-a0.5"]
    assert labels == untrained + trained
    words = {view.summary.label(arm): model_words(view, arm) for arm in view.arms}
    assert all(words[label] == told for _, label, told in CURES)
    assert words["untrained, LIR"] == "as it comes, LIR afterwards"


def test_all_are_compared_with_the_encoder_as_it_comes_and_no_other(view):
    as_it_comes = view.arms[0]
    assert as_it_comes.as_it_comes and not any(arm.as_it_comes for arm in view.arms[1:])
    assert all(reference_arm(arm, view.arms, "untrained") == as_it_comes for arm in view.arms[1:])
    named = {view.summary.label(arm): arm for arm in view.arms}
    assert reference_arm(named["x-y"], view.arms, "x-y, LIR") == named["x-y, LIR"]
    assert reference_arm(named["x-y"], view.arms, "untrained, LIR") == named["untrained, LIR"]


def test_what_is_told_of_is_a_plain_training(view):
    assert [pair.after.sampling_label for pair in before_and_after(view)] == ["hybrid-a0.5"]


def test_a_study_without_training_tells_of_its_projections(tmp_path):
    for projection in ("none", "lir"):
        write_run(tmp_path, "untrained", -1, projection=projection)
    view = View(summarise(sorted(tmp_path.glob("scores/**/test.parquet"))), "test", reference="untrained")
    pair = before_and_after(view)[0]
    means = {(arm, "multilingual", "own_language_first"): 0.5 for arm in pair}
    assert "; with LIR afterwards, for 50%" in sentences(view, means, {})[0]


def test_score_files_of_before_stand_for_what_nothing_else_was_done_to(tmp_path):
    path = write_run(tmp_path, "x-y", 0)
    table = read_parquet(path, SCORES).drop_columns(list(GRID_DEFAULTS))
    write_parquet(path, [table], pa.schema(table.schema))
    arms = set(read_scores([path])["arm"])
    assert arms == {Arm("tiny", "x-y", None, "all", "all", "en+de")}


def test_tables_figures_and_numbers_of_all_arms_are_made(tmp_path):
    for projection in ("none", "lir"):
        write_run(tmp_path, "untrained", -1, projection=projection)
    for cure, _, _ in CURES:
        write_run(tmp_path, "x-y", 0, **cure)
    wanted = config(settings=("monolingual", "cross_lingual"))
    version, _ = make(inputs(tmp_path, wanted), tmp_path / "tables", tmp_path / "latest")
    main = (version / "main-test.csv").read_text("utf-8")
    assert all(f'"{label}",' in main or f"{label}," in main for _, label, _ in CURES)
    kept = read_parquet(version / "scores.parquet", SCORES).to_pandas()
    assert set(kept["projection"]) == {"none", "lir", "lir-r8", "shift"} and set(kept["share"]) == {"1", "0.5", "0.25"}
