"""What follows from the declared options: the schema for editors and the tables of docs/config.md."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from config_mutations import ROOT, shipped
from jsonschema import Draft202012Validator

from polybatch.core.errors import DataError
from polybatch.core.options import Options
from polybatch.study.schema import classes, documented, files, main, schema, table

# Classes that are parts of others, or whose options are told with those of another.
UNDOCUMENTED = {
    *("Options", "Section", "Overlay", "Configuration", "TrainingOverlay", "ScoreOverlay", "EncodingOverlay"),
    *("HubOptions", "MMarcoOptions", "MiningOptions", "SourceSection", "_FromTheHub", "OwnFileSection"),
    *("TranslatorSource", "SplitOptions", "EncodeOptions", "IndexOptions", "BenchmarkSection"),
    *("ScheduleSection", "ExpectedSection", "LibreOfficeSection"),
}


@pytest.mark.parametrize("path", files(ROOT), ids=lambda path: path.name)
def test_the_files_are_current(path: Path) -> None:
    assert path.read_text("utf-8") == files(ROOT)[path], "run python -m polybatch.study.schema"


def test_every_class_of_options_is_documented_and_every_option_has_a_meaning() -> None:
    ours = {name: kind for name, kind in classes().items() if kind.__module__.startswith("polybatch")}
    text = (ROOT / "docs/config.md").read_text("utf-8")
    missing = [name for name in ours if name not in UNDOCUMENTED and f"<!-- options: {name}" not in text]
    assert not missing
    for kind in ours.values():
        assert all(field.description for field in kind.model_fields.values()), kind


@pytest.mark.parametrize("name", shipped())
def test_the_schema_takes_what_is_shipped(name: str) -> None:
    assert not [error.message for error in Draft202012Validator(schema()).iter_errors(shipped()[name])]


@pytest.mark.parametrize(
    "wrong",
    [
        {"studdy": {}},
        {"training": {"batchsize": 3}},
        {"training": {"batch_size": 1}},
        {"languages": {"train": ["klingon"]}},
        {"study": {"runs": [{"sampling": "xx"}]}},
        {"sources": {"wheel": {"adapter": "homeassistant", "sha256": "12"}}},
        {"benchmarks": {"x": {"adapter": "beir", "options": {"most_absent": 2}}}},
        {"index": {"factory": ""}},
        {"encoders": {"My encoder": {"model": "a/b"}}},
    ],
)
def test_the_schema_refuses_what_is_wrong_and_takes_part_of_a_configuration(wrong: dict[str, Any]) -> None:
    validator = Draft202012Validator(schema())
    assert not validator.is_valid(wrong)
    assert validator.is_valid({"training": {"max_steps": 5}, "benchmarks": {"miracl": {"languages": ["sw"]}}})


def test_a_stale_file_is_told_and_written_anew(tmp_path: Path) -> None:
    for path in files(ROOT):
        copy = tmp_path / path.relative_to(ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_text(path.read_text("utf-8").replace("batch", "bunch"), "utf-8")
    with pytest.raises(DataError, match=r"config\.schema\.json(.|\n)*python -m polybatch\.study\.schema"):
        main(["--root", str(tmp_path), "--check"])
    main(["--root", str(tmp_path)])
    main(["--root", str(tmp_path), "--check"])
    assert "`batch_size`" in (tmp_path / "docs/config.md").read_text("utf-8")


def test_a_marker_names_a_class_and_may_name_options() -> None:
    with pytest.raises(DataError, match="Nowhere"):
        documented("<!-- options: Nowhere -->\n<!-- end -->")
    kind: type[Options] = classes()["CleaningOptions"]
    assert "`max_words`" in table(kind) and "`max_words`" not in table(kind, "!max_words")
    assert table(kind, "min_words").count("\n") == 3


def test_a_number_in_the_docs_can_be_copied_into_yaml() -> None:
    line = next(line for line in table(classes()["TrainingOptions"]).splitlines() if "`learning_rate`" in line)
    assert yaml.safe_load(line.split("|")[3].strip(" `")) == 3e-5
