"""The files of a translation model: its family, vocabulary, directions and licence, and what is wrong with them.

inputs: a record of a fetched repository (polybatch.core.hub), or a folder laid out like one
outputs: facts for a conversion (polybatch.translation.pretrained), in memory
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from polybatch.core.errors import ConfigError, DataError
from polybatch.core.files import read_json
from polybatch.core.hub import Snapshot
from polybatch.core.languages import LANGUAGES, Language, language, parse_direction
from polybatch.core.weights import has_weights, unsafe_weights
from polybatch.translation.families import FILES, code, language_token, pieces

# What is fetched of a repository: no pickled weights, no other framework's.
FILE_PATTERNS = ("*.json", "*.model", "*.spm", "*.safetensors", "README.md")


_RELATIVE_POSITIONS = 512  # T5 has no table of positions that would end; it was trained on no more than these


@dataclass(frozen=True)
class Source:
    """A repository's files and what its own configuration says.

    Attributes:
        folder: Where the files are.
        name: How errors call it: the repository and commit, or the folder.
        snapshot: None for a folder that is no repository.
        config: config.json.
        tokenizer: tokenizer_config.json; empty if there is none.
    """

    folder: Path
    name: str
    snapshot: Snapshot | None
    config: dict[str, Any]
    tokenizer: dict[str, Any]

    @property
    def id(self) -> str:
        """The repository's id, or the folder's name."""
        return self.snapshot.repo_id if self.snapshot else self.folder.name


def open_source(folder: Path, snapshot: Snapshot | None = None) -> Source:
    """Reads the configuration files of a repository."""
    name = f"{snapshot.repo_id}@{snapshot.commit[:12]}" if snapshot else str(folder)
    path = folder / "tokenizer_config.json"
    return Source(folder, name, snapshot, read_json(folder / "config.json"), read_json(path) if path.exists() else {})


def family(source: Source) -> str:
    """The family of a model, by its configuration.

    Raises:
        ConfigError: CTranslate2 cannot convert it, or it is not a translation model that we can prompt.
    """
    kind = source.config.get("model_type", "")
    own_class = source.tokenizer.get("tokenizer_class") or ""
    if kind == "marian":
        return "marian"
    if kind == "m2m_100" and own_class.removesuffix("Fast") in ("", "M2M100Tokenizer", "NllbTokenizer"):
        is_nllb = own_class.startswith("Nllb") or not (own_class or (source.folder / "vocab.json").exists())
        return "nllb" if is_nllb else "m2m100"
    if kind == "mbart":
        return "mbart"
    if kind == "t5":
        return "t5"
    known = "OPUS-MT (marian), M2M100 and NLLB-200 (m2m_100), mBART-50 (mbart), MADLAD-400 (t5)"
    if kind == "m2m_100":
        fault = f"its tokenizer is {own_class}, which prompts the model in a way of its own"
    elif kind == "fsmt":
        fault = "CTranslate2 does not convert FSMT, the architecture of facebook/wmt19-*"
    else:
        fault = f"its architecture is {kind or 'not stated'}"
    raise ConfigError(
        f"{source.id} cannot be used as a translator: {fault}.",
        where=source.name,
        expected=known,
        found=f"model_type {kind!r}, {', '.join(source.config.get('architectures') or ['no architecture'])}",
        remedy="name another model in translation.translators, for example facebook/m2m100_418M",
    )


def vocabulary(source: Source, family: str) -> list[str]:
    """The tokens of a model in the order of their ids, as many as it has embeddings.

    Raises:
        DataError: tokenizer.json, or the number of embeddings, says otherwise.
    """
    size = source.config["vocab_size"]
    tokens = list(_own_tokens(source, family))
    faults = []
    if len(tokens) > size:
        faults.append(f"{len(tokens)} tokens for {size} embeddings")
    if len(set(tokens)) != len(tokens):
        faults.append("tokens that stand twice")
    faults += _moved(source, tokens)
    if faults:
        raise DataError(
            f"The vocabulary of {source.id} is not laid out as that of its family ({family}).",
            where=source.name,
            found="; ".join(faults),
            remedy="use the model that this one was made from, or another one",
        )
    return tokens + [f"madeupword{i:04d}" for i in range(size - len(tokens))]


def _own_tokens(source: Source, family: str) -> Iterator[str]:
    """The tokens that the files name, in order; the fairseq families number their special tokens their own way."""
    folder = source.folder
    if family in ("marian", "m2m100"):
        ids = read_json(folder / "vocab.json")
        if sorted(ids.values()) != list(range(len(ids))):
            raise DataError("vocab.json does not number its tokens from 0 on.", where=source.name)
        yield from sorted(ids, key=ids.__getitem__)
    elif family == "t5":
        yield from pieces(folder / "spiece.model")
    else:
        yield from ("<s>", "<pad>", "</s>", "<unk>", *pieces(folder / FILES[family][0])[3:])
    if family in ("m2m100", "nllb", "mbart"):
        yield from _language_tokens(family)
    if family in ("nllb", "mbart"):
        yield "<mask>"


def _language_tokens(family: str) -> list[str]:
    """Every language of a fairseq family, in its order."""
    if family == "m2m100":
        from transformers.models.m2m_100.tokenization_m2m_100 import FAIRSEQ_LANGUAGE_CODES as M2M100_CODES

        return [f"__{own}__" for own in M2M100_CODES["m2m100"]]
    if family == "nllb":
        from transformers.models.nllb.tokenization_nllb import FAIRSEQ_LANGUAGE_CODES as NLLB_CODES

        return list(NLLB_CODES)
    from transformers.models.mbart50.tokenization_mbart50 import FAIRSEQ_LANGUAGE_CODES as MBART_CODES

    return list(MBART_CODES)


def _moved(source: Source, tokens: list[str]) -> Iterator[str]:
    """Tokens to which tokenizer.json gives another id."""
    path = source.folder / "tokenizer.json"
    if not path.exists():
        return
    told = read_json(path)
    vocab = told["model"]["vocab"]
    ids = dict(vocab) if isinstance(vocab, dict) else {entry[0]: i for i, entry in enumerate(vocab)}
    ids |= {entry["content"]: entry["id"] for entry in told.get("added_tokens", [])}
    moved = [token for token, i in ids.items() if i < len(tokens) and tokens[i] != token]
    if moved:
        yield f"tokenizer.json numbers {len(moved)} tokens differently, the first is {moved[0]!r}"


def check(source: Source, wanted: Sequence[str]) -> tuple[str, dict[str, str]]:
    """The family, and for marian direction -> the token that asks for the target language ("" if none is needed).

    Raises:
        ConfigError: All faults at once: a direction that the model does not offer, files that are missing.
    """
    kind = family(source)
    faults = [*_file_faults(source, kind)]
    tokens: dict[str, str] = {}
    if not faults:
        faults += _embedding_faults(source, kind)
        for direction in wanted:
            try:
                tokens[direction] = _direction_token(source, kind, direction)
            except ConfigError as error:
                faults.append(error.problem + (f" (has: {error.expected})" if error.expected else ""))
    if faults:
        raise ConfigError(
            f"{source.id} cannot be used as a translator here: {len(faults)} fault(s).",
            where=source.name,
            found="; ".join(faults),
            remedy="name another model or revision in translation.translators",
        )
    return kind, tokens if kind == "marian" else {}


def _file_faults(source: Source, family: str) -> Iterator[str]:
    there = sorted(path.name for path in source.folder.iterdir())
    missing = [name for name in (*FILES[family], *(["vocab.json"] if family == "m2m100" else [])) if name not in there]
    if missing:
        yield f"no tokenizer file {', '.join(missing)}"
    if not has_weights(source.folder):
        pickled = [name for name in there if name.endswith((".bin", ".h5", ".msgpack", ".ot"))]
        yield (
            "no safetensors file" + (f", only {', '.join(pickled)}, which we do not read" if pickled else "") + ": the "
            "hub's own converter often put one on a branch refs/pr/<number>, to be seen under the model's Community "
            "tab; name that branch's commit as the revision"
        )
    elif unsafe := list(unsafe_weights(source.folder)):
        yield f"{', '.join(unsafe)} would be read, which is pickled"


def _embedding_faults(source: Source, family: str) -> Iterator[str]:
    """Layouts of the same architecture that the conversion would get wrong."""
    config = source.config
    if family == "marian" and not config.get("share_encoder_decoder_embeddings", True):
        yield "its two sides have separate vocabularies, which the converter does not keep apart"
    if family == "marian" and config.get("pad_token_id") != config["vocab_size"] - 1:
        yield "its padding token is not the last one, as the converter takes it to be"
    if family == "mbart" and config["vocab_size"] != len(list(_own_tokens(source, "mbart"))):
        yield "it is not mBART-50 (mBART-25 and its kin mark the language elsewhere)"


def _direction_token(source: Source, family: str, direction: str) -> str:
    """The token that asks for the target, "" where the family or the model needs none; a ConfigError if it has none."""
    here, there = (language(iso) for iso in parse_direction(direction))
    if family == "marian":
        return _marian_token(source, here, there)
    known = set(_own_tokens(source, family))
    lacking = [
        entry.name
        for entry in ((there,) if family == "t5" else (here, there))
        if not code(family, entry) or language_token(family, entry.iso) not in known
    ]
    if lacking:
        offered = [iso for iso in LANGUAGES if code(family, LANGUAGES[iso]) and language_token(family, iso) in known]
        raise ConfigError(
            f"{direction}: its tokenizer has no {' and no '.join(lacking)}",
            expected=" ".join(offered) or "none of our languages",
        )
    return ""


def _marian_token(source: Source, here: Language, there: Language) -> str:
    """OPUS-MT: one source and one target language, or a group of them, in which case tokens name the target."""
    from_, to = _opus_languages(source)
    groups = read_json(source.folder / "vocab.json")
    asks = sorted(token for token in groups if re.fullmatch(r">>\w+<<", token))
    if from_ and not _is_group(from_) and from_ not in _opus_codes(here):
        raise ConfigError(f"{here.iso}-{there.iso}: it translates from {from_}, not from {here.iso}")
    token = next((token for token in there.opus_tokens() if token in groups), "")
    if token or (to in _opus_codes(there)):
        return token
    if asks:
        raise ConfigError(f"{here.iso}-{there.iso}: it has no token for {there.name}", expected=" ".join(asks))
    raise ConfigError(f"{here.iso}-{there.iso}: it translates into {to or 'a language that it does not name'}")


def _opus_languages(source: Source) -> tuple[str, str]:
    """The source and target language, or group, in the model's own codes; from its tokenizer, else from its name."""
    found = (source.tokenizer.get("source_lang") or "", source.tokenizer.get("target_lang") or "")
    if all(found):
        return found
    match = re.fullmatch(r"opus-mt-(?:tc-\w+-)?(\w+)-(\w+)", source.id.split("/")[-1])
    return (match[1], match[2]) if match else ("", "")


def _is_group(own: str) -> bool:
    """Whether a code of an OPUS-MT name is no single language of ours: mul, ROMANCE, gmw, zle..."""
    return all(own not in _opus_codes(entry) for entry in LANGUAGES.values())


def _opus_codes(entry: Language) -> tuple[str, ...]:
    return (entry.opus, entry.iso, *entry.three_letters)


def licence(source: Source) -> str:
    """What the YAML head of README.md says, else "not stated"."""
    import yaml

    path = source.folder / "README.md"
    match = re.match(r"---\s*\n(.*?)\n---", path.read_text("utf-8"), re.DOTALL) if path.exists() else None
    try:
        head = yaml.safe_load(match[1]) if match else {}
    except yaml.YAMLError:
        head = {}
    told = head.get("license") if isinstance(head, dict) else None
    told = head.get("license_name") if told == "other" and head.get("license_name") else told
    return ", ".join(map(str, told)) if isinstance(told, list) else str(told or "not stated")


def is_non_commercial(licence: str) -> bool:
    """Whether a licence's name says so: cc-by-nc-4.0, cc-by-nc-sa..."""
    return bool(re.search(r"(^|[-_ ])nc([-_ ]|$)|non-?commercial", licence.lower()))
