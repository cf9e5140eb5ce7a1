"""What the workflow says of itself in Snakemake's catalogue, held against its rules."""

from __future__ import annotations

import re
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[2]
USAGE = yaml.safe_load((ROOT / ".snakemake-workflow-catalog.yml").read_text("utf-8"))["usage"]
RULES = {path.name: path.read_text("utf-8") for path in sorted((ROOT / "rules").glob("*.smk"))}


def test_conda_is_offered_because_every_command_has_an_environment() -> None:
    assert USAGE["software-stack-deployment"]["conda"] is True
    for name, text in RULES.items():
        for rule in re.split(r"^\s*rule (?=\w+:)", text, flags=re.M)[1:]:
            if "shell:" in rule:
                environment = re.search(r'conda:\s+"\.\./(envs/\w+\.yaml)"', rule)
                assert environment, f"{name}: {rule[:40]}"
                assert (ROOT / environment[1]).is_file()


def test_no_container_is_offered_because_none_is_named() -> None:
    named = any(re.search(r"^\s*container(ized)?:", text, re.M) for text in RULES.values())
    assert USAGE["software-stack-deployment"]["apptainer"] is named
    assert USAGE["software-stack-deployment"]["apptainer+conda"] is named


def test_the_report_is_offered_because_there_is_one() -> None:
    assert USAGE["software-stack-deployment"]["report"] is True
    assert 'report: "workflow/report/workflow.rst"' in (ROOT / "Snakefile").read_text("utf-8")
    assert "rule report:" in RULES["tables.smk"]


def test_the_profiles_that_it_names_are_there_and_no_flag_is_needed() -> None:
    named = re.findall(r"profiles/\w+", USAGE["mandatory-flags"]["desc"])
    assert len(named) == 3
    assert all((ROOT / name / "config.yaml").is_file() for name in named)
    assert USAGE["mandatory-flags"]["flags"] == ""


def test_the_catalogue_finds_it() -> None:
    """It lists repositories with a Snakefile, rules/*.smk, and a README with these words."""
    readme = (ROOT / "README.md").read_text("utf-8").lower()
    assert "snakemake" in readme
    assert "workflow" in readme
    assert (ROOT / "Snakefile").is_file()
    assert RULES


def test_a_comment_line_stands_above_every_rule() -> None:
    for name, text in RULES.items():
        lines = text.splitlines()
        for number, line in enumerate(lines):
            if re.match(r"\s*(?:rule \w+:|use rule \w+ as)", line):
                assert lines[number - 1].lstrip().startswith("# "), f"{name}, line {number + 1}"
        assert len(lines) <= 400
