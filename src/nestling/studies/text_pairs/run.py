"""Turn, fine-tune nested, and plainly to compare; turn what came out; measure before and after; save."""

from __future__ import annotations

import shutil
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch

from nestling.adaptor import MatryoshkaAdaptor
from nestling.adaptor.maps import Rotation
from nestling.data.text_pairs import TextPairs, read_pairs
from nestling.errors import InputError
from nestling.evaluation import Row, save_rows
from nestling.integrations import export_sentence_transformers
from nestling.nesting import Nesting
from nestling.studies.text_pairs.encoder import PairEncoder, Prompts
from nestling.studies.text_pairs.measuring import Values, found_by, rows_of, tables
from nestling.studies.text_pairs.mining import hard_negatives
from nestling.studies.watch import Step, Watch
from nestling.training import TrainConfig, fit
from nestling.training.pairs import PairFeed, PairObjective
from nestling.training.processes import this_process

BEFORE, PLAIN, NESTED, TURNED = "before", "plain fine-tuning", "nested", "nested, turned"
_BEGUN_BY, _TURNED_BY = 20_000, 50_000  # pairs that the first and the last rotation are learnt from, at most


@dataclass(frozen=True, slots=True, kw_only=True)
class PairRun:
    """What to train, on which pairs.

    Attributes:
        pairs: a table or a folder, as of `read_pairs`; held_out: share of a table's documents that is measured on.
        out: the run's folder: checkpoints of both trainings, ``start-…/`` with the first rotation, ``model/``,
            ``adaptor/``, ``rows.jsonl``.
        encoder: as of `PairEncoder`; prompts, longest: how texts are read.
        nesting: the prefixes.
        temperature: τ. chunk: texts that are encoded at once.
        negatives: hard negatives of each pair, found by the encoder as it is; margin: as of `hard_negatives`.
        compare: train plainly too.
    """

    pairs: str
    out: Path
    train: TrainConfig
    nesting: Nesting | None = None
    encoder: str = "minilm"
    prompts: Prompts = Prompts()  # noqa: RUF009  it is frozen
    longest: int | None = None
    held_out: float = 0.05
    temperature: float = 0.05
    chunk: int = 32
    negatives: int = 0
    margin: float = 0.05
    compare: bool = True


def train_pairs(run: PairRun, *, resume: bool, watch: Watch) -> list[Row]:
    """Read, mine, train, turn, save and measure.

    Returns:
        nDCG@10 and recall of the held-out queries before and after, at every prefix; empty in all but the first of
        several processes.

    Raises:
        DataError, InputError: the pairs, the encoder or the settings do not do.
        CheckpointError: the folder's run is of other settings, or damaged.
        TrainingDivergedError: the loss became NaN or infinite.
        ProcessLostError: another process of the run has ended.
    """
    state = this_process()
    learnt, asked = (_prompted(each, run.prompts) for each in read_pairs(run.pairs, held_out=run.held_out))
    encoder = PairEncoder(run.encoder, run.longest)
    nesting = Nesting.doubling(encoder.width) if run.nesting is None else run.nesting
    if nesting.width > encoder.width:
        raise InputError.of("--dims", f"at most the {encoder.width} of {run.encoder}", nesting.width)
    nesting = nesting if nesting.width == encoder.width else Nesting((*nesting.dims, encoder.width))
    watch.say(
        f"{len(learnt):,} pairs to learn from; {len(asked.queries):,} queries are asked of {len(asked.documents):,} "
        "documents that were held out"
    )
    found: dict[str, Values] = {}
    if state.is_main_process:
        found[BEFORE] = found_by(*_sides(encoder, asked, f"measure {BEFORE}", watch), asked, nesting)
    targets = _targets(run, learnt, encoder, watch)
    if run.compare:
        plain = PairEncoder(run.encoder, run.longest)
        _tuned(plain, Nesting((encoder.width,)), None, learnt, targets, run, run.out / "plain", resume, watch, PLAIN)
        if state.is_main_process:
            found[PLAIN] = found_by(*_sides(plain, asked, f"measure {PLAIN}", watch), asked, nesting)
    first = _begun(encoder, learnt, nesting, run, watch)
    (start,) = first.maps_
    assert isinstance(start, Rotation)
    _tuned(encoder, nesting, start, learnt, targets, run, run.out / "nested", resume, watch, NESTED)
    if not state.is_main_process:
        return []
    sides = _sides(encoder, asked, f"measure {NESTED}", watch)
    found[NESTED] = found_by(start(sides[0]), start(sides[1]), asked, nesting)
    adaptor = _turned(encoder, learnt, nesting, run.train.seed, watch, _TURNED_BY)
    found[TURNED] = found_by(adaptor.transform(sides[0]), adaptor.transform(sides[1]), asked, nesting)
    _save(encoder, adaptor, run.out)
    rows = rows_of(found, nesting)
    save_rows(rows, run.out / "rows.jsonl")
    for title, columns, lines in tables(rows, nesting):
        watch.table(title, columns, lines)
    return rows


def _prompted(pairs: TextPairs, prompts: Prompts) -> TextPairs:
    return replace(
        pairs,
        queries=[prompts.query + text for text in pairs.queries],
        documents=[prompts.document + text for text in pairs.documents],
    )


def _targets(run: PairRun, learnt: TextPairs, encoder: PairEncoder, watch: Watch) -> np.ndarray:
    """(n, 1 + h) rows of documents: the answer, and hard negatives."""
    if run.negatives == 0:
        return learnt.pairs[:, 1:]
    sides = _sides(encoder, learnt, "encode for hard negatives", watch)
    with watch.task("hard negatives"):
        more = hard_negatives(*sides, learnt.pairs, run.negatives, margin=run.margin, seed=run.train.seed)
    return np.concatenate([learnt.pairs[:, 1:], more], axis=1)


def _tuned(
    encoder: PairEncoder,
    nesting: Nesting,
    start: Rotation | None,
    learnt: TextPairs,
    targets: np.ndarray,
    run: PairRun,
    folder: Path,
    resume: bool,
    watch: Watch,
    name: str,
) -> None:
    texts = [*learnt.queries, *learnt.documents]
    objective = PairObjective(
        encoder,
        texts,
        nesting,
        temperature=run.temperature,
        chunk=run.chunk,
        rotation=None if start is None else torch.from_numpy(start.matrix),
    )
    with watch.task(f"train {name}") as step:
        fit(
            objective,
            PairFeed(learnt.pairs[:, 0], targets + len(learnt.queries), texts),
            run.train,
            folder=folder,
            resume=resume,
            progress=partial(_report, step),
        )
    encoder.cpu()


def _report(step: Step, done: int, total: int, loss: float, pairs_per_s: float, lr: float, seconds_left: float) -> None:
    del lr, seconds_left  # the bar knows its own time left
    step(done, total, f"loss {loss:5.2f} {pairs_per_s:,.1f} pairs/s")


def _sides(encoder: PairEncoder, pairs: TextPairs, task: str, watch: Watch) -> tuple[np.ndarray, np.ndarray]:
    """Vectors of the queries and of the documents."""
    with watch.task(task) as step:
        both = encoder.vectors([*pairs.queries, *pairs.documents], step)
    return both[: len(pairs.queries)], both[len(pairs.queries) :]


def _begun(encoder: PairEncoder, learnt: TextPairs, nesting: Nesting, run: PairRun, watch: Watch) -> MatryoshkaAdaptor:
    """The rotation that nested training begins with: learnt once, by the first of several processes, and kept.

    What is kept is of these settings, so that a run that goes on has the rotation that it began with.
    """
    about = [run.encoder, run.longest, str(nesting), run.train.seed, learnt.queries, learnt.documents]
    folder = run.out / f"start-{zlib.crc32(repr(about).encode()):08x}"
    state = this_process()
    if state.is_main_process and not folder.is_dir():
        _turned(encoder, learnt, nesting, run.train.seed, watch, _BEGUN_BY).save(folder)
    state.wait_for_everyone()
    return MatryoshkaAdaptor.load(folder)


def _turned(
    encoder: PairEncoder, learnt: TextPairs, nesting: Nesting, seed: int, watch: Watch, most: int
) -> MatryoshkaAdaptor:
    """A rotation by training pairs, so many at most."""
    pairs: Sequence[int] = np.sort(np.random.default_rng(seed).permutation(len(learnt))[:most]).tolist()
    chosen = learnt.take(np.array(pairs))
    a, b = _sides(encoder, chosen, "encode for the rotation", watch)
    with watch.task("turn") as step:
        adaptor = MatryoshkaAdaptor("rotation", nesting=nesting.dims, random_state=seed, progress=step)
        return adaptor.fit_pairs(a[chosen.pairs[:, 0]], b[chosen.pairs[:, 1]])


def _save(encoder: PairEncoder, adaptor: MatryoshkaAdaptor, out: Path) -> None:
    """The model as it was trained, the rotation, and both as one folder of sentence-transformers."""
    adaptor.save(out / "adaptor")
    for folder in (out / "encoder", out / "model"):
        shutil.rmtree(folder, ignore_errors=True)
    encoder.save(out / "encoder")
    export_sentence_transformers(out / "encoder", out / "model", adaptor=adaptor)
