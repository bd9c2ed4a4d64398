"""A run of any kind turns its kind of data into vectors. Command: ``nestling encode``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from torch import Tensor, nn

from nestling.data import View
from nestling.data.texts import text_files
from nestling.data.tokens import Tokenizer
from nestling.errors import InputError
from nestling.models import Classifier, DualEncoder
from nestling.models.store import identity, load_any
from nestling.studies.captioned.source import CaptionedReading
from nestling.studies.images.encode import encode_images, encode_to_file
from nestling.studies.images.reading import Reading
from nestling.studies.images.stream import Vectoriser
from nestling.studies.parts import SUFFIXES, Joined
from nestling.studies.text_pairs.encoder import PairEncoder
from nestling.studies.texts.stream import TextVectoriser, encode_texts
from nestling.studies.watch import Watch

_TEXTS = (".txt", ".parquet")


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoding:
    """What is turned into vectors.

    Attributes:
        data: pictures for a classifier; texts, one a line of .txt or a column of .parquet (``FILE::COLUMN``), for a
            model of texts; either for a model of pictures and captions.
        out: a file, or a folder for the split of a classifier's run.
        prompt: put before every text.
        strict: an unreadable picture is an error; workers: decoding processes of each process.
    """

    data: str
    out: Path
    prompt: str = ""
    strict: bool = False
    workers: int | None = None


def encode(run: Path, asked: Encoding, *, watch: Watch) -> tuple[Path, ...]:
    """Write the vectors of all samples in their order, in constant memory; cut off, the same call goes on.

    Args:
        run: a run's folder, or a saved model's, also one of sentence-transformers.

    Returns:
        The files written; none in all but the first of several processes.

    Raises:
        CheckpointError: no model in the run's folder, or a damaged one.
        DataError, InputError: the data do not do, or `out` has no known ending.
    """
    folder = run / "model" if (run / "model").is_dir() else run
    if (folder / "modules.json").is_file():
        return _files(_by_sentences(folder, asked, watch))
    model = load_any(folder)
    if isinstance(model, Classifier):
        reading = Reading.of_run(run, model.encoder)
        if asked.out.suffix not in SUFFIXES:
            split = encode_images(
                model, reading, asked.data, asked.out, strict=asked.strict, workers=asked.workers, watch=watch
            )
            return tuple(split)
        whole = Vectoriser(model, model.head.nesting.width, identity(model))
        return _files(_pictures(whole, reading.view(), asked, watch))
    if not isinstance(model, DualEncoder):
        then = "Fine-tune its folder encoder by `nestling train --pairs FILE --encoder FOLDER`."
        raise InputError.of("run", "of a model whose vectors compare", "a masked language model", then)
    reading = CaptionedReading.of_run(run)
    if Path(asked.data.partition("::")[0]).suffix.lower() in _TEXTS:
        return _files(_by_tower(model, Tokenizer.load(folder), reading.length, asked, watch))
    tower = Vectoriser(_PictureTower(model), model.nesting.width, identity(model))
    return _files(_pictures(tower, reading.view(), asked, watch))


class _PictureTower(nn.Module):
    """One side of a model of pictures and captions."""

    def __init__(self, model: DualEncoder) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> Tensor:
        return self.model.images(images)


def _pictures(source: Vectoriser, view: View, asked: Encoding, watch: Watch) -> Joined | None:
    return encode_to_file(source, view, asked.data, asked.out, strict=asked.strict, workers=asked.workers, watch=watch)


def _by_tower(model: DualEncoder, tokenizer: Tokenizer, longest: int, asked: Encoding, watch: Watch) -> Joined | None:
    def vectors(texts: Sequence[str]) -> np.ndarray:
        return model.encode_texts(tokenizer.read(texts, longest))

    return _texts(TextVectoriser(vectors, f"{identity(model)} {longest}"), asked, watch)


def _by_sentences(folder: Path, asked: Encoding, watch: Watch) -> Joined | None:
    encoder = PairEncoder(str(folder))
    facts = [(path.name, (about := path.stat()).st_size, about.st_mtime_ns) for path in sorted(folder.rglob("*.*"))]
    return _texts(TextVectoriser(encoder.vectors, repr(facts)), asked, watch)


def _texts(source: TextVectoriser, asked: Encoding, watch: Watch) -> Joined | None:
    path, _, column = asked.data.partition("::")
    prompt = asked.prompt
    prompted = TextVectoriser(lambda texts: source.encode([prompt + text for text in texts]), source.identity + prompt)
    return encode_texts(prompted, text_files(path, column=column or None), asked.out, watch=watch)


def _files(found: Joined | None) -> tuple[Path, ...]:
    return () if found is None else found.files
