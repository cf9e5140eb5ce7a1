"""The picture of the languages at the top, before and after."""

from __future__ import annotations

from dataclasses import replace

import pytest
import synthetic_study

from polybatch.tables.figures.first_passages import _label, _own_place, first_passages
from polybatch.tables.scores import View
from polybatch.tables.summary import summarise


@pytest.fixture(scope="module")
def view(tmp_path_factory):
    base = tmp_path_factory.mktemp("study")
    for encoder in ("a", "b", "c"):
        for sampling, seed in (("untrained", -1), ("x-y", 0), ("hybrid", 0)):
            synthetic_study.write_run(base, sampling, seed, encoder=encoder, groups=3)
    return View(summarise(sorted(base.rglob("scores/**/test.parquet"))), "test")


def of_encoder(view, name):
    scores = view.summary.scores
    mine = scores[[arm.encoder == name for arm in scores["arm"]]]
    arms = [arm for arm in view.summary.arms if arm.encoder == name]
    macro = view.summary.macro[[arm in arms for arm in view.summary.macro["arm"]]]
    return replace(view, summary=replace(view.summary, scores=mine, macro=macro, arms=arms, varying=[]))


def panels(chart):
    spec = chart.to_dict()
    titles = [panel["title"]["text"] for panel in spec["concat"]]
    return spec["title"], titles, [row for rows in spec["datasets"].values() for row in rows]


def test_one_encoder_stands_before_and_after_with_its_numbers_in_the_title(view):
    title, titles, rows = panels(first_passages(of_encoder(view, "a")))
    assert titles == ["As it comes", "Trained within and across (hybrid, alpha 0.5)"]
    assert title["text"][0].endswith("first 10 passages, on test: 50% as it comes, 50% after")
    assert "Further models of the study, in language_share-test: 1." in title["subtitle"]
    bars = {(row["query"], row["lang"]): row for row in rows if "fill" in row}
    assert bars["German", "de"]["own"]
    assert (bars["German", "de"]["start"], bars["German", "de"]["end"]) == (0.0, 0.5)
    assert bars["German", "de"]["chance"] == pytest.approx(1 / 3)
    assert (bars["Greek*", "de"]["own"], bars["Greek*", "de"]["end"]) == (False, 1.0)


def test_many_models_get_four_panels_at_most(view):
    title, titles, _ = panels(first_passages(view))
    assert titles[:2] == ["a: as it comes", "a: trained within and across (hybrid, alpha 0.5)"]
    assert len(titles) == 4
    assert "50%" not in title["text"][0]


@pytest.mark.parametrize("share", [0.12, 0.2, 0.24, 0.3, 0.9])
def test_the_number_stands_clear_of_the_line_of_chance(share):
    place = _own_place(share, 0.14)
    width = 0.09  # of "99%" in bold, of a bar 352 pixels wide
    ends = [place["number_x"] - width, place["number_x"]] if place["number_align"] == "right" else [0.015, 0.105]
    assert not ends[0] < 0.14 < ends[1]
    assert _label("de", share, own=True) == f"{share:.0%}"


def test_narrow_parts_hold_no_name():
    assert [_label("de", share, own=False) for share in (0.03, 0.2)] == ["", "de"]
