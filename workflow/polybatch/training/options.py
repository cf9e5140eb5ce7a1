"""The options of a training, checked before anything is loaded. Defaults are the paper's where it gives one."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Annotated, Literal, get_args

from annotated_types import Ge
from pydantic import Field

from polybatch.core.option_types import Prompt
from polybatch.core.options import Conflict, Options, option

LanguageWeights = Literal["uniform", "size"]
LANGUAGE_WEIGHTS = get_args(LanguageWeights)


class TrainingOptions(Options):
    """How a run is trained (`training` in the configuration): lengths in tokens, intervals in steps."""

    max_steps: int = option(1000, "Steps at most; early stopping may end the training before.", ge=1)
    epochs: float | None = option(
        None,
        "If given, stands for `max_steps`: as many steps as draw this many times the number of pairs. A pair counts "
        "once, in however many languages it exists.",
        gt=0,
    )
    batch_size: int = option(
        100, "Pairs a step, over all processes; their number must divide it. Negatives come from the batch.", ge=2
    )
    learning_rate: float = option(3e-5, "Its peak.", gt=0)
    warmup: float = option(0.1, "Steps until the peak; below 1, a share of `max_steps`.", ge=0)
    scheduler: Literal["linear", "cosine", "constant_with_warmup"] = option("linear", "How it falls after the peak.")
    weight_decay: float = option(0.01, "Of AdamW.", ge=0)
    max_grad_norm: float = option(1.0, "Gradients are clipped to this norm; 0 does not clip.", ge=0)
    temperature: float = option(0.05, "Cosine similarities are divided by it.", gt=0)
    hard_negatives: int = option(
        0,
        "Hard negatives a pair at most, the first ones: [training.md](training.md#samplings). Batches of pairs "
        "without any go without.",
        ge=0,
        le=100,
    )
    max_length: int | None = option(None, "Longest text in tokens; null keeps the encoder's own limit.", ge=1)
    eval_steps: int = option(100, "Steps between two validation losses.", ge=1)
    save_steps: int = option(500, "Steps between two checkpoints. The best model so far is kept besides.", ge=1)
    patience: int = option(
        5, "Validations without a lower loss after which the training stops; 0 never stops early.", ge=0
    )
    precision: Literal["auto", "fp32", "bf16"] = option(
        "auto",
        "`bf16` is autocast; `auto` takes it on a card or a processor that computes in it (AVX512-BF16, AMX), and "
        "`fp32` elsewhere. Weights and the optimizer stay fp32. A training that goes on where `auto` means the other "
        "starts anew: name one where a cluster's nodes differ.",
    )
    gradient_checkpointing: bool = option(False, "Computes activations twice instead of keeping them.")
    mini_batch_size: int | None = option(
        None, "Embeds this many texts at a time (GradCache), so that memory does not bound `batch_size`.", ge=1
    )
    bucket_width: Literal["auto"] | Annotated[int, Ge(1)] | None = option(
        "auto",
        "`auto` cuts each batch, sorted by length, into the forward passes that cost a CPU least, padding included; it "
        "does nothing on a card or with `mini_batch_size`. A number: texts of similar length (in steps of this many "
        "tokens) share a pass; not together with `mini_batch_size`. null: one pass. The embeddings are the same up to "
        "rounding.",
    )
    num_workers: Literal["auto"] | Annotated[int, Ge(0)] = option(
        "auto",
        "Processes that prepare batches; 0 prepares them in the training process. `auto` is 0 on a CPU, and up to 4 "
        "beside a card, which would wait for its texts to be tokenised.",
    )
    query_prompt: Prompt = option(None, "Put before every query; null keeps the encoder's own.")
    passage_prompt: Prompt = option(None, "The same for passages.")
    source_temperature: float = option(
        1.0,
        "With several sources, a batch comes from one, drawn with size^(1/temperature): 1 in proportion to size, the "
        "larger the more evenly. Its size is its `weight`, else its pairs of that kind of batch.",
        gt=0,
    )
    drop_small_sources: bool = option(
        False, "Leaves out a source with too few pairs for a batch, instead of refusing to train."
    )
    language_weights: LanguageWeights = option(
        "uniform",
        "How often a language is drawn, for a monolingual batch and for the rows of a mixed one; `size` goes by its "
        "number of pairs.",
    )
    language_temperature: float = option(1.0, "For `size`, as `source_temperature`.", gt=0)
    matryoshka_dims: Annotated[list[Annotated[int, Ge(1)]], Field(min_length=1)] | None = option(
        None,
        "The loss is the sum over the embedding cut to each of these lengths and the whole one (Kusupati et al., arXiv "
        "2205.13147), so that `encoding.truncate_dim` can shorten embeddings.",
    )
    freeze_embeddings: bool = option(
        False,
        "Leaves the word embeddings as they are: no gradient, no state of AdamW. They are most of a small multilingual "
        "encoder (81 % of `e5-small`), and pieces of languages that are not trained on keep their place.",
    )
    freeze_layers: int = option(0, "Leaves so many layers, the first ones, and all embeddings as they are.", ge=0)
    lora_r: int | None = option(
        None,
        "Trains adapters of this rank instead of the transformer's own weights (LoRA, Hu et al., arXiv 2106.09685), "
        "and adds them to the weights at the end.",
        ge=1,
    )
    lora_alpha: int = option(16, "Adapters are scaled by `lora_alpha / lora_r`.", gt=0)
    lora_dropout: float = option(0.0, "Dropout of the adapters' inputs, in training.", ge=0, lt=1)
    lora_targets: Annotated[list[str], Field(min_length=1)] | None = option(
        None, 'Names of the layers that get adapters, as in `["query", "value"]`; null takes all linear ones.'
    )

    lakda_weight: float = option(
        0.5,
        "Objective `lakda`: the share of the divergence between two languages of a query; InfoNCE has the rest.",
        ge=0,
        le=1,
    )
    jsd_weight: float = option(
        1.0, "Objective `jsd`: what the divergence between parallel texts is multiplied with, beside InfoNCE.", ge=0
    )
    teacher: str | None = option(
        None,
        "Objectives `distillation` and `mimo`: the encoder, one of `encoders`, whose embeddings of English text are "
        "the aim; null is the run's own encoder before the training.",
        min_length=1,
    )
    distillation_distance: Literal["mse", "cosine"] = option(
        "mse", "Objective `distillation`: squared Euclidean distance between embeddings, or cosine distance."
    )
    mimo_stage1_share: float = option(
        0.5, "Objective `mimo`: the share of the steps that only distil, before InfoNCE joins.", ge=0, lt=1
    )
    mimo_infonce_weight: float = option(
        0.2, "Objective `mimo`: the share of InfoNCE in the second stage; distillation has the rest.", ge=0, le=1
    )
    mimo_stage1_learning_rate: float = option(
        1e-4, "Objective `mimo`: the peak in the first stage; `learning_rate` is of no effect there.", gt=0
    )
    mimo_stage2_learning_rate: float = option(2e-5, "The same in the second stage.", gt=0)

    def num_steps(self, num_pairs: int) -> int:
        """Steps at most, for that many training pairs."""
        return self.max_steps if self.epochs is None else math.ceil(self.epochs * num_pairs / self.batch_size)

    def conflicts(self) -> Iterator[Conflict]:
        if isinstance(self.bucket_width, int) and self.mini_batch_size is not None:
            yield Conflict(("bucket_width", "mini_batch_size"), "does not go together with mini_batch_size")
        if self.lora_r is not None and (self.freeze_embeddings or self.freeze_layers):
            yield Conflict(
                ("lora_r", "freeze_embeddings", "freeze_layers"),
                "leaves all but the adapters as it is: freeze_embeddings and freeze_layers do not go with it",
            )
