"""A study on disk as the pipeline leaves it, small enough to be made in a test: two tiny models, embedded and indexed.

Texts are in scripts that run in both directions and without spaces, and some of them try to be markup or to steer a
terminal.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from small_benchmark import write_qrels, write_side
from small_pipeline import embed_and_index, write_tables
from tiny_models import save_tiny_model

from polybatch.config.study_paths import StudyPaths
from polybatch.embedding.options import EncodeOptions

LANGUAGES = ("en", "ar", "th", "zh")
UNTRAINED, HYBRID = "tiny/untrained", "tiny/hybrid-a0.5/nall/en+ar/s1"
MARKUP = """<img src=x onerror="document.title='taken'"><script>document.title='taken'</script> red house 5"""
PASSAGES = {
    "en": [
        "the red house",
        "the blue door opens 1",
        "a garden light 2",
        "sensor closes 3",
        "\x1b]0;taken\x07 door 4",
        MARKUP,
    ],
    "ar": [
        "البيت الأحمر 10",
        "الباب الأزرق 11 يفتح",
        "ضوء الحديقة 12",
        "المستشعر 13",
        "الباب 14",
        "البيت (15) <b>أحمر</b>",
    ],
    "th": ["บ้านสีแดง 20", "ประตูสีน้ำเงินเปิด 21", "ไฟในสวน 22", "เซ็นเซอร์ปิด 23", "ประตู 24", "บ้าน 25"],
    "zh": ["红色的房子 30", "蓝色的门打开 31", "花园的灯 32", "传感器关闭 33", "门 34", "房子 35"],
}
QUERIES = {
    "en": ["which house is red", "what opens the door 1", "light 2", "</td><script>document.title='taken'</script> 3"],
    "ar": ["أي بيت أحمر 10", "ما الذي يفتح الباب 11", "ضوء 12", "مستشعر 13"],
    "th": ["บ้านไหนสีแดง 20", "อะไรเปิดประตู 21", "ไฟ 22", "เซ็นเซอร์ 23"],
    "zh": ["哪座房子是红色的 30", "什么打开门 31", "灯 32", "传感器 33"],
}
PROMPTS = {"query": "query : ", "passage": "passage : "}


def config(**study: Any) -> dict[str, Any]:
    """The resolved configuration, as far as it names runs and files."""
    runs = [{"sampling": "hybrid", "alphas": [0.5], "seeds": [1]}]
    named = {"name": "default", "benchmarks": ["test", "extra"], "encoders": ["tiny"], "untrained": True}
    grid = {"num_pairs": ["all"], "num_translated": ["all"], "runs": runs}
    return {"collection": "toy", "study": {**named, **grid, **study}, "languages": {"train": ["en", "ar"]}}


def write_benchmark(folder: Path) -> Path:
    """Query i asks for passage i in every language; two more passages answer nothing."""
    for lang in LANGUAGES:
        write_side(folder, "queries", lang, [(f"q{i}-{lang}", text, f"g{i}") for i, text in enumerate(QUERIES[lang])])
        write_side(folder, "corpus", lang, [(f"p{i}-{lang}", text, f"g{i}") for i, text in enumerate(PASSAGES[lang])])
    write_qrels(folder, [(f"q{i}-{a}", f"p{i}-{b}", 1) for a in LANGUAGES for b in LANGUAGES for i in range(4)])
    return folder


def write_study(results: Path, *, dtype: str = "float32", factory: str = "Flat") -> StudyPaths:
    """Writes all of it below a folder of results. The benchmark "extra" is indexed with the untrained model alone."""
    made = config()
    paths = StudyPaths.of(made, results / "toy")
    write_benchmark(Path(paths.benchmark("test")))
    write_benchmark(Path(paths.benchmark("extra")))
    for seed, (run, folder) in enumerate(paths.model_folders().items()):
        save_tiny_model(Path(folder), prompts=PROMPTS, seed=seed)
        for name in ("test", "extra") if run == UNTRAINED else ("test",):
            embed(paths, run, name, dtype=dtype, factory=factory)
    write_tables(results / "tables" / made["study"]["name"], made)
    return paths


def embed(paths: StudyPaths, run: str, name: str, *, dtype: str = "float32", factory: str = "Flat") -> None:
    """Embeds and indexes a benchmark with a run's model."""
    embed_and_index(
        Path(paths.model_folders()[run]),
        Path(paths.benchmark(name)),
        LANGUAGES,
        embeddings=Path(paths.embeddings(run, name)),
        index=Path(paths.index_record(run, name)).parent,
        options=EncodeOptions(dtype=dtype, device="cpu"),
        factory=factory,
    )
