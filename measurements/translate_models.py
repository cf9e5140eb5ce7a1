"""The translators of the benchmark, each for CTranslate2 and for transformers: the shipped one, and it widened.

A widened model (Chen, Goodfellow and Shlens 2016, "Net2Net: Accelerating Learning via Knowledge Transfer") computes
what the shipped one does at the cost of a larger one: it is as slow as one of that size and still translates, which
random weights do not.

inputs: resources/translators
outputs: a translator folder, and in it peer.pt, the same weights for transformers
"""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import measure

from polybatch.core.files import atomic_path, read_json, write_json
from polybatch.translation.translator import CARD, SENTENCEPIECE

if TYPE_CHECKING:
    import numpy as np

SHIPPED = measure.ROOT / "resources" / "translators" / "homeassistant-de-es"
CHARACTER = "<0x00>"  # a token that no translation holds: what the vocabulary is filled up with


@dataclass(frozen=True)
class Size:
    """A model's size: the shipped one's, times `factor` in width, with so many layers and tokens."""

    factor: int
    encoder_layers: int
    decoder_layers: int
    vocabulary: int


SIZES = {
    "shipped": Size(1, 3, 1, 4601),
    "opus": Size(2, 6, 6, 32_000),
    "nllb": Size(4, 12, 12, 256_204),
}


def make_model(name: str, folder: Path) -> Path:
    """The translator's folder in `folder`, made if it is not there."""
    output = folder / name
    if (output / CARD).is_file() and (output / "peer.pt").is_file():
        return output
    import ctranslate2
    import torch

    model = widened(SIZES[name])
    tokens = json.loads((SHIPPED / "shared_vocabulary.json").read_text("utf-8"))
    with torch.no_grad():
        spec = ctranslate2.converters.transformers.M2M100Loader()(model, _Vocabulary(tokens))
    spec.validate()
    spec.optimize(quantization="float32")
    with atomic_path(output) as partial:
        partial.mkdir()
        spec.save(str(partial))
        (partial / SENTENCEPIECE).write_bytes((SHIPPED / SENTENCEPIECE).read_bytes())
        torch.save(model.state_dict(), partial / "peer.pt")
        write_json(partial / "size.json", {"parameters": sum(weight.numel() for weight in model.parameters())})
        write_json(partial / CARD, read_json(SHIPPED / CARD) | {"quantization": "float32"})
    return output


class _Vocabulary:
    """What CTranslate2's converter asks of a tokenizer."""

    special_tokens_map: dict[str, list[str]] = {}  # noqa: RUF012
    bos_token, eos_token, unk_token, unk_token_id = "<s>", "</s>", "<unk>", 3

    def __init__(self, tokens: list[str]) -> None:
        self._tokens = tokens

    def get_vocab(self) -> dict[str, int]:
        return {token: i for i, token in enumerate(self._tokens)}

    def convert_ids_to_tokens(self, i: int) -> str:
        return self._tokens[i]


def empty_model(size: Size) -> Any:
    """transformers' M2M100 of that size, without weights of its own, with the shipped model's positions."""
    import torch
    from transformers import M2M100Config, M2M100ForConditionalGeneration

    heads = int(shipped_weights()["encoder/num_heads"]) * size.factor
    width = shipped_weights()["decoder/embeddings/weight"].shape[1] * size.factor
    config = M2M100Config(
        vocab_size=size.vocabulary, d_model=width, encoder_ffn_dim=4 * width, decoder_ffn_dim=4 * width,
        encoder_layers=size.encoder_layers, decoder_layers=size.decoder_layers, encoder_attention_heads=heads,
        decoder_attention_heads=heads, max_position_embeddings=512, dropout=0.0, pad_token_id=1, bos_token_id=0,
        eos_token_id=2, decoder_start_token_id=2, scale_embedding=True,
    )  # fmt: skip
    model = M2M100ForConditionalGeneration(config).eval()
    for positions in (model.model.encoder.embed_positions, model.model.decoder.embed_positions):
        table = positions.get_embedding(len(positions.weights), width // size.factor, 1)
        positions.weights = torch.cat([table] * size.factor, dim=1)
    return model


def widened(size: Size) -> Any:
    """The shipped model at another size, computing the same.

    Every feature stands `factor` times: a matrix W becomes one of blocks W / factor, which maps (x, x) to (Wx, Wx), and
    a layer norm gives the same for (x, x). Added layers add nothing, their last matrices being zero. Tied embeddings
    are divided by the root of the factor, so that they are added as before; the logits grow by that root, which keeps
    their order. Added tokens are copies of one that is never chosen.
    """
    import torch

    model, weights, factor = empty_model(size), shipped_weights(), size.factor
    state = model.state_dict()

    def put(name: str, value: np.ndarray) -> None:
        tensor = torch.tensor(value)
        tiled = tensor.repeat(*[factor] * tensor.dim()) / (factor if tensor.dim() == 2 else 1)
        state[name].copy_(tiled)

    with torch.no_grad():
        for side, count in (("encoder", size.encoder_layers), ("decoder", size.decoder_layers)):
            for layer in range(count):
                for part, ours in _layer_names(side):
                    theirs, layers = f"{side}/layer_{layer}/{part}", f"model.{side}.layers.{layer}."
                    _put_layer(put, state, weights, theirs, [f"{layers}{name}" for name in ours])
            put(f"model.{side}.layer_norm.weight", weights[f"{side}/layer_norm/gamma"])
            put(f"model.{side}.layer_norm.bias", weights[f"{side}/layer_norm/beta"])
        rows = torch.tensor(weights["decoder/embeddings/weight"])
        tokens = json.loads((SHIPPED / "shared_vocabulary.json").read_text("utf-8"))
        filling = rows[tokens.index(CHARACTER)].repeat(size.vocabulary - len(rows), 1)
        state["model.shared.weight"].copy_(torch.cat([rows, filling]).repeat(1, factor) / factor**0.5)
    model.load_state_dict(state)
    model.tie_weights()
    return model


def _layer_names(side: str) -> list[tuple[str, list[str]]]:
    """CTranslate2's name of a part of a layer, and transformers': several where their rows stand under each other."""
    names = [
        ("self_attention/layer_norm", ["self_attn_layer_norm"]),
        ("self_attention/linear_0", [f"self_attn.{x}_proj" for x in "qkv"]),
        ("self_attention/linear_1", ["self_attn.out_proj"]),
        ("ffn/layer_norm", ["final_layer_norm"]),
        ("ffn/linear_0", ["fc1"]),
        ("ffn/linear_1", ["fc2"]),
    ]
    cross = [
        ("attention/layer_norm", ["encoder_attn_layer_norm"]),
        ("attention/linear_0", ["encoder_attn.q_proj"]),
        ("attention/linear_1", ["encoder_attn.k_proj", "encoder_attn.v_proj"]),
        ("attention/linear_2", ["encoder_attn.out_proj"]),
    ]
    return names + (cross if side == "decoder" else [])


def _put_layer(put: Any, state: Any, weights: dict[str, Any], theirs: str, ours: list[str]) -> None:
    import numpy as np

    if theirs.endswith("layer_norm"):
        if f"{theirs}/gamma" in weights:
            put(f"{ours[0]}.weight", weights[f"{theirs}/gamma"])
            put(f"{ours[0]}.bias", weights[f"{theirs}/beta"])
        return
    for kind in ("weight", "bias"):
        if f"{theirs}/{kind}" in weights:
            for name, part in zip(ours, np.split(weights[f"{theirs}/{kind}"], len(ours)), strict=True):
                put(f"{name}.{kind}", part)
        elif ours[0].endswith(("out_proj", "fc2")):  # an added layer: what it computes comes to nothing
            state[f"{ours[0]}.{kind}"].zero_()


def shipped_weights() -> dict[str, Any]:
    """Name -> array of the shipped model, int8 weights as the float32 that they stand for.

    The file: a version, the model's kind, and for each array a name, its shape, a type, bytes
    (`ctranslate2.specs.model_spec.ModelSpec._serialize`).
    """
    import numpy as np

    kinds = {0: np.float32, 1: np.int8, 2: np.int16, 3: np.int32}
    found: dict[str, Any] = {}
    with (SHIPPED / "model.bin").open("rb") as file:

        def read(form: str) -> tuple[Any, ...]:
            return struct.unpack(f"<{form}", file.read(struct.calcsize(f"<{form}")))

        def text() -> str:
            return file.read(read("H")[0])[:-1].decode()

        read("I"), text(), read("I")
        for _ in range(read("I")[0]):
            name, rank = text(), read("B")[0]
            shape, kind, length = read(f"{rank}I"), read("B")[0], read("I")[0]
            found[name] = np.frombuffer(file.read(length), dtype=kinds[kind]).reshape(shape)
    for name in [name for name in found if name.endswith("_scale")]:
        weight = name.removesuffix("_scale")
        if weight in found:
            found[weight] = found[weight].astype(np.float32) / found.pop(name)[:, None]
    return found
