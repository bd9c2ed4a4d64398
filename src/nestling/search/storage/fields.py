"""Reading JSON that nobody vouches for: each helper gives the value it was asked for or raises `Wrong`."""

from __future__ import annotations

import json
import re
from collections.abc import Collection
from typing import Any, cast

import xxhash

CHECKSUM = "checksum"


class Wrong(ValueError):
    """What is wrong with some JSON; its caller knows the file's name."""


def render(body: dict[str, Any]) -> bytes:
    """JSON in the one form that is ever written, with a checksum over the rest."""
    checksum = xxhash.xxh3_64_hexdigest(_canonical(body))
    return _canonical({**body, CHECKSUM: checksum}) + b"\n"


def parsed(data: bytes) -> dict[str, Any]:
    """The inverse of `render`.

    Raises:
        Wrong: one byte is not as `render` wrote it.
    """
    try:
        body: object = json.loads(data)
        whole = render({k: v for k, v in cast(dict[str, Any], body).items() if k != CHECKSUM})
    # RecursionError: ten thousand brackets. AttributeError: JSON, but not an object.
    except (ValueError, RecursionError, AttributeError) as error:
        reason = " ".join(str(error).split())[:100]
        raise Wrong(f"it is not its JSON ({reason})") from error
    if whole != data:  # also finds duplicate keys and everything else that JSON can say in two ways
        raise Wrong("its checksum is wrong")
    return cast(dict[str, Any], body)


def _canonical(body: dict[str, Any]) -> bytes:
    return json.dumps(body, sort_keys=True, separators=(",", ":"), allow_nan=False).encode("ascii")


def record(value: object, where: str, keys: Collection[str]) -> dict[str, Any]:
    """An object with exactly these keys."""
    found = mapping(value, where)
    if found.keys() != set(keys):
        different = sorted(found.keys() ^ set(keys))[:3]
        raise Wrong(f"{where} has missing or unknown keys ({', '.join(different)[:100]})")
    return found


def mapping(value: object, where: str) -> dict[str, Any]:
    """An object."""
    if not isinstance(value, dict):
        raise Wrong(f"{where} is not an object")
    return cast(dict[str, Any], value)


def items(value: object, where: str) -> list[Any]:
    """A list."""
    if not isinstance(value, list):
        raise Wrong(f"{where} is not a list")
    return cast(list[Any], value)


def whole(value: object, where: str, low: int, high: int) -> int:
    """A whole number between two others, both allowed."""
    if type(value) is not int or not low <= value <= high:
        raise Wrong(f"{where} is not a whole number between {low} and {high}")
    return value


def text(value: object, where: str, pattern: str) -> str:
    """A text that matches all of a pattern."""
    if not isinstance(value, str) or re.fullmatch(pattern, value) is None:
        raise Wrong(f"{where} is not a text of the form {pattern}")
    return value


def distinct(values: Collection[Any], where: str) -> None:
    """No value twice."""
    if len(set(values)) != len(values):
        raise Wrong(f"{where} repeat one another")
