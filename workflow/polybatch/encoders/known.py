"""What is known of encoders of the hub: how each is pooled, its prompts, where its safetensors weights lie, its size.

inputs: none
outputs: `known(repo_id)`, and `file_patterns(repo_id)`, the files of a repository that an encoder needs

An encoder that is not in the table works too: its own modules say how it is pooled, or the options do.

Revisions, licences and parameter counts are those that mteb 2.26 states in its model metadata, unless the entry says
otherwise. A revision is left out where none with safetensors weights was found: pickled weights are never read.
Layers, widths and lengths are those of the models' papers and configurations.
"""

from __future__ import annotations

from dataclasses import dataclass

# Never fetched: pickled weights, those of other frameworks (onnx, openvino, tf, flax), pictures, training states.
_FILES = (
    "config.json",
    "model.safetensors",
    "model.safetensors.index.json",
    "model-?????-of-?????.safetensors",
    "modules.json",
    "config_sentence_transformers.json",
    "sentence_*_config.json",
    "[0-9]_*/config.json",
    "[0-9]_*/model.safetensors",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "sentencepiece.bpe.model",
    "spiece.model",
    "tokenizer.model",
    "vocab.txt",
    "vocab.json",
    "merges.txt",
    "README.md",
)
_CODE = "*.py"


@dataclass(frozen=True)
class KnownEncoder:
    """An encoder of the hub.

    Attributes:
        pooling: For a repository without modules of its own; "" where its own modules say it.
        query_prompt, passage_prompt: Put before a text, where the repository itself does not keep them.
        max_length: Longest input in tokens.
        license: As the repository states it.
        revision: A commit with safetensors weights; "" where none is known.
        parameters: Weights, of which `embedding_parameters` are the word embeddings. For planning.
        layers, hidden: The transformer's depth and width. For planning.
        remote_code: Whether it runs only with code of its repository.
        note: What a user should know before naming it.
    """

    pooling: str
    max_length: int
    license: str
    revision: str
    parameters: int
    embedding_parameters: int
    layers: int
    hidden: int
    query_prompt: str = ""
    passage_prompt: str = ""
    remote_code: bool = False
    note: str = ""


def known(repo_id: str) -> KnownEncoder | None:
    """The entry of a repository, None if it is not in the table."""
    return KNOWN_ENCODERS.get(repo_id)


def file_patterns(repo_id: str) -> list[str]:
    """Shell patterns of the files that an encoder of this repository is made from, the smallest set that is enough."""
    entry = known(repo_id)
    return [*_FILES, _CODE] if entry is None or entry.remote_code else list(_FILES)


# XLM-R, mBERT and mmBERT were not trained to embed sentences. The mean of the token vectors is what
# sentence-transformers gives such a model (Reimers & Gurevych 2019, arXiv 1908.10084, section 3). For mBERT the vector
# of [CLS], which its next-sentence task trained and DPR takes of BERT (Karpukhin et al. 2020, arXiv 2004.04906, 3.1).
KNOWN_ENCODERS: dict[str, KnownEncoder] = {
    "FacebookAI/xlm-roberta-base": KnownEncoder(
        pooling="mean",
        max_length=512,
        license="mit",
        revision="e73636d4f797dec63c3081bb6ed5c7b0bb3f2089",
        parameters=278_043_648,
        embedding_parameters=192_001_536,
        layers=12,
        hidden=768,
    ),
    "FacebookAI/xlm-roberta-large": KnownEncoder(
        pooling="mean",
        max_length=512,
        license="mit",
        revision="c23d21b0620b635a76227c604d44e43a9f0ee389",
        parameters=559_890_432,
        embedding_parameters=256_002_048,
        layers=24,
        hidden=1024,
    ),
    # [CLS], a dense layer with tanh, length 1 (Feng et al. 2022, arXiv 2007.01852). mteb's commit e34fab64 is the one
    # that took the safetensors weights away again; this one, the repository's main branch, has them.
    "sentence-transformers/LaBSE": KnownEncoder(
        pooling="",
        max_length=256,
        license="apache-2.0",
        revision="836121a0533e5664b21c7aacc5d22951f2b8b25b",
        parameters=470_926_848,
        embedding_parameters=384_885_504,
        layers=12,
        hidden=768,
    ),
    # Not in mteb; commits of the main branches, which have model.safetensors. Parameters: computed from config.json.
    "google-bert/bert-base-multilingual-cased": KnownEncoder(
        pooling="cls",
        max_length=512,
        license="apache-2.0",
        revision="3f076fdb1ab68d5b2880cb87a0886f315b8146f8",
        parameters=177_853_440,
        embedding_parameters=91_812_096,
        layers=12,
        hidden=768,
    ),
    "google-bert/bert-base-multilingual-uncased": KnownEncoder(
        pooling="cls",
        max_length=512,
        license="apache-2.0",
        revision="7cbf9a625e29989f6b9c6c2fa68234c304f7e38f",
        parameters=167_356_416,
        embedding_parameters=81_315_072,
        layers=12,
        hidden=768,
    ),
    # Mean, "query: " and "passage: " (Wang et al. 2024, arXiv 2402.05672).
    "intfloat/multilingual-e5-small": KnownEncoder(
        pooling="",
        max_length=512,
        license="mit",
        revision="fd1525a9fd15316a2d503bf26ab031a61d056e98",
        parameters=118_000_000,
        embedding_parameters=96_014_208,
        layers=12,
        hidden=384,
        query_prompt="query: ",
        passage_prompt="passage: ",
    ),
    "intfloat/multilingual-e5-base": KnownEncoder(
        pooling="",
        max_length=512,
        license="mit",
        revision="d13f1b27baf31030b7fd040960d60d909913633f",
        parameters=278_000_000,
        embedding_parameters=192_001_536,
        layers=12,
        hidden=768,
        query_prompt="query: ",
        passage_prompt="passage: ",
    ),
    "intfloat/multilingual-e5-large": KnownEncoder(
        pooling="",
        max_length=512,
        license="mit",
        revision="ab10c1a7f42e74530fe7ae5be82e6d4f11a719eb",
        parameters=560_000_000,
        embedding_parameters=256_002_048,
        layers=24,
        hidden=1024,
        query_prompt="query: ",
        passage_prompt="passage: ",
    ),
    # [CLS], length 1 (Chen et al. 2024, arXiv 2402.03216). The main branch (mteb: 5617a9f6) has pytorch_model.bin
    # alone. This commit of a pull request is recorded by other projects as one with model.safetensors; unverified here.
    "BAAI/bge-m3": KnownEncoder(
        pooling="",
        max_length=8192,
        license="mit",
        revision="50f9396f75618b3389c1fd1068a1ff58dc7b5b26",
        parameters=568_000_000,
        embedding_parameters=256_002_048,
        layers=24,
        hidden=1024,
        note="the main branch has pickled weights only",
    ),
    # Marone et al. 2025, arXiv 2509.06888. Not in mteb; parameters as the paper rounds them, of the embeddings as
    # 256,000 pieces times the width.
    "jhu-clsp/mmBERT-small": KnownEncoder(
        pooling="mean",
        max_length=8192,
        license="mit",
        revision="",
        parameters=140_000_000,
        embedding_parameters=98_304_000,
        layers=22,
        hidden=384,
        note="the main branch has pickled weights only",
    ),
    "jhu-clsp/mmBERT-base": KnownEncoder(
        pooling="mean",
        max_length=8192,
        license="mit",
        revision="",
        parameters=307_000_000,
        embedding_parameters=196_608_000,
        layers=22,
        hidden=768,
        note="the main branch has pickled weights only (c5955035435e2bf121cde7f3c8863ef52ff35d82)",
    ),
    # [CLS] (Zhang et al. 2024, arXiv 2407.19669). Its code lies in another repository, which its config.json names.
    "Alibaba-NLP/gte-multilingual-base": KnownEncoder(
        pooling="",
        max_length=8192,
        license="apache-2.0",
        revision="ca1791e0bcc104f6db161f27de1340241b13c5a4",
        parameters=305_368_320,
        embedding_parameters=192_036_864,
        layers=12,
        hidden=768,
        remote_code=True,
    ),
    "sentence-transformers/paraphrase-multilingual-mpnet-base-v2": KnownEncoder(
        pooling="",
        max_length=128,
        license="apache-2.0",
        revision="79f2382ceacceacdf38563d7c5d16b9ff8d725d6",
        parameters=278_043_648,
        embedding_parameters=192_001_536,
        layers=12,
        hidden=768,
    ),
    "sentence-transformers/paraphrase-multilingual-MiniLM-L12-v2": KnownEncoder(
        pooling="",
        max_length=128,
        license="apache-2.0",
        revision="e8f8c211226b894fcb81acc59f3b34ba3efd5f42",
        parameters=117_653_760,
        embedding_parameters=96_014_208,
        layers=12,
        hidden=384,
    ),
    "Snowflake/snowflake-arctic-embed-l-v2.0": KnownEncoder(
        pooling="",
        max_length=8192,
        license="apache-2.0",
        revision="edc2df7b6c25794b340229ca082e7c78782e6374",
        parameters=567_754_752,
        embedding_parameters=256_002_048,
        layers=24,
        hidden=1024,
    ),
}
