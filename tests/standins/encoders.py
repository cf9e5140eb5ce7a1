"""Tiny encoders under the ids of real ones, laid out as the hub lays them out: same files, classes and modules.

Each has the architecture, the tokenizer class, the pooling and the prompts of the real one, with random weights of a
width of 32 and a small vocabulary of characters in many scripts, so that different texts get different vectors.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hub_cache import HubCache

HIDDEN = 32
POSITIONS = 512
# Common words, so that a text is not a row of single characters, and common characters of scripts that have thousands.
_WORDS = (
    "the of and to in is for with on by what how when where who which der die das und ist ein wie was wo wer el la los "
    "que es un como donde le les et est une comment bir ve ne nasıl query passage"
)
_CHARACTERS = (
    "的一是在不了有和人这中大为上个国我以要他时来用们生到作地于出就分对成会可主发年动同工也能下过子说产种面而方后多定行学法所"
    "民得经十三之进着等部度家电力里如水化高自二理起小物现实加量都两体制机当使点从业本去把性好应开它合还因由其些然前外天政四日那"
    "图书馆哪语言问题答案设备地址密码主机名网络服务器本何時場所東京駅前店家族日本語質問"
    "이다는을에의가를은한하고지사로기도자어리인대해서들나시아것과일있그수전부정보무엇언제디누구왜어떻게"
)
# First and last code points of alphabets and punctuation.
_RANGES = [
    (0x21, 0x7E), (0xA1, 0x17F), (0x391, 0x3CE), (0x410, 0x44F), (0x5D0, 0x5EA), (0x60C, 0x6CC), (0x905, 0x96F),
    (0x985, 0x9CD), (0xC05, 0xC4D), (0xE01, 0xE5B), (0x1EA0, 0x1EF9), (0x3001, 0x3002), (0x3041, 0x30FE),
]  # fmt: skip


@dataclass(frozen=True)
class _Standin:
    """An encoder to make: its files but for the tokenizer's, made in an empty folder, and its licence."""

    build: Callable[[Path, int, int], None]
    license: str
    layers: int = 1


def make(cache: HubCache, ids: Sequence[str] | None = None, commits: Mapping[str, str] | None = None) -> None:
    """Adds encoders to a cache.

    Args:
        cache: Where.
        ids: Which ones, all if None.
        commits: Repository -> the commit to add it at; made up where not given.

    Raises:
        KeyError: There is no stand-in of an id.
    """
    for repo_id in ENCODERS if ids is None else ids:
        standin = ENCODERS[repo_id]
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch)
            standin.build(folder, standin.layers, list(ENCODERS).index(repo_id))
            (folder / "README.md").write_text(f"---\nlicense: {standin.license}\n---\nA stand-in of {repo_id}.\n")
            cache.add_folder(repo_id, folder, commit=(commits or {}).get(repo_id))


def _pieces() -> list[str]:
    alphabets = [chr(code) for first, last in _RANGES for code in range(first, last + 1)]
    return list(dict.fromkeys([*alphabets, *_CHARACTERS, *_WORDS.split()]))


def _save(folder: Path, model: Any, tokenizer: Any, settings: Mapping[str, Any] | None = None) -> None:
    """`settings`: tokenizer_config.json of repositories from before it named the tokenizer's class and tokens."""
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    if settings is not None:
        (folder / "tokenizer_config.json").write_text(json.dumps(settings))


def _seed(number: int) -> None:
    import torch

    torch.manual_seed(1000 + number)


def _xlm_tokenizer(length: int) -> Any:
    """Unigram over white space marked with ▁, `<s>` and `</s>` around, as XLM-R's sentencepiece model."""
    from transformers import XLMRobertaTokenizer

    special = ["<s>", "<pad>", "</s>", "<unk>"]
    pieces = [(piece, -4.0 if len(piece) > 1 else -8.0) for piece in _pieces()]
    words = [(f"▁{piece}", -3.0) for piece in _WORDS.split()]
    vocab = [*((token, 0.0) for token in special), ("▁", -6.0), *words, *pieces, ("<mask>", 0.0)]
    return XLMRobertaTokenizer(vocab=vocab, model_max_length=length)


def _xlm_config(layers: int, length: int) -> Any:
    from transformers import XLMRobertaConfig

    return XLMRobertaConfig(
        vocab_size=len(_xlm_tokenizer(length)),
        hidden_size=HIDDEN,
        num_hidden_layers=layers,
        num_attention_heads=2,
        intermediate_size=HIDDEN * 2,
        max_position_embeddings=length + 2,
        type_vocab_size=1,
        initializer_range=0.2,
    )


def _xlm_roberta(folder: Path, layers: int, number: int) -> None:
    """A masked language model, as the repository holds it: without a pooler, with an lm_head."""
    from transformers import XLMRobertaForMaskedLM

    _seed(number)
    model = XLMRobertaForMaskedLM(_xlm_config(layers, POSITIONS))
    _save(folder, model, _xlm_tokenizer(POSITIONS), {"model_max_length": POSITIONS})


def _bert_tokenizer(cased: bool) -> Any:
    from transformers import BertTokenizer

    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    pieces = [piece for piece in _pieces() if cased or piece == piece.lower()]
    vocab = {piece: i for i, piece in enumerate([*special, *pieces, *(f"##{piece}" for piece in pieces)])}
    return BertTokenizer(vocab=vocab, do_lower_case=not cased, model_max_length=POSITIONS)


def _bert_config(tokenizer: Any, layers: int) -> Any:
    from transformers import BertConfig

    return BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=HIDDEN,
        num_hidden_layers=layers,
        num_attention_heads=2,
        intermediate_size=HIDDEN * 2,
        max_position_embeddings=POSITIONS,
        initializer_range=0.2,
    )


def _bert(cased: bool) -> Callable[[Path, int, int], None]:
    def build(folder: Path, layers: int, number: int) -> None:
        from transformers import BertForMaskedLM

        _seed(number)
        tokenizer = _bert_tokenizer(cased)
        settings = {"do_lower_case": not cased, "model_max_length": POSITIONS}
        _save(folder, BertForMaskedLM(_bert_config(tokenizer, layers)), tokenizer, settings)

    return build


def _labse(folder: Path, layers: int, number: int) -> None:
    from safetensors.torch import save_file
    from torch import nn
    from transformers import BertModel

    _seed(number)
    tokenizer = _bert_tokenizer(cased=True)
    _save(folder, BertModel(_bert_config(tokenizer, layers)), tokenizer)
    _write_modules(folder, "cls", ["Dense", "Normalize"], length=256)
    (folder / "2_Dense").mkdir()
    tanh = "torch.nn.modules.activation.Tanh"
    dense = {"in_features": HIDDEN, "out_features": HIDDEN, "bias": True, "activation_function": tanh}
    (folder / "2_Dense" / "config.json").write_text(json.dumps(dense))
    linear = nn.Linear(HIDDEN, HIDDEN)
    weights = {f"linear.{name}": value.detach().clone() for name, value in linear.named_parameters()}
    save_file(weights, folder / "2_Dense" / "model.safetensors", {"format": "pt"})


def _xlm_sentences(pooling: str, length: int) -> Callable[[Path, int, int], None]:
    """An XLM-R trained to embed sentences: multilingual E5, BGE-M3. Neither keeps its prompts in the repository."""

    def build(folder: Path, layers: int, number: int) -> None:
        from transformers import XLMRobertaModel

        _seed(number)
        _save(folder, XLMRobertaModel(_xlm_config(layers, length)), _xlm_tokenizer(length))
        _write_modules(folder, pooling, ["Normalize"], length=length)

    return build


def _mmbert(folder: Path, layers: int, number: int) -> None:
    from tokenizers import processors
    from transformers import GemmaTokenizer, ModernBertConfig, ModernBertForMaskedLM

    _seed(number)
    special = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>"]
    pieces = [*special, *(f"<0x{byte:02X}>" for byte in range(256)), "▁", *(p for p in _pieces() if len(p) == 1)]
    vocab = {piece: i for i, piece in enumerate(dict.fromkeys(pieces))}
    tokenizer = GemmaTokenizer(vocab=vocab, merges=[], model_max_length=8192, padding_side="right")
    tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single="<bos> $A <eos>", pair="<bos> $A <eos> $B <eos>", special_tokens=[("<bos>", 2), ("<eos>", 1)]
    )
    config = ModernBertConfig(
        vocab_size=len(tokenizer),
        hidden_size=HIDDEN,
        num_hidden_layers=layers,
        num_attention_heads=2,
        intermediate_size=HIDDEN * 2,
        max_position_embeddings=8192,
        local_attention=128,
        initializer_range=0.2,
        pad_token_id=0,
        bos_token_id=2,
        eos_token_id=1,
        cls_token_id=1,
        sep_token_id=1,
    )
    _save(folder, ModernBertForMaskedLM(config), tokenizer)


def _write_modules(folder: Path, pooling: str, heads: Sequence[str], *, length: int) -> None:
    """modules.json and the modules' configurations, spelt as the first versions of sentence-transformers did."""
    names = ["Transformer", "Pooling", *heads]
    modules = [
        {
            "idx": i,
            "name": str(i),
            "path": f"{i}_{name}" if i else "",
            "type": f"sentence_transformers.models.{name}",
        }
        for i, name in enumerate(names)
    ]
    (folder / "modules.json").write_text(json.dumps(modules, indent=2))
    (folder / "sentence_bert_config.json").write_text(json.dumps({"max_seq_length": length, "do_lower_case": False}))
    (folder / "1_Pooling").mkdir()
    modes = {"cls_token": pooling == "cls", "mean_tokens": pooling == "mean", "max_tokens": False}
    config = {"word_embedding_dimension": HIDDEN, **{f"pooling_mode_{mode}": on for mode, on in modes.items()}}
    (folder / "1_Pooling" / "config.json").write_text(json.dumps(config))


ENCODERS: dict[str, _Standin] = {
    "FacebookAI/xlm-roberta-base": _Standin(_xlm_roberta, "mit"),
    "FacebookAI/xlm-roberta-large": _Standin(_xlm_roberta, "mit", layers=2),
    "sentence-transformers/LaBSE": _Standin(_labse, "apache-2.0"),
    "google-bert/bert-base-multilingual-cased": _Standin(_bert(cased=True), "apache-2.0"),
    "google-bert/bert-base-multilingual-uncased": _Standin(_bert(cased=False), "apache-2.0"),
    "intfloat/multilingual-e5-small": _Standin(_xlm_sentences("mean", POSITIONS), "mit"),
    "intfloat/multilingual-e5-base": _Standin(_xlm_sentences("mean", POSITIONS), "mit"),
    "intfloat/multilingual-e5-large": _Standin(_xlm_sentences("mean", POSITIONS), "mit", layers=2),
    "BAAI/bge-m3": _Standin(_xlm_sentences("cls", 8192), "mit", layers=2),
    "jhu-clsp/mmBERT-small": _Standin(_mmbert, "mit", layers=2),
    "jhu-clsp/mmBERT-base": _Standin(_mmbert, "mit", layers=2),
}
