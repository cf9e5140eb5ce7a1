"""The measurements with a real encoder: both sides are asked for the same work, and texts come evenly."""

from __future__ import annotations

import argparse
import gzip
import json
import sys
from pathlib import Path

import pyarrow.parquet as pq
from small_packages import recorded

from polybatch.collect.adapters.libreoffice import LibreOffice

sys.path.insert(0, str(Path(__file__).parents[3] / "measurements"))

import e5
import e5_inputs
import measure
import train
import train_peer


def test_both_sides_are_asked_for_the_same_training(tmp_path: Path) -> None:
    wanted = train.Training("t", tmp_path, 5, 64, 5, 2e-5, temperature=0.01, precision="bf16", freeze_embeddings=True)
    (tmp_path / "parallel").mkdir()
    (tmp_path / "parallel/en.parquet").touch()
    command = train.peer_command(tmp_path, wanted, tmp_path / "o", "cpu")
    peer = vars(train_peer.arguments().parse_args(command[2:]))
    ours = train.options_of(wanted, "cpu")
    same = ("batch_size", "eval_steps", "learning_rate", "temperature", "precision", "freeze_embeddings")
    assert {name: ours[name] for name in same} == {name: peer[name] for name in same}
    assert ours["max_steps"] == peer["steps"]


def test_texts_are_of_each_language_as_many_and_each_once(tmp_path: Path) -> None:
    for lang, words in {"de": ("Haus", "Baum", "Haus"), "en": ("house", "tree", "river")}.items():
        paragraphs = [
            {
                "context": f"A {word} there.",
                "sentence_breaks": [[0, len(word) + 9]],
                "qas": [{"id": f"{k}", "question": f"{word}?", "answers": [{"text": word, "answer_start": 2}]}],
            }
            for k, word in enumerate(words)
        ]
        with gzip.open(tmp_path / f"{lang}.json.gz", "wt") as file:
            json.dump({"data": [{"title": "t", "paragraphs": paragraphs}]}, file)
    texts, what = e5_inputs.texts(argparse.Namespace(xquad_r=tmp_path), tmp_path, 4)
    german = {text for text in texts if "Haus" in text or "Baum" in text}
    assert len(set(texts)) == 4 and len(german) == 2
    assert "XQuAD-R" in what


def test_cores_are_busy_by_the_work_alone_where_it_is_told() -> None:
    cores = measure.os.cpu_count()
    told = {"units": 1, "seconds": 2.0, "cpu_seconds": 2.0 * cores}
    assert e5.busy(measure.Result(10.0, 5.0, 1, 1.0, 2.0, told)) == 1
    assert e5.busy(measure.Result(10.0, 5.0, 1, 1.0, 2.0, {"units": 1, "seconds": 2.0})) == 0.5 / cores


def test_validation_pairs_are_of_pages_that_no_training_pair_is_from(tmp_path: Path) -> None:
    def body(n: int, lang: str) -> str:
        words = " ".join(f"{lang}{n}w{k}" for k in range(20))
        return f'<h2 id="hd_id{n}">Heading {lang} {n}</h2><p id="par_id{n}">{words}</p>'

    pages = {lang: {f"{n}.html": body(n, lang) for n in range(40)} for lang in ("en", "de")}
    record = recorded(tmp_path / "help", pages)
    source = LibreOffice({"name": "help", "adapter": "libreoffice", "languages": ["de"]}, record)
    e5_inputs.write_pairs(source, ["en", "de"], tmp_path, most=30)
    ids = {
        name: pq.read_table(tmp_path / f"{name}.parquet")["pair_id"].to_pylist()
        for name in ("validation", "parallel/en", "parallel/de")
    }
    assert 0 < len(ids["validation"]) < 10 and len(ids["parallel/en"]) == 30
    assert set(ids["parallel/en"]) == set(ids["parallel/de"]) and not set(ids["validation"]) & set(ids["parallel/en"])
