"""Makes a translator folder from a pretrained model of the hub: any that CTranslate2 converts and we can prompt.

inputs: a record of a fetched repository (polybatch.core.hub), or a folder laid out like one
outputs: a translator folder (see polybatch.translation.translator): the CTranslate2 model, its SentencePiece models,
    and translator.json, which says what it was made from and under which licence

The families are those of `families`: OPUS-MT (Marian), M2M100, NLLB-200, mBART-50 and MADLAD-400 (T5).
Weights are read from safetensors alone, since a pickled file can run code, and no code of a repository is run. Many
repositories of that age hold safetensors not on their main branch but on one that the hub's own converter opened,
`refs/pr/<number>`; naming its commit as the revision is enough.

The vocabulary that goes into the converted model is built here from the repository's files and compared with
tokenizer.json where there is one: a shifted vocabulary would make every translation wrong without any error.
"""

from __future__ import annotations

import argparse
import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from polybatch.core import stage
from polybatch.core.errors import DataError, PolybatchError
from polybatch.core.files import atomic_path, read_json, write_json
from polybatch.core.hub import read_record
from polybatch.core.sums import write_sums
from polybatch.core.weights import no_pickles
from polybatch.translation.families import FILES
from polybatch.translation.model_files import (
    _RELATIVE_POSITIONS,
    Source,
    check,
    is_non_commercial,
    licence,
    open_source,
    vocabulary,
)
from polybatch.translation.options import TranslatorSource
from polybatch.translation.translator import CARD

QUANTIZATIONS = ("int8", "int8_float16", "int8_float32", "int16", "float16", "float32", "bfloat16")
_SPECIAL = {"bos_token_id", "eos_token_id", "pad_token_id", "decoder_start_token_id"}


def convert(source: Source, wanted: Sequence[str], options: TranslatorSource, output: Path) -> dict[str, Any]:
    """Writes the translator folder and returns its card.

    Args:
        source: The repository.
        wanted: Directions, such as "en-de".
        options: How to convert.
        output: The folder, written whole or not at all.

    Raises:
        ConfigError: The model cannot be used; see `check`.
        DataError: Its vocabulary is not what its family's is, or CTranslate2 refused it.
    """
    kind, tokens = check(source, wanted)
    card = _card(source, wanted, options, kind, output.name) | ({"tokens": tokens} if tokens else {})
    with atomic_path(output) as partial:
        card["parameters"] = _convert(source, vocabulary(source, kind), kind, options.quantization, partial)
        for name in FILES[kind]:
            shutil.copyfile(source.folder / name, partial / name)
        write_json(partial / CARD, card)
        write_sums(partial)
    return card


def _card(source: Source, wanted: Sequence[str], options: TranslatorSource, family: str, name: str) -> dict[str, Any]:
    told = licence(source)
    config = source.config
    positions = config.get("max_position_embeddings") if family != "t5" else _RELATIVE_POSITIONS
    return {
        "name": name,
        "family": family,
        "directions": list(wanted),
        "repo_id": source.snapshot.repo_id if source.snapshot else None,
        "revision": source.snapshot.revision if source.snapshot else None,
        "commit": source.snapshot.commit if source.snapshot else None,
        "license": told,
        "non_commercial": is_non_commercial(told),
        "quantization": options.quantization,
        "architecture": ", ".join(config.get("architectures") or [config["model_type"]]),
        "positions": positions or _RELATIVE_POSITIONS,
    }


def _convert(source: Source, tokens: list[str], family: str, quantization: str, output: Path) -> int:
    """Writes the CTranslate2 model and returns its number of parameters."""
    from ctranslate2.converters import TransformersConverter

    counted: list[int] = []

    class Converter(TransformersConverter):
        """CTranslate2's own, with our vocabulary, and with safetensors or nothing."""

        def load_model(self, model_class: Any, path: str, **kwargs: Any) -> Any:
            safe = {"use_safetensors": True, "trust_remote_code": False, "local_files_only": True}
            model, loaded = model_class.from_pretrained(path, **{**kwargs, **safe}, output_loading_info=True)
            _require_all_weights(source, loaded)
            counted.append(sum(weight.numel() for weight in model.parameters()))
            _restore_special_ids(model.config, source)
            return model

        def load_tokenizer(self, tokenizer_class: Any, path: str, **kwargs: Any) -> Any:
            return _Vocabulary(tokens, source.config)

    try:
        with no_pickles():
            Converter(str(source.folder), low_cpu_mem_usage=True).convert(str(output), quantization=quantization)
    except PolybatchError:
        raise
    except (ValueError, KeyError, RuntimeError, OSError, NotImplementedError) as error:
        if stage.is_disk_full(error):
            raise
        raise DataError(
            f"CTranslate2 could not convert {source.id}.",
            where=source.name,
            found=f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}",
            remedy="fetch the repository again if a file is damaged; else name another model",
        ) from error
    _settle_decoder_start(output, tokens, source, family)
    return counted[0]


def _require_all_weights(source: Source, loaded: dict[str, Any]) -> None:
    """Raises a DataError if transformers filled weights in at random, which it does with no more than a warning."""
    faults = {kind: sorted(map(str, loaded.get(kind) or ())) for kind in ("missing_keys", "mismatched_keys")}
    found = [f"{len(names)} {kind.split('_')[0]} (the first: {names[0]})" for kind, names in faults.items() if names]
    if found:
        raise DataError(
            f"The weights of {source.id} are not those of its configuration.",
            where=source.name,
            found="; ".join(found),
            remedy="fetch the repository again; if that does not help, name another revision or model",
        )


def _special_ids(source: Source) -> dict[str, int]:
    """The ids of the special tokens, from config.json, else from generation_config.json, where newer ones have them."""
    path = source.folder / "generation_config.json"
    generation = read_json(path) if path.exists() else {}
    told = {**generation, **{k: v for k, v in source.config.items() if v is not None}}
    return {name: told[name] for name in sorted(_SPECIAL) if isinstance(told.get(name), int)}


def _restore_special_ids(config: Any, source: Source) -> None:
    """Puts back onto a loaded configuration what transformers moves to the generation configuration."""
    for name, value in _special_ids(source).items():
        setattr(config, name, value)


def _settle_decoder_start(output: Path, tokens: list[str], source: Source, family: str) -> None:
    """Makes the converted model start as the original does; the converter goes by a class name that may be absent.

    Marian starts from an embedding of zeros, whatever the token is called.
    """
    start = _special_ids(source).get("decoder_start_token_id")
    if family == "marian" or start is None:
        return
    written = json.loads((output / "config.json").read_text("utf-8"))
    written["decoder_start_token"] = tokens[start]
    (output / "config.json").write_text(json.dumps(written, indent=2) + "\n", "utf-8")


class _Vocabulary:
    """What the converter asks of a tokenizer, answered from a list of tokens."""

    special_tokens_map: dict[str, list[str]] = {}  # noqa: RUF012
    num_madeup_words = 0

    def __init__(self, tokens: list[str], config: dict[str, Any]) -> None:
        self._tokens = tokens
        self.unk_token, self.eos_token = "<unk>", "</s>"
        self.unk_token_id = tokens.index("<unk>")
        self.bos_token = "<s>" if "<s>" in tokens else "<pad>"
        self.pad_token = tokens[config.get("pad_token_id") or 0]

    def get_vocab(self) -> dict[str, int]:
        return {token: i for i, token in enumerate(self._tokens)}

    def convert_ids_to_tokens(self, i: int | None) -> str | None:
        return None if i is None else self._tokens[i]


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="polybatch.translation.pretrained", description=__doc__.split("\n")[0])
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--record", type=Path, help="of a repository that polybatch.core.hub fetched")
    where.add_argument("--path", type=Path, help="a folder with a repository's files")
    parser.add_argument("--directions", nargs="+", required=True, metavar="en-de")
    parser.add_argument("--options", default="{}", type=TranslatorSource.from_json, help="TranslatorSource, as JSON")
    parser.add_argument("--output", required=True, type=Path)
    args = parser.parse_args(argv)

    snapshot = read_record(args.record) if args.record else None
    source = open_source(snapshot.folder if snapshot else args.path, snapshot)
    card = convert(source, args.directions, args.options, args.output)
    if card["non_commercial"]:
        stage.log.warning(
            "%s is licensed %s: it may be used for non-commercial purposes only. Settle what that means for its "
            "translations, and for the models trained on them, before you use those otherwise.",
            source.id,
            card["license"],
        )
    if card["license"] == "not stated":
        stage.log.warning("%s does not say under which licence it stands: find out before using it", source.id)
    stage.log.info(
        "%s: %s, %.1f million parameters as %s, for %s",
        source.id,
        card["family"],
        card["parameters"] / 1e6,
        card["quantization"],
        " ".join(card["directions"]),
    )


if __name__ == "__main__":
    stage.run(main)
