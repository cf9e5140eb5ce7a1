"""Tiny translation models under real ids, in a hub cache: the true architectures, tokenizers and file layouts.

What they say means nothing, but it depends on every word of the source, and it is the same in every run. All but
MADLAD's are made to replace each piece of the source by a fixed other one of the same length, and that one by the first:
a translation is as long as its source and ends with it, and a translation back is mostly the source again. MADLAD's
weights are random. Files are laid out as those of the real repositories: tokenizer.json where they have one,
tokenizer_config.json as old as theirs, safetensors.
"""

from __future__ import annotations

import io
import json
import random
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from functools import cache as cached
from pathlib import Path
from typing import Any

from hub_cache import HubCache

NLLB = "facebook/nllb-200-distilled-600M"
M2M100 = "facebook/m2m100_418M"
MADLAD = "google/madlad400-3b-mt"
MBART = "facebook/mbart-large-50-many-to-many-mmt"
OPUS = "Helsinki-NLP/opus-mt-"
DEFAULT_IDS = (NLLB, M2M100, MADLAD, OPUS + "en-de", OPUS + "de-en")

# Where the real repositories keep safetensors, which their main branches lack.
_SAFETENSORS = {NLLB: "refs/pr/39", M2M100: "refs/pr/19", OPUS + "en-de": "refs/pr/4"}
_LICENSES = {NLLB: "cc-by-nc-4.0", M2M100: "mit", MADLAD: "apache-2.0", MBART: "mit"}
_OPUS_GROUPS = {
    "zh": [">>cmn_Hans<<", ">>cmn_Hant<<", ">>yue<<"],
    "mul": [">>deu<<", ">>spa<<", ">>fra<<", ">>rus<<", ">>ara<<", ">>hin<<", ">>tha<<", ">>tur<<", ">>cmn_Hans<<"],
}
_WORDS = {
    "en": "the a light door sensor opens closes red blue water house on off dark cold what who city river king year",
    "de": "das die der licht tür öffnet schließt rot blau wasser haus ein aus dunkel kalt was wer stadt fluss jahr",
    "es": "la el luz puerta abre cierra rojo azul agua casa oscuro frío qué quién ciudad río rey año",
    "fr": "le lumière porte ouvre ferme rouge bleu eau maison sombre froid quoi qui ville fleuve roi an",
    "ru": "свет дверь открывает закрывает красный синий вода дом темно холодно что кто город река король год",
    "ar": "ضوء باب يفتح يغلق أحمر أزرق ماء بيت مظلم بارد ماذا من مدينة نهر ملك سنة",
    "hi": "रोशनी दरवाजा खुलता बंद लाल नीला पानी घर अंधेरा ठंडा क्या कौन शहर नदी राजा साल",
    "th": "แสง ประตู เปิด ปิด แดง น้ำเงิน น้ำ บ้าน มืด เย็น อะไร ใคร เมือง แม่น้ำ กษัตริย์ ปี",
    "tr": "ışık kapı açar kapatır kırmızı mavi su ev karanlık soğuk ne kim şehir nehir kral yıl",
    "zh": "灯 门 打开 关闭 红 蓝 水 房子 黑暗 冷 什么 谁 城市 河 国王 年",
}
_ALPHABET = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789äöüßéèàçñóíúáıışğ.,;:!?()[]/&%+=#@_-'\""
_WIDTH = 64
_HALF = _WIDTH // 2
_FAST = 8  # sinusoids of so high a frequency that they tell neighbouring positions apart
_MAX_POSITIONS = 128


def make(cache: HubCache, ids: Iterable[str] | None = None, commits: Mapping[str, str] | None = None) -> list[Path]:
    """Adds models to the cache.

    Args:
        cache: The cache.
        ids: The models above, or any "Helsinki-NLP/opus-mt-<from>-<to>"; DEFAULT_IDS if None.
        commits: id -> the commit to lay it out under; made up where not given.

    Returns:
        The snapshots' folders, in the order of the ids.
    """
    made = []
    for repo in ids or DEFAULT_IDS:
        refs = ["main", *([_SAFETENSORS[repo]] if repo in _SAFETENSORS else [])]
        made.append(cache.add(repo, _files(repo), commit=(commits or {}).get(repo), refs=refs))
    return made


def _files(repo: str) -> dict[str, bytes | str]:
    makers = {NLLB: _nllb, M2M100: _m2m100, MADLAD: _madlad, MBART: _mbart}
    if repo in makers:
        files = makers[repo]()
    elif repo.startswith(OPUS):
        files = _opus(*repo.removeprefix(OPUS).rsplit("-", 1))
    else:
        raise ValueError(f"There is no stand-in for {repo}.")
    head = f"---\nlicense: {_LICENSES.get(repo, 'cc-by-4.0')}\ntags:\n- translation\n---\n\nA stand-in for {repo}.\n"
    return {**files, "README.md": head}


@cached
def _sentences() -> list[str]:
    draw = random.Random(0)
    spoken = [" ".join(draw.choices(words.split(), k=8)) + "." for words in _WORDS.values() for _ in range(40)]
    return [*spoken, *(f"{a}{b} {a}" for a in _ALPHABET for b in draw.choices(_ALPHABET, k=4))]


@cached
def sentencepiece_model(kind: str, extra: tuple[str, ...] = (), t5_ids: bool = False) -> bytes:
    """A SentencePiece model of the words above: kind "bpe" or "unigram"; `extra` symbols are never split."""
    import sentencepiece

    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(_sentences()),
        model_writer=model,
        vocab_size=900,
        model_type=kind,
        user_defined_symbols=list(extra),
        character_coverage=1.0,
        hard_vocab_limit=False,
        normalization_rule_name="identity",  # tokenizer.json cannot be given another one without protobuf
        num_threads=1,
        minloglevel=2,
    )
    return model.getvalue()


def _pieces(model: bytes) -> list[tuple[str, float]]:
    import sentencepiece

    processor = sentencepiece.SentencePieceProcessor(model_proto=model)
    return [(processor.id_to_piece(i), processor.get_score(i)) for i in range(processor.get_piece_size())]


def _saved(model: Any) -> dict[str, bytes | str]:
    """A model's files."""
    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder)
        return {path.name: path.read_bytes() for path in sorted(Path(folder).iterdir())}


def _replacing(model: Any, names: Sequence[str], plain: Iterable[int], end: int, seed: int) -> dict[str, bytes | str]:
    """The files of a model that replaces the k-th piece of the source by its partner.

    The embedding of a piece is (u, w), that of its partner (w, u), in the dimensions in which the sinusoids of the
    positions hardly change. The decoder's cross-attention compares the other dimensions, so that position k looks at
    position k of the source, and swaps the two halves of what it finds there. All other layers pass on their input.
    """
    import torch

    with torch.no_grad():
        for weight in (
            p for name, p in model.named_parameters() if "layernorm" not in name and "layer_norm" not in name
        ):
            weight.zero_()
        for positions in (model.model.encoder.embed_positions, model.model.decoder.embed_positions):
            if isinstance(positions, torch.nn.Embedding) and positions.weight.requires_grad:  # mBART's are learned
                positions.weight.copy_(_sinusoids(len(positions.weight)))
        model.get_input_embeddings().weight.copy_(_paired(names, plain, end, seed))
        if model.config.model_type == "marian":
            model.get_input_embeddings().weight[model.config.pad_token_id] = 0  # what its decoder starts from
        attention, where = model.model.decoder.layers[0].encoder_attn, torch.arange(_FAST)
        head = _HALF  # two heads: the first carries u, the second w
        for first in (0, head):
            for block in (0, 1):
                rows = first + block * _FAST + where
                attention.q_proj.weight[rows, block * _HALF + where] = 90.0
                attention.k_proj.weight[rows, block * _HALF + where] = 90.0
        carried = torch.arange(_HALF - _FAST)
        for first, there, other in ((0, _FAST, _HALF + _FAST), (head, _HALF + _FAST, _FAST)):
            attention.v_proj.weight[first + carried, there + carried] = 1.0
            attention.out_proj.weight[other + carried, first + carried] = 100.0
    return _saved(model)


def _sinusoids(count: int) -> Any:
    """The table of positions of M2M100: (count, _WIDTH)."""
    import torch

    angles = torch.arange(count)[:, None] * 10_000 ** (-torch.arange(_HALF) / (_HALF - 1))
    return torch.cat([angles.sin(), angles.cos()], dim=1)


def _paired(names: Sequence[str], plain: Iterable[int], end: int, seed: int) -> Any:
    """Embeddings (tokens, _WIDTH) of signs: partners have each other's halves; the end is its own partner."""
    import torch

    draw = torch.Generator().manual_seed(seed)
    size = _HALF - _FAST
    table = torch.zeros(len(names), _WIDTH)
    first, second = slice(_FAST, _HALF), slice(_HALF + _FAST, _WIDTH)
    # As many of each sign, or the mean that a layer norm takes away would hide the positions.
    signs = (torch.rand(len(names), 2, size, generator=draw).argsort(dim=-1) % 2) * 2.0 - 1.0
    level = (
        -_sinusoids(_MAX_POSITIONS // 2).mean() / _WIDTH**0.5 * _WIDTH / (2 * size)
    )  # takes that of the positions away
    table[:, first], table[:, second] = signs[:, 0] + level, signs[:, 1] + level
    table[end, second] = table[end, first]
    alike: dict[tuple[bool, int], list[int]] = {}
    for i in plain:
        alike.setdefault((names[i].startswith("\u2581"), len(names[i])), []).append(i)
    for group in alike.values():
        shuffled = [group[i] for i in torch.randperm(len(group), generator=draw).tolist()]
        for a, b in zip(shuffled[::2], shuffled[1::2], strict=False):
            table[b, first], table[b, second] = table[a, second], table[a, first]
        if len(shuffled) % 2:
            table[shuffled[-1], second] = table[shuffled[-1], first]
    return table


def _random(model: Any, plain: Iterable[int], end: int, seed: int) -> dict[str, bytes | str]:
    """The files of a model with random weights that speaks the `plain` tokens and comes to an end.

    Other tokens get small output weights, so that they are hardly ever said, and the end large ones, so that it is
    the most likely token every few steps.
    """
    import torch

    draw = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if weight.dim() == 2:
                weight.copy_(
                    torch.randn(weight.shape, generator=draw) * (3.0 if "EncDec" in name else 1.0) / _WIDTH**0.5
                )
        head = model.get_output_embeddings().weight
        others = torch.ones(len(head), dtype=torch.bool)
        others[list(plain)] = False
        head[others] *= 0.3
        head[end] *= 4.0 / 0.3
    return _saved(model)


def _sizes() -> dict[str, Any]:
    return {
        "d_model": _WIDTH,
        "encoder_layers": 1,
        "decoder_layers": 1,
        "encoder_attention_heads": 2,
        "decoder_attention_heads": 2,
        "encoder_ffn_dim": 16,
        "decoder_ffn_dim": 16,
        "max_position_embeddings": _MAX_POSITIONS,
        "scale_embedding": True,
        "dropout": 0.0,
        "attention_dropout": 0.0,
    }


def _opus(source: str, target: str) -> dict[str, bytes | str]:
    """OPUS-MT: two SentencePiece models, vocab.json of both with `<pad>` last, tokens of the target languages if many."""
    from transformers import MarianConfig, MarianMTModel

    model = sentencepiece_model("unigram")
    pieces = ["</s>", "<unk>", *(piece for piece, _ in _pieces(model)[3:])]
    pad = len(pieces) + len(_OPUS_GROUPS.get(target, []))
    names = [*pieces, *_OPUS_GROUPS.get(target, []), "<pad>"]
    config = MarianConfig(
        **_sizes(), vocab_size=len(names), pad_token_id=pad, eos_token_id=0, decoder_start_token_id=pad,
        forced_eos_token_id=0, bos_token_id=0, activation_function="swish", static_position_embeddings=True,
    )  # fmt: skip
    network = MarianMTModel(config)
    network.generation_config.bad_words_ids = [[pad]]
    seed = sum(map(ord, source + target))  # that of both directions
    return {
        **_replacing(network, names, range(2, len(pieces)), 0, seed),
        "source.spm": model,
        "target.spm": model,
        "vocab.json": json.dumps({name: i for i, name in enumerate(names)}, ensure_ascii=False),
        "tokenizer_config.json": json.dumps({"target_lang": target, "source_lang": source}),
    }


def _m2m100() -> dict[str, bytes | str]:
    from transformers.models.m2m_100.tokenization_m2m_100 import FAIRSEQ_LANGUAGE_CODES

    model = sentencepiece_model("bpe")
    codes = [f"__{code}__" for code in FAIRSEQ_LANGUAGE_CODES["m2m100"]]
    names = ["<s>", "<pad>", "</s>", "<unk>", *(piece for piece, _ in _pieces(model)[3:])]
    return {
        **_fairseq([*names, *codes, *_made_up(8)], range(4, len(names)), 2),
        "sentencepiece.bpe.model": model,
        "vocab.json": json.dumps({name: i for i, name in enumerate(names)}, ensure_ascii=False),
        "special_tokens_map.json": json.dumps(_special(codes)),
        "tokenizer_config.json": json.dumps(
            {"src_lang": None, "tgt_lang": None, "tokenizer_class": "M2M100Tokenizer", "num_madeup_words": 8}
        ),
    }


def _nllb() -> dict[str, bytes | str]:
    from transformers import NllbTokenizer
    from transformers.convert_slow_tokenizer import generate_merges
    from transformers.models.nllb.tokenization_nllb import FAIRSEQ_LANGUAGE_CODES

    model = sentencepiece_model("bpe")
    pieces = _pieces(model)
    plain = ["<s>", "<pad>", "</s>", "<unk>", *(piece for piece, _ in pieces[3:])]
    names = [*plain, *FAIRSEQ_LANGUAGE_CODES, "<mask>"]
    scores = dict(pieces[3:])
    merges = generate_merges({name: i for i, name in enumerate(plain)}, scores)
    tokenizer = NllbTokenizer(vocab={name: i for i, name in enumerate(names)}, merges=merges)
    return {
        **_fairseq([*names, *_made_up(2)], range(4, len(plain)), 3),
        "sentencepiece.bpe.model": model,
        "tokenizer.json": tokenizer.backend_tokenizer.to_str(),
        "special_tokens_map.json": json.dumps(_special(FAIRSEQ_LANGUAGE_CODES)),
        "tokenizer_config.json": json.dumps({"src_lang": None, "tgt_lang": None, "tokenizer_class": "NllbTokenizer"}),
    }


def _special(codes: list[str]) -> dict[str, Any]:
    return {
        "bos_token": "<s>",
        "eos_token": "</s>",
        "sep_token": "</s>",
        "unk_token": "<unk>",
        "pad_token": "<pad>",
        "additional_special_tokens": codes,
    }


def _made_up(count: int) -> list[str]:
    """Names for the embeddings beyond the tokens: M2M100 has eight, NLLB-200 two."""
    return [f"madeupword{i}" for i in range(count)]


def _fairseq(names: Sequence[str], plain: Iterable[int], seed: int) -> dict[str, bytes | str]:
    from transformers import M2M100Config, M2M100ForConditionalGeneration

    config = M2M100Config(
        **_sizes(), vocab_size=len(names), pad_token_id=1, bos_token_id=0, eos_token_id=2, decoder_start_token_id=2,
        activation_function="relu",
    )  # fmt: skip
    return _replacing(M2M100ForConditionalGeneration(config), names, plain, 2, seed)


def _mbart() -> dict[str, bytes | str]:
    """mBART-50: no tokenizer.json, and a tokenizer_config.json that names mBART-25's class, as the real one does."""
    from transformers import MBartConfig, MBartForConditionalGeneration
    from transformers.models.mbart50.tokenization_mbart50 import FAIRSEQ_LANGUAGE_CODES

    model = sentencepiece_model("unigram")
    plain = ["<s>", "<pad>", "</s>", "<unk>", *(piece for piece, _ in _pieces(model)[3:])]
    names = [*plain, *FAIRSEQ_LANGUAGE_CODES, "<mask>"]
    config = MBartConfig(
        **_sizes(), vocab_size=len(names), pad_token_id=1, bos_token_id=0,
        eos_token_id=2, decoder_start_token_id=2, activation_function="relu", normalize_before=True,
        normalize_embedding=True,
    )  # fmt: skip
    return {
        **_replacing(MBartForConditionalGeneration(config), names, range(4, len(plain)), 2, 4),
        "sentencepiece.bpe.model": model,
        "special_tokens_map.json": json.dumps(_special(list(FAIRSEQ_LANGUAGE_CODES))),
        "tokenizer_config.json": json.dumps({"language_codes": "ML50", "tokenizer_class": "MBartTokenizer"}),
    }


def _madlad() -> dict[str, bytes | str]:
    """MADLAD-400: T5 with an output layer of its own; its tokens `<2de>` are pieces of its SentencePiece model."""
    from transformers import T5Config, T5ForConditionalGeneration, T5Tokenizer

    from polybatch.core.languages import LANGUAGES

    asks = tuple(f"<2{language.madlad}>" for language in LANGUAGES.values() if language.madlad)
    model = sentencepiece_model("unigram", asks)
    pieces = _pieces(model)
    config = T5Config(
        vocab_size=len(pieces), d_model=_WIDTH, d_kv=_WIDTH // 2, d_ff=_WIDTH, num_layers=1, num_heads=2,
        dropout_rate=0.0, feed_forward_proj="gated-gelu", tie_word_embeddings=False, decoder_start_token_id=0,
        pad_token_id=1, eos_token_id=2, bos_token_id=1,
    )  # fmt: skip
    plain = [i for i, (piece, _) in enumerate(pieces) if i > 2 and piece not in asks]
    tokenizer = T5Tokenizer(vocab=pieces, extra_ids=0, unk_token="<unk>", pad_token="<s>", eos_token="</s>")
    return {
        **_random(T5ForConditionalGeneration(config), plain, 2, 5),
        "spiece.model": model,
        "tokenizer.json": tokenizer.backend_tokenizer.to_str(),
        "tokenizer_config.json": json.dumps({"tokenizer_class": "T5Tokenizer", "pad_token": "<s>", "extra_ids": 0}),
    }
