# Two commands do all the set-up: `make demo` and `make test`.
SHELL := /bin/bash
VENV ?= .venv
PY := $(VENV)/bin/python
STAMP := $(VENV)/.installed
DEV := $(VENV)/.installed-dev
WORKERS ?= 2
TESTS = OMP_NUM_THREADS=$${OMP_NUM_THREADS:-1} $(PY) -m pytest -n $(WORKERS) --dist loadgroup

.PHONY: demo test test-slow install lint types imports check native clean help

help:
	@echo "make demo   install, make two synthetic people, swap one's head onto the other's clip (demo/)"
	@echo "make test   install, run the tests"
	@echo "make test-slow  the slow tests, too"
	@echo "make check  lint, types and import rules"

INPUTS := pyproject.toml constraints.txt CMakeLists.txt $(wildcard src/gswap/native/*.cpp) $(wildcard src/gswap/native/*.h) $(wildcard src/gswap/native/kernels/*)

define INSTALL
	@python=""; for p in python3.11 python3.12; do if $$p -c 'import venv, ensurepip' >/dev/null 2>&1; then python=$$p; break; fi; done; \
	if [ -z "$$python" ]; then for p in python3 python; do if $$p -c 'import sys, venv, ensurepip; sys.exit(sys.version_info[:2] not in ((3, 11), (3, 12)))' >/dev/null 2>&1; then python=$$p; break; fi; done; fi; \
	if [ -z "$$python" ]; then echo "gswap needs Python 3.11 or 3.12 with venv (Debian: apt-get install python3-venv)." >&2; exit 1; fi; \
	test -x $(PY) || $$python -m venv $(VENV)
	$(PY) -m pip install --quiet --disable-pip-version-check "$$(grep '^torch==' constraints.txt)"
	$(PY) -m pip install --quiet --disable-pip-version-check -c constraints.txt --editable '$(1)'
endef

$(STAMP): $(INPUTS)
	$(call INSTALL,.)
	@touch $@

# What only developing and testing need: linters, and the libraries of the paper's recipe for its tests on tiny models.
$(DEV): $(INPUTS)
	$(call INSTALL,.[dev])
	@touch $(STAMP) $@

install: $(DEV)

demo: $(STAMP)
	$(VENV)/bin/gswap demo --out demo

# Two processes, one thread each: that suits two cores, and 4 GB of memory.
test: $(DEV)
	$(TESTS)

# The tests marked slow: jobs killed at every step, the paper's recipe killed while it paints.
test-slow: $(DEV)
	$(TESTS) -m "slow and not gpu and not weights"

lint: $(DEV)
	$(VENV)/bin/ruff check src tests scripts benchmarks examples
	$(VENV)/bin/ruff format --check src tests scripts benchmarks examples

types: $(DEV)
	$(VENV)/bin/pyright

imports: $(DEV)
	$(VENV)/bin/lint-imports

check: lint types imports

clean:
	rm -rf build demo .pytest_cache .ruff_cache
