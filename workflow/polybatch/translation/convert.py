"""Converts a trained translator to CTranslate2, checks the conversion, measures it, and writes its card.

inputs: a transformers M2M100 folder (polybatch.translation.train), strings/<lang>.parquet for measuring
outputs: a translator folder (see polybatch.translation.translator) with translator.json and README.md

BLEU and chrF are sacrebleu's on the strings held out as `test` (distinct, four English words or more, no
placeholders), decoded with the int8 model that is shipped.
"""

from __future__ import annotations

import argparse
import json
import shutil
from itertools import islice
from pathlib import Path
from typing import Any

from polybatch.core import stage
from polybatch.core.arguments import parse_paths
from polybatch.core.errors import TrainingError
from polybatch.core.files import atomic_path, read_json, write_json
from polybatch.core.languages import language
from polybatch.core.sums import write_sums
from polybatch.translation.corpus_scores import corpus_scores
from polybatch.translation.distinct import check_collapse
from polybatch.translation.examples import read_examples
from polybatch.translation.options import DecodingOptions
from polybatch.translation.translator import CARD, SENTENCEPIECE, Translator

_CHECKED_SENTENCES = 20
_TOKENS = 100  # at most: longer sentences are translated in parts here, and whole by transformers
# Sums in another order turn one or two sentences; a wrong conversion turns all.
_LEAST_AGREEMENT, _MAY_DIFFER = 0.75, 2
_KEPT_FILES = ("model.bin", "config.json", "shared_vocabulary.json")


def convert(model: Path, output: Path, quantization: str) -> None:
    """Writes the CTranslate2 model and its tokenizer to `output` (no card yet)."""
    from ctranslate2.converters import TransformersConverter

    TransformersConverter(str(model)).convert(str(output), quantization=quantization, force=True)
    shutil.copyfile(model / SENTENCEPIECE, output / SENTENCEPIECE)
    vocabulary = json.loads((output / "shared_vocabulary.json").read_text("utf-8"))
    moved = [token for token, i in read_json(model / "vocab.json").items() if vocabulary[i] != token]
    if moved:
        raise TrainingError(
            "The conversion changed the vocabulary's order: every translation would be wrong.",
            where=output,
            found=f"{len(moved)} tokens moved, the first is {moved[0]!r}",
        )


def measure(
    folder: Path, strings: dict[str, Path], directions: list[str], options: DecodingOptions, min_distinct: float
) -> dict:
    """direction -> {"bleu", "chrf", "count", "distinct_outputs"} on the strings held out as test.

    Raises:
        DataError: A direction has collapsed (`distinct.check_collapse`).
    """
    scores = {}
    for direction in directions:
        examples = read_examples(strings, [direction], "test")
        distinct = {e.source: e for e in examples}
        translator = Translator(folder, direction, options)
        outputs = translator.translate_texts(list(distinct))
        check_collapse(dict(zip(distinct, outputs, strict=True)), translator, min_distinct)
        references = [e.target for e in distinct.values()]
        scores[direction] = corpus_scores(outputs, references, language(direction.split("-")[1]).iso) | {
            "distinct_outputs": round(len(set(outputs)) / len(outputs), 4)
        }
        stage.log.info("%s: %s", direction, scores[direction])
    return scores


def check_agreement(model: Path, folder: Path, strings: dict[str, Path], direction: str) -> float | None:
    """Share of sentences that CTranslate2 in float32 and transformers translate alike (greedy search).

    Returns:
        Of the first held-out sentences of at most 100 tokens; None where there is none.

    Raises:
        TrainingError: They are few: the conversion is wrong, and so would be every translation.
    """
    import torch
    from transformers import M2M100ForConditionalGeneration, M2M100Tokenizer

    source, target = direction.split("-")
    tokenizer = M2M100Tokenizer.from_pretrained(str(model))
    tokenizer.src_lang = language(source).m2m100
    distinct = dict.fromkeys(e.source for e in read_examples(strings, [direction], "test"))
    whole = (sentence for sentence in distinct if len(tokenizer(sentence).input_ids) <= _TOKENS)
    sentences = list(islice(whole, _CHECKED_SENTENCES))
    if not sentences:
        stage.log.warning("the conversion is not checked: no held-out sentence has at most %d tokens", _TOKENS)
        return None
    peer = M2M100ForConditionalGeneration.from_pretrained(str(model), use_safetensors=True).eval()
    batch = tokenizer(sentences, return_tensors="pt", padding=True)
    with torch.inference_mode():
        ids = peer.generate(
            **batch,
            forced_bos_token_id=tokenizer.get_lang_id(language(target).m2m100),
            num_beams=1,
            do_sample=False,
            max_length=_TOKENS,
        )
    expected = [text.strip() for text in tokenizer.batch_decode(ids, skip_special_tokens=True)]
    found = Translator(folder, direction, DecodingOptions(beam_size=1, max_length=_TOKENS, device="cpu")).translate(
        sentences
    )
    finished = (ids[:, 1:] == tokenizer.eos_token_id).any(1).tolist()
    alike = sum(map(_alike, expected, found, finished))
    agreement = alike / len(sentences)
    if agreement < _LEAST_AGREEMENT and len(sentences) - alike > _MAY_DIFFER:
        raise TrainingError(
            "The converted translator does not translate as the trained one does.",
            where=model,
            expected=f"at least {_LEAST_AGREEMENT:.0%} of {len(sentences)} sentences translated alike ({direction})",
            found=f"{agreement:.0%}",
            remedy="train the translator anew (snakemake translators --forcerun train_translator); if that does not "
            "help, the conversion is at fault: report it with the versions of ctranslate2 and transformers",
        )
    return agreement


def _alike(expected: str, found: str, finished: bool) -> bool:
    """Whether two translations are the same. One without an end was cut off, by either at its own count of tokens."""
    if finished:
        return expected == found
    shorter, longer = sorted((expected.rstrip("\ufffd"), found.rstrip("\ufffd")), key=len)
    return longer.startswith(shorter) and bool(longer) == bool(shorter)


def card_markdown(card: dict[str, Any], command: str) -> str:
    """The model card that lies beside the model."""
    rows = "\n".join(f"| {d} | {s['bleu']:.1f} | {s['chrf']:.1f} | {s['count']} |" for d, s in card["scores"].items())
    return f"""# {card["name"]}: a small translator for {", ".join(card["directions"])}

Made by this pipeline's own rules `train_translator` and `convert_translator`, for studies
where no pretrained translator is in reach. It knows the language of its training data ({card["data"]}) and little
else; for other texts, name a pretrained translator in the config.

| direction | BLEU | chrF2 | strings |
|---|---|---|---|
{rows}

sacrebleu, beam {card["decoding"]["beam_size"]}, {card["quantization"]} weights, on distinct held-out strings of four
English words or more without placeholders. {_agreement_words(card["agreement"])}

- Licence: {card["license"]} (as the training data: {card["data"]}).
- Architecture: {card["architecture"]}.
- Training options, where not the defaults: `{json.dumps(card["training"], sort_keys=True)}`.
- Held out from training: the strings scored above, every text of the study's dev and test splits in any
  language, and the English-only training pairs, whose human translations score the machine translation.
- Retrain with `{command}`.
"""


def _agreement_words(agreement: float | None) -> str:
    if agreement is None:
        return "Whether the conversion translates as transformers does was not checked: there was no short sentence."
    return f"The greedy float32 conversion agrees with transformers on\n{agreement:.0%} of the sentences looked at."


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="polybatch.translation.convert", description=__doc__.split("\n")[0])
    parser.add_argument("--model", required=True, type=Path, help="transformers folder of the trained translator")
    parser.add_argument("--strings", nargs="+", required=True, metavar="LANG=PATH")
    parser.add_argument("--directions", nargs="+", required=True)
    parser.add_argument("--quantization", default="int8")
    parser.add_argument("--min-distinct", type=float, default=0.5, help="as translation.min_distinct")
    parser.add_argument("--facts", required=True, type=json.loads, help="license, data, training, command: JSON")
    parser.add_argument("--output", required=True, type=Path)
    args = parser.parse_args(argv)

    strings = parse_paths(args.strings)
    facts = dict(args.facts)
    command = facts.pop("command")
    config = read_json(args.model / "config.json")
    decoding = DecodingOptions(device="cpu")  # small work, which asks for no card
    card = {
        "name": args.output.name,
        "directions": args.directions,
        "quantization": args.quantization,
        "decoding": {"beam_size": decoding.beam_size},
        "architecture": f"M2M100, {config['encoder_layers']}+{config['decoder_layers']} layers, "
        f"width {config['d_model']}, {config['vocab_size']} pieces, byte fallback",
        **facts,
    }
    with atomic_path(args.output.with_name(args.output.name + ".float32")) as exact:
        convert(args.model, exact, "float32")
        write_json(exact / CARD, card)
        card["agreement"] = check_agreement(args.model, exact, strings, args.directions[0])
        shutil.rmtree(exact)
        exact.mkdir()
    args.output.with_name(args.output.name + ".float32").rmdir()
    with atomic_path(args.output) as partial:
        convert(args.model, partial, args.quantization)
        write_json(partial / CARD, card)
        card["scores"] = measure(partial, strings, args.directions, decoding, args.min_distinct)
        write_json(partial / CARD, card)
        (partial / "README.md").write_text(card_markdown(card, command), "utf-8")
        write_sums(partial)


if __name__ == "__main__":
    stage.run(main)
