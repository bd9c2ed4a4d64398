"""What a recipe is, and how its settings are changed by ``name=value``."""

from __future__ import annotations

import importlib
import json
import pkgutil
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from types import NoneType
from typing import Any, get_args, get_type_hints

from nestling.errors import InputError
from nestling.evaluation import Row
from nestling.studies.watch import Watch
from nestling.training import TrainConfig

_KINDS = {int: "a whole number", float: "a number", bool: "true or false", str: "a text", NoneType: "null"}
_PARTS = {"command", "image", "captioned", "text"}  # files here that are no recipes


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """A training with everything that decides it.

    Attributes:
        data: where the data are.
        out: the folder of the run.
        train: how it is trained.
        workers: reading processes of each training process; as many as cores are left when None.
        strict: a sample that cannot be read stops the run.
    """

    data: str = ""
    out: str
    train: TrainConfig
    workers: int | None = None
    strict: bool = False

    def __post_init__(self) -> None:
        if self.workers is not None and self.workers < 0:
            raise InputError.of("workers", "at least 0", self.workers)

    @abstractmethod
    def run(self, *, resume: bool, watch: Watch) -> list[Row]:
        """Train, save and measure; the rows in the main process, nothing in others."""

    def changed(self, settings: Sequence[str]) -> Recipe:
        """With these ``name=value`` changed, of the recipe or of its `train`.

        Raises:
            InputError: no such setting, or a value that is none for it.
        """
        own, trained = {f.name for f in fields(self)} - {"train"}, {f.name for f in fields(TrainConfig)}
        changes: dict[str, Any] = {}
        train: dict[str, Any] = {}
        for setting in settings:
            name, equals, value = setting.partition("=")
            if not equals or name not in own | trained:
                raise InputError.of("--set", f"name=value with a name of {', '.join(sorted(own | trained))}", setting)
            chosen, kind = (changes, type(self)) if name in own else (train, TrainConfig)
            chosen[name] = _value(name, value, get_type_hints(kind)[name])
        return replace(self, **changes, train=replace(self.train, **train))


def names() -> list[str]:
    """The recipes that there are."""
    found = (module.name for module in pkgutil.iter_modules([str(Path(__file__).parent)]))
    return sorted(name for name in found if name not in _PARTS)


def recipe_of(name: str) -> tuple[Recipe, str]:
    """A recipe, and what its file says of it.

    Raises:
        InputError: there is none of that name.
    """
    if name not in names():
        raise InputError.of("recipe", f"one of {', '.join(names())}", repr(name))
    module = importlib.import_module(f"nestling.studies.recipes.{name}")
    return module.get_config(), (module.__doc__ or "").strip()


def told(recipe: Recipe) -> list[tuple[str, Any]]:
    """Every setting with its value."""
    own = [(f.name, getattr(recipe, f.name)) for f in fields(recipe) if f.name != "train"]
    return own + [(f.name, getattr(recipe.train, f.name)) for f in fields(recipe.train)]


def run_recipe(name: str, settings: Sequence[str], *, resume: bool, watch: Watch) -> tuple[Recipe, list[Row]]:
    """Run a recipe with these settings changed; as run, and its rows.

    Raises:
        InputError: no such recipe or setting, or no data.
        NestlingError: as of the recipe's `run`.
    """
    recipe = recipe_of(name)[0].changed(settings)
    if not recipe.data:
        raise InputError.of("data", "set", "nothing", f"Give --set data=FOLDER (nestling recipe {name} tells of what).")
    return recipe, recipe.run(resume=resume, watch=watch)


def _value(name: str, text: str, hint: Any) -> Any:
    """What a text says where a value of this type is wanted."""
    kinds = get_args(hint) or (hint,)
    try:
        value = json.loads(text)
    except ValueError:
        value = text
    if type(value) in kinds:
        return value
    if float in kinds and type(value) is int:
        return float(value)
    if str in kinds:
        return text
    raise InputError.of(name, " or ".join(_KINDS[kind] for kind in kinds), repr(text))
