"""`polybatch verify --scores-only` on a small kept study: what it says, writes and ends with, also of wrong arguments."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import synthetic_study as synthetic
import yaml

from polybatch.config.study_paths import StudyPaths
from polybatch.core.contracts import GRID_DEFAULTS, SCORES
from polybatch.core.errors import ConfigError, DataError
from polybatch.core.files import read_parquet, write_json, write_parquet
from polybatch.study import verify
from polybatch.study.kept import changes_since, kept_runs, row_of, short
from polybatch.study.project import resolved
from polybatch.tables.significance import GROUPS
from polybatch.tables.summary import read_scores, without_arm
from polybatch.tables.versions import manifest
from polybatch.tables.versions.versions import publish, read_version

ROOT = Path(__file__).parents[3]
SEEDS = {"untrained": (-1,), "x-y": (0, 1), "hybrid": (0, 1)}
OVERLAY = {
    "study": {
        "name": "default",
        "encoders": ["tiny"],
        "reference": "untrained",
        "runs": [{"sampling": "x-y", "seeds": [0, 1]}, {"sampling": "hybrid", "alphas": [0.5], "seeds": [0, 1]}],
    },
    "collection": "small",
    "translation": {"languages": []},
    "languages": {"train": ["en", "de"], "evaluate": ["en", "de", "el"]},
    "encoders": {"tiny": {"scratch": {}}},
}
X_Y = "tiny/x-y/nall/en+de"


def write_scores(base: Path) -> None:
    for sampling, seeds in SEEDS.items():
        for seed in seeds:
            synthetic.write_run(base, sampling, seed, groups=6)


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A version of the study's tables as they are kept, but for tables and figures, of which it has none."""
    folder = tmp_path_factory.mktemp("kept")
    write_scores(folder / "base")
    scores = without_arm(read_scores(synthetic.score_files(folder / "base")))

    def fill(building: Path, name: str) -> None:
        parts = {"config": {"training": {"max_steps": 7}}, "code": {"retrieval.score": "of before"}}
        parts |= {"packages": manifest.package_versions(), "hardware": manifest.hardware()}
        made = {**parts, "version": name, "fingerprint": "f", "content": "c", "created": "2026-11-26T12:00:00+00:00"}
        write_json(building / "manifest.json", made)
        write_json(building / "tables.json", [])
        table = pa.Table.from_pandas(scores[SCORES.names], schema=SCORES, preserve_index=False)
        write_parquet(building / "scores.parquet", [table], SCORES)
        write_parquet(building / "groups.parquet", [], GROUPS)

    publish(folder / "tables/default", folder / "tables/default/latest", ("f", "c"), fill)
    return folder / "tables"


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project's folder whose collection holds the scores that the tables were made from."""
    for name in ("Snakefile", "config.yaml", "resources", "workflow"):
        (tmp_path / name).symlink_to(ROOT / name)
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(OVERLAY), "utf-8")
    write_scores(tmp_path / "results/small")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def ask(project: Path, tables: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, dict]]:
    """Calls the command; gives its exit status, what it printed, and verify.json."""

    def call(*words: str) -> tuple[int, str, dict]:
        status = 0
        try:
            verify.main(["default", "--config", "mine.yaml", "--tables", str(tables), "--scores-only", *words])
        except SystemExit as ended:
            status = int(ended.code or 0)
        report = json.loads((project / "results/verify/default/verify.json").read_text("utf-8"))
        return status, capsys.readouterr().out, report

    return call


def score_file(project: Path, run: str) -> Path:
    return project / f"results/small/scores/{run}/test.parquet"


def change(path: Path, edit: Callable[[list[dict]], list[dict]]) -> None:
    rows = edit(read_parquet(path, SCORES).to_pylist())
    write_parquet(path, [pa.Table.from_pylist(rows, schema=SCORES)], SCORES)


def lowered(rows: list[dict], by: float) -> list[dict]:
    return [{**row, "value": row["value"] - by if row["metric"] == "map" else row["value"]} for row in rows]


def test_the_same_scores_are_all_ok_and_identical(ask: Callable) -> None:
    status, text, report = ask()
    assert status == 0
    assert report["counts"]["OK"] == report["counts"]["identical"] > 0
    assert report["counts"]["close"] == report["counts"]["FAIL"] == 0
    assert {row["row"] for row in report["by_row"]} == {"tiny/untrained", X_Y, "tiny/hybrid-a0.5/nall/en+de"}
    assert report["runs"] == {"not_in_config": [], "not_in_version": []}
    assert text.count("\nVERIFIED: of ") == 1
    assert "spread over seeds, 2 arms" in text


def test_scores_from_before_there_were_cures_are_graded_too(ask: Callable, project: Path, tables: Path) -> None:
    """Versions that were kept before the grid had `objective`, `begin`, `share` and `projection` lack the columns."""
    earlier = shutil.copytree(tables, project / "earlier")
    score_files = [*(earlier / "default").glob("v1/scores.parquet"), score_file(project, f"{X_Y}/s1")]
    for path in score_files:
        pq.write_table(pq.read_table(path).drop_columns(list(GRID_DEFAULTS)), path)
    if (sums := earlier / "default/v1/SHA256SUMS").is_file():
        sums.unlink()
    assert len(score_files) == 2
    status, _, report = ask("--tables", str(earlier))
    assert status == 0 and report["counts"]["identical"] == report["counts"]["OK"] > 0


def test_rows_are_named_by_their_sampling_their_name_or_a_pattern(ask: Callable) -> None:
    for words, rows in ((["x-y"], {X_Y}), ([X_Y, "tiny/untrained"], {X_Y, "tiny/untrained"}), (["*/s1"], None)):
        _, _, report = ask("--rows", *words)
        found = {row["row"] for row in report["by_row"]}
        assert found == (rows or {X_Y, "tiny/hybrid-a0.5/nall/en+de"})
        assert report["rows"] == words
    _, _, report = ask("--rows", "untrained")
    assert {row["basis"] for row in report["tolerances"]} == {"rounding"}


@pytest.mark.parametrize(
    ("name", "row", "sampling"),
    [
        ("e/untrained", "e/untrained", "untrained"),
        ("e/hybrid-a0.5/nall-mt5/en+de/s12", "e/hybrid-a0.5/nall-mt5/en+de", "hybrid-a0.5"),
        ("e/x-y/nall/en+de/s1-lir", "e/x-y/nall/en+de-lir", "x-y-lir"),
        ("e/untrained-lir", "e/untrained-lir", "untrained-lir"),
    ],
)
def test_a_row_is_a_run_without_its_seed(name: str, row: str, sampling: str) -> None:
    assert (row_of(name), short(name), short(row)) == (row, sampling, sampling)


def test_an_untrained_encoder_that_gives_other_scores_fails(ask: Callable, project: Path) -> None:
    change(score_file(project, "tiny/untrained"), lambda rows: lowered(rows, 0.01))
    status, text, report = ask()
    assert status == 1
    assert {(one["run"], one["metric"]) for one in report["apart"]} == {("tiny/untrained", "map")}
    assert len(report["apart"]) == 3 + 6 + 3 + 3  # cells of the three settings, and their averages
    assert "NOT VERIFIED" in text
    assert text.count("tiny/untrained") >= 12


def test_a_training_may_be_as_far_as_its_seeds_are_apart_and_no_farther(ask: Callable, project: Path) -> None:
    change(score_file(project, f"{X_Y}/s0"), lambda rows: lowered(rows, 0.004))
    assert ask()[0] == 0
    change(score_file(project, f"{X_Y}/s0"), lambda rows: lowered(rows, 0.4))
    status, _, report = ask()
    assert status == 1
    assert {one["run"] for one in report["apart"]} == {f"{X_Y}/s0"}


def test_a_run_without_scores_fails_with_all_of_them_and_shows_no_number(ask: Callable, project: Path) -> None:
    _, _, before = ask("--rows", "untrained")
    score_file(project, "tiny/untrained").unlink()
    status, text, report = ask("--rows", "untrained")
    assert status == 1
    (reason,) = report["reasons"]
    assert reason["scores"] == report["counts"]["FAIL"] == before["counts"]["OK"]
    assert reason["reason"] == "no score file: the run was not made, or did not end"
    assert all(row["found"] is None for row in report["by_row"])
    assert " –" in text


def test_a_damaged_score_file_is_a_failure_and_not_the_end(ask: Callable, project: Path) -> None:
    path = score_file(project, "tiny/untrained")
    path.write_bytes(path.read_bytes()[:200])
    status, _, report = ask()
    assert status == 1
    assert {reason["run"] for reason in report["reasons"]} == {"tiny/untrained"}
    assert report["counts"]["OK"] > 0


def test_scores_of_another_run_in_its_place_fail(ask: Callable, project: Path) -> None:
    score_file(project, f"{X_Y}/s0").write_bytes(score_file(project, f"{X_Y}/s1").read_bytes())
    status, _, report = ask("--rows", "x-y")
    assert status == 1
    assert "holds scores of another run" in report["reasons"][0]["reason"]


def test_one_score_too_few_fails_and_one_too_many_is_told(ask: Callable, project: Path) -> None:
    def edit(rows: list[dict]) -> list[dict]:
        kept = [row for row in rows if not (row["metric"] == "map" and row["query_lang"] == "de")]
        return [*kept, {**rows[0], "metric": "recall@5"}]

    change(score_file(project, "tiny/untrained"), edit)
    status, text, report = ask("--rows", "untrained")
    assert status == 1
    assert {reason["reason"] for reason in report["reasons"]} >= {"missing: its file has no such score"}
    assert (report["new_scores"], report["new_metrics"]) == (1, ["recall@5"])
    assert "not graded: recall@5" in text


def test_a_grid_that_has_changed_since_is_told_and_lost_runs_fail(ask: Callable, project: Path) -> None:
    runs = [{"sampling": "x-y", "seeds": [0, 2]}, {"sampling": "hybrid", "alphas": [0.5], "seeds": [0, 1]}]
    changed = {**OVERLAY, "study": {**OVERLAY["study"], "runs": runs}}  # type: ignore[dict-item]
    (project / "mine.yaml").write_text(yaml.safe_dump(changed), "utf-8")
    status, text, report = ask("--rows", "x-y")
    assert status == 1
    assert len(report["runs"]["not_in_config"]) == 1
    assert report["runs"]["not_in_version"] == [f"{X_Y}/s2"]
    assert report["reasons"][0]["reason"] == "the configuration no longer asks for this run"
    assert f"not in the kept version, so not graded: {X_Y}/s2" in text


def test_another_machine_is_told_and_loosens_what_was_deterministic(
    ask: Callable, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    change(score_file(project, "tiny/untrained"), lambda rows: lowered(rows, 0.001))
    assert ask("--rows", "untrained")[0] == 1
    monkeypatch.setattr(manifest, "hardware", lambda: {"processor": "another", "cores": 3, "gpus": []})
    status, text, report = ask("--rows", "untrained")
    assert (status, report["same_machine"]) == (0, False)
    assert "another (3 cores, no GPU) now" in text


def test_what_changed_in_the_configuration_is_told(project: Path, tables: Path) -> None:
    changes = changes_since(
        read_version(tables / "default/v1"), resolved([Path("mine.yaml")]), manifest.package_versions()
    )
    assert changes["config"]["training.max_steps"] == [7, 60]
    assert changes["code"]["retrieval.score"][0] == "of before"
    assert "packages" not in changes


def test_wrong_arguments_say_what_there_is(ask: Callable, project: Path, tables: Path) -> None:
    with pytest.raises(ConfigError, match="no row 'x-z'") as error:
        ask("--rows", "untrained", "x-z")
    assert error.value.expected == "one of hybrid-a0.5, untrained, x-y"
    with pytest.raises(DataError, match="no such version"):
        ask("--version", "v7")
    with pytest.raises(ConfigError, match="no study 'nothing'"):
        verify.main(["nothing"])
    with pytest.raises(ConfigError, match="another study than 'other'"):
        verify.main(["other", "--config", "mine.yaml"])
    with pytest.raises(ConfigError, match="own collection"):
        verify.main(["default", "--config", "mine.yaml", "--tables", str(tables), "--collection", "small"])
    with pytest.raises(DataError, match="no tables of this study"):
        verify.main(["default", "--config", "mine.yaml", "--tables", str(project / "none"), "--scores-only"])


def test_a_damaged_kept_version_is_refused(ask: Callable, tables: Path) -> None:
    path = tables / "default/v1/scores.parquet"
    whole = path.read_bytes()
    try:
        path.write_bytes(whole[:-9] + bytes(9))
        with pytest.raises(DataError):
            ask()
    finally:
        path.write_bytes(whole)


@pytest.mark.parametrize(("outdated", "words"), [(True, "outdated"), (None, "is not known")])
def test_what_an_earlier_run_left_is_no_score_of_one_that_failed(
    project: Path, tables: Path, outdated: bool | None, words: str
) -> None:
    config, version = resolved([Path("mine.yaml")]), read_version(tables / "default/v1")
    kept, paths = kept_runs(version, config), StudyPaths.of(config)
    left = None if outdated is None else {str(paths.scores(f"{X_Y}/s0", "test"))}
    _, graded = verify.verify(version, kept, kept.only(["x-y"]), config, paths, scores_only=False, outdated=left)
    failed = {one.run for one in graded if one.grade == "FAIL"}
    assert failed == ({f"{X_Y}/s0"} if outdated else {f"{X_Y}/s0", f"{X_Y}/s1"})
    assert all(words in one.reason and one.found is None for one in graded if one.run == f"{X_Y}/s0")


def test_snakemake_is_asked_for_all_scores_or_for_those_of_the_rows(project: Path, tables: Path) -> None:
    config = resolved([Path("mine.yaml")])
    kept = kept_runs(read_version(tables / "default/v1"), config)
    paths = StudyPaths.of({**config, "collection": "small-verify"})
    assert verify.targets(kept, kept.only(None), paths) == ["score"]
    assert verify.targets(kept, kept.only(["untrained", f"{X_Y}/s1"]), paths) == [
        "results/small-verify/scores/tiny/untrained/test.parquet",
        f"results/small-verify/scores/{X_Y}/s1/test.parquet",
    ]
