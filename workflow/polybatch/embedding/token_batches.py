"""Texts of mixed lengths as batches of a model: tokenised once, sorted by their exact length, with little padding.

inputs: a sentence-transformers model and texts
outputs: which texts go together, and the tensors that the model takes for them
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from polybatch.core import stage

if TYPE_CHECKING:
    import numpy as np
    from sentence_transformers import SentenceTransformer

# Of the model's own tensors those that a batch of token ids determines.
_OF_TOKENS = {"input_ids", "attention_mask", "token_type_ids"}
_TEXTS_A_CALL = 1024
_LONGEST_TRIED = 8192


def plan(lengths: np.ndarray, texts: int, tokens: int) -> list[np.ndarray]:
    """Divides texts into batches of similar length.

    Args:
        lengths: (texts,) tokens of each.
        texts: Most in a batch.
        tokens: Most in a batch, padding included; a longer text makes a batch of its own.

    Returns:
        The numbers of the texts of each batch; the longest texts are in the first, and first in each.
    """
    import numpy as np

    order = np.argsort(-lengths, kind="stable")
    batches, start = [], 0
    while start < len(order):
        rows = max(1, min(texts, tokens // max(1, int(lengths[order[start]]))))
        batches.append(order[start : start + rows])
        start += rows
    return batches


class Tokens:
    """Turns texts into what a model takes, each text tokenised once.

    A plain transformer takes token ids, padded to the longest text of a batch: these are put together here. For a
    model whose own preprocessing does anything else (a template of messages, an extended query), that
    preprocessing makes every batch. Which of the two holds is found out with the first texts.

    Attributes:
        model: A sentence-transformers model.
        prompt: Put before every text.
        task: "query" or "document", as the model names it.
    """

    def __init__(self, model: SentenceTransformer, prompt: str, task: str) -> None:
        self.model, self.prompt, self.task = model, prompt, task
        self._lock = threading.Lock()  # a tokenizer cannot be used by two threads at a time
        self._padding: Padding | None = None
        self._tried = False

    def of(self, texts: Sequence[str]) -> list[np.ndarray]:
        """The ids of each text, (tokens,) int32: cut at the model's length, with prompt and special tokens.

        Where the model has no transformer, and so no tokenizer that can be asked, a text's characters take their place.
        """
        import numpy as np
        from transformers import PreTrainedTokenizerBase

        if not isinstance(self.model.tokenizer, PreTrainedTokenizerBase):
            return [np.zeros(len(text), np.int32) for text in texts]
        found: list[np.ndarray] = []
        for start in range(0, len(texts), _TEXTS_A_CALL):
            found += self._tokenized(texts[start : start + _TEXTS_A_CALL])
        if not self._tried:
            self._try(texts, found)
        return found

    def _tokenized(self, texts: Sequence[str]) -> list[np.ndarray]:
        import numpy as np

        tokenizer: Any = self.model.tokenizer
        with self._lock:
            tokenized = tokenizer(
                [self.prompt + text for text in texts],
                truncation=True,
                max_length=self.model.max_seq_length,
                return_attention_mask=False,
            )
        return [np.array(ids, np.int32) for ids in tokenized["input_ids"]]

    def features(self, texts: Sequence[str], tokens: Sequence[np.ndarray]) -> dict[str, Any]:
        """What the model takes for one batch: (texts, longest) tensors on the CPU.

        Args:
            texts: Of the batch.
            tokens: What `of` gave for them.
        """
        return self._own(texts) if self._padding is None else self._padding.features(tokens)

    def _own(self, texts: Sequence[str]) -> dict[str, Any]:
        with self._lock:
            return dict(self.model.preprocess(list(texts), prompt=self.prompt, task=self.task))

    def _try(self, texts: Sequence[str], tokens: Sequence[np.ndarray]) -> None:
        """Compares both ways on an empty text, one that must be cut, and the longest and shortest of the first."""
        by_length = sorted(range(len(texts)), key=lambda i: len(tokens[i]))
        cut = "a " * (2 * min(self.model.max_seq_length or 0, _LONGEST_TRIED))
        some = ["", cut, texts[by_length[0]], texts[by_length[-1]]]
        self._padding = Padding.like(self._own(some), self._tokenized(some), self.model.tokenizer)
        self._tried = True
        if self._padding is None:
            stage.log.info("this model prepares its batches in a way of its own, which takes longer")


@dataclass(frozen=True)
class Padding:
    """How token ids become the tensors of a batch.

    Attributes:
        token: The id that fills a row up.
        left: Whether rows are filled up before their tokens, not after them.
        types: Whether the model takes token types, all of them 0.
        rest: What else it takes, the same for all batches.
    """

    token: int
    left: bool
    types: bool
    rest: dict[str, Any]

    @classmethod
    def like(cls, own: dict[str, Any], tokens: Sequence[np.ndarray], tokenizer: Any) -> Padding | None:
        """The padding that gives for these tokens just what the model's own preprocessing gave; None if none does."""
        import torch

        rest = {key: value for key, value in own.items() if key not in _OF_TOKENS}
        if any(isinstance(value, torch.Tensor) for value in rest.values()) or tokenizer.pad_token_id is None:
            return None
        padding = cls(tokenizer.pad_token_id, tokenizer.padding_side == "left", "token_type_ids" in own, rest)
        ours = padding.features(tokens)
        same = own.keys() == ours.keys() and all(_equal(own[key], ours[key]) for key in own)
        return padding if same else None

    def features(self, tokens: Sequence[np.ndarray]) -> dict[str, Any]:
        """The tensors of one batch: (texts, longest) int64."""
        import numpy as np
        import torch

        ids = np.full((len(tokens), max(map(len, tokens))), self.token, np.int64)
        mask = np.zeros_like(ids)
        for row, found in enumerate(tokens):
            place = slice(ids.shape[1] - len(found), None) if self.left else slice(len(found))
            ids[row, place], mask[row, place] = found, 1
        made = {"input_ids": torch.from_numpy(ids), "attention_mask": torch.from_numpy(mask)}
        if self.types:
            made["token_type_ids"] = torch.zeros_like(made["input_ids"])
        return {**made, **self.rest}


def _equal(own: Any, ours: Any) -> bool:
    import torch

    if isinstance(own, torch.Tensor):
        return own.dtype == ours.dtype and torch.equal(own, ours)
    return bool(own == ours)
