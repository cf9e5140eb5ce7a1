"""The models of `polybatch measure`: what each word of its command line means.

inputs: words: a folder, an id of the hub (org/name, org/name@revision), or a name of the catalogue; each may be
    NAME=WORD
outputs: `Model`s: entries of `encoders`; what is wrong with one is told before anything is computed

How a model embeds is what its folder says. What that leaves open is told, and never guessed: a pooling that is not
known, prompts whose names are unusual, and a model of the E5 family without the prompts that it was trained with.
"""

from __future__ import annotations

import difflib
import json
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from polybatch.config.catalogue import catalogue
from polybatch.config.user_files import path_fault
from polybatch.core.errors import ConfigError, DataError
from polybatch.core.hub import id_faults
from polybatch.study.named import name_of, require_distinct, split_name

_E5 = re.compile(r"(?:^|[^a-z0-9])e5(?:[^a-z0-9]|$)")
_PROMPTS = 'the E5 models are used with "query: " before queries and "passage: " before passages'
_OPTIONS = "--query-prompt and --passage-prompt"


@dataclass(frozen=True)
class Model:
    """A model to measure.

    Attributes:
        name: As tables name it.
        words: Where it comes from.
        entry: Its entry of `encoders`; empty for one of the catalogue.
        notes: What a user must know of how it will be used.
        described: Whether its name is in the catalogue, which says how it is used.
    """

    name: str
    words: str
    entry: dict[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    described: bool = False


def parse_models(words: Sequence[str], options: dict[str, Any]) -> list[Model]:
    """The models of a command line, each with a name of its own.

    Args:
        words: As given.
        options: Of EncoderSource, for the one model among them that is not of the catalogue.

    Raises:
        ConfigError, DataError: As `parse_model`; or two have one name, or nothing says which the options are for.
    """
    models = [parse_model(word, options) for word in words]
    require_distinct([model.name for model in models], words, "models")
    others = [model.name for model in models if not model.described]
    if options and len(others) != 1:
        raise ConfigError(
            "It is not clear which model the options are for.",
            expected="one model that is a folder or of the hub, beside any of the catalogue",
            found=", ".join(others) or "models of the catalogue alone, which need none",
            remedy="measure one of them alone, then write the other's options into the configuration that was made",
        )
    return models


def parse_model(word: str, options: dict[str, Any]) -> Model:
    """One model.

    Raises:
        ConfigError: It is no folder, no name of the catalogue and no id of the hub, or how it embeds is left open.
        DataError: The folder holds no whole model with safetensors weights.
    """
    name, text = split_name(word)
    known = catalogue()["encoders"]
    if text in known:
        beside = (f"the folder {text}/ is not meant: write ./{text} for it",) if Path(text).is_dir() else ()
        if name not in ("", text):  # under a name of its own it stands beside the catalogue's
            return Model(name, f"{text} of the catalogue", dict(known[text]), beside, described=True)
        return Model(text, "of the catalogue", notes=beside, described=True)
    folder = Path(os.path.expanduser(text))
    if folder.is_dir():
        return _folder(name, folder.resolve(), options)
    # Below a folder that is there, a missing one is more likely meant than a repository of the hub.
    repo = text.partition("@")[0]
    if repo.count("/") == 1 and not text.startswith((".", "/", "~")) and not Path(repo).parent.is_dir():
        return _of_hub(name, text, options)
    near = difflib.get_close_matches(text, known, 1)
    remedy = f"did you mean {near[0]}?" if near else "check its spelling, or the folder that you are in"
    raise ConfigError(
        f"{text} is no model.",
        expected=f"a folder, an id of the hub (org/name), or one of {', '.join(known)}",
        found=path_fault(text, "folder"),
        remedy=remedy,
    )


def _of_hub(name: str, text: str, options: dict[str, Any]) -> Model:
    from polybatch.encoders.known import known

    repo, _, revision = text.partition("@")
    if faults := [*id_faults(repo, revision or "main"), *(["there is nothing behind @"] if text.endswith("@") else [])]:
        raise ConfigError(
            f"{text} is no id of the hub.", found="; ".join(faults), expected="org/name, or org/name@revision"
        )
    made = name_of(f"{repo.rpartition('/')[2]}-{revision}" if revision else repo.rpartition("/")[2])
    entry = {"model": repo, **({"revision": revision} if revision else {}), **({"options": options} if options else {})}
    unsaid = _E5.search(repo.lower()) and known(repo) is None and "query_prompt" not in options
    notes = (f"{_PROMPTS}; if its repository does not say so, give {_OPTIONS}",) if unsaid else ()
    return Model(name or made, f"{text} of the hub", entry, notes)


def _folder(name: str, folder: Path, options: dict[str, Any]) -> Model:
    from polybatch.encoders.make import Origin, require_files
    from polybatch.encoders.options import EncoderSource

    require_files(Origin(folder), EncoderSource.from_values(options))
    if not (folder / "modules.json").is_file() and not options.get("pooling"):
        raise ConfigError(
            "It is not known how this model's token vectors become one vector.",
            where=folder,
            expected="modules.json, as sentence-transformers saves it, or --pooling",
            found="a plain transformer",
            remedy="look at the model's card or paper; --pooling mean is the usual choice for a masked language model",
        )
    entry = {"path": str(folder), **({"options": options} if options else {})}
    return Model(name or name_of(folder.name), f"the folder {folder}", entry, _prompt_notes(folder, options))


def _prompt_notes(folder: Path, options: dict[str, Any]) -> tuple[str, ...]:
    """What is told of a folder's prompts; raises where it has some and none is known to be of queries."""
    from polybatch.encoders.make import PASSAGE_PROMPTS, QUERY_PROMPTS

    if "query_prompt" in options and "passage_prompt" in options:
        return ()
    own = {name: prompt for name, prompt in stated_prompts(folder).items() if prompt}
    others = {name: prompt for name, prompt in own.items() if name not in (*QUERY_PROMPTS, *PASSAGE_PROMPTS)}
    if others and not any(name in own for name in QUERY_PROMPTS):
        raise ConfigError(
            "It is not known which of the model's prompts are for queries and passages.",
            where=folder,
            expected=_OPTIONS,
            found="the prompts " + ", ".join(f"{name}: {prompt!r}" for name, prompt in others.items()),
            remedy='look at the model\'s card, and give both; "" puts nothing before a text',
        )
    if not own and _E5.search(folder.name.lower()):
        return (f"the folder states no prompts, so none are used; {_PROMPTS}: give {_OPTIONS} if it is one",)
    return ()


def stated_prompts(folder: Path) -> dict[str, str]:
    """The prompts that a sentence-transformers folder states, by their names.

    Raises:
        DataError: The file that states them cannot be read.
    """
    path = folder / "config_sentence_transformers.json"
    if not path.is_file():
        return {}
    try:
        prompts = json.loads(path.read_text("utf-8")).get("prompts") or {}
        return {str(name): str(prompt or "") for name, prompt in prompts.items()}
    except (OSError, ValueError, AttributeError) as error:
        raise DataError(
            "The model's prompts cannot be read.",
            where=path,
            expected='{"prompts": {"query": "..."}}',
            found=str(error),
            remedy="make the model again, or fetch it again",
        ) from error
