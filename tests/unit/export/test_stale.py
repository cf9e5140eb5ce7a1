"""What an export holds is of the model that is there and of its study; what that is no reason to refuse, passes."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from parallel_files import parallel_row, write_parallel
from small_export import CONFIG, METRICS, PROMPTS, RUN, evaluate, made_from_of, run, training
from small_pipeline import write_tables
from tiny_models import save_tiny_model

from polybatch.config.grid import Run
from polybatch.config.paths import Paths
from polybatch.config.study_paths import StudyPaths
from polybatch.core.errors import DataError
from polybatch.core.files import read_json, write_json
from polybatch.core.made_from import record
from polybatch.core.sums import write_sums
from polybatch.export import stale
from polybatch.export.make import choose
from polybatch.export.source import find
from polybatch.tables.chain import digest_of, model_links
from polybatch.tables.versions.manifest import hash_data

UNTRAINED = Run.untrained("tiny")
QUICK = ["--only", "model", "faiss", "trec", "mteb"]
# Of another study of the collection: it measures more, and what comes before its trainings not at all.
OTHER: dict[str, Any] = {
    **CONFIG,
    "study": {**CONFIG["study"], "name": "other", "untrained": False},
    "scoring": {"metrics": [*METRICS, "recall@5"]},
}


def chosen(paths: Paths, *only: str, name: str = RUN.name, study: str = "small") -> tuple[list[str], dict[str, str]]:
    return choose(find(name, study, results=Path(paths.results)), only)


def train_anew(paths: Paths, run: Run, **more: object) -> Path:
    """The model of a run, or its encoder, made again with other weights, as a study leaves it that is stopped then."""
    folder = Path(paths.model(run.name) if run.trained else paths.encoder(run.encoder))
    shutil.rmtree(folder)
    save_tiny_model(folder, prompts=PROMPTS, seed=7)
    write_json(folder / "encoder.json", training()["encoder_record"])
    if run.trained:
        write_json(folder / "training.json", {**training(), "made_from": made_from_of(paths), **more})
    write_sums(folder)
    return folder


@pytest.mark.parametrize("part", ["model", "faiss", "trec", "mteb"])
@pytest.mark.parametrize("more", [[], ["--collection", "small"]], ids=["tables", "no tables"])
def test_what_was_made_from_another_model_is_not_exported(
    copy: Paths, tmp_path: Path, part: str, more: list[str]
) -> None:
    if more:
        shutil.rmtree(f"{copy.results}/tables")
    train_anew(copy, RUN)
    with pytest.raises(DataError, match=r"(?s)is of another model.*where: .*embeddings\.json.*snakemake score"):
        run(copy, tmp_path / "mine", "--only", part, *more)
    assert not (tmp_path / "mine").exists()


@pytest.mark.parametrize(
    ("gone", "stale"),
    [([], "index.json"), (["index"], "test.parquet"), (["embeddings"], "embeddings.json")],
)
def test_every_file_between_the_model_and_the_export_is_held(
    copy: Paths, tmp_path: Path, gone: list[str], stale: str
) -> None:
    """The study went on after the new model, and was stopped: after embedding, after indexing, while embedding."""
    folder = train_anew(copy, RUN)
    kept = {kind: Path(copy.base, kind, RUN.name) for kind in ("index", "scores")}
    for kind, place in kept.items():
        shutil.copytree(place, tmp_path / kind)
    evaluate(copy, folder, RUN)
    for kind, place in kept.items():
        if kind not in gone:
            shutil.rmtree(place)
            shutil.copytree(tmp_path / kind, place)
    if "embeddings" in gone:
        Path(copy.embeddings_record(RUN.name, "test")).unlink()
    with pytest.raises(DataError, match=rf"where: [^\n]*{stale}"):
        run(copy, tmp_path / "mine", *QUICK)


def test_a_card_does_not_compare_with_another_encoder(copy: Paths, tmp_path: Path) -> None:
    """The scores before the training are those of the encoder that is there, or they are left out and that is told."""
    shutil.rmtree(f"{copy.results}/tables")
    train_anew(copy, UNTRAINED)
    run(copy, tmp_path / "mine", "--only", "model", "--collection", "small")
    told = read_json(tmp_path / "mine/export.json")["left_out"]["model before training test"]
    assert "another encoder" in told and told.endswith("tiny/untrained/test/embeddings.json")
    card = (tmp_path / "mine/README.md").read_text("utf-8")
    assert "encoder before training" not in card and "| this model |" in card


def test_a_model_of_another_configuration_than_the_tables_is_not_exported(copy: Paths, tmp_path: Path) -> None:
    made_from = made_from_of(copy)
    made_from["options"]["training"] = {"epochs": 9}
    folder = train_anew(copy, RUN, made_from=made_from)
    evaluate(copy, folder, RUN)
    with pytest.raises(DataError, match=r"(?s)than the study's tables say.*training\.json.*epochs"):
        run(copy, tmp_path / "mine", *QUICK)
    evaluate(copy, train_anew(copy, RUN), RUN)
    run(copy, tmp_path / "mine", "--only", "model")


def test_scores_before_the_training_are_of_the_same_study(copy: Paths, tmp_path: Path) -> None:
    write_tables(Path(copy.results, "tables/other"), OTHER)
    evaluate(copy, Path(copy.model(RUN.name)), RUN, config=OTHER)
    run(copy, tmp_path / "mine", *QUICK, study="other")
    left_out = read_json(tmp_path / "mine/export.json")["left_out"]
    assert list(left_out) == ["model before training test"] and "no run tiny/untrained" in left_out.popitem()[1]
    assert "encoder before training" not in (tmp_path / "mine/README.md").read_text("utf-8")


def test_a_command_is_named_only_for_runs_that_the_study_has(copy: Paths) -> None:
    """Snakemake does not know what makes the files of others."""
    write_tables(Path(copy.results, "tables/other"), OTHER)
    with pytest.raises(DataError, match=r"recall@5(?s:.*)--forcerun [^ ]*hybrid"):
        chosen(copy, "mteb", study="other")
    with pytest.raises(DataError, match=r"the study other has no such run: .* --study") as fault:
        chosen(copy, "mteb", name="tiny/untrained", study="other")
    assert "--forcerun" not in str(fault.value)


def with_text(paths: Paths) -> Path:
    """Has the run trained on text that is there, by its record and the tables'."""
    text = [Path(paths.parallel(lang)) for lang in ("en", "de")]
    for path in text:
        write_parallel(path, [parallel_row(1, "red house", "the house is red")])
    evaluate(paths, train_anew(paths, RUN), RUN)
    shutil.rmtree(paths.tables())
    write_tables(Path(paths.tables()), CONFIG, hash_data(text))
    return text[1]


def test_training_text_that_changed_since_is_no_fault_of_the_model(copy: Paths) -> None:
    text = with_text(copy)
    write_parallel(text, [parallel_row(2, "blue house", "the house is blue")])
    assert set(stale.READ) <= set(chosen(copy)[0])
    text.unlink()
    assert set(stale.READ) <= set(chosen(copy)[0])


def test_a_model_of_other_text_than_the_tables_is_not_exported(copy: Paths) -> None:
    text = with_text(copy)
    write_parallel(text, [parallel_row(2, "blue house", "the house is blue")])
    evaluate(copy, train_anew(copy, RUN), RUN)
    with pytest.raises(DataError, match=r"(?s)than the study's tables say.*training\.json.*parallel"):
        chosen(copy, "model")


def write_model(paths: Paths, run: Run, config: dict[str, Any]) -> Path:
    """A model that is made of another without a training, with its record."""
    folder = save_tiny_model(Path(paths.model(run.name)), prompts=PROMPTS, seed=3)
    write_json(folder / "training.json", training())
    *_, link = model_links(StudyPaths.of(config, paths.base), run)
    write_json(Path(link.file), {"made_from": record(link.options, digest_of, **link.inputs)})
    write_sums(folder)
    return folder


@pytest.fixture
def cures(copy: Paths) -> tuple[Paths, Run, Run]:
    """A mixture of weights, a projection of it, and tables of the study that has both."""
    axes = {"sampling": "hybrid", "alphas": [0.5], "seeds": [1], "shares": [0.5], "projections": ["none", "lir"]}
    config = {**CONFIG, "study": {**CONFIG["study"], "runs": [axes]}, "projection": {"texts": 50, "strength": 1}}
    shutil.rmtree(copy.tables())
    write_tables(Path(copy.tables()), config)
    mixture = replace(RUN, share="0.5")
    projected = replace(mixture, projection="lir")
    for made in (mixture, projected):
        write_model(copy, made, config)
    return copy, mixture, projected


def test_models_are_held_down_to_the_training(cures: tuple[Paths, Run, Run]) -> None:
    paths, *made = cures
    for name in made:
        assert chosen(paths, "model", name=name.name)[0] == ["model"]
    record_of = Path(paths.model(RUN.name), "training.json")
    content = read_json(record_of)
    content["made_from"]["options"]["training"] = {"epochs": 9}
    write_json(record_of, content)
    for name in made:
        with pytest.raises(DataError, match=rf"(?s)where: [^\n]*{RUN.name.replace('+', '.')}/training\.json.*epochs"):
            chosen(paths, "model", name=name.name)
    shutil.rmtree(paths.model(RUN.name))
    assert chosen(paths, "model", name=made[0].name)[0] == ["model"], "what is gone cannot be compared"


def test_a_projection_is_held_against_its_model_and_not_against_means(cures: tuple[Paths, Run, Run]) -> None:
    paths, mixture, projected = cures
    means = Path(paths.language_means(mixture.name, "corpus"))
    means.parent.mkdir(parents=True, exist_ok=True)
    means.write_bytes(b"of other text")
    assert chosen(paths, "model", name=projected.name)[0] == ["model"]
    weights = Path(paths.model(mixture.name))
    (weights / "more.json").write_text("{}", "utf-8")
    write_sums(weights)
    with pytest.raises(DataError, match=r"(?s)where: [^\n]*s1-w0\.5-lir/projection\.json.*model"):
        chosen(paths, "model", name=projected.name)


@pytest.mark.parametrize("kind", ["index", "embeddings"])
def test_a_model_is_exported_without_scores_that_nothing_tells_the_origin_of(
    copy: Paths, tmp_path: Path, kind: str
) -> None:
    """Indexes and embeddings are what one deletes first where the disk is full."""
    for name in (RUN.name, UNTRAINED.name):
        shutil.rmtree(Path(copy.base, kind, name))
    run(copy, tmp_path / "mine", "--only", "model")
    left_out = read_json(tmp_path / "mine/export.json")["left_out"]
    assert list(left_out) == ["model before training test", "model results test"]
    assert all(f"/{kind}" in why and "cannot be told" in why for why in left_out.values())
    card = (tmp_path / "mine/README.md").read_text("utf-8")
    assert "None: what the scores on test were made from could not be told" in card and "model-index" not in card
    with pytest.raises(DataError, match=r"(?s)cannot be told.*`--only model` exports"):
        chosen(copy, "model", "mteb")
