# Two commands do all the set-up: `make demo` and `make test`.
SHELL := /bin/bash
VENV ?= .venv
PY := $(VENV)/bin/python
STAMP := $(VENV)/.installed

.PHONY: demo test install lint types imports check native clean help

help:
	@echo "make demo   install, make two synthetic people, swap one's head onto the other's clip (demo/)"
	@echo "make test   install, run the tests"
	@echo "make check  lint, types and import rules"

$(STAMP): pyproject.toml constraints.txt CMakeLists.txt $(wildcard src/gswap/native/*.cpp) $(wildcard src/gswap/native/*.h) $(wildcard src/gswap/native/kernels/*)
	@python=""; for p in python3.11 python3.12; do if $$p -c 'import venv, ensurepip' >/dev/null 2>&1; then python=$$p; break; fi; done; \
	if [ -z "$$python" ]; then for p in python3 python; do if $$p -c 'import sys, venv, ensurepip; sys.exit(sys.version_info[:2] not in ((3, 11), (3, 12)))' >/dev/null 2>&1; then python=$$p; break; fi; done; fi; \
	if [ -z "$$python" ]; then echo "gswap needs Python 3.11 or 3.12 with venv (Debian: apt-get install python3-venv)." >&2; exit 1; fi; \
	test -x $(PY) || $$python -m venv $(VENV)
	$(PY) -m pip install --quiet --disable-pip-version-check "$$(grep '^torch==' constraints.txt)"
	$(PY) -m pip install --quiet --disable-pip-version-check -c constraints.txt --editable '.[dev]'
	@touch $(STAMP)

install: $(STAMP)

demo: $(STAMP)
	$(VENV)/bin/gswap demo --out demo

test: $(STAMP)
	$(PY) -m pytest

lint: $(STAMP)
	$(VENV)/bin/ruff check src tests scripts benchmarks examples
	$(VENV)/bin/ruff format --check src tests scripts benchmarks examples

types: $(STAMP)
	$(VENV)/bin/pyright

imports: $(STAMP)
	$(VENV)/bin/lint-imports

check: lint types imports

clean:
	rm -rf build demo .pytest_cache .ruff_cache
