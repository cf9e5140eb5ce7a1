"""A full disk is told as such whoever wrote to it: every library that writes here fills a small real file system."""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from polybatch.core import stage
from polybatch.core.errors import DataError, PolybatchError, causes
from polybatch.core.files import atomic_path

SIZE = max(1 << 16, 4 * resource.getpagesize())  # some machines have pages of 64 KiB
BYTES = 4 * SIZE


@pytest.fixture
def full(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The mount point of an empty file system of SIZE bytes; a new one each time, since a file that a failed writer still
    holds open takes its room even when it is deleted."""
    folder = tmp_path_factory.mktemp("small")
    mount = ["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", str(folder)]
    if os.geteuid() or not shutil.which("mount") or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("a file system can only be mounted by root")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def parquet(folder: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.table({"a": [os.urandom(BYTES)]}), folder / "x.parquet")


def ipc(folder: Path) -> None:
    import pyarrow as pa

    table = pa.table({"a": [os.urandom(BYTES)]})
    with pa.OSFile(str(folder / "x"), "wb") as file, pa.ipc.new_stream(file, table.schema) as writer:
        writer.write_table(table)


def numpy_save(folder: Path) -> None:
    import numpy as np

    np.save(folder / "x.npy", np.zeros(BYTES, dtype=np.int8))


def numpy_zip(folder: Path) -> None:
    import numpy as np

    np.savez(folder / "x.npz", a=np.zeros(BYTES, dtype=np.int8))


def faiss_index(folder: Path) -> None:
    import faiss
    import numpy as np

    index = faiss.IndexFlatIP(64)
    index.add(np.zeros((BYTES // 256, 64), dtype=np.float32))
    faiss.write_index(index, str(folder / "x.faiss"))


def safetensors(folder: Path) -> None:
    import numpy as np
    from safetensors.numpy import save_file

    save_file({"a": np.zeros(BYTES, dtype=np.int8)}, folder / "x.safetensors")


def torch_by_name(folder: Path) -> None:
    import torch

    torch.save(torch.zeros(BYTES), folder / "x.pt")


def torch_into_a_file(folder: Path) -> None:
    import torch

    with (folder / "x.pt").open("wb") as handle:
        torch.save(torch.zeros(BYTES), handle)


def tokenizer(folder: Path) -> None:
    from tokenizers import Tokenizer, models

    Tokenizer(models.WordLevel({f"{i:060}": i for i in range(BYTES // 60)}, unk_token=f"{0:060}")).save(
        str(folder / "tokenizer.json")
    )


def ctranslate2_model(folder: Path) -> None:
    import numpy as np
    from ctranslate2.specs.model_spec import LayerSpec, ModelSpec

    class Layer(LayerSpec):
        def __init__(self) -> None:
            self.weight = np.zeros(BYTES, dtype=np.float32)

    class Spec(ModelSpec):
        def __init__(self) -> None:
            super().__init__()
            self.layer = Layer()

        name = property(lambda self: "x")

    spec = Spec()
    spec.validate()
    spec.save(str(folder))


def sqlite(folder: Path) -> None:
    import sqlite3

    connection = sqlite3.connect(folder / "x.db")
    connection.execute("create table t (a)")
    connection.execute("insert into t values (?)", (os.urandom(BYTES),))
    connection.commit()


def datasets_folder(folder: Path) -> None:
    import datasets

    datasets.Dataset.from_dict({"a": ["x" * BYTES]}).save_to_disk(folder / "x")


def archive(folder: Path) -> None:
    import zipfile

    with zipfile.ZipFile(folder / "x.zip", "w") as handle:
        handle.writestr("a", bytes(BYTES))


def another_process(folder: Path) -> None:
    code = f"open({str(folder / 'x')!r}, 'w').write('x' * {BYTES})"
    subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)


@pytest.mark.parametrize(
    "write",
    [
        parquet,
        ipc,
        numpy_save,
        numpy_zip,
        faiss_index,
        safetensors,
        torch_by_name,
        torch_into_a_file,
        tokenizer,
        ctranslate2_model,
        sqlite,
        datasets_folder,
        archive,
        another_process,
    ],
    ids=lambda write: write.__name__,
)
def test_every_library_s_words_are_known(full: Path, write: Callable[[Path], None]) -> None:
    with pytest.raises(Exception) as caught:
        write(full)
    assert stage.is_disk_full(caught.value), repr(caught.value)

    def main(argv: list[str] | None) -> None:
        raise DataError("The output cannot be written.") from caught.value

    with pytest.raises(SystemExit, match="the disk is full") as end:
        stage.run(main, [])
    assert end.value.code == 1


@pytest.mark.parametrize(
    "words",
    [
        "IO error: Disk quota exceeded (os error 122)",
        "INTERNAL: src/trainer_interface.cc(783) [output->WriteLine(absl::StrCat(piece.piece(), piece.score()))] ",
        "[enforce fail at inline_container.cc:668] . PytorchStreamWriter failed writing file data/0: file write failed",
    ],
)
def test_words_that_a_test_cannot_bring_about_cheaply(words: str) -> None:
    assert stage.is_disk_full(RuntimeError(words))


def test_what_a_user_s_text_says_is_no_full_disk() -> None:
    assert not stage.is_disk_full(DataError("A row is no text.", found="error: No space left on device"))


STAGE = """
import sys
from pathlib import Path
from polybatch.core import stage

def main(argv):
    with open(argv[0], "wb", buffering=0) as handle:
        while True:
            handle.write(bytes(1024))

stage.run(main, sys.argv[1:])
"""


def test_it_is_told_though_the_log_lies_on_the_same_disk(full: Path) -> None:
    with (full / "log").open("wb") as log:
        log.write(bytes(resource.getpagesize() - 16))  # the rest of the page takes the beginning of the message alone
        log.flush()
        done = subprocess.run(
            [sys.executable, "-c", STAGE, str(full / "output")],
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            check=False,
        )
    assert done.returncode == 1
    assert "the disk is full" in done.stdout
    assert done.stdout.count("to do:") == 1


def test_a_log_with_room_has_it_once(full: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-c", STAGE, str(full / "output")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr.count("the disk is full")) == (1, "", 1)


def test_what_was_written_in_part_is_gone_so_that_the_log_has_room(full: Path) -> None:
    with pytest.raises(OSError, match="space"), atomic_path(full / "x") as partial:
        partial.write_bytes(bytes(BYTES))
    (full / "log").write_bytes(b"there is room again")


def test_a_chain_of_causes_that_leads_back_to_itself_is_followed_once() -> None:
    first, second = ValueError("first"), ValueError("second")
    first.__cause__, second.__cause__ = second, first
    assert list(causes(first)) == [first, second]
    second.__cause__ = second
    assert not stage.is_disk_full(second)


def test_groups_and_both_ways_of_a_chain_are_followed() -> None:
    member, context, cause = OSError(28, "x"), ValueError("context"), ValueError("cause")
    error = ExceptionGroup("several", [ValueError("one"), member])
    error.__context__, error.__cause__ = context, cause
    assert set(map(str, causes(error))) >= {"one", str(member), "context", "cause"}
    assert stage.is_disk_full(error)


def test_other_faults_are_told_in_their_own_words() -> None:
    def main(argv: list[str] | None) -> None:
        raise PolybatchError("It broke.") from ValueError("no")

    with pytest.raises(SystemExit, match="It broke"):
        stage.run(main, [])
