"""The figures."""

import json
from dataclasses import replace

import pandas as pd
import pytest
import synthetic_study

from polybatch.core.errors import DataError
from polybatch.tables.figures import draw, style
from polybatch.tables.figures.labels import place_labels
from polybatch.tables.figures.trends import family_of
from polybatch.tables.scores import View
from polybatch.tables.summary import summarise


@pytest.fixture(scope="module")
def view(tmp_path_factory):
    paths = synthetic_study.write_study(tmp_path_factory.mktemp("study"), groups=12)
    return View(summarise(paths), "test", data_mark="stand-in data")


def datasets(chart):
    return [row for rows in chart.to_dict()["datasets"].values() for row in rows]


def test_trade_off_draws_every_seed_and_names_every_arm(view):
    rows = datasets(draw.trade_off(view))
    assert sum("seed" in row for row in rows) == 11  # 3 samplings of 3 seeds, two of one; the floor is told in words
    assert {row["arm"] for row in rows if "label_x" in row} == {"en-en", "x-x", "x-x-mono", "x-y", "hybrid-a0.5"}


def test_the_floor_left_outside_the_axes_is_told(view):
    subtitle = " ".join(draw.trade_off(view).to_dict()["title"]["subtitle"])
    assert "untrained at (0.0" in subtitle
    assert "do not start at zero" in subtitle


def test_a_study_of_several_encoders_has_a_panel_for_each(tmp_path):
    for encoder in ("a", "b"):
        for alpha in ("0.2", "0.5"):
            synthetic_study.write_run(tmp_path, "hybrid", 0, groups=3, encoder=encoder, alpha=alpha)
    view = View(summarise(sorted(tmp_path.rglob("test.parquet"))), "test")
    spec = draw.trade_off(view).to_dict()
    assert [panel["title"] for panel in spec["concat"]] == ["a", "b"]
    assert {row["arm"] for rows in spec["datasets"].values() for row in rows} == {"hybrid-a0.2", "hybrid-a0.5"}


def test_labels_cover_neither_each_other_nor_a_mark():
    means = pd.DataFrame({"arm": ["aaaa", "bbbb", "cccc"], "x": [0.50, 0.51, 0.50], "y": [0.50, 0.50, 0.51]})
    domains = [[0.4, 0.6], [0.4, 0.6]]
    placed = place_labels(means, domains, [means["x"].tolist(), means["y"].tolist()], (440, 440))
    boxes = []
    for label in placed:
        width, pixel = 7.6 * 4, 440 / 0.2
        x, y = ((label[f"label_{axis}"] - 0.4) * pixel for axis in "xy")
        left = {"left": x, "right": x - width, "center": x - width / 2}[label["align"]]
        boxes.append((left, y - 8, left + width, y + 8))
    for i, (left, bottom, right, top) in enumerate(boxes):
        assert not any(a < right and left < c and b < top and bottom < d for a, b, c, d in boxes[:i])
        for mark_x, mark_y in zip(means["x"], means["y"], strict=True):
            x, y = (mark_x - 0.4) * 2200, (mark_y - 0.4) * 2200
            assert not (left < x < right and bottom < y < top)


def test_many_arms_are_numbered_and_listed_and_no_number_covers_another(tmp_path):
    for place, alpha in enumerate(f"{0.04 * step:.2f}" for step in range(1, 25)):
        level = (0.60 + 0.001 * place, 0.52 - 0.00002 * place * place, 0.4)  # marks a few pixels from one another
        synthetic_study.write_run(tmp_path, "hybrid", 0, groups=3, langs=("en", "de"), alpha=alpha, level=level)
    synthetic_study.write_run(tmp_path, "x-y", 0, groups=3, langs=("en", "de"))
    synthetic_study.write_run(tmp_path, "untrained", -1, groups=3, langs=("en", "de"))
    chart = draw.trade_off(View(summarise(sorted(tmp_path.rglob("test.parquet"))), "test"))
    spec, rows = chart.to_dict(), datasets(chart)
    labels = {row["arm"]: row for row in rows if "label_x" in row}
    listed = [row["told"].split() for row in rows if "told" in row]
    assert set(labels) == {number for number, _ in listed} == {str(number) for number in range(1, 26)}
    assert listed[0] == ["1", "x-y"]
    assert listed[-1] == ["25", "hybrid-a0.96"]
    panel, key = spec["hconcat"]
    side, domains = panel["width"], [_domain_of(panel, axis) for axis in "xy"]
    boxes = [_box(row, domains, side) for row in labels.values()]
    for i, (left, bottom, right, top) in enumerate(boxes):
        assert not any(a < right and left < c and b < top and bottom < d for a, b, c, d in boxes[:i])
    assert key["height"] <= side


def _domain_of(panel, axis):
    layer = next(layer for layer in panel["layer"] if layer["mark"]["type"] == "point")
    return layer["encoding"][axis]["scale"]["domain"]


def _box(row, domains, side):
    """The edges of a number's text, in pixels: left, bottom, right, top."""
    x, y = ((row[f"label_{axis}"] - low) / (high - low) * side for axis, (low, high) in zip("xy", domains, strict=True))
    width = 8 * len(row["arm"])
    left = {"left": x, "right": x - width, "center": x - width / 2}[row["align"]]
    return left, y - 7, left + width, y + 7


def test_a_line_joins_alphas_on_the_same_pairs_alone(tmp_path):
    for pairs in ("100", "all"):
        for alpha in ("0.2", "0.5", "0.8"):
            synthetic_study.write_run(tmp_path, "hybrid", 0, groups=3, langs=("en", "de"), alpha=alpha, num_pairs=pairs)
    rows = datasets(draw.trade_off(View(summarise(sorted(tmp_path.rglob("test.parquet"))), "test")))
    paths = {row["arm"]: row["path"] for row in rows if "path" in row}
    assert len(set(paths.values())) == 2
    assert len({path for arm, path in paths.items() if arm.endswith("n=100")}) == 1


def test_heat_map_has_every_pair_and_stars_the_language_nobody_was_trained_on(view):
    rows = datasets(draw.language_pairs(view))
    assert len(rows) == 6 * 3 * 3
    assert {row["query"] for row in rows} == {"en", "de", "el*"}


def test_bars_start_at_zero(view):
    spec = draw.by_language(view).to_dict()
    bars = [layer for panel in spec["vconcat"] for layer in panel["layer"] if layer["mark"]["type"] == "bar"]
    assert len(bars) == 3
    assert all(layer["encoding"]["y"]["scale"]["domain"][0] == 0 for layer in bars)


def test_a_map_of_shares_has_every_pair_and_tells_the_pool(view):
    spec = draw.language_share(view).to_dict()
    rows = datasets(draw.language_share(view))
    assert len(rows) == 6 * 3 * 3
    assert {row["value"] for row in rows} == {0.5, 0.25}
    assert any("en 33%, de 33%, el 33%" in line for line in spec["title"]["subtitle"])


@pytest.mark.parametrize("name", draw.FIGURES)
def test_the_data_mark_stands_in_the_title_of_every_figure(view, name):
    assert draw.FIGURES[name](view).to_dict()["title"]["text"][1] == "stand-in data"


def test_a_benchmark_with_an_english_corpus_alone_has_a_column_for_it(tmp_path):
    rows = [("monolingual", "en", "en"), ("cross_lingual", "de", "en"), ("cross_lingual", "el", "en")]
    synthetic_study.write_run(tmp_path, "x-y", 0, groups=4, cells=rows)
    view = View(summarise(sorted(tmp_path.rglob("test.parquet"))), "test")
    shown = datasets(draw.language_pairs(view))
    assert {(row["query"], row["corpus"]) for row in shown} == {("en", "en"), ("de", "en"), ("el*", "en")}
    assert draw.trade_off(view) is not None


def test_arms_of_one_sampling_get_shades_of_their_own(tmp_path):
    for alpha in ("0.2", "0.5"):
        synthetic_study.write_run(tmp_path, "hybrid", 0, groups=5, alpha=alpha)
    summary = summarise(sorted(tmp_path.rglob("test.parquet")))
    palette = style.colours(summary.arms, [summary.label(arm) for arm in summary.arms])
    assert len(set(palette.values())) == 2


def test_files_are_written_whole(view, tmp_path):
    style.save(draw.trade_off(view), tmp_path, "trade_off-test")
    assert (tmp_path / "trade_off-test.svg").read_text("utf-8").startswith("<svg")
    assert json.loads((tmp_path / "trade_off-test.vl.json").read_text("utf-8"))["$schema"]
    assert len(list(tmp_path.iterdir())) == 2
    style.draw_pngs(tmp_path)
    assert (tmp_path / "trade_off-test.png").read_bytes().startswith(b"\x89PNG")


def study_of_alphas(folder):
    for seed in (0, 1):
        for alpha in ("0.2", "0.5", "0.8", "1to0.5"):
            synthetic_study.write_run(folder, "hybrid", seed, groups=4, langs=("en", "de"), alpha=alpha)
        synthetic_study.write_run(folder, "x-y", seed, groups=4, langs=("en", "de"))
    return View(summarise(sorted(folder.rglob("test.parquet"))), "test")


def test_a_study_of_alphas_draws_them_in_order_with_the_ends_apart(tmp_path):
    rows = datasets(draw.by_alpha(study_of_alphas(tmp_path)))
    assert sorted({row["x"] for row in rows if row["sampling"] == "hybrid"}) == [0.2, 0.5, 0.75, 0.8]
    assert {row["x"] for row in rows if row["sampling"] == "x-y"} == {0.0}
    assert {row["x"] for row in rows if row["told"] == "1 to 0.5"} == {0.75}
    assert not any(row["apart"] for row in rows if row["x"] in (0.2, 0.5, 0.8))


def test_mixtures_of_weights_run_from_before_the_training_to_the_trained_model(tmp_path):
    small = {"groups": 4, "langs": ("en", "de")}
    synthetic_study.write_run(tmp_path, "hybrid", 0, **small)
    for projection in ("none", "lir", "shift"):
        synthetic_study.write_run(tmp_path, "untrained", -1, projection=projection, **small)
    for cure in ({}, {"projection": "lir"}, {"begin": "lir"}):
        for share in ("1", "0.5"):
            synthetic_study.write_run(tmp_path, "x-y", 0, share=share, **cure, **small)
    view = View(summarise(sorted(tmp_path.rglob("test.parquet"))), "test")
    rows = [row for row in datasets(draw.by_share(view)) if row.get("setting") == "monolingual"]
    found = {(row["series"], row["x"]) for row in rows}
    assert found == {(name, x) for name in ("x-y", "x-y, LIR", "from LIR: x-y") for x in (0.0, 0.5, 1.0)}
    values = {(row["series"], row["x"]): row["value"] for row in rows}
    macro = {
        arm.sampling_label: numbers[0]
        for (arm, setting, m), numbers in view.macro().items()
        if (setting, m) == ("monolingual", "map")
    }
    assert values["x-y", 0.0] == macro["untrained"]
    assert values["x-y, LIR", 0.0] == values["from LIR: x-y", 0.0] == macro["untrained, LIR"]
    assert values["x-y", 0.5] == macro["x-y, half interpolated (w 0.5)"]


def test_mixtures_are_drawn_where_the_encoder_before_has_no_average(tmp_path):
    """A cell is missing of it, which notes of the tables tell."""
    small = {"groups": 4, "langs": ("en", "de")}
    for share in ("1", "0.5"):
        synthetic_study.write_run(tmp_path, "x-y", 0, share=share, **small)
    synthetic_study.write_run(tmp_path, "untrained", -1, groups=4, cells=[("monolingual", "en", "en")])
    view = View(summarise(sorted(tmp_path.rglob("test.parquet"))), "test")
    assert {row["x"] for row in datasets(draw.by_share(view)) if "series" in row} == {0.5, 1.0}


def test_a_path_names_its_ends_in_full_and_its_inside_briefly(tmp_path):
    rows = datasets(draw.trade_off(study_of_alphas(tmp_path)))
    assert {row["arm"] for row in rows if "label_x" in row} == {
        "x-y",
        "hybrid-a0.2",
        "a0.5",
        "a0.8",
        "hybrid-a1to0.5",
    }


def test_sizes_stand_in_numerical_order(tmp_path):
    for size in ("all", "3000", "10000"):
        synthetic_study.write_run(tmp_path, "x-y", 0, groups=4, langs=("en", "de"), num_pairs=size)
    view = View(summarise(sorted(tmp_path.rglob("test.parquet"))), "test")
    spec = draw.by_num_pairs(view).to_dict()
    assert spec["hconcat"][0]["layer"][0]["encoding"]["x"]["sort"] == ["3000", "10000", "all"]


def test_the_number_of_translations_is_drawn_with_english_training_at_none(tmp_path):
    for size in ("1000", "all"):
        synthetic_study.write_run(tmp_path, "x-y", 0, groups=4, langs=("en", "de"), num_translated=size)
    synthetic_study.write_run(tmp_path, "en-en", 0, groups=4, langs=("en", "de"))
    view = View(summarise(sorted(tmp_path.rglob("test.parquet"))), "test")
    chart = draw.by_num_translated(view)
    assert chart.to_dict()["hconcat"][0]["layer"][0]["encoding"]["x"]["sort"] == ["0", "1000", "all"]
    assert {(row["series"], row["x"]) for row in datasets(chart)} == {("x-y", "1000"), ("x-y", "all"), ("en-en", "0")}


def study_of_encoders(folder, names):
    for name in names:
        for sampling, seed in (("untrained", -1), ("x-y", 0), ("x-y", 1), ("hybrid", 0)):
            synthetic_study.write_run(folder, sampling, seed, groups=4, langs=("en", "de"), encoder=name)
    return summarise(sorted(folder.rglob("test.parquet")))


SIZES = {"xlm-r": 278_043_648, "xlm-r-large": 559_890_432, "e5-small": 117_653_760, "e5-large": 559_890_432}


def test_encoders_stand_by_their_size_and_lines_join_those_of_one_family(tmp_path):
    chart = draw.by_encoder(View(study_of_encoders(tmp_path, SIZES), "test", parameters=SIZES))
    rows = datasets(chart)
    assert {(row["encoder"], row["family"], row["x"]) for row in rows if "family" in row} == {
        ("xlm-r", "xlm-r", 278_043_648),
        ("xlm-r-large", "xlm-r", 559_890_432),
        ("e5-small", "e5", 117_653_760),
        ("e5-large", "e5", 559_890_432),
    }
    assert not any(row.get("sampling") == "untrained" for row in rows)
    spec = chart.to_dict()
    assert len(spec["hconcat"]) == 3
    for panel in spec["hconcat"]:
        named = [layer["data"]["name"] for layer in panel["layer"] if layer["mark"]["type"] == "text"]
        assert sorted(row["arm"] for name in named for row in spec["datasets"][name]) == sorted(SIZES)
        line = next(layer for layer in panel["layer"] if layer["mark"]["type"] == "line")["encoding"]
        assert line["x"]["scale"]["type"] == "log"
        assert line["detail"]["field"] == "family"


def test_without_the_size_of_one_encoder_all_stand_in_the_order_of_the_study(tmp_path):
    names = {"mid": None, "zeta": 10, "alpha": 20}
    spec = draw.by_encoder(View(study_of_encoders(tmp_path, names), "test", parameters=names)).to_dict()
    assert spec["hconcat"][0]["layer"][0]["encoding"]["x"]["sort"] == ["mid", "zeta", "alpha"]
    assert any("not known of mid" in line for line in spec["title"]["subtitle"])


def test_encoders_that_are_only_evaluated_are_drawn_untrained(tmp_path):
    for name in ("a", "b"):
        synthetic_study.write_run(tmp_path, "untrained", -1, groups=4, langs=("en", "de"), encoder=name)
    view = View(summarise(sorted(tmp_path.rglob("test.parquet"))), "test", parameters={"a": 10, "b": 20})
    assert {row["series"] for row in datasets(draw.by_encoder(view)) if "series" in row} == {"untrained"}


@pytest.mark.parametrize(
    ("encoder", "family"),
    [("xlm-r", "xlm-r"), ("xlm-r-XXL", "xlm-r"), ("mbert-cased", "mbert-cased"), ("q3-0.6b", "q3"), ("base", "base")],
)
def test_a_family_is_the_name_without_its_size(encoder, family):
    assert family_of(encoder) == family


def test_a_metric_without_scores_is_told(view):
    with pytest.raises(DataError, match="token F1"):
        draw.by_num_pairs(replace(view, headline="token_f1"))


def test_the_subtitle_says_where_lower_is_better(view):
    subtitle = draw.by_num_pairs(replace(view, headline="rank_distance")).to_dict()["title"]["subtitle"]
    assert "lower is better" in subtitle[0]
