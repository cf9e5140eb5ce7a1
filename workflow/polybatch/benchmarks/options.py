"""The options of benchmarks: what an entry of `benchmarks` may say, and what the builders take."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Literal

from annotated_types import Ge
from pydantic import Field

from polybatch.core.contracts import Setting
from polybatch.core.option_types import DISTINCT, Address, FilePath, LanguageCode, Name, Said, Share, SomeLanguageCodes
from polybatch.core.options import ABSENT, REQUIRED, Conflict, Options, Section, given, option

MOST_ABSENT = 0.01  # share of relevant passages that corpora may lack
Counts = Annotated[dict[LanguageCode, Annotated[int, Ge(0)]], Said("numbers by language", "")]


class BeirOptions(Options):
    """`benchmarks.<name>.options` of a folder in BEIR's layout: how it is read."""

    split: str = option("test", "Whose judgements are read.")
    exclude_same_ids: bool = option(
        False, "With `beir`: a passage with a query's id is taken out of its rankings, as BEIR's own code does."
    )
    most_absent: Share = option(MOST_ABSENT, "The share of relevant passages that the corpora may lack.")


class MtebOptions(Options):
    """`benchmarks.<name>.options` of a task of mteb: how it is read."""

    split: str = option("", "Whose judgements are read.", otherwise="the task's only one, else `test`")
    pair_order: Literal["", "corpus-query", "query-corpus"] = option(
        "",
        "With `mteb`: how the task lists the languages of a subset, where that is not known here.",
        otherwise="what is known of the task",
    )
    parallel: Literal["", "ids", "none"] = option(
        "",
        "With `mteb`: whether equal ids in several languages name translations.",
        otherwise="what is known of the task",
    )
    most_absent: Share = option(MOST_ABSENT, "The share of relevant passages that the corpora may lack.")


# Adapter -> what an entry's `options` may say.
ADAPTER_OPTIONS: dict[str, type[Options]] = {"mteb": MtebOptions, "beir": BeirOptions}


class FileSection(Section):
    """An entry of `benchmarks.<name>.files`: a published file, by its address and checksum."""

    url: Address = option(
        REQUIRED,
        "Where it is. Addresses are https, and hold no secrets "
        "([prefetch.md](prefetch.md#addresses-that-need-a-password-or-token)).",
    )
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$"), Said("a checksum of 64 hexadecimal digits", "")] = option(
        ABSENT, "Its checksum; without one the fetch prints the one to pin."
    )


class ExpectedSection(Section):
    """`benchmarks.<name>.expected`: numbers of queries and candidates that the files must hold."""

    queries: Counts = option(ABSENT, "Language to number of queries.")
    candidates: Counts = option(ABSENT, "Language to number of passages.")


class BenchmarkSection(Section):
    """An entry of `benchmarks`: held-out text, published data, or another benchmark with translated queries."""

    adapter: Literal["lareqa", "mlqa", "mteb", "beir"] = option(
        ABSENT,
        "What reads it. `lareqa`: questions in SQuAD's layout with sentence breaks; `mlqa`: the same without, "
        "sentences are split here; `mteb`: a retrieval task of mteb; `beir`: a folder in BEIR's layout.",
    )
    split: str = option(
        ABSENT,
        "Of held-out text: `dev` or `test`. With `beir` and `mteb`: whose judgements are read.",
        otherwise="`test`",
    )
    task: str = option(ABSENT, "With `mteb`: the name of a retrieval task of mteb.")
    path: FilePath = option(ABSENT, "With `lareqa`, `mlqa` and `beir`: a local folder.")
    files: Annotated[dict[LanguageCode, FileSection], Said("a mapping of language codes to files", "")] = option(
        ABSENT, "With `lareqa` and `mlqa`: language to the file that holds it, `{url, sha256}`."
    )
    expected: str | ExpectedSection = option(
        ABSENT,
        "With `lareqa` and `mlqa`: counts that must be met, `{queries: {de: 1190}, candidates: {de: 1276}}`, or "
        "`xquad-r` or `mlqa-r` for the published ones.",
    )
    options: Annotated[dict[str, Any], Said("a mapping", "")] = option(
        {}, "With `mteb` and `beir`: further options, below."
    )
    license: str = option(ABSENT, "With `lareqa` and `mlqa`: for the benchmark's card.")
    queries_of: Name = option(ABSENT, "An English benchmark whose queries are machine-translated.")
    translate: SomeLanguageCodes = option(
        ABSENT, "Languages of the translated queries; each needs a translator from English."
    )
    languages: SomeLanguageCodes = option(ABSENT, "Of the queries.", otherwise="`languages.evaluate`")
    corpus_languages: SomeLanguageCodes = option(ABSENT, "Of the passages.", otherwise="those of the queries")
    settings: Annotated[list[Setting], DISTINCT] = option(
        ABSENT,
        "What is computed and shown.",
        otherwise="`scoring.settings`, else those that the languages allow",
    )

    def conflicts(self) -> Iterator[Conflict]:
        kinds = ("split", "adapter", "queries_of", "translate")
        found = given(self, *kinds)
        if not found:
            yield Conflict((), f"needs one of {', '.join(kinds)}")
        elif {"queries_of", "translate"} & set(found) and len(found) > 1 and found != ["queries_of", "translate"]:
            yield Conflict((), f"{' and '.join(found)} do not go together")
        elif found == ["translate"]:
            yield Conflict(("queries_of",), "is missing: the benchmark whose queries are to be translated")
        elif found == ["queries_of"]:
            yield Conflict(("translate",), "is missing: the languages to translate its queries into")
