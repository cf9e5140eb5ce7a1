"""What each arm cost and what it brought."""

from __future__ import annotations

import csv
import io
from dataclasses import replace

import pytest
import synthetic_study as synthetic

from polybatch.core.errors import DataError
from polybatch.tables.cost import cost_table, needs_of, read_trainings
from polybatch.tables.forms.table import to_csv, to_markdown
from polybatch.tables.summary import Arm

RUN = "tiny/hybrid-a0.5/nall/en+de/s{}"


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    base = tmp_path_factory.mktemp("base")
    synthetic.write_study(base, groups=12)
    return base, *synthetic.view(base)


def rows_of(table):
    return {row["sampling"]: row for row in csv.DictReader(io.StringIO(to_csv(table)))}


def test_time_and_steps_stand_beside_what_they_brought(whole):
    base, view, groups = whole
    paths = [synthetic.write_training(base, RUN.format(seed), seconds=60.0 * (seed + 1)) for seed in (0, 1)]
    table = cost_table(view, groups, read_trainings(paths))
    rows, macro = rows_of(table), view.macro()
    hybrid, other = rows["hybrid-a0.5"], rows["x-y"]
    assert (hybrid["minutes"], hybrid["steps"], hybrid["device"]) == ("1.5", "100", "2 CPU cores")
    assert (hybrid["monolingual.map.difference"], hybrid["monolingual.map.difference_mark"]) == ("0.0", "")
    means = {
        arm.sampling: sum(values) / len(values)
        for (arm, *at), values in macro.items()
        if at == ["cross_lingual", "map"]
    }
    assert float(rows["en-en"]["cross_lingual.map.difference"]) == pytest.approx(means["en-en"] - means["hybrid"])
    assert rows["en-en"]["multilingual.rank_distance.difference_mark"] == "worse"
    assert float(rows["en-en"]["multilingual.rank_distance.difference"]) > 0
    assert (rows["untrained"]["minutes"], rows["untrained"]["steps"]) == ("0.0", "0")
    assert other["minutes"] == "" and "No record of the training of en-en, x-x, x-x-mono, x-y." in table.notes
    assert table.volatile  # a training repeated to the same weights takes another time
    assert "−0." in to_markdown(table)


def test_processors_are_told_in_words(whole):
    base, view, groups = whole
    given = [
        ({"device": "NVIDIA H100", "world_size": 4}, "4 × NVIDIA H100"),
        ({"device": "NVIDIA H100"}, "NVIDIA H100"),
        ({"threads": 1}, "1 CPU core"),
        ({"threads": 2, "world_size": 2}, "2 × 2 CPU cores"),
    ]
    for change, words in given:
        training = read_trainings([synthetic.write_training(base, RUN.format(0), **change)])
        assert rows_of(cost_table(view, groups, training))["hybrid-a0.5"]["device"] == words
    older = read_trainings([synthetic.write_training(base, RUN.format(0), threads=None)])
    table = cost_table(view, groups, older)
    assert rows_of(table)["hybrid-a0.5"]["device"] == "CPU"
    assert any("was not written down" in note for note in table.notes)


def test_a_study_without_its_reference_has_costs_and_no_gains(whole):
    _, view, groups = whole
    table = cost_table(replace(view, reference="hybrid-a0.9"), groups, {})
    assert not any(key.endswith("difference") for row in rows_of(table).values() for key, value in row.items() if value)
    assert any("no run of hybrid-a0.9" in note for note in table.notes)


@pytest.mark.parametrize(
    ("projection", "search"),
    [
        ("none", "nothing"),
        ("lir", "one fixed matrix inside of the model"),
        ("lir-r4", "one fixed matrix inside of the model"),
        ("centring", "the language of every text"),
        ("shift", "the language of every passage, while indexing"),
    ],
)
def test_search_needs_what_the_projection_needs(projection, search):
    arm = Arm("tiny", "x-y", None, "all", "all", "en+de", projection=projection)
    assert needs_of(arm).search == search
    assert (needs_of(arm).encoding == "none") == (search == "nothing")


def test_a_projection_before_the_training_stays_in_the_model():
    arm = Arm("tiny", "x-y", None, "all", "all", "en+de", begin="lir")
    assert (
        needs_of(arm).search
        == needs_of(arm._replace(projection="lir")).search
        == "one fixed matrix inside of the model"
    )


def test_what_is_made_of_a_training_without_another_has_its_time(tmp_path):
    for more in ({}, {"share": "0.5"}, {"projection": "lir"}):
        synthetic.write_run(tmp_path, "hybrid", 0, groups=4, langs=("en", "de"), **more)
    synthetic.write_run(tmp_path, "untrained", -1, groups=4, langs=("en", "de"), projection="lir")
    table = cost_table(*synthetic.view(tmp_path), read_trainings([synthetic.write_training(tmp_path, RUN.format(0))]))
    assert {row["minutes"] for name, row in rows_of(table).items() if name.startswith("hybrid")} == {"1.5"}
    assert rows_of(table)["untrained, LIR"]["minutes"] == "0.0"


def test_a_record_that_is_none_is_told(tmp_path):
    path = synthetic.write_training(tmp_path, RUN.format(0))
    path.write_text('{"seconds": 3}', "utf-8")
    with pytest.raises(DataError, match="lacks a key"):
        read_trainings([path])
    with pytest.raises(DataError, match="folder of a run"):
        read_trainings([synthetic.write_training(tmp_path, "elsewhere")])
