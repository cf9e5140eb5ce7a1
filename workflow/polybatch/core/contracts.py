"""The columns of every Parquet artifact. A stage writes one of these and the next stage checks it on reading.

Languages are ISO 639-1 codes. `group` joins texts that are translations of one another: every passage whose
group equals that of a relevant passage is relevant too, in whatever language it stands.
"""

from __future__ import annotations

from typing import Literal, get_args

import pyarrow as pa

# collected/en.parquet: one row an English pair. `kind` is "parallel" (the translations that come with it are used),
# "english_only" (it reaches other languages through machine translation alone) or "english" (it stays English).
COLLECTED = pa.schema(
    [
        ("pair_id", pa.string()),
        ("source", pa.string()),
        ("query", pa.string()),
        ("passage", pa.string()),
        ("hard_negatives", pa.list_(pa.string())),
        ("license", pa.string()),
        ("split", pa.string()),
        ("kind", pa.string()),
    ]
)

# collected/sources/<name>.parquet: the same, split and kind still empty, with the `document` that a pair was taken from
# ("" if it stands for itself; sources.Pair), by which pairs are held out.
SOURCE_PAIRS = COLLECTED.append(pa.field("document", pa.string()))

# supplied/<lang>.parquet (translations that come with a source, by people or not) and parallel/<lang>.parquet:
# texts of a pair in one language. `origin` is "english", "supplied" or "machine" (translated by the pipeline).
PARALLEL = pa.schema(
    [
        ("pair_id", pa.string()),
        ("source", pa.string()),
        ("origin", pa.string()),
        ("query", pa.string()),
        ("passage", pa.string()),
        ("hard_negatives", pa.list_(pa.string())),
    ]
)

# language_means/<run>/<side>.parquet: means of a model's vectors over training text. `side` is "queries" or "corpus".
# `part` is "all" (distinct texts of the language) or, for shifts to English, "with_english" (those of them whose pair
# has an English passage) and "english" (these English passages). `mean` is empty where there are no `texts`.
LANGUAGE_MEANS = pa.schema(
    [
        ("side", pa.string()),
        ("lang", pa.string()),
        ("part", pa.string()),
        ("texts", pa.int64()),
        ("mean", pa.list_(pa.float64())),
    ]
)

# decontamination/pairs.parquet: training pairs that overlap with evaluation text, once for each text of theirs that
# does. `lang` and `side` (query, passage, hard negative) say which text of the pair; `overlap` is "exact",
# "normalised" or "ngram".
CONTAMINATED = pa.schema(
    [
        ("pair_id", pa.string()),
        ("source", pa.string()),
        ("lang", pa.string()),
        ("side", pa.string()),
        ("overlap", pa.string()),
        ("share", pa.float32()),
        ("benchmark", pa.string()),
        ("text_id", pa.string()),
    ]
)

# strings/<lang>.parquet: parallel short texts on which a translator is trained.
STRINGS = pa.schema(
    [("string_id", pa.string()), ("english", pa.string()), ("text", pa.string()), ("split", pa.string())]
)

# translated/<lang>/<shard>.parquet: what the translators said, before the filter, and what it goes by, measured.
# `english_*` is the input. `repetition`: share of word trigrams that repeat an earlier one. `length_ratio`: characters
# of the passage to those of the English one, relative to what is usual in the language. `language_confidence`: 0 to 1
# that the passage is in the language; null if it is too short to be judged, or lingua does not know the language.
# `fault`: why no threshold lets the pair pass, "" if none. Numbers in full precision: thresholds decide on them.
ROUND_TRIP = pa.schema(
    [
        ("pair_id", pa.string()),
        ("source", pa.string()),
        ("english_query", pa.string()),
        ("english_passage", pa.string()),
        ("query", pa.string()),
        ("passage", pa.string()),
        ("query_back", pa.string()),
        ("passage_back", pa.string()),
        ("hard_negatives", pa.list_(pa.string())),
        ("query_chrf", pa.float64()),
        ("passage_chrf", pa.float64()),
        ("query_repetition", pa.float64()),
        ("passage_repetition", pa.float64()),
        ("length_ratio", pa.float64()),
        ("language_confidence", pa.float64()),
        ("fault", pa.string()),
    ]
)

# translated/<lang>.parquet: one row an English-only pair, with the filter's verdict.
TRANSLATED = pa.schema(
    [
        ("pair_id", pa.string()),
        ("source", pa.string()),
        ("query", pa.string()),
        ("passage", pa.string()),
        ("query_back", pa.string()),
        ("passage_back", pa.string()),
        ("query_chrf", pa.float32()),
        ("passage_chrf", pa.float32()),
        ("accepted", pa.bool_()),
        ("reason", pa.string()),
        ("hard_negatives", pa.list_(pa.string())),
    ]
)

# benchmarks/<name>/{queries,corpus}/<lang>.parquet and benchmarks/<name>/qrels.parquet. `answers`: gold answer
# strings where the data has them, else empty. A query's language may have no corpus, and the other way round.
QUERIES = pa.schema(
    [
        ("query_id", pa.string()),
        ("lang", pa.string()),
        ("text", pa.string()),
        ("group", pa.string()),
        ("answers", pa.list_(pa.string())),
    ]
)
CORPUS = pa.schema([("passage_id", pa.string()), ("lang", pa.string()), ("text", pa.string()), ("group", pa.string())])
QRELS = pa.schema([("query_id", pa.string()), ("passage_id", pa.string()), ("relevance", pa.int32())])
# benchmarks/<name>/documents/<lang>.parquet, where the passages were cut from longer documents: read by the
# decontamination alone. benchmarks/<name>/bodies/<lang>.parquet, of passages with a title: their texts without it, as
# they may stand in training data; ids are those of the passages.
DOCUMENTS = pa.schema([("document_id", pa.string()), ("lang", pa.string()), ("text", pa.string())])

# runs/<run>/<bench>.parquet: the top of every ranked list.
RUN = pa.schema(
    [
        ("query_id", pa.string()),
        ("passage_id", pa.string()),
        ("score", pa.float32()),
        ("rank", pa.int32()),
        ("setting", pa.string()),
    ]
)

# The grid point that a row of scores belongs to. `seed` is -1 for an untrained encoder; `alpha` is null but for
# hybrid, "0.5" where it is constant, "1to0.5" where it changes over the training; `num_translated` ("all" or a
# number) bounds the pairs that were machine-translated into at least one language. `objective`, `begin`, `share` and
# `projection` are those of `config.grid.Run`; scores made before there were any have not these columns, and stand for
# GRID_DEFAULTS.
GRID_COLUMNS: list[tuple[str, pa.DataType]] = [
    ("encoder", pa.string()),
    ("sampling", pa.string()),
    ("alpha", pa.string()),
    ("num_pairs", pa.string()),
    ("num_translated", pa.string()),
    ("languages", pa.string()),
    ("seed", pa.int32()),
    ("objective", pa.string()),
    ("begin", pa.string()),
    ("share", pa.string()),
    ("projection", pa.string()),
]

# scores/<run>/<bench>.parquet: one row a (setting, query_lang, corpus_lang, metric); `value` is the mean over
# queries. corpus_lang is "all" in the multilingual setting.
SCORES = pa.schema(
    [
        *GRID_COLUMNS,
        ("benchmark", pa.string()),
        ("setting", pa.string()),
        ("query_lang", pa.string()),
        ("corpus_lang", pa.string()),
        ("metric", pa.string()),
        ("value", pa.float64()),
        ("num_queries", pa.int32()),
    ]
)

# scores/<run>/<bench>.per_query.parquet: the values behind SCORES.
PER_QUERY = pa.schema(
    [
        ("setting", pa.string()),
        ("query_lang", pa.string()),
        ("corpus_lang", pa.string()),
        ("metric", pa.string()),
        ("query_id", pa.string()),
        ("group", pa.string()),
        ("value", pa.float32()),
    ]
)

# What a training minimises; all but the first compare translations of one text.
Objective = Literal["infonce", "lakda", "jsd", "distillation", "mimo"]
OBJECTIVES = get_args(Objective)
PLAIN_OBJECTIVE: Objective = OBJECTIVES[0]
# Those with a teacher, which embeds the English texts.
TAUGHT_OBJECTIVES: tuple[Objective, ...] = ("distillation", "mimo")
# What grid columns stand for that a file has not.
GRID_DEFAULTS = {"objective": PLAIN_OBJECTIVE, "begin": "none", "share": "1", "projection": "none"}
Setting = Literal["monolingual", "cross_lingual", "multilingual"]
SETTINGS = get_args(Setting)
Sampling = Literal["en-en", "x-x", "x-x-mono", "x-y", "hybrid"]
SAMPLINGS = get_args(Sampling)
POOL = "all"
