"""What a training starts from, besides its pairs: the encoder, set up as it will be used, and the validation pairs.

inputs: an encoder's folder or the id of a model of the hub; validation.parquet
outputs: a sentence-transformers model; a data set with the columns `query` and `passage`
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from polybatch.core import contracts
from polybatch.core.errors import ConfigError, DataError, TrainingError
from polybatch.core.files import read_parquet
from polybatch.encoders.layers import freeze_projection
from polybatch.encoders.load import load_model
from polybatch.training.options import TrainingOptions

if TYPE_CHECKING:
    from datasets import Dataset
    from sentence_transformers import SentenceTransformer


def load_encoder(name: str) -> SentenceTransformer:
    """Loads an encoder's folder (`load.load_model`), or a model of the hub, without running code from it.

    What was projected out of its embeddings before stays so: that module is not trained.

    Raises:
        DataError: The folder is not whole.
        ConfigError: Its projection hangs on the languages of texts.
        TrainingError: There is no such folder, and no such model of the hub.
    """
    from safetensors import SafetensorError
    from sentence_transformers import SentenceTransformer

    if Path(name).is_dir():
        model = load_model(Path(name))
        freeze_projection(model, Path(name))
        return model
    try:
        return SentenceTransformer(name, trust_remote_code=False, model_kwargs={"use_safetensors": True})
    except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
        raise TrainingError(
            "The encoder cannot be loaded.",
            where=name,
            expected="a sentence-transformers folder, or the id of a hub model with safetensors weights",
            found=f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}",
            remedy="let `snakemake train` make the folder; for a hub model check its id, the network, or HF_HOME",
        ) from error


def set_up(model: SentenceTransformer, options: TrainingOptions) -> None:
    """Gives the encoder its prompts, under the names `query` and `passage`, and its longest text."""
    own = model.prompts
    query, passage = own.get("query") or "", own.get("passage") or own.get("document") or ""
    query = query if options.query_prompt is None else options.query_prompt
    passage = passage if options.passage_prompt is None else options.passage_prompt
    model.prompts = {"query": query, "passage": passage, "document": passage}
    if options.max_length is None:
        return
    if model.max_seq_length is not None and options.max_length > model.max_seq_length:
        raise ConfigError(
            "max_length is longer than the encoder can read.",
            expected=f"at most {model.max_seq_length} tokens",
            found=str(options.max_length),
        )
    model.max_seq_length = options.max_length


def read_validation(path: Path) -> Dataset:
    """The validation pairs as the trainer wants them: columns `query` and `passage`."""
    from datasets import Dataset

    table = read_parquet(path, contracts.PARALLEL)
    if table.num_rows < 2:
        raise DataError(
            "There are too few validation pairs for a loss.",
            where=path,
            expected="at least 2 rows",
            found=str(table.num_rows),
        )
    return Dataset.from_dict({side: table[side].to_pylist() for side in ("query", "passage")})
