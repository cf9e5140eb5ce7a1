"""A device's seconds for a step or a text: the longer of launching and arithmetic, held against what an H100 took."""

from __future__ import annotations

import pytest

from polybatch.embedding.options import EncodeOptions
from polybatch.study.device_times import Shape, step_seconds, text_seconds
from polybatch.study.rates import at, rates
from polybatch.training.options import TrainingOptions

CARD, PROCESSOR = (at(rates(kind)) for kind in ("gpu", "cpu"))
SMALL, BASE = Shape(12, 21.6e6), Shape(12, 85.1e6)


def step(shape: Shape, tokens: float, cards: int = 1, **options: object) -> float:
    return step_seconds(shape, TrainingOptions.from_values(options), 2, tokens, CARD, cards=cards)


@pytest.mark.parametrize(
    ("shape", "tokens", "options", "measured"),
    [
        (SMALL, 43, {"batch_size": 100}, 100 / 1755),
        (BASE, 40, {"batch_size": 100}, 100 / 1804),
        (BASE, 32.4, {"batch_size": 4096, "mini_batch_size": 256}, 4096 / 2251),
    ],
)
def test_a_step_takes_what_the_card_took(shape: Shape, tokens: float, options: dict, measured: float) -> None:
    assert step(shape, tokens, **options) == pytest.approx(measured, rel=0.1)


def test_a_text_takes_what_the_card_took() -> None:
    # 13,400 to 16,300 passages a second of about 60 tokens.
    rate = 1 / text_seconds(SMALL, EncodeOptions.from_values({"batch_size": 256}), 60, CARD)
    assert 13_400 < rate < 1.1 * 16_300


def test_arithmetic_bounds_long_texts_and_large_encoders() -> None:
    short, long = step(BASE, 40, batch_size=100), step(BASE, 400, batch_size=100)
    assert long == pytest.approx(6 * 85.1e6 * 100 * 2 * 400 / 100e12 + CARD["step_seconds"])
    assert short < long / 6
    assert text_seconds(BASE, EncodeOptions(), 100, CARD) == pytest.approx(2 * 85.1e6 * 100 / 100e12)


def test_more_cards_divide_arithmetic_and_not_launching() -> None:
    assert step(SMALL, 43, 4, batch_size=100) == step(SMALL, 43, batch_size=100)
    long = step(BASE, 400, batch_size=400) - CARD["step_seconds"]
    assert step(BASE, 400, 4, batch_size=400) - CARD["step_seconds"] == pytest.approx(long / 4)


def test_activations_that_are_computed_twice_cost_a_pass_more() -> None:
    once = step(BASE, 400, batch_size=100) - CARD["step_seconds"]
    again = step(BASE, 400, batch_size=100, gradient_checkpointing=True) - CARD["step_seconds"]
    assert again == pytest.approx(once * 4 / 3)


def test_a_processor_is_faster_in_the_type_that_is_asked_for() -> None:
    usual, faster = (
        text_seconds(SMALL, EncodeOptions.from_values({"compute_dtype": name}), 39, PROCESSOR)
        for name in ("auto", "bfloat16")
    )
    assert usual == pytest.approx(3 * faster)
