"""Where every file of a study lies: the only place that spells `results/<collection>/...`.

inputs: the names of a collection and a study
outputs: paths as text, relative to the project's folder; nothing is looked up on disk

They are text and not `Path`, because rules put wildcards into them: `paths.supplied("{lang}")`. A Snakefile imports
this at every start, so it imports nothing heavy. Which of these files a study reads: `study_paths`. What lies within an
encoder, a model, a translator or embeddings is the matter of the stage that writes it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

RESULTS = "results"
# Versions of the tables of all studies, a folder each.
TABLES = f"{RESULTS}/tables"
# What the name of a benchmark has after it where a file holds the values of single queries.
PER_QUERY = ".per_query"
# Pinned wheels, which all collections share.
WHEELS_FOLDER = f"{RESULTS}/sources"


def record_name(kind: str, name: str) -> str:
    """The name of what is fetched for a "source", "encoder", "translator" or "benchmark" of the config."""
    return f"{kind}--{name}"


def wheel(requirement: str, platform: str = "any") -> str:
    """The file of a pinned wheel, such as `homeassistant==2026.11.0`, and of the platform that it was built for."""
    return f"{WHEELS_FOLDER}/{_wheel_name(requirement, platform)}.whl"


# The packages of LibreOffice's help, as apt names them.
HELP_PACKAGES = f"{WHEELS_FOLDER}/libreoffice"


def wheel_log(requirement: str, platform: str = "any") -> str:
    """The log of the wheel's download."""
    return f"{WHEELS_FOLDER}/logs/{_wheel_name(requirement, platform)}.log"


def _wheel_name(requirement: str, platform: str) -> str:
    return f"{requirement.replace('==', '-')}-py3-none-{platform}"


@dataclass(frozen=True)
class Paths:
    """The layout: the path of each kind of file, from the names of what it holds.

    Attributes:
        collection: The folder below `results/` for data, models and scores. Studies on the same data may share it.
        study: Names what is one study's alone: tables, report, plan.
        results: The folder of all results.
    """

    collection: str
    study: str
    results: str = RESULTS

    @classmethod
    def below(cls, base: Path | str) -> Paths:
        """The layout below a folder that stands for `results/<collection>`, without what belongs to one study."""
        return Paths(Path(base).name, "", str(Path(base).parent))

    @property
    def base(self) -> str:
        """`results/<collection>`."""
        return f"{self.results}/{self.collection}"

    def hub_record(self, record: str) -> str:
        """What was fetched, and where its files lie; `record` is a `record_name`."""
        return f"{self.base}/hub/{record}.json"

    def hub_revisions(self) -> str:
        """The folder that keeps the commits of branches."""
        return f"{self.base}/hub/revisions"

    def help_record(self, source: str, lang: str) -> str:
        """What was fetched of LibreOffice's help in a language."""
        return f"{self.base}/sources/{source}/{lang}.json"

    def help_log(self, source: str, lang: str) -> str:
        """The log of that fetch."""
        return f"{self.base}/logs/sources/{source}/{lang}.log"

    def collected_source(self, source: str, form: str = "parquet") -> str:
        """English pairs of one source; with the form "json" their counts."""
        return f"{self.base}/collected/sources/{source}.{form}"

    def collected(self, form: str = "parquet") -> str:
        """English pairs of all sources and splits; with the form "json" their counts."""
        return f"{self.base}/collected/en.{form}"

    def supplied(self, lang: str, form: str = "parquet") -> str:
        """The translations that came with the sources; with the form "json" their counts."""
        return f"{self.base}/supplied/{lang}.{form}"

    def benchmark(self, name: str) -> str:
        """A benchmark's folder."""
        return f"{self.base}/benchmarks/{name}"

    def benchmark_text(self, name: str, side: str, lang: str) -> str:
        """One language of a benchmark; `side` is "queries" or "corpus"."""
        return f"{self.benchmark(name)}/{side}/{lang}.parquet"

    def left_out(self, name: str, lang: str) -> str:
        """What a benchmark of held-out text lacks in a language."""
        return f"{self.benchmark(name)}/left_out/{lang}.json"

    def benchmark_card(self, name: str) -> str:
        """Sizes of a benchmark, and what it lacks."""
        return f"{self.benchmark(name)}/card.json"

    def qrels(self, name: str) -> str:
        """The judgements of a benchmark, over all its languages."""
        return f"{self.benchmark(name)}/qrels.parquet"

    def evaluation_text(self) -> str:
        """The folder of all evaluation text, as n-grams that training text is looked up in."""
        return f"{self.base}/decontamination/text"

    def contaminated(self, form: str = "parquet") -> str:
        """Pairs that overlap with evaluation text; with the form "json" their counts."""
        return f"{self.base}/decontamination/pairs.{form}"

    def exposure(self) -> str:
        """Which evaluation sets the encoders were trained on."""
        return f"{self.base}/decontamination/exposure.json"

    def strings(self, lang: str, form: str = "parquet") -> str:
        """Parallel strings that translators are trained on; as "json" their counts."""
        return f"{self.base}/strings/{lang}.{form}"

    def translator(self, name: str) -> str:
        """A translator's folder, as CTranslate2 reads it."""
        return f"{self.base}/translators/{name}"

    def translator_training(self, name: str) -> str:
        """The folder in which a translator is trained."""
        return f"{self.base}/translator_training/{name}"

    def translations(self) -> str:
        """The folder of all machine translations, a folder below it for each language's shards."""
        return f"{self.base}/translated"

    def translated_shard(self, lang: str, shard: int | str) -> str:
        """The round trips of one shard (contracts.ROUND_TRIP); its .stats.json lies beside it."""
        return f"{self.translations()}/{lang}/{shard}.parquet"

    def translated(self, lang: str, form: str = "parquet") -> str:
        """The judged machine translations of one language; with the form "json" their statistics."""
        return f"{self.translations()}/{lang}.{form}"

    def parallel(self, lang: str) -> str:
        """The training text of one language."""
        return f"{self.base}/parallel/{lang}.parquet"

    def paraphrases(self) -> str:
        """English text that came back from another language."""
        return f"{self.base}/parallel/paraphrase.parquet"

    def validation(self) -> str:
        """English pairs whose loss decides when a training stops."""
        return f"{self.base}/validation.parquet"

    def encoder(self, name: str) -> str:
        """An untrained encoder's folder."""
        return f"{self.base}/encoders/{name}"

    def model(self, run: str) -> str:
        """The folder of a trained run's model."""
        return f"{self.base}/models/{run}"

    def language_means(self, run: str, side: str) -> str:
        """Means of a model's vectors over training text, by language; `side` is "queries" or "corpus"."""
        return f"{self.base}/language_means/{run}/{side}.parquet"

    def checkpoints(self, run: str) -> str:
        """The folder of a training's checkpoints, which is removed when the training has ended."""
        return f"{self.base}/checkpoints/{run}"

    def texts(self) -> str:
        """The folder of the training texts on disk, which trainings share."""
        return f"{self.base}/texts"

    def embeddings_of(self, run: str) -> str:
        """The folder of all embeddings of a run, a folder below it for each benchmark."""
        return f"{self.base}/embeddings/{run}"

    def embeddings(self, run: str, benchmark: str) -> str:
        """The folder of a benchmark's embeddings."""
        return f"{self.embeddings_of(run)}/{benchmark}"

    def embeddings_record(self, run: str, benchmark: str) -> str:
        """What the embeddings were made from; written last."""
        return f"{self.embeddings(run, benchmark)}/embeddings.json"

    def embeddings_shard(self, run: str, shard: int | str, shards: int | str) -> str:
        """The mark of one job of several that embed the study's benchmarks."""
        return f"{self.embeddings_of(run)}/.shards/{self.study}/{shard}-of-{shards}.json"

    def index_record(self, run: str, benchmark: str) -> str:
        """What the indexes beside it were made from; written last."""
        return f"{self.base}/index/{run}/{benchmark}/index.json"

    def scores(self, run: str, benchmark: str) -> str:
        """Means over queries (contracts.SCORES)."""
        return f"{self.base}/scores/{run}/{benchmark}.parquet"

    def per_query(self, run: str, benchmark: str) -> str:
        """The values of single queries (contracts.PER_QUERY)."""
        return f"{self.base}/scores/{run}/{benchmark}{PER_QUERY}.parquet"

    def ranked(self, run: str, benchmark: str) -> str:
        """The top of every ranked list."""
        return f"{self.base}/runs/{run}/{benchmark}.parquet"

    def log(self, stage: str, name: str) -> str:
        """The log of a job; `stage` is the same word as in its `timing`."""
        return f"{self.base}/logs/{stage}/{name}.log"

    def timing(self, stage: str, name: str) -> str:
        """Wall time and memory of a job; the table `timings` has a row for each `stage`."""
        return f"{self.timings()}/{stage}/{name}.tsv"

    def timings(self) -> str:
        """The folder of all timings."""
        return f"{self.base}/timings"

    def tables(self) -> str:
        """The folder of all versions of the study's tables."""
        return f"{self.results}/tables/{self.study}"

    def table(self, name: str) -> str:
        """A file of the newest version of the tables."""
        return f"{self.tables()}/latest/{name}"

    def study_config(self) -> str:
        """The configuration of a study that a command wrote, and not a person."""
        return f"{self.base}/studies/{self.study}.yaml"

    def verification(self, form: str = "json") -> str:
        """What became of a version's scores when they were made again (`polybatch verify`)."""
        return f"{self.results}/verify/{self.study}/verify.{form}"

    def report(self) -> str:
        """Snakemake's report of the study."""
        return f"{self.results}/reports/{self.study}.html"

    def plan(self, form: str = "md") -> str:
        """The plan of the study; with the form "log" the log of the job that made it."""
        return f"{self.results}/plans/{self.study}.{form}"
