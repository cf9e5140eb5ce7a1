"""A transformer's layers and embeddings: how many are kept, and which are trained.

inputs: a sentence-transformers model with a transformer of the library in it
outputs: the same model with its first layers alone, or with weights that no training changes

Of a small multilingual encoder most weights are word embeddings (81 % of multilingual-e5-small's). Left as they are,
they take no gradient and no state of AdamW, which is most of a training's memory and, on a CPU, much of its time; and
pieces of languages that are not trained on keep their place among those that are.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from polybatch.core.errors import ConfigError
from polybatch.core.files import read_json
from polybatch.encoders.load import PROJECTION

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer
    from torch import nn


def keep_first_layers(model: SentenceTransformer, count: int) -> None:
    """Cuts the transformer after its first `count` layers, in place.

    Raises:
        ConfigError: It has fewer, or is built in a way that is not known here.
    """
    layers = _layers(model, "layers")
    _require_enough(layers, count, "layers")
    config = _backbone(model, "layers").config
    for name, value in vars(config).items():
        if isinstance(value, list) and name.startswith("layer_") and len(value) == len(layers):
            setattr(config, name, value[:count])
    config.num_hidden_layers = count
    del layers[count:]


def freeze(model: SentenceTransformer, *, embeddings: bool, layers: int) -> list[str]:
    """Excludes weights from training, in place.

    Args:
        model: Changed in place.
        embeddings: Whether the word embeddings stay as they are.
        layers: So many layers, the first ones, stay as they are, and with them all embeddings: the gradient goes no
            further down than it must.

    Returns:
        The names of the weights that stay as they are.

    Raises:
        ConfigError: There is no transformer, or it has no more layers than that.
    """
    if not embeddings and not layers:
        return []
    option = "freeze_layers" if layers else "freeze_embeddings"
    backbone = _backbone(model, option)
    frozen: list[Any] = [backbone.get_input_embeddings()]
    if layers:
        modules = _layers(model, option)
        _require_enough(modules, layers + 1, option)  # one is left to be trained
        frozen += [*modules[:layers], *(part for name, part in backbone.named_children() if "embed" in name)]
    stays = {id(weight) for part in frozen for weight in part.parameters()}
    names = []
    for name, weight in model.named_parameters():
        if id(weight) in stays:
            weight.requires_grad_(False)
            names.append(name)
    return names


def freeze_projection(model: SentenceTransformer, folder: Path) -> int:
    """Excludes from training what was projected out of a model's embeddings, in place: it would come back otherwise.

    Args:
        model: As it was loaded from `folder`.
        folder: An encoder, with projection.json where it has a projection (polybatch.posthoc.estimate).

    Returns:
        How many modules stay as they are.

    Raises:
        ConfigError: Its projection hangs on the languages of texts, which a training does not know.
    """
    record = read_json(folder / PROJECTION) if (folder / PROJECTION).is_file() else None
    frozen = 0
    while record:
        if record["kind"] != "lir":
            raise ConfigError(
                "An encoder whose projection hangs on the language of each text cannot be trained.",
                where=folder,
                expected="no projection, or lir",
                found=record["projection"],
                remedy="train from the encoder before it, or from its lir",
            )
        for weight in model[record["module"]].parameters():
            weight.requires_grad_(False)
        frozen, record = frozen + 1, record.get("before")
    return frozen


def _backbone(model: SentenceTransformer, option: str) -> Any:
    backbone = model.transformers_model
    if backbone is None:
        raise ConfigError(
            "The encoder has no transformer.",
            expected="an encoder with a Transformer module",
            found=", ".join(type(module).__name__ for module in model),
            remedy=f"leave out {option}",
        )
    return backbone


def _layers(model: SentenceTransformer, option: str) -> nn.ModuleList:
    """The transformer's stack of layers: the one list of modules that is as long as its configuration says."""
    from torch import nn

    backbone = _backbone(model, option)
    count = getattr(backbone.config, "num_hidden_layers", None)
    found = [module for module in backbone.modules() if isinstance(module, nn.ModuleList) and len(module) == count]
    if len(found) != 1:
        raise ConfigError(
            "It is not known which of the encoder's modules are its layers.",
            where=type(backbone).__name__,
            expected=f"one list of {count} layers",
            found=f"{len(found)} lists",
            remedy=f"leave out {option}",
        )
    return found[0]


def _require_enough(layers: nn.ModuleList, count: int, option: str) -> None:
    if count > len(layers):
        most = len(layers) if option == "layers" else len(layers) - 1
        raise ConfigError(
            f"{option} is more than the encoder has layers.",
            where=option,
            expected=f"at most {most}",
            found=str(count if option == "layers" else count - 1),
        )
