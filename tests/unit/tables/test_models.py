"""Models as they come, side by side: the sentence of each, language by language, and every one against every other."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
import synthetic_study as synthetic

from polybatch.tables.findings import findings_table
from polybatch.tables.make import Inputs, make
from polybatch.tables.model_sentences import blind_share, model_sentence, model_sentences
from polybatch.tables.models import languages_table, model_tables, pairs_table
from polybatch.tables.scores import View, compare_with_reference, main_table

MODELS = ("zeta", "alpha", "mid")  # the study's order, which is not that of the alphabet
LEVELS = {"zeta": (0.6, 0.5, 0.4), "alpha": (0.3, 0.2, 0.1), "mid": (0.6, 0.5, 0.4)}


def write(base: Path, models: tuple[str, ...] = MODELS, **more: object) -> list[Path]:
    return [
        synthetic.write_run(base, "untrained", -1, encoder=name, level=LEVELS[name], groups=20, **more)
        for name in models
    ]


def study(base: Path, models: tuple[str, ...] = MODELS, **changes: object) -> tuple[View, pd.DataFrame]:
    return synthetic.view(base, models=models, reference=models[0], **changes)


@pytest.fixture(scope="module")
def side_by_side(tmp_path_factory: pytest.TempPathFactory) -> tuple[View, pd.DataFrame]:
    base = tmp_path_factory.mktemp("base")
    write(base)
    return study(base)


def test_models_stand_in_the_study_s_order_and_are_compared_with_the_first(side_by_side) -> None:
    table = findings_table(*side_by_side)
    assert [row[0].value for row in table.rows] == list(MODELS)
    first, second, third = (row[1] for row in table.rows)
    assert (first.mark, first.difference) == ("", None)
    assert second.mark == "worse" and second.difference == pytest.approx(second.value - first.value)
    assert third.mark == "", "the same scores are no difference"
    assert any('its difference to "zeta"' in note for note in table.notes)
    assert not any("seeds" in note for note in table.notes)


def test_the_main_table_takes_the_chosen_model_for_its_reference(side_by_side) -> None:
    view, groups = side_by_side
    view = replace(view, reference="alpha")
    comparisons = compare_with_reference(view, groups, view.main_columns())
    assert {c.reference.encoder for c in comparisons} == {"alpha"}
    assert {c.arm.encoder for c in comparisons} == {"zeta", "mid"}
    assert any("better, ▼ significantly worse than alpha (p" in note for note in main_table(view, comparisons).notes)


def test_every_pair_of_models_is_tested_on_the_same_queries(side_by_side) -> None:
    view, groups = side_by_side
    table = pairs_table(view, groups)
    assert [(row[0].value, row[1].value) for row in table.rows] == [
        ("zeta", "alpha"),
        ("zeta", "mid"),
        ("alpha", "mid"),
    ]
    column = [c.key for c in table.columns].index("multilingual.rank_distance")
    macro = {arm.encoder: view.macro()[arm, "multilingual", "rank_distance"][0] for arm in view.arms}
    cell = table.rows[0][column]
    assert cell.value == pytest.approx(macro["zeta"] - macro["alpha"])
    assert cell.value < 0 and cell.mark == "better", "fewer ranks apart are better"
    assert f"over the table's {3 * (len(table.columns) - 2)} comparisons" in table.notes[0]
    assert "worse than the other model" in table.notes[0]


def test_every_language_has_a_row(side_by_side) -> None:
    view, _ = side_by_side
    table = languages_table(view)
    assert [(row[0].value, row[1].value) for row in table.rows[:3]] == [("zeta", lang) for lang in ("de", "el", "en")]
    across = [c.key for c in table.columns].index("cross_lingual.map")
    scores = view.scores
    mine = scores[(scores["setting"] == "cross_lingual") & (scores["metric"] == "map") & (scores["query_lang"] == "el")]
    mine = mine[[arm.encoder == "zeta" for arm in mine["arm"]]]
    assert len(mine) == 2
    assert table.rows[1][across].value == pytest.approx(mine["value"].mean())


def test_a_sentence_sets_the_share_beside_that_of_a_blind_ranking(side_by_side) -> None:
    view, _ = side_by_side
    arm = view.arms[0]
    means = {(arm, "multilingual", "own_language_first"): 0.9651, (arm, "multilingual", "rank_distance"): 1213.4}
    assert blind_share(view) == pytest.approx(1 / 3)
    assert model_sentence(view, arm, means) == (
        "zeta puts a passage in the query's own language first for 97 % of the queries, where a ranking blind to "
        "language would for 33 %; the best and the worst placed of the right passages, which are translations of one "
        "another, stand 1,213 ranks apart."
    )


def test_a_sentence_says_no_more_than_was_measured(side_by_side, tmp_path: Path) -> None:
    view, _ = side_by_side
    arm = view.arms[0]
    apart = model_sentence(view, arm, {(arm, "multilingual", "rank_distance"): 7.0})
    assert apart.startswith("zeta: the best and the worst placed") and "own language" not in apart
    within = model_sentence(view, arm, {(arm, "monolingual", "map"): 0.5})
    assert within == (
        "zeta: mAP is 0.500 within a language; whether it prefers a language cannot be told without translations in "
        "one pool."
    )
    write(tmp_path, ("zeta",), cells=[("monolingual", "en", "en"), ("multilingual", "en", "all")])
    shareless, _ = study(tmp_path, ("zeta",))
    own = model_sentence(shareless, shareless.arms[0], {(shareless.arms[0], "multilingual", "own_language_first"): 0.5})
    assert own == "zeta puts a passage in the query's own language first for 50 % of the queries."


def test_of_many_models_the_sentences_tell_some(side_by_side) -> None:
    view, _ = side_by_side
    means = {(arm, "monolingual", "map"): 0.5 for arm in view.arms}
    assert len(model_sentences(view, means, 2)) == 3
    assert model_sentences(view, means, 2)[-1] == "Further models in the table: 1."


def test_a_study_with_trainings_has_no_such_tables(side_by_side) -> None:
    view, groups = side_by_side
    assert model_tables(replace(view, models=()), groups) == []


def test_all_tables_and_figures_of_models_are_made(tmp_path: Path) -> None:
    scores = write(tmp_path / "base", MODELS[:2])
    config = synthetic.config()
    config["study"] |= {"runs": [], "encoders": list(MODELS[:2]), "reference": "zeta"}
    config |= {
        "source": [],
        "translation": {"languages": []},
        "languages": {"train": [], "evaluate": ["en", "de", "el"]},
    }
    config["encoders"] = {name: {"path": "x"} for name in MODELS[:2]}
    given = Inputs(config, scores, (), timings=synthetic.write_timings(tmp_path / "base"))
    version, made = make(given, tmp_path / "tables", tmp_path / "latest")
    assert made
    names = {table["name"] for table in json.loads((version / "tables.json").read_text("utf-8"))}
    assert {"findings-test", "languages-test", "model_pairs-test", "main-test", "timings"} <= names
    assert not names & {"data", "batches", "translation", "contamination"}
    page = (version / "summary.html").read_text("utf-8")
    assert "as they come: zeta, alpha?" in page
