"""The token ids of a run, in files beside it: texts are read and cut into rows once, by the first process."""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Integer

from nestling.data.packing import packed
from nestling.data.parts import of_part
from nestling.data.texts import TextFiles
from nestling.data.tokens import Tokenizer
from nestling.errors import CheckpointError, InputError
from nestling.files import replacing, write_file
from nestling.studies.watch import Step, Watch

_FORMAT = 1
_PARTS = ("train", "val")
_TOLD = 1 << 20  # bytes


@dataclass(frozen=True, slots=True)
class TokenFiles:
    """The folder of a run's tokens.

    Attributes:
        folder: of ``train.ids``, ``val.ids`` and, last, ``tokens.json``.
        length: tokens of a row; val_fraction: the share of the texts that is held out.
    """

    folder: Path
    length: int
    val_fraction: float

    def make(self, texts: TextFiles, tokenizer: Tokenizer, watch: Watch) -> None:
        """Write them, unless they are there; to be called by one process.

        Raises:
            InputError: a part has no texts.
            DataError: a text cannot be read, or a file not be written.
        """
        about = self._about(texts, tokenizer)
        if self._written().get("of") == about:
            return
        kind = "<u2" if tokenizer.size <= 1 << 16 else "<u4"
        rows: dict[str, int] = {}
        for part, name in enumerate(_PARTS):
            with watch.task(f"read {name} texts") as step, replacing(self.folder / f"{name}.ids") as temporary:
                chosen = of_part(_counted(texts, step), part, (1 - self.val_fraction,))
                count = 0
                with temporary.open("wb") as stream:
                    for chunk in packed(chosen, tokenizer, self.length):
                        stream.write(chunk.astype(kind).tobytes())
                        count += len(chunk)
            if count == 0:
                raise InputError.of("texts", f"enough for the {name} part", "none there", "Change val_fraction.")
            rows[name] = count
        text = json.dumps({"format": _FORMAT, "kind": kind, "length": self.length, "rows": rows, "of": about})
        write_file(self.folder / "tokens.json", text + "\n")

    def rows(self, name: str) -> Integer[np.ndarray, "n t"]:
        """The rows of "train" or "val", mapped.

        Raises:
            CheckpointError: they are not there or damaged.
        """
        about, path = self._written(), self.folder / f"{name}.ids"
        try:
            shape = (int(about["rows"][name]), int(about["length"]))
            if path.stat().st_size != shape[0] * shape[1] * np.dtype(about["kind"]).itemsize:
                raise ValueError("another size")
            return np.memmap(path, about["kind"], "r", shape=shape)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise CheckpointError(f"{path} is damaged ({error}). Delete {self.folder}.") from error

    def _about(self, texts: TextFiles, tokenizer: Tokenizer) -> dict[str, Any]:
        reads = zlib.crc32(tokenizer.text().encode())
        return {
            "texts": texts.fingerprint(),
            "tokenizer": reads,
            "length": self.length,
            "val_fraction": self.val_fraction,
        }

    def _written(self) -> dict[str, Any]:
        try:
            found = json.loads((self.folder / "tokens.json").read_text())
        except (OSError, ValueError):
            return {}
        return found if isinstance(found, dict) and found.get("format") == _FORMAT else {}


def _counted(texts: TextFiles, step: Step) -> Iterator[str]:
    """The texts, telling about how many bytes of the files were read."""
    total = sum(file.stat().st_size for file in texts.files)
    read = told = 0
    for text in texts:
        read += len(text.encode()) + 1
        if read - told > _TOLD:
            told = read
            step(min(read, total), total)  # a column may be packed tighter in its file than in memory
        yield text
    step(total, total)
