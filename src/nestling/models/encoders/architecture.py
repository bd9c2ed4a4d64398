"""Networks of `transformers`, from a description or from a folder that it saved: never from code or pickles."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import nn

from nestling.errors import CheckpointError, InputError, require_extra

_MOST, _DEEPEST, _PARAMETERS = 1 << 20, 256, 4 << 30  # what a lying description may ask for
_REFUSALS = (TypeError, ValueError, LookupError, RuntimeError, AttributeError, ArithmeticError)
_PREPROCESSING = "preprocessor_config.json"
_DEPTHS = ("num_hidden_layers", "depths")
FREE = ("_name_or_path", "transformers_version", "architectures", "model_type", "dtype", "torch_dtype", "id2label")
"""Fields of a configuration that decide nothing."""


def network(
    kind: str, model: str, architecture: Mapping[str, Any], generator: torch.Generator | None, **how: Any
) -> nn.Module:
    """A fresh network.

    Args:
        kind: the configuration's class in `transformers`, such as "ResNetConfig"; model: the network's.
        architecture: the configuration's fields that differ from its defaults.
        generator: draws the first weights; torch's own when left out.
        how: more arguments of the network, given to those that know them.

    Raises:
        InputError: fields that are no such configuration, or one that no machine could hold.
        MissingExtraError: `transformers` is not installed.
    """
    transformers = require_extra("transformers")
    _check_sizes(architecture)
    with _refused(kind, architecture):
        config = getattr(transformers, kind)(**architecture)
    _check_depth(config)
    make = getattr(transformers, model)
    more = known(make, how)
    with _refused(kind, architecture), torch.device("meta"):
        empty = make(config, **more)
    count = sum(p.numel() for p in empty.parameters())
    if count > _PARAMETERS:
        raise InputError.of("architecture", f"of at most {_PARAMETERS:,} weights", f"{count:,}")
    with torch.random.fork_rng(devices=[], enabled=generator is not None):
        if generator is not None:
            torch.manual_seed(int(torch.randint(1 << 62, (), generator=generator)))
        return make(config, **more)


class Loaded(NamedTuple):
    """A network with its weights, the `model_type` and the fields of its configuration."""

    network: nn.Module
    kind: str
    fields: dict[str, Any]


def pretrained(models: Mapping[str, str], source: Path | str, **how: Any) -> Loaded:
    """A network with the weights of a folder that `transformers` saved, or of a name of the model hub.

    Args:
        models: of each `model_type` that will do, the network's class in `transformers`.
        source: the folder, or the name.
        how: more arguments of the network, given to those that know them.

    Raises:
        InputError: there is no model, or one of another kind.
        CheckpointError: weights that are damaged, incomplete, or only there as a pickle.
        MissingExtraError: `transformers` is not installed.
    """
    transformers = require_extra("transformers")
    here, wanted = Path(source).is_dir(), " or ".join(models)
    try:
        config = transformers.AutoConfig.from_pretrained(str(source), local_files_only=here)
    except (OSError, ValueError, KeyError) as error:
        wish = f"a folder that transformers saved, or the name of a {wanted} model"
        raise InputError.of("source", wish, str(source), f"({_line(error)})") from error
    if config.model_type not in models:
        raise InputError.of("source", f"a {wanted} model", f"{source}, a {config.model_type} model")
    _check_sizes(config.to_diff_dict())
    model = getattr(transformers, models[config.model_type])
    try:
        with quiet():
            found, told = model.from_pretrained(
                str(source),
                config=config,
                use_safetensors=True,
                local_files_only=here,
                output_loading_info=True,
                **known(model, how),
            )
    except Exception as error:  # every library below it raises its own
        raise CheckpointError(f"{source} holds no readable safetensors weights ({_line(error)}).") from error
    missing = sorted(told["missing_keys"])
    if missing:
        raise CheckpointError(f"{source} lacks weights: {', '.join(missing[:3])}{' …' * (len(missing) > 3)}.")
    fields = {name: value for name, value in config.to_diff_dict().items() if name not in FREE}
    return Loaded(found.float(), config.model_type, json.loads(json.dumps(fields, default=str)))


def known(model: Callable[..., Any], how: Mapping[str, Any]) -> dict[str, Any]:
    """Of these arguments the ones that the network's class takes."""
    taken = inspect.signature(model).parameters
    return {name: value for name, value in how.items() if name in taken}


def preprocessing(source: Path | str) -> dict[str, Any]:
    """`preprocessor_config.json` of a folder, or of a name of the model hub; empty where there is none."""
    path = Path(source) / _PREPROCESSING
    if not Path(source).is_dir():
        cached = require_extra("transformers.utils").cached_file
        found = cached(str(source), _PREPROCESSING, _raise_exceptions_for_missing_entries=False)
        path = Path(found or path)
    try:
        found = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path} is not JSON ({_line(error)}). Save the model again.") from error
    return found if isinstance(found, dict) else {}


def _check_sizes(architecture: Mapping[str, Any]) -> None:
    """Before anything is built: a loop over 10⁹ layers of nothing would not end either."""
    for name, value in architecture.items():
        values = value if isinstance(value, list | tuple) else [value]
        most = _DEEPEST if name in _DEPTHS else _MOST
        if len(values) > _DEEPEST or any(isinstance(one, int) and abs(one) > most for one in values):
            raise InputError.of("architecture", f"{name} of at most {most:,}", repr(value)[:80])


def _check_depth(config: Any) -> None:
    """Of what the configuration computes itself, from a factor and numbers of repeats."""
    depth = getattr(config, "num_hidden_layers", 0)
    if isinstance(depth, int) and depth > _DEEPEST:
        raise InputError.of("architecture", f"of at most {_DEEPEST} layers", f"{depth:,}")


@contextmanager
def _refused(kind: str, architecture: Mapping[str, Any]) -> Iterator[None]:
    """What `transformers` says of fields that it cannot make anything of, as our sentence."""
    # A field of another type raises neither TypeError nor ValueError, but an error of its own.
    strict = require_extra("huggingface_hub.errors").StrictDataclassError
    try:
        yield
    except (*_REFUSALS, strict) as error:
        why = " ".join(str(error).split())
        raise InputError.of("architecture", f"fields of a {kind}", repr(dict(architecture)), f"({why})") from error


@contextmanager
def quiet() -> Iterator[None]:
    """No bar of `transformers` and no report of tensors that we do not ask for, such as a pooler's."""
    logging = require_extra("transformers").utils.logging
    before, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(before)
        if bars:
            logging.enable_progress_bar()


def _line(error: BaseException) -> str:
    return (str(error).splitlines() or [""])[0][:160] or type(error).__name__
