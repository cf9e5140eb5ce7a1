# `make demo` sets up and runs the default study; `make test` sets up and runs the tests.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# The CPU build where an index offers it under this version; set TORCH= for another build.
TORCH ?= torch==2.13.0
SNAKEMAKE := PATH="$(abspath $(BIN)):$$PATH" snakemake

.PHONY: demo test unit lint toy test-cluster bench bench-growth standins standin help

help:
	@echo "make demo   set up, run the default study, print its main table"
	@echo "make test   set up, lint, unit tests, a toy study and two studies on stand-ins end to end"
	@echo "make test-cluster   a real Slurm on this machine (root, Debian or Ubuntu), and the pipeline on it"
	@echo "make bench  each stage beside what one would otherwise run"
	@echo "make bench-growth   translation, training and encoding up to a million rows; about an hour"
	@echo "make report the study's HTML report"
	@echo "make standins, make standin STUDY=paper   a study on stand-ins, offline"

$(VENV)/.installed: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet "$(TORCH)"
	$(BIN)/python -m pip install --quiet --editable .
	touch $@

$(VENV)/.tested: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --editable ".[test]"
	touch $@

demo: $(VENV)/.installed
	$(SNAKEMAKE) --quiet rules
	$(SNAKEMAKE) --quiet all -- report
	$(BIN)/polybatch show --study default

report: $(VENV)/.installed
	$(SNAKEMAKE) report

test: $(VENV)/.tested lint unit toy

lint: $(VENV)/.tested
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/snakefmt --check Snakefile rules
	$(BIN)/mypy
	$(SNAKEMAKE) --lint

unit: $(VENV)/.tested
	$(BIN)/python -m pytest -n 2 --dist loadfile tests/unit

toy: $(VENV)/.tested
	PATH="$(abspath $(BIN)):$$PATH" $(BIN)/python -m pytest tests/workflow

# CLUSTER='-m "not whole"' leaves out what CI leaves out to stay within its time.
CLUSTER ?=
test-cluster: $(VENV)/.tested
	PATH="$(abspath $(BIN)):$$PATH" $(BIN)/python -m pytest $(CLUSTER) tests/cluster

$(VENV)/.bench: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --editable ".[bench]"
	touch $@

# Each stage beside what one would otherwise run; the page is docs/performance.md. On a quiet machine.
# DEVICE=cuda measures, on a card, the stages that use one.
DEVICE ?= cpu
BENCH ?= $(if $(filter cuda,$(DEVICE)),translate train encode search,collect translate train encode search pipeline)
bench: $(VENV)/.bench
	for stage in $(BENCH); do \
		PATH="$(abspath $(BIN)):$$PATH" $(BIN)/python measurements/$$stage.py --device $(DEVICE) || exit 1; \
	done
	$(BIN)/python measurements/report.py

# How the slowest stages grow up to a million rows: more than half an hour holds.
bench-growth: $(VENV)/.bench
	PATH="$(abspath $(BIN)):$$PATH" $(BIN)/python measurements/growth.py --device $(DEVICE)
	$(BIN)/python measurements/report.py

# Stand-ins for models and data of the hub, and a study on them: offline, in minutes, without meaning.
standins: $(VENV)/.installed
	$(BIN)/python tests/standins/make.py standins

STUDY ?= paper
STUDIES := workflow/studies
standin: $(VENV)/.installed
	test -d standins/hub || $(MAKE) standins
	HF_HOME="$(abspath standins)" HF_HUB_OFFLINE=1 $(SNAKEMAKE) tables --quiet rules \
		--configfile $(STUDIES)/$(STUDY).yaml $(STUDIES)/standins/common.yaml $(STUDIES)/standins/$(STUDY).yaml
	$(BIN)/polybatch show --study standin-$(STUDY)
