"""A translator trained here is one that was trained, and not a diverged one; what it does not see is told."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from polybatch.core import contracts
from polybatch.core.errors import DataError, PolybatchError, TrainingError
from polybatch.core.files import write_json, write_rows
from polybatch.translation import convert
from polybatch.translation.options import DecodingOptions, TranslatorOptions
from polybatch.translation.train import train

SMALL = {"vocab_size": 400, "d_model": 16, "encoder_layers": 1, "decoder_layers": 1, "heads": 2, "ffn": 32}
SHORT = {"batch_tokens": 400, "warmup_steps": 1, "decay_steps": 1, "eval_steps": 1000, "save_steps": 1000}
LONG = "and so on " * 100


def strings(path: Path, train_end: str = "", dev_end: str = "") -> dict[str, Path]:
    """120 strings, each tenth for dev and as many for test; every second of train, and all of dev, with an ending."""
    splits = ["dev", "test", *["train"] * 8] * 12
    ends = {"train": train_end, "dev": dev_end, "test": ""}
    rows = [
        {
            "string_id": f"{i:016x}",
            "english": f"the device number {i} is turned on now {ends[split] if i % 2 or split == 'dev' else ''}",
            "text": f"das Gerät Nummer {i} ist nun eingeschaltet",
            "split": split,
        }
        for i, split in enumerate(splits)
    ]
    write_rows(path, rows, contracts.STRINGS)
    return {"de": path}


def options(**given: float) -> TranslatorOptions:
    return TranslatorOptions(**(SMALL | SHORT | given))  # type: ignore[arg-type]


@pytest.mark.parametrize("steps", [5, 30])  # fewer than a line of the log has
def test_a_diverged_training_ends_with_an_error_and_leaves_no_model(tmp_path: Path, steps: int) -> None:
    with pytest.raises(TrainingError, match="training of the translator diverged"):
        train(strings(tmp_path / "de.parquet"), ["en-de"], options(learning_rate=1e10, max_steps=steps), tmp_path)
    assert not (tmp_path / "model").exists()
    assert not list((tmp_path / "checkpoints").glob("checkpoint-*"))


def test_examples_that_are_too_long_are_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    files = strings(tmp_path / "de.parquet", train_end=LONG)
    with caplog.at_level(logging.INFO, logger="polybatch"):
        assert train(files, ["en-de"], options(max_steps=2), tmp_path).is_dir()
    assert "train: 48 of 96 examples left out, longer than max_tokens (120)" in caplog.text
    assert "dev: " not in caplog.text


def test_no_translator_comes_of_a_split_whose_examples_are_all_too_long(tmp_path: Path) -> None:
    files = strings(tmp_path / "de.parquet", dev_end=LONG)
    with pytest.raises(TrainingError, match="No dev example is short enough") as dev:
        train(files, ["en-de"], options(max_steps=2), tmp_path / "dev")
    assert "12 examples, all longer" in str(dev.value)
    with pytest.raises(TrainingError, match="No train example is short enough"):
        train(files, ["en-de"], options(max_steps=2, max_tokens=3), tmp_path / "train")


def test_a_conversion_that_collapsed_or_says_something_else_is_refused(tmp_path: Path) -> None:
    files = {"de": tmp_path / "de.parquet"}
    rows = [
        {"string_id": f"{i:016x}", "english": f"the device {i} is on", "text": f"das Gerät {i}", "split": split}
        for i, split in enumerate(["train", "test"] * 60 + ["dev"])
    ]
    write_rows(files["de"], rows, contracts.STRINGS)
    model = train(files, ["en-de"], options(max_steps=2), tmp_path / "one")  # two steps: it says one thing to all
    facts = '{"license": "CC0-1.0", "data": "a test", "training": {}, "command": "none"}'
    command = ["--model", str(model), "--strings", f"de={files['de']}", "--directions", "en-de", "--facts", facts]
    output = tmp_path / "translator"
    with pytest.raises(DataError, match="en-de has collapsed"):
        convert.main([*command, "--output", str(output)])
    assert not output.exists()

    convert.main([*command, "--output", str(output), "--min-distinct", "0"])
    card = (output / "README.md").read_text("utf-8")
    assert "the language of its training data (a test)" in card
    assert "Home Assistant" not in card

    other = train(files, ["en-de"], options(max_steps=2, seed=2), tmp_path / "two")
    with pytest.raises(PolybatchError, match="does not translate as the trained one does"):
        convert.check_agreement(other, output, files, "en-de")
    assert convert.measure(output, files, ["en-de"], DecodingOptions(device="cpu"), 0.0)["en-de"]["count"] > 0


@pytest.mark.parametrize(("long", "agreement"), [(0.5, 1.0), (1.0, None)])
def test_sentences_that_are_translated_in_parts_say_nothing_of_a_conversion(
    tmp_path: Path, long: float, agreement: float | None
) -> None:
    splits = ["train", "test"] * 40 + ["dev"]
    ends = [" and so on" * 60 if split == "test" and i < 80 * long else "" for i, split in enumerate(splits)]
    rows = [
        {"string_id": f"{i:016x}", "english": f"the device {i} is on{end}", "text": f"das Gerät {i}", "split": split}
        for i, (split, end) in enumerate(zip(splits, ends, strict=True))
    ]
    write_rows(tmp_path / "de.parquet", rows, contracts.STRINGS)
    files = {"de": tmp_path / "de.parquet"}
    model = train(files, ["en-de"], options(max_steps=2), tmp_path)
    convert.convert(model, tmp_path / "translator", "float32")
    card = {"name": "t", "directions": ["en-de"], "family": "m2m100"}
    write_json(tmp_path / "translator" / "translator.json", card)
    assert convert.check_agreement(model, tmp_path / "translator", files, "en-de") == agreement


def test_checkpoints_of_other_code_are_discarded(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    files, few = strings(tmp_path / "de.parquet"), options(max_steps=2, save_steps=2)
    with caplog.at_level(logging.INFO, logger="polybatch"):
        train(files, ["en-de"], few, tmp_path)
        train(files, ["en-de"], few, tmp_path)
        assert "goes on after step 2" in caplog.text and "discarded" not in caplog.text
        monkeypatch.setattr("polybatch.translation.train.code_digest", lambda module: "another")
        caplog.clear()
        train(files, ["en-de"], few, tmp_path)
    assert "discarded, they were made with other: code" in caplog.text and "goes on" not in caplog.text
