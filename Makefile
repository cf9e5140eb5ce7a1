# `make demo` sets up and runs the default study; `make test` sets up and runs the tests.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# The CPU build where an index offers it under this version; set TORCH= for another build.
TORCH ?= torch==2.13.0
# The build of FAISS and, for cards, CTranslate2's libraries: `cpu`, or `gpu` where nvidia-smi lists a card.
ifndef EXTRA
EXTRA := $(if $(shell nvidia-smi -L 2>/dev/null | grep ^GPU),gpu,cpu)
endif
ifeq ($(filter cpu gpu,$(EXTRA)),)
$(error EXTRA is cpu or gpu, not "$(EXTRA)")
endif
# Both builds hold the same files, so the other one goes before this one comes.
OTHER_FAISS := $(if $(filter cpu,$(EXTRA)),faiss-gpu,faiss-cpu)
INSTALLED := $(VENV)/.installed-$(EXTRA)
TESTED := $(VENV)/.tested-$(EXTRA)
BENCHED := $(VENV)/.bench-$(EXTRA)
SNAKEMAKE := PATH="$(abspath $(BIN)):$$PATH" snakemake

.PHONY: demo report test unit lint toy test-cluster bench bench-growth standins standin help

help:
	@echo "make demo   set up, run the default study, print what came out"
	@echo "make evening  the study of language bias on natural text; an evening on two cores"
	@echo "make test   set up, lint, unit tests, a toy study and two studies on stand-ins end to end"
	@echo "make test-cluster   a real Slurm on this machine (root, Debian or Ubuntu), and the pipeline on it"
	@echo "make bench  each stage beside what one would otherwise run"
	@echo "make bench-growth   what takes longer: up to a million rows, the default study beside one script"
	@echo "make report the study's HTML report"
	@echo "make standins, make standin STUDY=paper   a study on stand-ins, offline"
	@echo "EXTRA=$(EXTRA) is installed: FAISS and libraries for $(if $(filter cpu,$(EXTRA)),CPUs,NVIDIA cards); EXTRA=cpu and EXTRA=gpu overrule"

$(INSTALLED): pyproject.toml
	$(PYTHON) -m venv $(VENV)
	rm -f $(VENV)/.installed* $(VENV)/.tested* $(VENV)/.bench*
	$(BIN)/python -m pip uninstall --quiet --yes $(OTHER_FAISS)
	$(BIN)/python -m pip install --quiet "$(TORCH)"
	$(BIN)/python -m pip install --quiet --editable ".[$(EXTRA),search]"
	touch $@

$(TESTED): $(INSTALLED)
	$(BIN)/python -m pip install --quiet --editable ".[$(EXTRA),search,test]"
	touch $@

# Within 4 GB, whatever the machine has: one training at a time, on two threads.
demo: $(INSTALLED)
	$(SNAKEMAKE) --quiet rules --resources mem_mb=4000
	$(SNAKEMAKE) --quiet rules progress host -- report
	$(BIN)/polybatch show --study default

# How biased is a popular retriever, and which batches cure it: an evening on two cores. XQUAD_R= names a folder with
# XQuAD-R's files, where their address is out of reach.
XQUAD_R ?=
evening: $(INSTALLED)
	$(if $(XQUAD_R),printf 'benchmarks: {xquad-r: {path: "%s"}}\n' "$(XQUAD_R)" > .xquad-r.yaml)
	$(SNAKEMAKE) --quiet rules --configfile workflow/studies/language_bias.yaml $(if $(XQUAD_R),.xquad-r.yaml)
	$(BIN)/python -m polybatch show --study language_bias

report: $(INSTALLED)
	$(SNAKEMAKE) report

test: $(TESTED) lint unit toy

lint: $(TESTED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/snakefmt --check Snakefile rules
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m polybatch.study.schema --check
	$(SNAKEMAKE) --lint

unit: $(TESTED)
	$(BIN)/python -m pytest -n 2 --dist loadfile tests/unit

toy: $(TESTED)
	PATH="$(abspath $(BIN)):$$PATH" $(BIN)/python -m pytest -n 2 --dist loadfile tests/workflow

# CLUSTER='-m "not whole"' leaves out what CI leaves out to stay within its time.
CLUSTER ?=
test-cluster: $(TESTED)
	PATH="$(abspath $(BIN)):$$PATH" $(BIN)/python -m pytest $(CLUSTER) tests/cluster

$(BENCHED): $(INSTALLED)
	$(BIN)/python -m pip install --quiet --editable ".[$(EXTRA),search,bench]"
	touch $@

# Each stage beside what one would otherwise run; the page is docs/performance.md. On a quiet machine.
# DEVICE=cuda measures, on a card, the stages that use one. XQUAD_R=<folder of its files> is what e5 embeds.
DEVICE ?= cpu
BENCH ?= $(if $(filter cuda,$(DEVICE)),translate train encode search,e5 translate search collect)
bench: $(BENCHED)
	for stage in $(BENCH); do \
		PATH="$(abspath $(BIN)):$$PATH" $(BIN)/python measurements/$$stage.py --device $(DEVICE) \
			$$(test $$stage != e5 -o -z "$(XQUAD_R)" || echo --xquad-r "$(XQUAD_R)") || exit 1; \
	done
	$(BIN)/python measurements/report.py

# What takes longer: growth up to a million rows and more, the default study beside one script, other encoders.
bench-growth: $(BENCHED)
	for stage in growth $(if $(filter cuda,$(DEVICE)),,study_cost pipeline train encode); do \
		PATH="$(abspath $(BIN)):$$PATH" $(BIN)/python measurements/$$stage.py --device $(DEVICE) || exit 1; \
	done
	$(BIN)/python measurements/report.py

# Stand-ins for models and data of the hub, and a study on them: offline, in minutes, without meaning.
standins: $(INSTALLED)
	$(BIN)/python tests/standins/make.py standins

STUDY ?= paper
STUDIES := workflow/studies
standin: $(INSTALLED)
	test -d standins/hub || $(MAKE) standins
	HF_HOME="$(abspath standins)" HF_HUB_OFFLINE=1 $(SNAKEMAKE) tables --quiet rules \
		--configfile $(STUDIES)/$(STUDY).yaml $(STUDIES)/standins/common.yaml $(STUDIES)/standins/$(STUDY).yaml
	$(BIN)/polybatch show --study standin-$(STUDY)
