"""What each objective computes, held against the formula in plain numpy; what it reads; what it cannot be used with."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from toy_training import HYBRID, LANGS, OPTIONS, make_study, make_wide_encoder, options, text

from polybatch.core.contracts import OBJECTIVES, TAUGHT_OBJECTIVES
from polybatch.core.errors import ConfigError
from polybatch.pairs.table import read_pairs
from polybatch.training.batch_sampler import BatchSampler
from polybatch.training.command_line import parse
from polybatch.training.composition import composition
from polybatch.training.inputs import load_encoder, set_up
from polybatch.training.objectives.choice import loss_of, ready
from polybatch.training.objectives.embedded import EmbeddedBatch, cosine_distance, squared_distance
from polybatch.training.objectives.jsd import divergence_of_dimensions
from polybatch.training.objectives.known import objective_of, refused_sampling
from polybatch.training.objectives.lakda import divergence_of_scores
from polybatch.training.objectives.teacher import Collator, load_teacher
from polybatch.training.sampling import Sampling
from polybatch.training.schedule import schedule
from polybatch.training.stages import Stage, check_validations

ROWS, WIDTH, TEMPERATURE = 5, 7, 0.05
RNG = np.random.default_rng(4)


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    base = make_study(tmp_path_factory.mktemp("study"))
    make_wide_encoder(base / "wide")
    return base


@pytest.fixture(scope="module")
def table(study):
    return read_pairs({lang: study / f"{lang}.parquet" for lang in LANGS}, hard_negatives=2)


def arrays(number, rows=ROWS):
    return [RNG.normal(size=(rows, WIDTH)) for _ in range(number)]


def tensors(*given):
    return [torch.tensor(one) for one in given]


# The formulas, in numpy


def unit(x):
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def softmax(x):
    raised = np.exp(x - x.max(axis=-1, keepdims=True))
    return raised / raised.sum(axis=-1, keepdims=True)


def kl(p, q):
    return (p * np.log(p / q)).sum(axis=-1).mean()


def infonce(queries, candidates):
    return -np.log(np.diagonal(softmax(unit(queries) @ unit(candidates).T / TEMPERATURE))).mean()


def scores(queries, candidates):
    return softmax(unit(queries) @ unit(candidates).T)


def jsd(x, y):
    x, y = (softmax(np.sqrt(WIDTH) * unit(one)) for one in (x, y))
    middle = (x + y) / 2
    return (kl(x, middle) + kl(y, middle)) / 2


def cosine(x, y):
    return (1 - (unit(x) * unit(y)).sum(axis=-1)).mean()


def squared(x, y):
    return ((x - y) ** 2).sum(axis=-1).mean()


# Values


def batch_of(own, taught=None, step=0):
    """A batch of embeddings by column; InfoNCE is the library's."""
    from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss

    loss = MultipleNegativesRankingLoss(torch.nn.Identity(), scale=1 / TEMPERATURE)
    own = {name: torch.tensor(value) for name, value in own.items()}
    return EmbeddedBatch(
        own,
        own,
        {side: torch.tensor(value) for side, value in (taught or {}).items()},
        lambda embeddings: loss.compute_loss_from_embeddings(embeddings, None),
        lambda tensor: tensor,
        step,
    )


@pytest.mark.parametrize("number", [0, 2])
def test_lakda_is_its_formula(number):
    q, p, second, *negatives = arrays(3 + number)
    own = {"query": q, "passage": p, **{f"negative_{k + 1}": one for k, one in enumerate(negatives)}}
    found = objective_of("lakda", options(lakda_weight=0.3), "x-y").loss(batch_of({**own, "second_query": second}))
    candidates = np.concatenate([p, *negatives])
    expected = 0.7 * infonce(q, candidates) + 0.3 * kl(scores(second, candidates), scores(q, candidates))
    assert float(found) == pytest.approx(expected, rel=1e-9)


def test_jsd_is_its_formula():
    q, p, second_q, second_p, negative = arrays(5)
    own = {"query": q, "passage": p, "negative_1": negative, "second_query": second_q, "second_passage": second_p}
    found = objective_of("jsd", options(jsd_weight=3.0), "x-x").loss(batch_of(own))
    divergence = (jsd(q, second_q) + jsd(p, second_p)) / 2
    assert float(found) == pytest.approx(infonce(q, np.concatenate([p, negative])) + 3 * divergence, rel=1e-9)


@pytest.mark.parametrize(("name", "distance"), [("mse", squared), ("cosine", cosine)])
def test_distillation_is_its_formula(name, distance):
    q, p, english_q, english_p, aim_q, aim_p = arrays(6)
    own = {"query": q, "passage": p, "english_query": english_q, "english_passage": english_p}
    distillation = objective_of("distillation", options(distillation_distance=name), "x-y")
    found = distillation.loss(batch_of(own, {"query": aim_q, "passage": aim_p}))
    expected = distance(q, aim_q) + distance(english_q, aim_q) + distance(p, aim_p) + distance(english_p, aim_p)
    assert float(found) == pytest.approx(expected / 2, rel=1e-9)


def test_mimo_distils_first_and_then_ranks_too():
    q, p, aim_q, aim_p = arrays(4)
    mimo = objective_of("mimo", options(max_steps=10, mimo_stage1_share=0.3), "x-y")
    distance = (cosine(q, aim_q) + cosine(p, aim_p)) / 2
    both = 0.2 * infonce(q, p) + 0.8 * distance
    for step, expected in ((0, distance), (2, distance), (3, both), (9, both)):
        found = mimo.loss(batch_of({"query": q, "passage": p}, {"query": aim_q, "passage": aim_p}, step))
        assert float(found) == pytest.approx(expected, rel=1e-9)
    assert mimo.stages(10) == [Stage(3, 1e-4), Stage(7, 2e-5)]


def test_mimo_may_begin_with_its_second_stage():
    mimo = objective_of("mimo", options(mimo_stage1_share=0.0), "x-y")
    assert mimo.stages(10) == [Stage(10, 2e-5)] and mimo.has_candidates(0)


@pytest.mark.parametrize("term", [divergence_of_dimensions, cosine_distance, squared_distance])
def test_equal_texts_are_at_distance_0_with_a_finite_gradient(term):
    (same,) = tensors(*arrays(1))
    first, second = (same.clone().requires_grad_() for _ in range(2))
    value = term(first, second)
    value.backward()
    assert float(value.detach()) == pytest.approx(0, abs=1e-12)
    assert torch.isfinite(first.grad).all() and float(first.grad.abs().max()) < 1e-6


@pytest.mark.parametrize("term", [divergence_of_dimensions, cosine_distance, squared_distance, divergence_of_scores])
def test_gradients_are_the_slopes_of_the_values(term):
    given = [one.requires_grad_() for one in tensors(*arrays(3 if term is divergence_of_scores else 2, rows=3))]
    assert torch.autograd.gradcheck(term, given)


def test_a_step_down_the_gradient_brings_parallel_texts_together():
    first, second, candidates = (one.requires_grad_() for one in tensors(*arrays(3)))
    for term, given in (
        (divergence_of_scores, (first, second, candidates)),
        (divergence_of_dimensions, (first, second)),
    ):
        before = term(*given)
        slopes = torch.autograd.grad(before, given)
        after = term(*(one - 0.05 * slope / slope.norm() for one, slope in zip(given, slopes, strict=True)))
        assert after.item() < before.item()


def test_bf16_keeps_small_divergences():
    first, candidates = (one.float() for one in tensors(*arrays(2)))
    second = first + 1e-3
    exact = divergence_of_scores(first, second, candidates)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(divergence_of_scores(first, second, candidates), exact)


# What is read


def test_the_second_language_changes_nothing_else(table):
    one, two = (
        BatchSampler(table, Sampling("hybrid", 0.5), batch_size=8, num_steps=20, seed=3, second=second)
        for second in ((), ("query", "passage"))
    )
    drawn = 0
    for step in range(20):
        plain, further = one.draw(step), two.draw(step)
        assert plain.second_langs.shape == (8, 0)
        for before, after in zip(plain[:-1], further[:-1], strict=True):
            assert np.array_equal(before, after)
        for column, langs in enumerate((further.query_langs, further.passage_langs)):
            second = further.second_langs[:, column]
            assert table.present[further.rows, second].all() and (second != langs).all()
            drawn += len(set(second.tolist())) > 1
    assert drawn
    counted = composition(two, 20)[0]
    assert counted["second_texts"] == {"parallel": 2 * 20 * 8, "own": 0}
    assert "second_texts" not in composition(one, 20)[0]


def test_a_pair_in_one_language_is_its_own_second_text(study):
    table = read_pairs({lang: study / f"{lang}.parquet" for lang in ("en", "tr")})
    sampler = BatchSampler(table, Sampling("x-x-mono"), batch_size=8, num_steps=20, seed=0, second=("query",))
    pairs = pairs_of(table, "lakda")
    alone = 0
    for row in (row for batch in sampler for row in batch):
        item = pairs[row]
        if table.present[row.row].all():
            assert item["second_query"] != item["query"]
        else:
            assert item["second_query"] == item["query"]
            alone += 1
    assert sampler.drawn.counts()["second_texts"] == {"parallel": 160 - alone, "own": alone} and alone


def pairs_of(table, name):
    from polybatch.training.trainer import TrainingPairs

    return TrainingPairs(table, objective_of(name, OPTIONS, "x-y"))


@pytest.mark.parametrize(
    ("name", "columns"),
    [
        ("infonce", []),
        ("lakda", ["second_query"]),
        ("jsd", ["second_query", "second_passage"]),
        ("distillation", ["english_query", "english_passage", "teacher_query", "teacher_passage"]),
        ("mimo", ["teacher_query", "teacher_passage"]),
    ],
)
def test_a_row_has_what_its_objective_reads(table, name, columns):
    objective = objective_of(name, OPTIONS, "x-y")
    pairs = pairs_of(table, name)
    (batch,) = BatchSampler(table, HYBRID, batch_size=8, num_steps=1, seed=0, second=objective.second)
    for row in batch:
        item, number = pairs[row], int(table.pair_id(row.row), 16)
        assert [column for column in item if column not in ("query", "passage") and "negative" not in column] == columns
        for column in columns:
            lang = "en" if not column.startswith("second") else LANGS[row.second_langs[column.endswith("passage")]]
            assert item[column] == (text(lang, number) if column.endswith("passage") else f"{lang}{number}")


# Ways to compute a batch


def features(model, table, objective, teacher=None):
    """A batch of eight rows, tokenised, as the trainer hands it to the loss."""
    from sentence_transformers.sentence_transformer.data_collator import SentenceTransformerDataCollator

    usual = SentenceTransformerDataCollator(model.preprocess)
    (batch,) = BatchSampler(table, HYBRID, batch_size=8, num_steps=1, seed=1, second=objective.second)
    pairs = pairs_of(table, objective.name)
    collated = (Collator(usual, teacher) if teacher else usual)([pairs[row] for row in batch])
    names = dict.fromkeys(name.rsplit("_input_ids")[0] for name in collated if name.endswith("_input_ids"))
    return [
        {key: collated[f"{name}_{key}"] for key in ("input_ids", "attention_mask") if f"{name}_{key}" in collated}
        for name in names
    ]


def loss_and_gradients(study, table, name, teacher_name=None, step=20, **changes):
    changed = options(**changes)
    model = load_encoder(str(study / "without_dropout"))
    set_up(model, changed)
    teacher = None
    if name in TAUGHT_OBJECTIVES:
        teacher = load_teacher(str(study / (teacher_name or "encoder")), changed, own=teacher_name is None)
    objective = objective_of(name, changed, "x-y")
    ready(model, teacher, seed=5)
    loss = loss_of(objective, model, changed, teacher=teacher, gather=False)
    loss.step = step
    value = loss(features(model, table, objective, teacher), None)
    value.backward()
    return float(value.detach()), {n: p.grad for n, p in model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("name", OBJECTIVES[1:])
@pytest.mark.parametrize("changes", [{"mini_batch_size": 3}, {"bucket_width": 3}, {"bucket_width": "auto"}])
def test_gradcache_and_buckets_compute_what_one_pass_does(study, table, name, changes):
    teacher = "wide" if name in TAUGHT_OBJECTIVES else None
    value, gradients = loss_and_gradients(study, table, name, teacher, bucket_width=None)
    again, others = loss_and_gradients(study, table, name, teacher, **{"bucket_width": None, **changes})
    assert again == pytest.approx(value, rel=1e-5)
    assert others.keys() == gradients.keys()
    largest = max(float(one.abs().max()) for one in gradients.values())
    for parameter, gradient in gradients.items():
        torch.testing.assert_close(others[parameter], gradient, rtol=1e-3, atol=1e-5 * largest)


def test_a_teacher_of_another_width_is_reached_by_a_projection_which_is_trained(study, table):
    _, gradients = loss_and_gradients(study, table, "mimo", "wide")
    assert gradients["to_teacher.linear.weight"].shape == (48, 32)
    assert float(gradients["to_teacher.linear.weight"].abs().max()) > 0
    assert "to_teacher.linear.weight" not in loss_and_gradients(study, table, "mimo")[1]


def test_a_teacher_reads_with_its_own_tokenizer_and_learns_nothing(study, table):
    teacher = load_teacher(str(study / "wide"), options(max_length=20), own=False)
    assert teacher.model.max_seq_length == 16 and teacher.width == 48
    objective = objective_of("mimo", OPTIONS, "x-y")
    model = load_encoder(str(study / "encoder"))
    set_up(model, OPTIONS)
    *_, query, passage = features(model, table, objective, teacher)
    pairs = pairs_of(table, "mimo")
    (batch,) = BatchSampler(table, HYBRID, batch_size=8, num_steps=1, seed=1)
    for side, tokens in (("query", query), ("passage", passage)):
        expected = teacher.model.encode([pairs[row][f"teacher_{side}"] for row in batch], prompt_name=side)
        found = teacher.embed(tokens)
        assert not found.requires_grad and not teacher.model.training
        np.testing.assert_allclose(found.numpy(), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["lakda", "jsd"])
def test_matryoshka_sums_over_lengths(study, table, name):
    cut = {"bucket_width": None, "matryoshka_dims": [8, 16]}
    value, _ = loss_and_gradients(study, table, name, **cut)
    parts = [loss_and_gradients(study, table, name, bucket_width=None)[0]]
    model = load_encoder(str(study / "without_dropout"))
    set_up(model, OPTIONS)
    objective = objective_of(name, options(), "x-y")
    rows = features(model, table, objective)
    names = ["query", "passage", *[f"negative_{k + 1}" for k in range(len(rows) - 2 - len(objective.columns))]]
    with torch.no_grad():
        own = {
            column: model(dict(one))["sentence_embedding"].numpy()
            for column, one in zip([*names, *objective.columns], rows, strict=True)
        }
    parts += [float(objective.loss(batch_of({n: one[:, :width] for n, one in own.items()}))) for width in (8, 16)]
    assert value == pytest.approx(sum(parts), rel=1e-4)


@pytest.mark.parametrize("name", OBJECTIVES)
@pytest.mark.parametrize("dims", [None, [8]])
def test_what_is_validated_is_infonce_whatever_the_objective(study, name, dims):
    if dims and name in TAUGHT_OBJECTIVES:
        return
    changed = options(matryoshka_dims=dims, bucket_width=None)
    model = load_encoder(str(study / "without_dropout"))
    set_up(model, changed)
    teacher = load_teacher(str(study / "wide"), changed, own=False) if name in TAUGHT_OBJECTIVES else None
    texts = [[f"en{i}" for i in range(6)], [text("en", i) for i in range(6)]]
    pairs = [model.preprocess(side) for side in texts]
    usual = loss_of(objective_of("infonce", changed, "x-y"), model, changed, gather=False)
    with torch.no_grad():
        expected = float(usual([dict(one) for one in pairs], None))
        ready(model, teacher, seed=0)
        loss = loss_of(objective_of(name, changed, "x-y"), model, changed, teacher=teacher, gather=False)
        assert float(loss([dict(one) for one in pairs], None)) == pytest.approx(expected, rel=1e-6)


# Stages


@pytest.mark.parametrize("warmup", [0.1, 2])
def test_every_stage_has_its_own_warmup_and_fall(warmup):
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=1.0)
    changed = options(learning_rate=1.0, warmup=warmup)
    rates = []
    scheduled = schedule([Stage(20, 1e-4), Stage(10, 2e-5)], changed, optimizer)
    for _ in range(30):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduled.step()
    first, second = rates[:20], rates[20:]
    assert first[0] == second[0] == 0
    assert max(first) == first[2] == pytest.approx(1e-4)
    assert max(second) == second[1 if warmup < 1 else 2] == pytest.approx(2e-5)
    assert first[-1] == pytest.approx(1e-4 / 18) and all(np.diff(second[2:]) < 0)


def test_a_last_stage_without_a_validation_is_refused():
    check_validations([Stage(10, 1.0), Stage(10, 1.0)], 20)
    check_validations([Stage(10, 1.0), Stage(10, 1.0)], 6)
    with pytest.raises(ConfigError, match="No checkpoint of the training could be chosen") as error:
        check_validations([Stage(19, 1.0), Stage(2, 1.0)], 6)
    assert "steps 20 to 21" in str(error.value)


# What does not go together


@pytest.mark.parametrize("name", OBJECTIVES[1:])
def test_english_alone_has_no_parallel_text(name):
    assert "en-en" in refused_sampling(name, "en-en") and not refused_sampling(name, "x-x-mono")
    with pytest.raises(ConfigError, match="cannot be trained so") as error:
        objective_of(name, OPTIONS, "en-en")
    assert "English text alone" in str(error.value)


def test_all_that_does_not_go_with_an_objective_is_told_at_once():
    with pytest.raises(ConfigError) as error:
        objective_of("distillation", options(hard_negatives=1, matryoshka_dims=[8]), "en-en")
    for words in ("hard_negatives has no use", "matryoshka_dims does not go", "sampling en-en"):
        assert words in str(error.value)
    with pytest.raises(ConfigError, match="matryoshka_dims"):
        objective_of("mimo", options(matryoshka_dims=[8]), "x-y")
    with pytest.raises(ConfigError, match="Unknown objective"):
        objective_of("margin", OPTIONS, "x-y")


@pytest.mark.parametrize(
    ("flags", "fault"),
    [
        (["--objective", "margin"], "Unknown objective"),
        (["--objective", "lakda", "--teacher", "a"], "has no teacher"),
        (["--objective", "mimo", "--options", json.dumps({"teacher": "big"})], "name the teacher big"),
    ],
)
def test_the_command_line_refuses(flags, fault):
    words = [
        "--encoder",
        "e",
        "--parallel",
        "en=e",
        "--validation",
        "v",
        "--sampling",
        "x-y",
        "--checkpoints",
        "c",
        "--output",
        "o",
    ]
    with pytest.raises(ConfigError, match=fault):
        parse([*words, *flags])
    options_of_others = ["--objective", "infonce", "--options", json.dumps({"teacher": "big"})]
    assert parse([*words, *options_of_others]).objective == "infonce"
