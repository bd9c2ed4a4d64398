"""Every test runs with shapes and types checked: jaxtyping's annotations through beartype."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import settings
from jaxtyping import config, install_import_hook

install_import_hook("nestling", "beartype.beartype")

settings.register_profile("nestling", deadline=None, derandomize=True, max_examples=50, print_blob=True)
settings.load_profile("nestling")


@pytest.fixture
def as_a_user() -> Iterator[None]:
    """Without the shape checker, as users run: to see our own sentence for a wrong shape."""
    config.update("jaxtyping_disable", True)
    yield
    config.update("jaxtyping_disable", False)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--soak", action="store_true", help="run the full counts too")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if not config.getoption("--soak"):
        for item in items:
            if "soak" in item.keywords:
                item.add_marker(pytest.mark.skip(reason="full counts run in `make soak`"))
