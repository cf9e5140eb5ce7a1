"""The chain of records from sources to scores, on files that hold records alone."""

from __future__ import annotations

import copy
from pathlib import Path

import pyarrow as pa
import pytest
import yaml
from snakemake.utils import update_config

from polybatch.config.study_paths import StudyPaths
from polybatch.core import made_from
from polybatch.core.errors import DataError
from polybatch.core.files import read_json, write_json, write_rows
from polybatch.study.resolve import resolve
from polybatch.tables.chain import Link, check_chain, links

ROOT = Path(__file__).parents[3]
SCHEMA = pa.schema([("made", pa.string())])


def study(source: Path) -> dict:
    """The resolved config of the toy study, with projections and mixtures beside its runs, and translated queries."""
    default, toy = (
        yaml.safe_load((ROOT / name).read_text("utf-8")) for name in ("config.yaml", "tests/workflow/toy.yaml")
    )
    source.write_text(f"{source}\n" * 50, "utf-8")  # as many rows as a projection needs
    toy["source"]["path"] = str(source)
    update_config(default, toy)
    default["study"]["runs"] += [
        {"sampling": "untrained", "projections": ["shift"]},
        {"sampling": "x-y", "seeds": [1], "begin": ["lir"], "shares": [0.5], "projections": ["lir"]},
    ]
    default["study"]["benchmarks"] = ["test", "asked"]
    default["benchmarks"] |= {"english": {"split": "test", "languages": ["en"]}}
    default["benchmarks"] |= {"asked": {"queries_of": "english", "translate": ["de"]}}
    return resolve(default)


def write(link: Link) -> None:
    """The file of a link, with the record that it should have."""
    for value in link.inputs.values():
        paths = value.values() if isinstance(value, dict) else value if isinstance(value, list) else [value]
        for path in map(Path, filter(None, paths)):
            if not path.exists():
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(str(path), "utf-8")
    record = made_from.record(link.options, **link.inputs)
    Path(link.file).parent.mkdir(parents=True, exist_ok=True)
    if link.file.endswith(".json"):
        write_json(link.file, {"made_from": record})
    else:
        write_rows(link.file, [{"made": link.file}], made_from.with_record(SCHEMA, record))


@pytest.fixture
def paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StudyPaths:
    monkeypatch.chdir(ROOT)
    config = study(tmp_path / "toy.jsonl")
    monkeypatch.chdir(tmp_path)
    paths = StudyPaths.of(config)
    waiting = list(links(paths))
    while waiting:  # a file is written after those that it is made from
        for link in list(waiting):
            inputs = str(list(link.inputs.values()))
            if not any(f"'{other.target or other.file}'" in inputs for other in waiting if other is not link):
                write(link)
                waiting.remove(link)
    return paths


def test_a_study_made_from_its_config_is_whole(paths: StudyPaths) -> None:
    assert check_chain(paths) == len(list(links(paths))) > 15


CHANGES = {
    "scores": (("scoring", "metrics"), ["map"], "scores/toy/"),
    "index": (("index", "factory"), "HNSW32", "index/toy/"),
    "projection": (("projection", "strength"), 0.5, "models/toy/untrained-"),
    "means": (("projection", "texts"), 77, "language_means/toy/untrained/corpus.parquet"),
    "embeddings": (("encoding", "truncate_dim"), 32, "toy/untrained"),
    "model": (("training", "learning_rate"), 1e-5, "models/toy/"),
    "validation": (("cleaning", "max_words"), 7, "collected/sources/toy.parquet"),
    "translated": (("translation", "accept"), {"min_query_chrf": 50}, "translated/de.parquet"),
    "shard": (("translation", "decoding"), {"beam_size": 1}, "translated/de/0.parquet"),
    "mixture": (("mixture", "max_pairs"), 9, "collected/en.parquet"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_what_another_configuration_made_is_told_with_the_command(paths: StudyPaths, name: str) -> None:
    (section, key), value, file = CHANGES[name]
    config = copy.deepcopy(paths.config)
    config[section][key] = value
    with pytest.raises(DataError) as told:
        check_chain(StudyPaths.of(config))
    assert file in told.value.where
    assert key in told.value.expected + told.value.found
    assert told.value.remedy.startswith("`snakemake --forcerun results/")


@pytest.mark.parametrize(
    ("changed", "told_of"),
    [
        ("toy.jsonl", "collected/sources/toy.parquet"),
        ("results/toy/collected/en.parquet", "supplied/de.parquet"),
        ("results/toy/parallel/de.parquet", "language_means/toy/untrained/"),
        ("results/toy/language_means/toy/untrained/corpus.parquet", "models/toy/untrained-"),
        ("results/toy/models/toy/untrained-shift/projection.json", "embeddings/toy/untrained-shift/"),
        ("results/toy/embeddings/toy/untrained/test/embeddings.json", "toy/untrained"),
        ("results/toy/benchmarks/test/qrels.parquet", "scores/"),
        ("results/toy/benchmarks/english/queries/en.parquet", "benchmarks/asked/card.json"),
    ],
)
def test_an_input_that_is_another_now_is_told(paths: StudyPaths, changed: str, told_of: str) -> None:
    path = Path(changed)
    if path.suffix == ".parquet" and "benchmarks" not in changed:
        record = made_from.read_record(path)
        write_rows(path, [{"made": "other"}], made_from.with_record(SCHEMA, record or {}))
    elif path.suffix == ".json":
        write_json(path, {**read_json(path), "other": 1})
    else:
        path.write_text("other", "utf-8")
    with pytest.raises(DataError) as told:
        check_chain(paths)
    assert told_of in told.value.where


def test_a_study_without_trainings_has_no_validation_pairs(paths: StudyPaths) -> None:
    Path(paths.validation()).unlink()
    with pytest.raises(DataError, match=r"validation\.parquet"):
        check_chain(paths)
    config = copy.deepcopy(paths.config)
    config["study"]["runs"] = [{"sampling": "untrained", "projections": ["shift"]}]
    assert check_chain(StudyPaths.of(config))


def test_a_file_without_a_record_is_told_and_a_lost_download_is_not(paths: StudyPaths) -> None:
    Path("toy.jsonl").unlink()
    check_chain(paths)
    write_rows(paths.collected(), [{"made": "x"}], SCHEMA)
    with pytest.raises(DataError, match="an earlier version of Polybatch"):
        check_chain(paths)
