"""Overlap of training text with evaluation text: what counts, in which scripts, and what does not."""

from __future__ import annotations

import os
import random
import re
import subprocess
import sys
import unicodedata
from pathlib import Path

import pytest

from polybatch.core.errors import ConfigError, DataError
from polybatch.decontaminate import overlap
from polybatch.decontaminate.options import OverlapOptions
from polybatch.decontaminate.overlap import DOCUMENT, PASSAGE, QUERY, Index, IndexBuilder, write_record

DOOR = "The lock on the front door closes by itself every evening after the last person has left the house."
STORM = "Before a storm the blinds go up and the awning is drawn in so that the wind cannot tear them from the wall."
QUESTION = "which lamps stay on in the hall when everybody has gone to bed"


def index_of(folder: Path, texts, lang="en", by_ngrams=True, **options) -> Index:
    """An index of (side, text) pairs; ids are their numbers."""
    chosen = OverlapOptions.from_values(options)
    folder.mkdir(parents=True, exist_ok=True)
    with IndexBuilder(folder, lang, chosen) as builder:
        for number, (side, text) in enumerate(texts):
            builder.add("bench", side, [str(number)], [text], [by_ngrams])
    write_record(folder, chosen, {lang: {}})
    return Index.read(folder, lang)


@pytest.fixture(scope="module")
def index(tmp_path_factory):
    texts = [(PASSAGE, DOOR), (PASSAGE, STORM), (QUERY, QUESTION), (QUERY, "door locked"), (PASSAGE, "Turned off.")]
    return index_of(tmp_path_factory.mktemp("index"), texts)


def kind(match):
    return match and (match.overlap, match.text_id)


def test_the_same_text_is_exact(index):
    match = index.find(f" {DOOR}\n", PASSAGE)
    assert match == ("bench", "0", "exact", 1.0, DOOR[:160])
    assert kind(index.find(unicodedata.normalize("NFD", QUESTION), QUERY)) == ("exact", "2")


def test_the_same_letters_and_digits_are_normalised(index):
    assert kind(index.find(DOOR.upper().replace(" ", "  ").replace(".", "!!"), PASSAGE)) == ("normalised", "0")


def test_an_edited_copy_a_part_and_a_longer_text_overlap_by_ngrams(index):
    edited = index.find(DOOR.replace("every evening", "each night"), PASSAGE)
    assert kind(edited) == ("ngram", "0")
    assert 0.5 <= edited.share < 1
    assert kind(index.find(" ".join(STORM.split()[4:18]), PASSAGE)) == ("ngram", "1")
    inside = index.find(
        f"Some house rules nobody ever reads anyway: {STORM} Ask the caretaker about the rest.", PASSAGE
    )
    assert (kind(inside), inside.share) == (("ngram", "1"), 1.0)


def test_the_closest_of_several_is_told(tmp_path):
    near, nearer = DOOR.replace("every evening", "each night"), DOOR.replace("evening", "night")
    index = index_of(tmp_path, [(PASSAGE, near), (PASSAGE, nearer), (PASSAGE, nearer + " ")])
    assert kind(index.find(DOOR, PASSAGE)) == ("ngram", "1")


def test_other_text_about_the_same_does_not_overlap(index):
    assert (
        index.find("Each night the door locks on its own once nobody is left inside the building any more.", PASSAGE)
        is None
    )
    assert index.find("which doors are open in the hall when somebody has come home", QUERY) is None


def test_queries_are_held_against_the_longer_one(index):
    assert kind(index.find(QUESTION.replace("gone to bed", "gone out"), QUERY)) == ("ngram", "2")
    assert index.find(f"{QUESTION} and the garden gate is shut and the oven is off and the alarm is set", QUERY) is None
    assert index.find("lamps stay on in the hall", QUERY) is None


def test_queries_and_passages_are_not_compared_by_ngrams(index):
    assert index.find(f"{QUESTION}, and why", PASSAGE) is None
    assert index.find(DOOR.replace("evening", "night"), QUERY) is None


def test_documents_count_for_passages(tmp_path):
    index = index_of(tmp_path, [(DOCUMENT, f"{DOOR} {STORM}")])
    assert kind(index.find(STORM, PASSAGE)) == ("ngram", "0")


def test_short_texts_overlap_with_the_same_text_alone(index):
    assert kind(index.find("Turned off.", PASSAGE)) == ("exact", "4")
    assert kind(index.find("turned off", QUERY)) == ("normalised", "4")  # that text is a passage
    assert kind(index.find("Door locked?", QUERY)) == ("normalised", "3")
    assert index.find("Turned off now.", PASSAGE) is None


def test_min_words_is_an_option(tmp_path):
    index = index_of(tmp_path, [(PASSAGE, "Turned off.")], min_words=2)
    assert kind(index.find("turned off", PASSAGE)) == ("normalised", "0")


def test_thresholds_decide(tmp_path):
    edited = DOOR.replace("every evening", "each night")
    strict = index_of(tmp_path / "strict", [(PASSAGE, DOOR)], threshold=0.9)
    loose = index_of(tmp_path / "loose", [(PASSAGE, DOOR)], threshold=0.2)
    assert strict.find(edited, PASSAGE) is None
    assert kind(loose.find(edited.replace("last person", "dog"), PASSAGE)) == ("ngram", "0")


def test_too_few_shared_ngrams_are_no_overlap(tmp_path):
    text = "Shows the state of the lamp."  # two 5-grams
    assert index_of(tmp_path / "a", [(PASSAGE, text)]).find(f"{text} Now", PASSAGE) is None
    assert kind(index_of(tmp_path / "b", [(PASSAGE, text)], min_shared=2).find(f"{text} Now", PASSAGE)) == (
        "ngram",
        "0",
    )


def test_phrases_of_many_evaluation_texts_count_nowhere(tmp_path):
    phrase = "Please select learn more for information on how to solve this problem with"
    texts = [(PASSAGE, f"{phrase} device {number} of {number * 7}") for number in range(12)]
    other = f"{phrase} something else"
    assert kind(index_of(tmp_path / "all", texts).find(other, PASSAGE)) == ("ngram", "0")
    common = index_of(tmp_path / "few", texts, max_texts_per_ngram=10)
    assert common.find(other, PASSAGE) is None
    assert kind(common.find(texts[3][1], PASSAGE)) == ("exact", "3")


@pytest.mark.parametrize(
    ("lang", "text", "edited", "other"),
    [
        (
            "zh",
            "每天晚上最后一个人离开房子以后前门的锁会自动关闭并且打开花园里的灯",
            "每天晚上最后一个人离开屋子以后前门的锁会自动关闭并且打开花园里的灯",
            "暴风雨来临之前百叶窗会升起遮阳篷也会收回以免被风从墙上撕下来",
        ),
        (
            "ja",
            "最後の人が家を出たあと玄関のドアの鍵は毎晩自動的に閉まり庭の明かりがつきます",
            "最後の人が家を出たあと玄関のドアの鍵は毎朝自動的に閉まり庭の明かりがつきます",
            "嵐が来る前にブラインドが上がり日よけが収納されて風で壁から剥がれないようになります",
        ),
        (
            "th",
            "กุญแจประตูหน้าจะปิดเองทุกเย็นหลังจากคนสุดท้ายออกจากบ้านและไฟในสวนจะเปิดขึ้น",
            "กุญแจประตูหน้าจะปิดเองทุกคืนหลังจากคนสุดท้ายออกจากบ้านและไฟในสวนจะเปิดขึ้น",
            "ก่อนพายุจะมาถึงมู่ลี่จะถูกยกขึ้นและกันสาดจะถูกเก็บเพื่อไม่ให้ลมพัดหลุดจากผนัง",
        ),
        (
            "ar",
            "يغلق قفل الباب الأمامي من تلقاء نفسه كل مساء بعد أن يغادر آخر شخص المنزل وتضاء مصابيح الحديقة",
            "يغلق قفل الباب الأمامي من تلقاء نفسه كل ليلة بعد أن يغادر آخر شخص المنزل وتضاء مصابيح الحديقة",
            "قبل العاصفة ترفع الستائر وتسحب المظلة حتى لا تمزقها الرياح عن الجدار",
        ),
    ],
)
def test_scripts(tmp_path, lang, text, edited, other):
    index = index_of(tmp_path, [(PASSAGE, text)], lang=lang)
    assert kind(index.find(text, PASSAGE)) == ("exact", "0")
    assert kind(index.find(edited, PASSAGE)) == ("ngram", "0")
    assert index.find(other, PASSAGE) is None


def test_texts_compared_as_wholes_alone_have_no_snippet(tmp_path):
    index = index_of(tmp_path, [(PASSAGE, DOOR)], by_ngrams=False)
    assert index.find(DOOR, PASSAGE) == ("bench", "0", "exact", 1.0, "")
    assert index.find(DOOR.replace("evening", "night"), PASSAGE) is None


def test_many_at_once_equal_one_by_one(index):
    texts = ["", "?", DOOR, STORM.replace("storm", "gale"), "nothing of the sort at all here", QUESTION]
    for side in (QUERY, PASSAGE):
        assert index.find_many(texts, side) == [index.find(text, side) for text in texts]
    assert index.find_many([], PASSAGE) == []


def test_in_another_language_texts_of_some_words_are_compared_as_wholes(index):
    empty = Index.read(index.folder, "sw")
    assert empty.is_empty
    found = empty.find_many([f"<b>{DOOR}</b>", "Turned off.", DOOR.replace("evening", "night"), ""], PASSAGE)
    assert [kind(match) for match in found] == [("normalised", "0"), None, None, None]


def test_an_index_of_short_texts_alone_can_be_asked(tmp_path):
    index = index_of(tmp_path, [(PASSAGE, "On"), (PASSAGE, "")])
    assert [kind(match) for match in index.find_many([DOOR, "On", ""], PASSAGE)] == [None, ("exact", "0"), None]
    assert index.find(QUESTION, QUERY) is None


def test_files_do_not_depend_on_the_hash_seed(tmp_path):
    code = (
        "import sys; from pathlib import Path; from polybatch.decontaminate.overlap import *; f = Path(sys.argv[1]); f.mkdir();"
        "b = IndexBuilder(f, 'en', OverlapOptions()); b.__enter__();"
        f"b.add('b', 'passage', ['1', '2'], [{DOOR!r}, {STORM!r}], [True, True]); b.__exit__(None, None, None)"
    )
    for seed in ("1", "2"):
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        subprocess.run([sys.executable, "-c", code, str(tmp_path / seed)], check=True, env=environment)
    files = sorted(path.name for path in (tmp_path / "1").iterdir())
    assert files
    for name in files:
        assert (tmp_path / "1" / name).read_bytes() == (tmp_path / "2" / name).read_bytes(), name


def test_a_missing_index_and_a_damaged_part_are_told(tmp_path):
    with pytest.raises(DataError, match="missing"):
        Index.read(tmp_path / "none", "en")
    index = index_of(tmp_path / "some", [(PASSAGE, DOOR)])
    for path in (tmp_path / "some").glob("en.*"):
        path.write_bytes(path.read_bytes()[:20])
    with pytest.raises(DataError, match="damaged"):
        index.find(DOOR, PASSAGE)


def test_unusable_options_are_told_at_once():
    with pytest.raises(ConfigError) as told:
        OverlapOptions.from_values({"ngram": 0, "threshold": 1.5, "query_threshold": 0.0})
    assert all(name in str(told.value) for name in ("ngram", "threshold", "query_threshold"))


UNSPACED = re.compile(r"[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u2e80-\u312f\u31f0-\u9fff\U00020000-\U0003ffff]")


def plain_units(form):
    """The units of a normalised text, and whether most of them are characters of a script without spaces."""
    parts = [(word, bool(UNSPACED.search(word))) for word in form.split()]
    found = [unit for word, split in parts for unit in (word if split else [word])]
    return found, 2 * sum(len(word) for word, split in parts if split) > len(found)


def by_plain_sets(texts, rows, side, options):
    """Without hashes and indexes: of each text the ids of the evaluation texts of the highest share."""

    def grams(text, n):
        units, unspaced = plain_units(text)
        size = 2 * n if unspaced else n
        return {tuple(units[i : i + size]) for i in range(len(units) - size + 1)}

    n, threshold = options.of(side)
    known = [grams(row, n) for row in rows]
    found = []
    for own in (grams(text, n) for text in texts):
        sizes = max if side == QUERY else min
        shares = {
            number: len(own & other) / sizes(len(own), len(other))
            for number, other in enumerate(known)
            if len(own & other) >= options.min_shared
        }
        top = max(shares.values(), default=0.0)
        found.append([str(number) for number, share in shares.items() if share == top >= threshold])
    return found


@pytest.mark.parametrize("side", [QUERY, PASSAGE])
def test_the_same_as_by_plain_sets(tmp_path, monkeypatch, side):
    draw = random.Random(1)
    # Few words, so that texts share much; some of Chinese characters, so that n-grams of both sizes occur.
    alphabet = ["a", "b", "c", "d", "石", "桥", "河"]

    def text():
        return " ".join(draw.choices(alphabet, weights=[4, 3, 2, 2, *([draw.choice([0, 6])] * 3)], k=20))

    def edited(row):
        words = row.split()
        for _ in range(draw.randrange(6)):
            words[draw.randrange(len(words))] = draw.choice(alphabet)
        return " ".join(words)

    rows = [text() for _ in range(150)]
    training = [text() for _ in range(75)] + [edited(row) for row in rows[:75]]
    index = index_of(tmp_path, [(side, row) for row in rows], max_texts_per_ngram=1_000)
    expected = by_plain_sets(training, rows, side, index.options)
    assert 30 < sum(map(bool, expected)) < 140
    found = index.find_many(training, side)
    for match, best in zip(found, expected, strict=True):
        assert (match.text_id if match else None) == (best[0] if best else None)
    monkeypatch.setattr(overlap, "_CHARACTERS_AT_ONCE", 100)
    assert index.find_many(training, side) == found, "however many are compared at once"
