"""Training, converting and running a translator, with a real (and very small) M2M100 through CTranslate2."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "standins"))

import translators as standins
from hub_cache import HubCache

from polybatch.core import contracts
from polybatch.core.errors import ConfigError, DataError
from polybatch.core.files import read_json, read_parquet, write_json, write_rows
from polybatch.core.languages import language
from polybatch.translation.convert import check_agreement, convert
from polybatch.translation.distinct import check_collapse
from polybatch.translation.measures import Measurer
from polybatch.translation.model_files import open_source
from polybatch.translation.options import DecodingOptions, TranslatorOptions, TranslatorSource
from polybatch.translation.pretrained import convert as convert_hub
from polybatch.translation.shard import main, round_trip, round_trips, shard_rows
from polybatch.translation.train import TokenBatches, train
from polybatch.translation.translator import CARD, Translator, _gap, _sentences, _told, split_long, workers_of

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


def test_training_resumes_to_the_same_weights(
    model: Path, strings: dict[str, Path], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    work = tmp_path / "work"
    shutil.copytree(model.parent, work)
    shutil.rmtree(work / "model")
    shutil.rmtree(work / "checkpoints" / "checkpoint-6")  # as if killed after step 3
    caplog.set_level("INFO", logger="polybatch")
    again = train(strings, ["en-de", "de-en"], OPTIONS, work)
    assert "goes on after step 3" in caplog.text  # not from the beginning, which gives the same weights
    assert (again / "model.safetensors").read_bytes() == (model / "model.safetensors").read_bytes()


def test_an_untrained_translator_is_caught_as_collapsed(folder: Path) -> None:
    rows = [
        {
            "pair_id": str(i),
            "source": "s",
            "query": f"Start the {a}",
            "passage": f"Starts the {a} with the {b}.",
            "hard_negatives": [],
        }
        for i, (a, b) in enumerate((a, b) for a in NOUNS for b in NOUNS)
    ]
    options = DecodingOptions(max_length=20)
    forward, backward = Translator(folder, "en-de", options), Translator(folder, "de-en", options)
    with Measurer("de") as measurer, pytest.raises(DataError, match="has collapsed"):
        round_trip(rows, forward, backward, measurer, min_distinct=0.5)


def test_a_shard_in_parts_is_the_shard_at_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [
        {
            "pair_id": str(i),
            "source": "s",
            "query": f"Start the {noun}",
            "passage": f"Starts the {noun}. Stops the {NOUNS[0]}.",
            "hard_negatives": [f"Stops the {noun}", ""],
        }
        for i, noun in enumerate(NOUNS)
    ]
    options = DecodingOptions(max_length=20)

    def translated() -> list[dict]:
        forward, backward = Translator(folder, "en-de", options), Translator(folder, "de-en", options)
        return pa.concat_tables(round_trips(iter(rows), len(rows), forward, backward, 0.0)).to_pylist()

    at_once = translated()
    monkeypatch.setattr("polybatch.translation.shard._PAIRS_AT_ONCE", 3)
    assert [row["pair_id"] for row in at_once] == [row["pair_id"] for row in rows]
    assert translated() == at_once


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


@pytest.fixture(scope="module")
def replacing(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A translator that replaces piece for piece, so that a translation back gives the text again."""
    home = tmp_path_factory.mktemp("hf")
    (snapshot,) = standins.make(HubCache(home), [standins.NLLB])
    convert_hub(
        open_source(snapshot),
        ["en-de", "de-en", "en-zh", "zh-en"],
        TranslatorSource(quantization="float32"),
        home / "nllb",
    )
    return home / "nllb"


@pytest.mark.parametrize(
    "text",
    [
        "One. Two!  Three?",
        "A line.\n\n  Another paragraph. ",
        "No full stop",
        " Sets 2.5 GHz, e.g. for Wi-Fi. Then stops.",
        "第一句。第二句。",
    ],
)
def test_sentences_rejoin_to_the_text(text: str) -> None:
    assert "".join(a + b for a, b in _sentences(text, "en")).strip() == text.strip()


@pytest.mark.parametrize(
    "sentence",
    [
        "when the red light is on,  the door opens and the water is cold",
        "灯打开的时候，门就会自动关闭并且水会变冷，城市的国王会打开房子的门",
        "x" * 61,
        "कि" * 20,
    ],
)
def test_a_long_sentence_is_split_and_nothing_is_lost(sentence: str) -> None:
    parts = list(split_long(sentence, lambda text: len(text) <= 20))
    assert "".join(part + space for part, space in parts) == sentence
    assert all(5 <= len(part) <= 20 for part, _ in parts)
    assert not any(part[0] == "\u093f" for part, _ in parts), "a vowel sign stays with its letter"


def test_a_clause_is_where_a_long_sentence_is_cut() -> None:
    sentence = "when the red light is on, the door opens and the water is cold"
    assert next(split_long(sentence, lambda text: len(text) <= 40)) == ("when the red light is on,", " ")
    assert next(split_long("灯打开的时候，门就会自动关闭并且", lambda text: len(text) <= 10)) == ("灯打开的时候，", "")
    assert list(split_long("ab", lambda text: False)) == [("a", ""), ("b", "")], "ends, though nothing ever fits"


def test_a_text_too_long_for_the_model_comes_back_whole(replacing: Path) -> None:
    text = " ".join(["the king of the river opens the red door, and the water is cold"] * 40) + ".\n\nwhat city?"
    options = DecodingOptions(beam_size=1, max_length=100)
    forward, backward = Translator(replacing, "en-de", options), Translator(replacing, "de-en", options)
    (there,) = forward.translate_texts([text])
    assert forward.work.split == 1
    assert forward.work.sentences > 5
    assert forward.work.unfinished == 0
    assert there.count("\n\n") == 1
    assert backward.translate_texts([there]) == [text]


def test_a_translation_cut_off_is_counted(folder: Path) -> None:
    translator = Translator(folder, "en-de", DecodingOptions(max_length=3))
    translator.translate(["Turns on the lamp."])
    assert translator.work.unfinished > 0


@pytest.mark.parametrize(
    ("space", "source", "target", "gap"),
    [
        (" ", "en", "de", " "),
        ("\n\n ", "en", "de", "\n\n "),
        (" ", "en", "zh", ""),
        (" \n", "en", "ja", "\n"),
        (" ", "en", "th", " "),
        ("", "zh", "en", " "),
        ("", "th", "en", " "),
        ("", "zh", "ja", ""),
        ("", "en", "de", ""),
    ],
)
def test_what_stands_between_sentences_is_put_back(space: str, source: str, target: str, gap: str) -> None:
    assert _gap(space, source, target) == gap


def test_devices_and_types_that_are_not_there_are_told(folder: Path) -> None:
    import ctranslate2

    if not ctranslate2.get_cuda_device_count():
        with pytest.raises(ConfigError, match="CTranslate2 finds none"):
            Translator(folder, "en-de", DecodingOptions(device="cuda"))
    with pytest.raises(ConfigError, match=r"cannot be run as nonsense(.|\n)*float32"):
        Translator(folder, "en-de", DecodingOptions(compute_type="nonsense"))


def test_auto_is_the_cpu_where_no_card_is_and_says_so_if_one_was_given(
    folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    import ctranslate2

    if ctranslate2.get_cuda_device_count():
        pytest.skip("there is a card")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    translator = Translator(folder, "en-de", DecodingOptions())
    assert (translator.device, translator.compute_type) == ("cpu", "float32")
    assert "CPU" not in caplog.text
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    Translator(folder, "en-de", DecodingOptions())
    assert "given the card(s) 0, BUT TRANSLATING ON THE CPU" in caplog.text


def test_cublas_of_the_package_is_loaded_where_it_is_installed(tmp_path: Path) -> None:
    """With a library of the system in its place: what counts is that it is found and loaded."""
    library = next(line.split()[-1] for line in Path("/proc/self/maps").read_text().splitlines() if "libm.so" in line)
    (tmp_path / "nvidia/cublas/lib").mkdir(parents=True)
    for name in ("libcublas.so.12", "libcublasLt.so.12"):
        shutil.copyfile(library, tmp_path / "nvidia/cublas/lib" / name)
    record = tmp_path / "nvidia_cublas_cu12-12.9.1.4.dist-info"
    record.mkdir()
    (record / "METADATA").write_text("Metadata-Version: 2.1\nName: nvidia-cublas-cu12\nVersion: 12.9.1.4\n")
    (record / "RECORD").write_text(
        "".join(f"nvidia/cublas/lib/{n},,\n" for n in ("libcublas.so.12", "libcublasLt.so.12"))
    )
    script = (
        "from polybatch.translation.translator import load_cublas; load_cublas(); print(open('/proc/self/maps').read())"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, "PYTHONPATH": f"{tmp_path}:{os.environ.get('PYTHONPATH', '')}"},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert str(tmp_path / "nvidia/cublas/lib/libcublas.so.12") in done.stdout
    assert str(tmp_path / "nvidia/cublas/lib/libcublasLt.so.12") in done.stdout


def test_faults_of_a_card_are_told_in_terms_of_the_configuration() -> None:
    """In the words of CTranslate2 and CUDA; no card is here to say them."""
    missing = _told(RuntimeError("Library libcublas.so.12 is not found or cannot be loaded"), DecodingOptions())
    assert isinstance(missing, ConfigError) and "pip install nvidia-cublas-cu12" in str(missing)
    full = _told(RuntimeError("CUDA failed with error out of memory"), DecodingOptions(batch_tokens=9000))
    assert isinstance(full, ConfigError) and "9000" in str(full)
    other = RuntimeError("something else")
    assert _told(other, DecodingOptions()) is other


def test_shards_partition_the_english_only_pairs() -> None:
    pairs = [{"pair_id": str(i), "kind": "english_only" if i % 3 else "parallel", "split": "train"} for i in range(20)]
    shards = [[row["pair_id"] for row in shard_rows(pairs, shard, 4, frozenset())] for shard in range(4)]
    assert sorted(int(i) for ids in shards for i in ids) == [i for i in range(20) if i % 3]
    without = [[row["pair_id"] for row in shard_rows(pairs, shard, 4, frozenset({"7"}))] for shard in range(4)]
    assert without == [[i for i in ids if i != "7"] for ids in shards], "the others stay where they were"


def test_the_stage_translates_its_shard(replacing: Path, tmp_path: Path) -> None:
    rows = [
        {
            **{"pair_id": str(i), "source": "s", "query": f"what {noun}?", "passage": f"the {noun} opens the door."},
            **{"hard_negatives": ["the red house.", f"no {noun}.", "too many"], "license": "MIT"},
            **{"split": "train", "kind": "english_only"},
        }
        for i, noun in enumerate(NOUNS)
    ]
    write_rows(tmp_path / "en.parquet", rows, contracts.COLLECTED)
    taken_out = [
        {"pair_id": "2", "source": "s", "lang": lang, "side": "query", "overlap": "exact", "share": 1.0,
         "benchmark": "b", "text_id": "t"}
        for lang in ("en", "de")
    ]  # fmt: skip
    write_rows(tmp_path / "pairs.parquet", taken_out, contracts.CONTAMINATED)
    main([
        *("--collected", str(tmp_path / "en.parquet"), "--contaminated", str(tmp_path / "pairs.parquet")),
        *("--lang", "zh", "--forward", str(replacing), "--backward", str(replacing), "--hard-negatives", "2"),
        *("--shards", "2", "--shard", "0", "--output", str(tmp_path / "zh" / "0.parquet")),
    ])  # fmt: skip
    found = read_parquet(tmp_path / "zh" / "0.parquet", contracts.ROUND_TRIP).to_pylist()
    assert [row["pair_id"] for row in found] == ["0", "4", "6"]
    for row in found:
        assert row["query_back"] == row["english_query"] != row["query"]
        assert row["passage_back"] == row["english_passage"]
        assert len(set(row["hard_negatives"])) == 3
        assert row["hard_negatives"][2] == "", "not translated, and in its place"
        assert (row["query_chrf"], row["passage_chrf"], row["fault"]) == (100, 100, "")
        assert row["length_ratio"] == len(row["passage"]) / len(row["english_passage"]) / language("zh").length
    stats = read_json(tmp_path / "zh" / "0.stats.json")
    # The house of all pairs is translated once, and nothing but queries and passages back.
    assert (stats["forward"]["sentences"], stats["backward"]["sentences"], stats["sentences"]) == (10, 6, 16)
    assert (stats["pairs"], stats["device"], stats["compute_type"]) == (3, "cpu", "float32")
    assert stats["tokens"] > stats["sentences"] > 0 < stats["seconds"]


def test_a_shard_may_be_empty(replacing: Path, tmp_path: Path) -> None:
    write_rows(tmp_path / "en.parquet", [], contracts.COLLECTED)
    main([
        *("--collected", str(tmp_path / "en.parquet"), "--lang", "de", "--forward", str(replacing)),
        *("--backward", str(replacing), "--output", str(tmp_path / "0.parquet")),
    ])  # fmt: skip
    assert read_parquet(tmp_path / "0.parquet", contracts.ROUND_TRIP).num_rows == 0


def test_a_translator_trained_in_bf16_is_another_one_kept_in_float32(
    strings: dict[str, Path], model: Path, tmp_path: Path
) -> None:
    from safetensors.torch import load_file

    coarse = train(strings, ["en-de", "de-en"], OPTIONS.changed(precision="bf16"), tmp_path)
    weights, others = load_file(coarse / "model.safetensors"), load_file(model / "model.safetensors")
    differences = [(weights[name] - others[name]).abs().max().item() for name in others]
    assert {str(weight.dtype) for weight in weights.values()} == {"torch.float32"}
    assert 0 < max(differences) < 0.1


def test_token_batches_are_bounded_and_reproducible() -> None:
    lengths = [3 + i % 40 for i in range(300)]
    batches = TokenBatches([[5] * n for n in lengths], [[5] * n for n in lengths], TranslatorOptions(batch_tokens=200))
    first, second = batches.epoch(0), batches.epoch(1)
    assert sorted(i for rows in first for i in rows) == list(range(300))
    assert all(max(lengths[i] for i in rows) * len(rows) <= 200 for rows in first)
    assert [list(r) for r in first] == [list(r) for r in batches.epoch(0)] != [list(r) for r in second]


def test_shipped_translators_are_whole_and_say_where_they_come_from() -> None:
    for folder in sorted((Path(__file__).parents[3] / "resources" / "translators").iterdir()):
        card = json.loads((folder / CARD).read_text("utf-8"))
        assert card["license"] == "Apache-2.0"
        assert set(card["scores"]) == set(card["directions"])
        for direction in card["directions"]:
            text = "Turns on the light." if direction.startswith("en") else "Sensor"
            assert Translator(folder, direction, DecodingOptions()).translate([text])[0]


@pytest.mark.parametrize(("threads", "workers"), [(1, 1), (2, 2), (3, 3), (4, 4), (5, 1), (6, 3), (8, 4), (16, 4)])
def test_threads_are_all_used_by_few_workers(threads: int, workers: int) -> None:
    assert workers_of(threads) == workers


def test_a_sentence_is_translated_once_over_all_calls(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    translator = Translator(folder, "en-de", DecodingOptions(device="cpu"))
    first = translator.translate_texts(["Turns on the lamp. Opens the door.", "Opens the door.", ""])
    assert translator.work.sentences == 2
    assert translator.translate_texts(["Opens the door. Closes the valve."])[0].startswith(first[1])
    assert translator.work.sentences == 3
    monkeypatch.setattr("polybatch.translation.translator._REMEMBERED_SENTENCES", 3)
    again = [translator.translate_texts(["Stops the pump.", "Opens the door."]) for _ in range(2)]
    assert again[0] == again[1]
    assert again[0][1] == first[1]
    assert translator.work.sentences == 5  # the last one is met with a full memory
