"""Batches run side by side on a CPU give the vectors of one thread, and what fails in a thread is told."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_models import save_tiny_model

from polybatch.embedding.runner import Runner, ahead
from polybatch.embedding.token_batches import Tokens
from polybatch.encoders.kernels import multiply_with_onednn
from polybatch.encoders.load import load_model

TEXTS = [f"the red house {'7 ' * (i % 13)}door {i}" for i in range(60)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_model(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture
def threads() -> Iterator[int]:
    before = torch.get_num_threads()
    yield before
    torch.set_num_threads(before)


def run(model: Any, batches: int = 12) -> np.ndarray:
    tokens = Tokens(model, "", "document")
    found, size = tokens.of(TEXTS), len(TEXTS) // batches

    def features(batch: int) -> dict[str, Any]:
        mine = slice(batch * size, batch * size + size)
        return tokens.features(TEXTS[mine], found[mine])

    vectors = dict(Runner(model, "document").run(features, batches, max(map(len, found))))
    return torch.cat([vectors[batch] for batch in range(batches)]).numpy()


def test_any_number_of_threads_gives_the_same_bits(folder: Path, threads: int) -> None:
    model = load_model(folder, device="cpu")
    assert multiply_with_onednn(model) > 0
    found = []
    for count in (1, 2, 5):
        torch.set_num_threads(count)
        found.append(run(model))
        assert torch.get_num_threads() == count, "left as it was"
    assert np.array_equal(found[0], found[1])
    assert np.array_equal(found[0], found[2])
    assert np.allclose(found[0], load_model(folder, device="cpu").encode(TEXTS), atol=1e-5)


def test_only_what_onednn_can_multiply_is_given_to_it(folder: Path) -> None:
    assert multiply_with_onednn(load_model(folder, device="cpu", compute_dtype="bfloat16")) == 0
    headless = torch.nn.Sequential(torch.nn.Linear(4, 3, bias=False), torch.nn.LayerNorm(3))
    values = torch.randn(2, 5, 4)
    expected = headless(values)
    assert multiply_with_onednn(headless) == 1
    with torch.inference_mode():
        assert torch.allclose(headless(values), expected, atol=1e-6)


def test_a_fault_in_a_thread_is_told_and_the_rest_is_left(folder: Path, threads: int) -> None:
    torch.set_num_threads(2)
    asked = []

    def features(batch: int) -> dict[str, Any]:
        asked.append(batch)
        time.sleep(0.01)
        raise RuntimeError(f"batch {batch}")

    with pytest.raises(RuntimeError, match="batch"):
        list(Runner(load_model(folder, device="cpu"), "document").run(features, 1000, 0))
    assert 1 <= len(asked) < 1000
    assert torch.get_num_threads() == 2


def test_the_next_item_is_made_while_one_is_in_use() -> None:
    made = threading.Event()

    def items() -> Iterator[int]:
        yield 1
        made.set()
        yield 2
        raise ValueError("the third")

    taken = ahead(items())
    assert next(taken) == 1
    assert made.wait(60)
    assert next(taken) == 2
    with pytest.raises(ValueError, match="the third"):
        next(taken)
