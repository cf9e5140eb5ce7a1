"""Two versions side by side, and the newest one on the terminal."""

import json
import re
import shutil

import pytest
import synthetic_study as synthetic

from polybatch.core.errors import ConfigError, DataError
from polybatch.tables.make import make
from polybatch.tables.versions import compare, show
from polybatch.tables.versions.versions import newest, read_version


@pytest.fixture(scope="module")
def tables(tmp_path_factory):
    """v1: x-y and hybrid; v2: a better hybrid, an x-x-mono more, no x-y, another alpha in the config."""
    tables = tmp_path_factory.mktemp("tables")
    root = tables / "default"
    first, second = tmp_path_factory.mktemp("first"), tmp_path_factory.mktemp("second")
    for seed in (0, 1):
        for sampling in ("x-y", "hybrid"):
            synthetic.write_run(first, sampling, seed, groups=12)
        synthetic.write_run(second, "hybrid", seed, groups=12, level=(0.63, 0.505, 0.52))
        synthetic.write_run(second, "x-x-mono", seed, groups=12)
    for base, train, code in ((first, {"steps": 100}, "1"), (second, {"steps": 200}, "2")):
        config = synthetic.config(training=train, settings=("monolingual", "multilingual"))
        make(synthetic.inputs(base, config, code_digests={"train": code}), root, root / "latest")
    return tables


@pytest.fixture(scope="module")
def found(tables):
    return compare.compare(*(read_version(tables / "default" / name) for name in ("v1", "v2")))


def score(found, setting, metric):
    return next(row for row in found["scores"] if (row["setting"], row["metric"]) == (setting, metric))


def test_what_improved_is_told_with_its_significance(found):
    row = score(found, "multilingual", "map")
    assert row["run"] == "tiny/hybrid-a0.5/nall/en+de"
    assert row["difference"] == pytest.approx(row["new"] - row["old"])
    assert row["difference"] > 0.05
    assert row["p"] < 0.001
    assert (row["verdict"], row["groups"]) == ("better", 12)


def test_what_stayed_is_the_same_with_p_of_one(found):
    row = score(found, "monolingual", "map")
    assert (row["difference"], row["p"], row["verdict"]) == (0.0, 1.0, "same")


def test_rows_of_one_version_are_listed_and_not_compared(found):
    assert found["only_old"] == ["tiny/x-y/nall/en+de on test"]
    assert found["only_new"] == ["tiny/x-x-mono/nall/en+de on test"]
    assert {row["run"] for row in found["scores"]} == {"tiny/hybrid-a0.5/nall/en+de"}


def test_changes_are_told_key_by_key(found):
    assert found["changes"]["config"] == {"training.steps": [100, 200]}
    assert found["changes"]["code"] == {"train": ["1", "2"]}
    assert not found["same_fingerprint"]


def test_names_numbers_and_paths_find_the_same_version(tables, capsys):
    texts = []
    for old, new in (("1", "2"), ("v1", "latest")):
        compare.main([old, new, "--study", "default", "--tables", str(tables)])
        texts.append(capsys.readouterr().out)
    compare.main([str(tables / "default" / "v1"), str(tables / "default" / "v2")])
    texts.append(capsys.readouterr().out)
    assert texts[0] == texts[1] == texts[2]
    assert "| training.steps | 100" in texts[0]


def test_json_can_be_read_back(tables, capsys):
    compare.main(["1", "2", "--study", "default", "--tables", str(tables), "--json"])
    assert json.loads(capsys.readouterr().out)["new"] == "v2"


def test_a_missing_version_names_those_there_are(tables):
    with pytest.raises(DataError, match="v1, v2"):
        compare.main(["1", "7", "--study", "default", "--tables", str(tables)])


@pytest.mark.parametrize("damage", ["groups.parquet", "tables.json", "manifest.json"])
def test_a_damaged_version_is_told(tables, tmp_path, damage):
    shutil.copytree(tables / "default" / "v1", tmp_path / "v1")
    (tmp_path / "v1" / damage).unlink()
    with pytest.raises(DataError, match="damaged"):
        read_version(tmp_path / "v1")
    (tmp_path / "v1" / damage).write_text("{", "utf-8")
    with pytest.raises(DataError):
        compare.compare(read_version(tmp_path / "v1"), read_version(tables / "default" / "v2"))


def test_versions_with_nothing_in_common_are_told(tables, tmp_path):
    synthetic.write_run(tmp_path, "en-en", 0, groups=5)
    config = synthetic.config(settings=("monolingual",))
    make(synthetic.inputs(tmp_path, config), tmp_path / "t", tmp_path / "t" / "latest")
    with pytest.raises(DataError, match="no row in common"):
        compare.main([str(tables / "default" / "v1"), str(tmp_path / "t" / "v1")])


def test_show_prints_the_newest_table_and_its_place(tables, capsys, monkeypatch):
    monkeypatch.chdir(tables)
    show.main(["--study", "default", "--tables", "."])
    text = capsys.readouterr().out
    assert "version v2 in default/v2/" in text
    assert re.search(r"trained within and across +0\.\d{3}", text)
    assert "\033[" not in text
    assert "nDCG" not in text
    assert max(map(len, text.splitlines())) <= 100


def test_show_has_bold_on_a_terminal_and_all_columns_on_demand(tables):
    text = show.describe(newest(tables / "default"), bold=True, every=True)
    assert "\033[1m" in text
    assert "nDCG@10" in text


def test_show_prints_a_table_by_its_name_within_the_terminal(tables):
    version = newest(tables / "default")
    for table in version.tables:
        text = show.describe(version, bold=False, name=table.name)
        assert text.startswith(table.title)
        assert max(map(len, text.splitlines())) <= 100, table.name
    with pytest.raises(ConfigError, match="no table mains"):
        show.describe(version, bold=False, name="mains")


def test_show_names_the_report_once_there_is_one(tables, tmp_path):
    folder = shutil.copytree(tables / "default" / "v1", tmp_path / "results" / "tables" / "default" / "v1")
    version = read_version(folder)
    assert "reports" not in show.describe(version, bold=False)
    (tmp_path / "results" / "reports").mkdir()
    (tmp_path / "results" / "reports" / "default.html").write_text("<html>", "utf-8")
    assert "reports/default.html" in show.describe(version, bold=False)


def test_show_without_tables_says_what_to_do(tmp_path):
    with pytest.raises(DataError, match="no tables of this study"):
        show.main(["--tables", str(tmp_path)])
