# make setup    install into .venv, once; again only when pyproject.toml or constraints.txt change
# make check    style, formatting, types, import rules: what a change has to pass before it is read
# make test     every test that needs no accelerator; offline
# make demo     the whole loop on sample data, on this machine
# make bench    the speeds that the README names, measured here
# make soak     faults in full counts, for hours: docs/soak.md
# make sbom     sbom.cdx.json: every package that is installed, as CycloneDX
# make audit    what the package index's advisories say of them; passes, saying so, where it gives none
#
# TORCH=cpu|cuda  which build of PyTorch `setup` installs; cuda where an NVIDIA driver is loaded
# PROCESSES=2     how many processes `test` runs in; a file of tests stays in one of them
# ONLY=topic      what `bench` measures, all topics by default; PEER=DIR  an environment with MONAI Label, measured alongside
# HOURS=1         how long `soak` lets a whole installation work
# PYTHON=...      interpreter of the new .venv; by default the first of 3.11, 3.12, 3.13 that runs

SHELL := /bin/bash
.DELETE_ON_ERROR:
.PHONY: setup check test demo bench soak sbom audit

VENV := .venv
BIN := $(VENV)/bin
SBOM := $(VENV)/sbom
TORCH ?= $(if $(wildcard /proc/driver/nvidia/version),cuda,cpu)
PROCESSES ?= 2
STAMP := $(VENV)/installed-for-$(TORCH)
CPU_WHEELS := https://download.pytorch.org/whl/cpu
TORCH_PIN := $(shell sed -n 's/^torch==\([^ +]*\).*/\1/p' constraints.txt)

# A dot per package; everything else goes to the log, whose end is shown when pip fails.
LOG := $(VENV)/install.log
INSTALL := set -o pipefail; $(BIN)/python -m pip install --disable-pip-version-check --progress-bar off
DOTS := tee -a $(LOG) | awk '/^ *(Collecting|Downloading|Using cached|Obtaining)/ {printf "."; fflush()} END {print ""}'
OR_SAY := || { tail -n 40 $(LOG); echo "setup: pip failed; its whole log is $(LOG)"; exit 1; }

setup: $(STAMP)

$(BIN)/python:
	@found=; \
	for python in $(PYTHON) python3.11 python3.12 python3.13 python3; do \
	  if "$$python" -c 'import sys, venv, ensurepip; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null; \
	  then found=$$python; break; fi; \
	done; \
	[ -n "$$found" ] || { echo "setup: needs Python 3.11, 3.12 or 3.13 with venv (on Debian: apt install python3-venv), or PYTHON=/path/to/one"; exit 1; }; \
	echo "setup 1/3: $(VENV) with $$("$$found" --version)"; \
	"$$found" -m venv $(VENV)

# The index's own Linux wheel of PyTorch brings 2 GB of CUDA. The CPU build has a local version that pip takes from where
# it is already told to look, else from PyTorch's index; where neither has one (macOS), the plain wheel is the CPU build.
$(STAMP): pyproject.toml constraints.txt | $(BIN)/python
	@: > $(LOG)
	@$(INSTALL) 'pip>=25.1' 2>&1 | $(DOTS) $(OR_SAY)
	@echo "setup 2/3: PyTorch $(TORCH_PIN) ($(TORCH))"
	@if [ "$(TORCH)" = cpu ] && [ "$$(uname)" = Linux ]; then \
	  $(INSTALL) -c constraints.txt 'torch==$(TORCH_PIN)+cpu' 2>&1 | $(DOTS) \
	  || $(INSTALL) -c constraints.txt --extra-index-url $(CPU_WHEELS) 'torch==$(TORCH_PIN)+cpu' 2>&1 | $(DOTS) \
	  || { tail -n 20 $(LOG); echo "setup: no CPU build of PyTorch here or at $(CPU_WHEELS); TORCH=cuda takes the index's own build"; exit 1; }; \
	else \
	  [ ! -e $(VENV)/installed-for-cpu ] || $(BIN)/python -m pip uninstall -q -y torch; \
	  $(INSTALL) -c constraints.txt 'torch==$(TORCH_PIN)' 2>&1 | $(DOTS) $(OR_SAY); \
	fi
	@echo "setup 3/3: everything else, some minutes the first time"
	@$(INSTALL) -c constraints.txt -e . --group dev 2>&1 | $(DOTS) $(OR_SAY)
	@$(BIN)/python -m pip check
	@rm -f $(VENV)/installed-for-*; touch $@

check: $(STAMP)
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/shellcheck .ci/run infra/deploy/pod.sh

# One thread each: threads that wait for work would take the processors from the other processes.
test: $(STAMP)
	OMP_NUM_THREADS=1 $(BIN)/pytest -n $(PROCESSES) --dist loadfile

demo: $(STAMP)
	$(BIN)/teachback demo

bench: $(STAMP)
	$(BIN)/python -m tests.bench $(ONLY) $(if $(PEER),--peer $(PEER))

soak: $(STAMP)
	$(BIN)/python -m tests.soak $(if $(HOURS),--hours $(HOURS))

# In an environment of its own: it brings a grammar that jsonschema, once it finds it, parses at each import of Prefect.
sbom: $(STAMP)
	@[ -x $(SBOM)/bin/cyclonedx-py ] || { $(BIN)/python -m venv $(SBOM) && $(SBOM)/bin/python -m pip install -q --disable-pip-version-check -c constraints.txt cyclonedx-bom; }
	$(SBOM)/bin/cyclonedx-py environment --pyproject pyproject.toml --output-reproducible --no-validate -o sbom.cdx.json $(BIN)/python

audit: $(STAMP)
	.ci/audit $(BIN)/pip-audit
