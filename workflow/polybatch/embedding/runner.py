"""Runs a model over batches: on a CPU several at a time, a thread each; on a card one after another without waiting.

inputs: a sentence-transformers model, and batches of what it takes
outputs: the vectors of each batch

A thread of a CPU computes a whole batch by itself. Nothing waits at the end of every layer for the slowest thread, and
what stays in its cache is its own; and the vectors are the same, bit by bit, with any number of threads.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    import torch
    from sentence_transformers import SentenceTransformer

T = TypeVar("T")
# Where transformers puts the code of a model's own repository.
_OWN_CODE = "transformers_modules"


def ahead(items: Iterator[T]) -> Iterator[T]:
    """Yields items; while one is in use, a thread makes the next."""
    with ThreadPoolExecutor(1) as pool:
        coming = pool.submit(next, items, None)
        while (item := coming.result()) is not None:
            coming = pool.submit(next, items, None)
            yield item


class Runner:
    """Embeds batches with a model.

    Attributes:
        model: A sentence-transformers model.
        task: "query" or "document", as the model names it.
    """

    def __init__(self, model: SentenceTransformer, task: str) -> None:
        self.model, self.task = model.eval(), task
        self._longest = 0
        # Nobody knows what such code keeps between calls.
        alone = any(type(module).__module__.startswith(_OWN_CODE) for module in model.modules())
        self._threads = model.device.type == "cpu" and not alone

    def run(
        self, features: Callable[[int], dict[str, Any]], batches: int, longest: int
    ) -> Iterator[tuple[int, torch.Tensor]]:
        """Embeds all batches.

        Args:
            features: Makes what the model takes for a batch, tensors on the CPU; called by several threads.
            batches: How many there are, the one with the longest text first.
            longest: Tokens of that text.

        Yields:
            The number of a batch and its vectors, (texts, dim), on the model's device and in its type; in any order.
        """
        first, self._longest = longest > self._longest, max(longest, self._longest)
        if self._threads:
            yield from self._by_threads(features, batches, first)
        else:
            yield from ((batch, self._embed(features(batch))) for batch in range(batches))

    def _by_threads(
        self, features: Callable[[int], dict[str, Any]], batches: int, first: bool
    ) -> Iterator[tuple[int, torch.Tensor]]:
        import torch

        threads = torch.get_num_threads()
        pool = ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,))

        def embed(batch: int) -> tuple[int, torch.Tensor]:
            return batch, self._embed(features(batch))

        try:
            if first:  # models make tables for their longest text so far, which two threads may not do at a time
                yield pool.submit(embed, 0).result()
            running = [pool.submit(embed, batch) for batch in range(int(first), batches)]
            yield from (done.result() for done in as_completed(running))
        finally:
            pool.shutdown(cancel_futures=True)
            torch.set_num_threads(threads)

    def _embed(self, features: dict[str, Any]) -> torch.Tensor:
        import torch

        device = self.model.device
        with torch.inference_mode():
            there = {key: _moved(value, device) for key, value in features.items()}
            vectors: torch.Tensor = self.model(there, task=self.task)["sentence_embedding"]
        return vectors


def _moved(value: Any, device: torch.device) -> Any:
    """A tensor on the device. A copy out of pinned memory lets the card go on with what it has to do."""
    import torch

    if not isinstance(value, torch.Tensor) or device.type == "cpu":
        return value
    return value.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else value.to(device)
