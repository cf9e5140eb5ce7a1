"""A model as an ONNX graph, in float32 and with weights of 8 bits, and the vectors that such a graph gives.

inputs: a SentenceTransformer; an .onnx file beside its tokenizer
outputs: onnx/model.onnx and onnx/model_qint8.onnx: the whole model, pooling, dense layers and normalisation too; inputs
`input_ids` and `attention_mask` (batch, tokens) int64, outputs `last_hidden_state` (batch, tokens, hidden) and
`sentence_embedding` (batch, dim) float32

The names of files, inputs and the first output are those that sentence-transformers' ONNX backend looks for. That
backend rests on optimum, whose newest release (optimum-onnx 0.1.0) wants transformers below 4.58, while
sentence-transformers 6 wants 5: so the graph is torch's own export, and the quantisation ONNX Runtime's, which is what
optimum calls too.
"""

from __future__ import annotations

import importlib.util
import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from polybatch.core.errors import ConfigError, DataError

if TYPE_CHECKING:
    import numpy as np
    from sentence_transformers import SentenceTransformer

FOLDER, FLOAT, INT8 = "onnx", "onnx/model.onnx", "onnx/model_qint8.onnx"
PACKAGES = ("onnx", "onnxscript", "onnxruntime")
INPUTS, OUTPUTS = ("input_ids", "attention_mask"), ("last_hidden_state", "sentence_embedding")
OPSET = 18
# A protobuf file ends at 2 GiB; larger weights stand in a file beside it.
LARGEST = 1_900_000_000
_BATCH = 32


def missing_packages() -> list[str]:
    """The packages that are wanted here and not installed."""
    return [name for name in PACKAGES if importlib.util.find_spec(name) is None]


def require_packages() -> None:
    """Raises a ConfigError unless all of PACKAGES are installed."""
    if missing := missing_packages():
        raise ConfigError(
            "ONNX cannot be written: packages are not installed.",
            expected=", ".join(PACKAGES),
            found=f"no {', '.join(missing)}",
            remedy='pip install --editable ".[export]", or leave onnx out with --only',
        )


def write_graph(model: SentenceTransformer, path: Path, *, largest: int = LARGEST) -> None:
    """Writes a model as a graph in float32.

    Args:
        model: In float32, on a CPU.
        path: Of the .onnx; where its weights have more than `largest` bytes, they stand in <path>.data.
        largest: Bytes that one file may have.

    Raises:
        DataError: torch cannot trace the model.
    """
    import torch

    class Whole(torch.nn.Module):
        """All modules of the model, with tensors as inputs and outputs."""

        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            found = self.model({"input_ids": input_ids, "attention_mask": attention_mask})
            return found["token_embeddings"], found["sentence_embedding"]

    ids = torch.full((2, 8), int(model.tokenizer.pad_token_id or 0), dtype=torch.int64)
    axes = {0: torch.export.Dim("batch"), 1: torch.export.Dim("tokens")}
    weights = sum(tensor.numel() * tensor.element_size() for tensor in model.state_dict().values())
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with torch.no_grad(), _quiet():
            program: Any = torch.onnx.export(
                Whole().eval(),
                (ids, torch.ones_like(ids)),
                dynamo=True,
                input_names=INPUTS,
                output_names=OUTPUTS,
                dynamic_shapes={name: axes for name in INPUTS},
                opset_version=OPSET,
                verbose=False,
            )
            _forget_this_machine(program.model)
            program.save(str(path), external_data=weights > largest)
    except (torch.onnx.errors.OnnxExporterError, RuntimeError, ValueError, KeyError, TypeError) as error:
        raise DataError(
            "The model cannot be written as an ONNX graph.",
            expected="modules that torch.export can trace",
            found=f"{type(error).__name__}: {(str(error).strip().splitlines() or [''])[0]}",
            remedy="leave onnx out with --only",
        ) from error


def _forget_this_machine(model: Any) -> None:
    """Takes out what torch notes at every node of the graph: the stack of calls, with paths of this machine."""
    for graph in (model.graph, *model.functions.values()):
        for node in graph.all_nodes() if hasattr(graph, "all_nodes") else graph:
            node.metadata_props.clear()
            node.doc_string = None
    model.metadata_props.clear()


def quantise(graph: Path, target: Path) -> None:
    """Writes a graph with weights of 8 bits; activations are rounded as they come ("dynamic quantisation").

    One scale a channel, and 7 of the 8 bits used: processors without VNNI add two products of 8 bits into 16, which
    may overflow (onnxruntime.quantization, `reduce_range`). So the file gives the same on all of them.
    """
    from onnxruntime.quantization import QuantType, quantize_dynamic

    with _quiet():
        quantize_dynamic(
            str(graph),
            str(target),
            per_channel=True,
            reduce_range=True,
            weight_type=QuantType.QInt8,
            use_external_data_format=graph.with_name(f"{graph.name}.data").is_file(),
        )


class OnnxEncoder:
    """Embeds texts with a graph, as somebody does who has the exported folder, ONNX Runtime and a tokenizer.

    Args:
        folder: An exported folder: the tokenizer's files at its top.
        graph: FLOAT or INT8.
        max_length: Tokens that are read of a text.
        truncate_dim: Leading dimensions that are kept; None keeps all.
        threads: Of the computation.
    """

    def __init__(
        self, folder: Path, graph: str, max_length: int, truncate_dim: int | None = None, threads: int = 1
    ) -> None:
        import onnxruntime
        from transformers import AutoTokenizer

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.log_severity_level = threads, 3
        self.session = onnxruntime.InferenceSession(str(folder / graph), options, providers=["CPUExecutionProvider"])
        self.tokenizer = AutoTokenizer.from_pretrained(str(folder), local_files_only=True)
        self.max_length, self.truncate_dim = max_length, truncate_dim

    def embed(self, texts: Sequence[str]) -> np.ndarray:
        """(texts, dim) float32, of length 1, in the order of the texts."""
        import numpy as np

        order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
        parts = [self._batch([texts[i] for i in order[at : at + _BATCH]]) for at in range(0, len(order), _BATCH)]
        found = np.concatenate(parts)[:, : self.truncate_dim]
        vectors = np.empty_like(found)
        vectors[order] = found
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)

    def _batch(self, texts: list[str]) -> np.ndarray:
        tokens = self.tokenizer(texts, padding=True, truncation=True, max_length=self.max_length, return_tensors="np")
        inputs = {name: tokens[name].astype("int64") for name in INPUTS}
        found: np.ndarray = self.session.run([OUTPUTS[1]], inputs)[0]
        return found


@contextmanager
def _quiet() -> Iterator[None]:
    """What torch and ONNX Runtime say while they write a graph is of no use to a user."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir", "root")]
    before = [logger.level for logger in loggers]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        try:
            yield
        finally:
            for logger, level in zip(loggers, before, strict=True):
                logger.setLevel(level)
