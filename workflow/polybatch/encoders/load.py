"""Loads an encoder from its folder: the one way in which training and embedding do it.

inputs: a sentence-transformers folder (encoders/<name>/, models/<run>/), with encoder.json where it came from a hub
outputs: a checked SentenceTransformer; a folder that is not whole raises a DataError that says what is wrong with it

Nothing comes from a network, and no pickled weights are read: a `pytorch_model.bin` can run code when it is loaded.
Code of the model's own runs only where encoder.json says that the user allowed it.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from polybatch.core import stage
from polybatch.core.errors import ConfigError, DataError
from polybatch.core.files import read_json
from polybatch.core.sums import check_sums
from polybatch.core.weights import SAFETENSORS_REMEDY, has_weights, no_pickles, pickled_files, require_safe

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

RECORD = "encoder.json"
# What was projected out of a model's embeddings, and how (polybatch.posthoc.estimate).
PROJECTION = "projection.json"
COMPUTE_DTYPES = ("float32", "bfloat16", "float16")
_WEIGHTED = {"Transformer", "Dense", "LayerNorm", "WeightedLayerPooling", "LSTM", "CNN", "StaticEmbedding"}
_OWN_CODE = "sentence_transformers."
_TOKENIZERS = (
    "tokenizer.json",
    "vocab.txt",
    "vocab.json",
    "sentencepiece.bpe.model",
    "spiece.model",
    "tokenizer.model",
)


def load_model(folder: Path, *, device: str | None = None, compute_dtype: str = "float32") -> SentenceTransformer:
    """Loads an encoder and checks that its parts fit one another.

    Args:
        folder: A sentence-transformers folder.
        device: As torch names it; None takes an accelerator if there is one.
        compute_dtype: Of all its weights: float32, bfloat16 or float16.

    Raises:
        DataError: A module or its weights are missing, pickled, truncated or of another size than their configuration
            says; the tokenizer knows pieces that the model does not; one module's output does not fit the next.
    """
    with stage.importing():
        import torch
        from sentence_transformers import SentenceTransformer

    require_whole(folder)
    check_sums(folder)
    require_allowed_code(folder, allowed=remote_code(folder))
    model = loaded(
        folder,
        lambda trusted: SentenceTransformer(
            str(folder),
            device=device,
            trust_remote_code=trusted,
            local_files_only=True,
            model_kwargs={"use_safetensors": True},
        ),
        remote_code=remote_code(folder),
    )
    require_fit(model, folder)
    return model.to(getattr(torch, compute_dtype))  # heads too, and whatever type the file holds


def loaded(folder: Path, load: Any, *, remote_code: bool) -> Any:
    """Calls `load(remote_code)`; what a library raises over a folder that is not whole becomes a DataError."""
    import torch
    from safetensors import SafetensorError
    from transformers.utils.logging import disable_progress_bar

    if not sys.stderr.isatty():
        disable_progress_bar()
    try:
        with no_pickles():
            return load(remote_code)
    except torch.OutOfMemoryError:
        raise
    except (OSError, ValueError, KeyError, TypeError, ImportError, RuntimeError, SafetensorError) as error:
        raise DataError(
            "The model cannot be loaded.",
            where=folder,
            expected="a sentence-transformers folder with safetensors weights",
            found=f"{type(error).__name__}: {str(error).strip().splitlines()[0] if str(error).strip() else ''}",
            remedy="make the model again",
        ) from error


def remote_code(folder: Path) -> bool:
    """Whether the user allowed this model's own code to run, when it was fetched."""
    path = folder / RECORD
    return bool(read_json(path).get("trust_remote_code", False)) if path.is_file() else False


def record_of(
    model: SentenceTransformer,
    *,
    repo_id: str = "",
    revision: str = "",
    commit: str = "",
    license: str = "",
    trust_remote_code: bool = False,
) -> dict[str, Any]:
    """What encoder.json holds: where an encoder came from (nothing, if it was made from scratch) and how it embeds."""
    pooling: Any = next((module.pooling_mode for module in model if type(module).__name__ == "Pooling"), "")
    return {
        "repo_id": repo_id,
        "revision": revision,
        "commit": commit,
        "license": license,
        "modules": [type(module).__name__ for module in model],
        "pooling": pooling if isinstance(pooling, str) else "+".join(pooling),
        "prompts": {name: model.prompts.get(name) or "" for name in ("query", "passage")},
        "max_length": model.max_seq_length,
        "trust_remote_code": trust_remote_code,
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "dim": model.get_embedding_dimension(),
    }


def carry_record(encoder: Path, output: Path) -> None:
    """Copies an encoder's records, if it has any, to a model that was trained from it: what it needs to be loaded."""
    for name in (RECORD, PROJECTION):
        if (encoder / name).is_file():
            shutil.copyfile(encoder / name, output / name)


def require_whole(folder: Path) -> None:
    """Raises a DataError unless every module that modules.json names is there, with weights that can be read safely."""
    if not (folder / "modules.json").is_file():
        raise DataError(
            "The model is no sentence-transformers folder.",
            where=folder,
            expected="modules.json and the modules that it names",
            found=_listed(folder),
            remedy="train one (snakemake train), or save one with SentenceTransformer.save_pretrained",
        )
    for name, part in modules_of(folder):
        kind = name.rsplit(".", 1)[-1]
        if not part.is_dir() and kind != "Normalize":
            raise DataError(
                f"The model lacks its module {kind}.",
                where=folder / "modules.json",
                expected=f"the folder {part.name}",
                found=_listed(folder),
                remedy="make the model again",
            )
        require_safe_weights(part, needed=kind in _WEIGHTED)
        if kind == "Transformer":
            require_tokenizer(part)


def modules_of(folder: Path) -> list[tuple[str, Path]]:
    """The class and the folder of each module, in their order."""
    try:
        return [
            (str(entry["type"]), folder / entry["path"])
            for entry in json.loads((folder / "modules.json").read_text("utf-8"))
        ]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(
            "The list of a model's modules cannot be read.",
            where=folder / "modules.json",
            expected="a list of {type, path}",
            found=str(error),
            remedy="make the model again",
        ) from error


def require_allowed_code(folder: Path, *, allowed: bool) -> None:
    """Raises a ConfigError if the model runs only with code of its own, and the user did not allow that."""
    found = own_code(folder)
    if found and not allowed:
        raise ConfigError(
            "The encoder runs only with code of its own repository, which was not allowed.",
            where=folder,
            expected="trust_remote_code: true in the encoder's options",
            found=", ".join(found),
            remedy="read that code, then allow it; or choose an encoder that the installed libraries know",
        )


def own_code(folder: Path) -> list[str]:
    """The code of its own that a model cannot be loaded without: modules, and classes of its transformer."""
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING_NAMES

    modules = modules_of(folder) if (folder / "modules.json").is_file() else []
    found = [name for name, _ in modules if not name.startswith(_OWN_CODE)]
    for part in [part for _, part in modules] or [folder]:
        config = read_json(part / "config.json") if (part / "config.json").is_file() else {}
        classes = config.get("auto_map") if config.get("model_type") not in CONFIG_MAPPING_NAMES else None
        found += [str(name) for name in (classes or {}).values()]
    return list(dict.fromkeys(found))


def require_safe_weights(part: Path, *, needed: bool) -> None:
    """Raises a DataError if a module's weights are pickled, cut off, or missing though it needs some.

    sentence-transformers would read the pickled weights of a head without a word, also beside a safetensors file of a
    name that it does not look for.
    """
    require_safe(part)
    for path in sorted(part.glob("*.safetensors")):
        _require_readable(path)
    if has_weights(part):
        return
    if pickled := pickled_files(part):
        raise DataError(
            "The weights are pickled, and pickled files are not read: they can run code.",
            where=part,
            expected="model.safetensors",
            found=", ".join(pickled),
            remedy=SAFETENSORS_REMEDY,
        )
    if needed:
        raise DataError(
            "The model has no weights.",
            where=part,
            expected="model.safetensors",
            found=_listed(part),
            remedy=f"make the model again; for one of a hub, {SAFETENSORS_REMEDY}",
        )


def require_tokenizer(part: Path) -> None:
    """Raises a DataError if a transformer has no tokenizer: the library would make one that knows no text."""
    if not any((part / name).is_file() for name in _TOKENIZERS):
        raise DataError(
            "The model has no tokenizer.",
            where=part,
            expected=" or ".join(_TOKENIZERS),
            found=_listed(part),
            remedy="make the model again, or fetch it again",
        )


def _require_readable(path: Path) -> None:
    """Reads the header, which says how long the file must be."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="np"):
            pass
    except (SafetensorError, OSError) as error:
        raise DataError(
            "The model cannot be loaded: a file of weights is cut off or damaged.",
            where=path,
            expected="a whole safetensors file",
            found=f"{path.stat().st_size} bytes; {error}" if path.exists() else "a link to a file that is gone",
            remedy="delete it, and make or fetch the model again",
        ) from error


def require_fit(model: SentenceTransformer, folder: Path) -> None:
    """Raises a DataError if the tokenizer or a module does not fit what stands before it."""
    faults = [*_tokenizer_faults(model), *_width_faults(model)]
    if faults:
        raise DataError(
            "The parts of the model do not fit one another.",
            where=folder,
            found="; ".join(faults),
            remedy="make the model again, with the tokenizer and the modules that belong to it",
        )


def _tokenizer_faults(model: SentenceTransformer) -> Iterator[str]:
    backbone = model.transformers_model
    if backbone is None or not hasattr(model.tokenizer, "get_vocab"):
        return  # no transformer inside: its own module knows its vocabulary
    vocabulary = model.tokenizer.get_vocab()
    last = max(vocabulary.values())
    embeddings: Any = backbone.get_input_embeddings()
    rows = embeddings.weight.shape[0]
    if last >= rows:
        yield f"the tokenizer's ids reach {last}, the model has embeddings up to {rows - 1}"
    if len(vocabulary) < rows / 2:
        yield f"the tokenizer knows {len(vocabulary)} pieces, the model has embeddings of {rows}"
    if model.tokenizer.pad_token_id is None:
        yield "the tokenizer has no padding token"


def _width_faults(model: SentenceTransformer) -> Iterator[str]:
    before, width = "", None
    for module in model:
        name = type(module).__name__
        taken = getattr(module, "embedding_dimension", None) if name == "Pooling" else None
        taken = module.in_features if name == "Dense" else taken
        if None not in (taken, width) and taken != width:
            yield f"{name} takes {taken} dimensions, {before} gives {width}"
        given = getattr(module, "get_embedding_dimension", lambda: None)()
        before, width = (name, given) if given is not None else (before, width)


def usable_length(config: Any) -> int | None:
    """The most tokens that a transformer has positions for, None if its configuration does not say.

    RoBERTa and its kin number their positions from the padding token's id plus one, so that 514 serve for 512 tokens.
    """
    positions = getattr(config, "max_position_embeddings", None)
    if not isinstance(positions, int) or positions < 1:
        return None
    if "roberta" in config.model_type or config.model_type in ("camembert", "xmod", "mpnet", "longformer"):
        return positions - config.pad_token_id - 1
    return positions


def _listed(folder: Path) -> str:
    return ", ".join(sorted(path.name for path in folder.glob("*"))[:8]) or "no file"
