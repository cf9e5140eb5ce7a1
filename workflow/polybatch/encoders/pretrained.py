"""Makes an encoder of the study from a model of the hub, or from a folder of the user's.

inputs: the record of a fetched repository (see polybatch.core.hub), or a model's folder
outputs: encoders/<name>/, as `polybatch.encoders.make` says
"""

from __future__ import annotations

import argparse
from pathlib import Path

from polybatch.core import hub, stage
from polybatch.encoders.make import Origin, make_encoder, tell
from polybatch.encoders.options import EncoderSource
from polybatch.encoders.vocabulary import texts_of_json


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="polybatch.encoders.pretrained", description=__doc__.split("\n")[0])
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--record", type=Path, help="the record of a fetched repository")
    source.add_argument("--path", type=Path, help="a model's folder")
    parser.add_argument("--options", default="{}", help="EncoderSource, as JSON")
    parser.add_argument("--vocabulary-text", help="StudyPaths.vocabulary_text, as JSON")
    parser.add_argument("--output", required=True, type=Path)
    args = parser.parse_args(argv)
    options = EncoderSource.from_json(args.options)
    if args.path is not None:
        origin = Origin(args.path)
    else:
        snapshot = hub.read_record(args.record)
        origin = Origin(snapshot.folder, snapshot.repo_id, snapshot.revision, snapshot.commit)
    texts = texts_of_json(args.vocabulary_text)
    tell(make_encoder(origin, options, args.output, texts), args.output)


if __name__ == "__main__":
    stage.run(main)
