"""Training, converting and running a translator, with a real (and very small) M2M100 through CTranslate2."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from polybatch import contracts
from polybatch.convert_translator import check_agreement, convert
from polybatch.errors import ConfigError, DataError
from polybatch.files import write_json, write_rows
from polybatch.train_translator import TokenBatches, TranslatorOptions, train
from polybatch.translate import check_collapse, round_trip, shard_rows
from polybatch.translator import CARD, DecodingOptions, Translator, _sentences

NOUNS = ["lamp", "door", "fan", "pump", "valve", "alarm", "heater", "sensor"]
OPTIONS = TranslatorOptions(
    vocab_size=400, d_model=32, encoder_layers=1, decoder_layers=1, heads=2, ffn=32, batch_tokens=200,
    warmup_steps=2, decay_steps=2, max_steps=6, eval_steps=6, save_steps=3,
)  # fmt: skip


@pytest.fixture(scope="module")
def strings(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    path = tmp_path_factory.mktemp("strings") / "de.parquet"
    rows = []
    for i, (a, b) in enumerate((a, b) for a in NOUNS for b in NOUNS):
        split = ("dev", "test")[i % 2] if i % 5 == 0 else "train"
        text = (f"Turns on the {a} of the {b}.", f"Schaltet {a}-Gerät von {b} ein.")
        rows.append({"string_id": str(i), "english": text[0], "text": text[1], "split": split})
    write_rows(path, rows, contracts.STRINGS)
    return {"de": path}


@pytest.fixture(scope="module")
def model(strings: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train(strings, ["en-de", "de-en"], OPTIONS, tmp_path_factory.mktemp("work"))


@pytest.fixture(scope="module")
def folder(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("translators") / "small"
    convert(model, folder, "float32")
    write_json(folder / CARD, {"directions": ["en-de", "de-en"]})
    return folder


def test_conversion_agrees_with_transformers(model: Path, folder: Path, strings: dict[str, Path]) -> None:
    assert check_agreement(model, folder, strings, "en-de") == 1.0


def test_training_resumes_to_the_same_weights(model: Path, strings: dict[str, Path], tmp_path: Path) -> None:
    import shutil

    work = tmp_path / "work"
    shutil.copytree(model.parent, work)
    shutil.rmtree(work / "model")
    shutil.rmtree(work / "checkpoints" / "checkpoint-6")  # as if killed after step 3
    again = train(strings, ["en-de", "de-en"], OPTIONS, work)
    assert (again / "model.safetensors").read_bytes() == (model / "model.safetensors").read_bytes()


def test_an_untrained_translator_is_caught_as_collapsed(folder: Path) -> None:
    rows = [
        {"pair_id": str(i), "source": "s", "query": f"Start the {a}", "passage": f"Starts the {a} with the {b}."}
        for i, (a, b) in enumerate((a, b) for a in NOUNS for b in NOUNS)
    ]
    options = DecodingOptions(max_length=20)
    forward, backward = Translator(folder, "en-de", options), Translator(folder, "de-en", options)
    with pytest.raises(DataError, match="has collapsed"):
        round_trip(rows, forward, backward, min_distinct=0.5)


def test_translations_keep_order_and_do_not_depend_on_company(folder: Path) -> None:
    translator = Translator(folder, "en-de", DecodingOptions(max_length=20))
    texts = ["Turns on the lamp.", "", "The pump.", "Turns on the valve of the pump at the door."]
    together = translator.translate(texts)
    assert together[1] == ""
    assert [translator.translate([t])[0] for t in texts] == together


def test_few_outputs_for_few_inputs_are_no_collapse(folder: Path) -> None:
    check_collapse({"a": "x", "b": "x"}, Translator(folder, "en-de", DecodingOptions()), 0.5)


def test_a_missing_direction_is_told(folder: Path) -> None:
    with pytest.raises(ConfigError, match="does not translate en-es"):
        Translator(folder, "en-es", DecodingOptions())
    with pytest.raises(DataError, match=r"no model\.bin"):
        (folder.parent / "empty").mkdir(exist_ok=True)
        Translator(folder.parent / "empty", "en-de", DecodingOptions())


@pytest.mark.parametrize(
    "text",
    ["One. Two!  Three?", "No full stop", " Sets 2.5 GHz, e.g. for Wi-Fi. Then stops.", "第一句。第二句。"],
)
def test_sentences_rejoin_to_the_text(text: str) -> None:
    assert "".join(a + b for a, b in _sentences(text, "en")).strip() == text.strip()


def test_shards_partition_the_english_only_pairs() -> None:
    pairs = [{"pair_id": i, "kind": "english_only" if i % 3 else "parallel", "split": "train"} for i in range(20)]
    ids = sorted(row["pair_id"] for shard in range(4) for row in shard_rows(pairs, shard, 4))
    assert ids == [i for i in range(20) if i % 3]


def test_token_batches_are_bounded_and_reproducible() -> None:
    lengths = [3 + i % 40 for i in range(300)]
    batches = TokenBatches([[5] * n for n in lengths], [[5] * n for n in lengths], TranslatorOptions(batch_tokens=200))
    first, second = batches.epoch(0), batches.epoch(1)
    assert sorted(i for rows in first for i in rows) == list(range(300))
    assert all(max(lengths[i] for i in rows) * len(rows) <= 200 for rows in first)
    assert [list(r) for r in first] == [list(r) for r in batches.epoch(0)] != [list(r) for r in second]


def test_shipped_translators_are_whole_and_say_where_they_come_from() -> None:
    for folder in sorted((Path(__file__).parents[2] / "resources" / "translators").iterdir()):
        card = json.loads((folder / CARD).read_text("utf-8"))
        assert card["license"] == "Apache-2.0"
        assert set(card["scores"]) == set(card["directions"])
        for direction in card["directions"]:
            text = "Turns on the light." if direction.startswith("en") else "Sensor"
            assert Translator(folder, direction, DecodingOptions()).translate([text])[0]
