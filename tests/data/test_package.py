"""The package as a whole: what it offers and what importing it costs."""

from __future__ import annotations

import subprocess
import sys

import nestling.data


def test_public_names_exist_and_are_sorted() -> None:
    assert nestling.data.__all__ == sorted(nestling.data.__all__)
    for name in nestling.data.__all__:
        assert getattr(nestling.data, name).__doc__


def test_importing_loads_no_optional_library() -> None:
    code = "import sys, nestling.data; print(*{'torch', 'PIL', 'pyarrow', 'safetensors'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
