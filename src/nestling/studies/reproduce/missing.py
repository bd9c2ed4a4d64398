"""Make what is missing, one after the other, telling how many there are and about how long the rest takes."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TypeVar

from nestling.studies.watch import Watch

T = TypeVar("T")


def make_missing(missing: Sequence[T], make: Callable[[T], object], named: Callable[[T], str], watch: Watch) -> None:
    """Call `make` for each; all are taken to be alike long.

    Args:
        named: what each is called.

    Raises:
        Whatever `make` raises.
    """
    begun = time.monotonic()
    for done, each in enumerate(missing):
        left = (time.monotonic() - begun) / done * (len(missing) - done) / 60 if done else 0.0
        told = f", about {left:.0f} minutes for all that are left" if left else ""
        watch.say(f"Model {done + 1} of {len(missing)}: {named(each)}{told}")
        make(each)
