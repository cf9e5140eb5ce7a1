"""What two models answer: passages, what is relevant, whose language stands first, and where translations stand."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file
from small_study import HYBRID, LANGUAGES, MARKUP, PASSAGES, QUERIES, UNTRAINED

from polybatch.core.errors import ConfigError, DataError
from polybatch.core.files import read_json, write_json
from polybatch.embedding.embedder import model_digest
from polybatch.search.answers import Answers
from polybatch.search.indexed import read_study
from polybatch.search.loading import open_all
from polybatch.search.questions import MOST_CHARACTERS


def test_both_models_list_their_first_passages(answers: Answers) -> None:
    found = answers.ask("the red house 7", top=24)
    assert [model.run for model in found.models] == [UNTRAINED, HYBRID]
    texts = {text for of_lang in PASSAGES.values() for text in of_lang}
    for model in found.models:
        assert {hit.text for hit in model.hits} == texts
        assert [hit.rank for hit in model.hits] == list(range(1, 25))
        scores = [hit.score for hit in model.hits]
        assert scores == sorted(scores, reverse=True)
        assert {hit.relevant for hit in model.hits} == {None}
        assert {hit.translations for hit in model.hits} == {3}
        assert model.relevant_ranks == []
        assert model.encode_ms > 0
    assert found.own is None
    assert [hit.passage_id for hit in found.models[0].hits] != [hit.passage_id for hit in found.models[1].hits]


@pytest.mark.parametrize("given", [{"question": f" {QUERIES['th'][2]} "}, {"query_id": "q2-th"}])
def test_a_query_of_the_benchmark_is_known_by_its_text_or_id(answers: Answers, given: dict[str, str]) -> None:
    found = answers.ask(**given, top=24)
    assert found.own is not None
    assert (found.own.query_id, found.own.lang, found.question) == ("q2-th", "th", QUERIES["th"][2])
    for model in found.models:
        assert {hit.passage_id for hit in model.hits if hit.relevant} == {f"p2-{lang}" for lang in LANGUAGES}
        assert model.relevant_ranks == [hit.rank for hit in model.hits if hit.relevant]
        assert model.encode_ms == 0


def test_a_text_of_several_queries_is_taken_for_none_of_them(answers: Answers) -> None:
    own = answers.queries[0]
    same = answers.own.by_text
    same["twice"] = [own, answers.queries[5]]
    found = answers.ask("twice")
    assert found.own is None
    assert "2 queries of the benchmark read so: q0-en (en)" in found.note
    del same["twice"]


def test_shares_are_those_of_the_first_passages_whatever_is_listed(answers: Answers) -> None:
    every, arabic = answers.ask("light 2", top=24), answers.ask("light 2", languages=["ar"], top=24)
    for model, filtered in zip(every.models, arabic.models, strict=True):
        first = [hit.lang for hit in model.hits[:10]]
        assert model.shares[10] == {lang: first.count(lang) / 10 for lang in LANGUAGES}
        assert model.shares[100] == dict.fromkeys(LANGUAGES, 0.25)
        assert filtered.shares == model.shares
        assert [hit.rank for hit in filtered.hits] == [hit.rank for hit in model.hits if hit.lang == "ar"]


def test_translations_of_a_hit_stand_with_the_rank_that_each_model_gives_them(answers: Answers) -> None:
    found = answers.ask("light 2", top=24)
    group = answers.translations("p5-en", question="light 2")
    assert [one.passage_id for one in group] == [f"p5-{lang}" for lang in LANGUAGES]
    assert group[0].text == MARKUP
    for place, model in enumerate(found.models):
        by_id = {hit.passage_id: hit for hit in model.hits}
        assert [one.ranks[place] for one in group] == [by_id[one.passage_id].rank for one in group]
        assert np.allclose([one.scores[place] for one in group], [by_id[one.passage_id].score for one in group])


@pytest.mark.parametrize("question", ["", "  \n\t ", "\u200b\u2060", "\x00"])
def test_a_question_of_nothing_is_refused(answers: Answers, question: str) -> None:
    with pytest.raises(ConfigError, match="The question is empty"):
        answers.ask(question)


def test_bytes_that_are_no_text_are_asked_as_they_are_shown(answers: Answers) -> None:
    assert answers.ask("red \udcff house").question == "red ? house"


def test_a_question_of_a_book_is_refused(answers: Answers) -> None:
    with pytest.raises(ConfigError, match=r"at most 5,000 characters\n  found: 100,000 characters"):
        answers.ask("x" * 100_000)
    assert answers.ask("red " * (MOST_CHARACTERS // 4)).models[0].cut


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"languages": ["xx"]}, "no passages in that language"),
        ({"top": 0}, "So many passages"),
        ({"top": 101}, "So many passages"),
        ({"query_id": "q9-en"}, "no such query"),
    ],
)
def test_what_is_not_there_is_told(answers: Answers, given: dict, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        answers.ask("light", **given)
    with pytest.raises(ConfigError, match="no such passage"):
        answers.translations("p9-en", question="light")


def test_models_of_other_languages_are_not_compared(answers: Answers) -> None:
    from dataclasses import replace
    from types import SimpleNamespace

    one = answers.retrievers[0]
    queries = {lang: vectors for lang, vectors in one.collection.queries.items() if lang != "th"}
    other = SimpleNamespace(run="other", collection=replace(one.collection, queries=queries), languages=one.languages)
    with pytest.raises(DataError, match="other languages"):
        Answers([one, other])  # type: ignore[list-item]


def test_a_model_that_takes_off_a_vector_of_the_questions_language_asks_for_it(written: Path, tmp_path: Path) -> None:
    results = shutil.copytree(written, tmp_path / "results")
    chosen = read_study(results, "default").choose("untrained", None, "test")
    folder, plain = chosen[0].model, open_all(chosen)
    vectors = {"queries.ar": plain.retrievers[0].stored("ar", 0).vector * 0.5, "corpus.ar": np.ones(16, np.float32)}
    save_file({**vectors, "queries.other": np.full(16, 0.25, np.float32)}, folder / "language_vectors.safetensors")
    record = chosen[0].embeddings / "embeddings.json"
    write_json(record, {**read_json(record), "model": model_digest(folder)})
    found = open_all(chosen)
    assert found.question_languages == ["ar", "other"]
    with pytest.raises(ConfigError, match="language of the question has to be named"):
        found.ask("ضوء")
    for lang, taken_off in (("ar", vectors["queries.ar"]), ("other", np.full(16, 0.25))):
        expected = plain.retrievers[0].embed("ضوء").vector - taken_off
        vector = found.retrievers[0].embed("ضوء", lang).vector
        assert np.allclose(vector, expected / np.linalg.norm(expected), atol=1e-6)
    arabic, other = (found.ask("ضوء", lang=lang, top=24).models[0].hits for lang in ("ar", "other"))
    assert [hit.score for hit in arabic] != [hit.score for hit in other]
    assert found.ask(query_id="q0-ar").models[0].hits == plain.ask(query_id="q0-ar").models[0].hits
