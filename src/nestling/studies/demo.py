"""The main job on real images: train nested, measure every prefix, search coarse to fine.

Command: ``nestling demo`` (about 8 minutes on 2 cores; ``--quick``: under 2).
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch

from nestling.data import LabelledImages, fashion_mnist
from nestling.evaluation import Row, class_rows, relevance, retrieval_rows
from nestling.models import Classifier, NestedLinear, ResidualEncoder, save
from nestling.nesting import Nesting
from nestling.search import Plan, exact
from nestling.search.index import Index
from nestling.studies.comparison import Comparison, Encoded, Labels
from nestling.studies.page import Neighbors, Report, check_report_folder, write_report
from nestling.studies.watch import Step, Watch
from nestling.training import ArrayFeed, ClassificationObjective, TrainConfig, fit


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoConfig:
    """What the demo trains and how it searches.

    Attributes:
        nesting: the prefixes of the nested model; plain models are trained at `plain` dims.
        train: how every model is trained, nested or plain.
        plain: widths of the fixed-feature (FF) models; the largest also serves SVD and random features.
        plans: searches to compare with the exact one at full width; each keeps 10. The index's own plan joins them.
        recall: of the plan that the index is tuned to, on gallery rows standing in for queries.
        train_images, test_images: how many of the data set's are used, from its beginning; None for all.
        seed: of weights, order, augmentation, random features and bootstrap.
    """

    nesting: Nesting
    train: TrainConfig
    plain: tuple[int, ...]
    plans: tuple[str, ...]
    recall: float = 0.95
    train_images: int | None = None
    test_images: int | None = None
    seed: int = 0


def get_config(*, quick: bool = False, seed: int = 0) -> DemoConfig:
    """The published demo, or the quick one on a part of the data."""
    nesting = Nesting.halving(512)
    config = DemoConfig(
        nesting=nesting,
        train=TrainConfig(seed=seed, flip=False),  # shoes all point left
        plain=(8, 16, 512),
        plans=("16:200,512:10", "8:400,16:200,64:50,512:10", *(f"{m}:10" for m in nesting.dims[:-1])),
        seed=seed,
    )
    if not quick:
        return config
    return replace(
        config, train=replace(config.train, epochs=2, warmup_epochs=0.5), train_images=20_000, test_images=4_000
    )


def run(config: DemoConfig, out: Path, runs: Path, *, watch: Watch) -> Report:
    """Run the demo; trained models are kept in `runs` and reused when the settings are the same.

    Args:
        config: from `get_config`.
        out: folder of the report: ``index.html``, ``report.json``, ``rows.jsonl``.
        runs: folder of the training runs, one folder each; ``runs/mrl/model`` is the nested model.

    Raises:
        DataError: the images cannot be had.
        InputError, MissingExtraError: the report could not be written in the end.
        CheckpointError: `runs` holds runs of other settings.
    """
    started = time.monotonic()
    check_report_folder(out)
    train, test = _images(config, watch)
    labels = Labels(train.labels, test.labels)
    models = _train_all(config, train, runs, watch)
    encoded = {name: _encode(name, model, train, test, watch) for name, model in models.items()}
    nested, plain = encoded["MRL"], encoded[f"FF-{max(config.plain)}"]
    comparison = Comparison(labels, seed=config.seed, watch=watch)
    for name, which in encoded.items():
        comparison.nested(name, which)
    comparison.svd(plain, config.nesting)
    comparison.random(plain, config.nesting)
    smallest = config.nesting.dims[0]
    for other in (f"FF-{smallest}", "SVD", "random"):
        if (other, smallest) in comparison.right:
            comparison.difference("MRL", other, smallest)
    with watch.task("index") as step, _indexed(nested.train, config, runs / "mrl" / "index", step) as index:
        plans = (*config.plans, str(index.plan))
        rows = retrieval_rows(
            nested.train,
            labels.train,
            nested.test,
            labels.test,
            plans,
            seed=config.seed,
            system="MRL",
            index=index,
        )
    per_class, strip = _neighbors(nested, train, test, config)
    report = Report(
        title="Nested embeddings of Fashion-MNIST",
        nesting=config.nesting,
        classes=train.classes,
        rows=tuple(comparison.rows + rows + per_class),
        plans=plans,
        strip=strip,
        train_images=len(train),
        test_images=len(test),
        config=config.train.to_json(),
        seconds=time.monotonic() - started,
    )
    write_report(report, out)
    return report


def _images(config: DemoConfig, watch: Watch) -> tuple[LabelledImages, LabelledImages]:
    train = fashion_mnist("train", say=watch.say)
    test = fashion_mnist("test", say=watch.say)
    return train.take(slice(config.train_images)), test.take(slice(config.test_images))


def _train_all(config: DemoConfig, train: LabelledImages, runs: Path, watch: Watch) -> dict[str, Classifier]:
    wanted = {"MRL": config.nesting} | {f"FF-{m}": Nesting((m,)) for m in sorted(config.plain, reverse=True)}
    return {name: _train(name, nesting, config, train, runs, watch) for name, nesting in wanted.items()}


def _train(
    name: str, nesting: Nesting, config: DemoConfig, train: LabelledImages, runs: Path, watch: Watch
) -> Classifier:
    """One backbone for all: FF-m reads its first m features, as in the authors' code."""
    generator = torch.Generator().manual_seed(config.seed)
    encoder = ResidualEncoder(config.nesting.width, generator=generator)
    head = NestedLinear(nesting, len(train.classes), generator=generator)
    model = Classifier(encoder, head, classes=train.classes)
    folder = runs / name.lower()
    with watch.task(f"train {name}") as step:
        fit(
            ClassificationObjective(model),
            ArrayFeed(train.pixels, train.labels),
            config.train,
            folder=folder,
            resume=True,
            progress=partial(report_training, step),
        )
    save(model, folder / "model")
    return model


def report_training(
    step: Step, done: int, total: int, loss: float, images_per_s: float, lr: float, seconds_left: float
) -> None:
    """Hand `fit`'s progress to a watch."""
    del lr, seconds_left  # the bar knows its own time left
    step(done, total, f"loss {loss:5.2f} {images_per_s:,.0f} images/s")


def _encode(name: str, model: Classifier, train: LabelledImages, test: LabelledImages, watch: Watch) -> Encoded:
    with watch.task(f"encode with {name}"):
        return Encoded(model, model.encode(train.pixels), model.encode(test.pixels))


def _indexed(gallery: np.ndarray, config: DemoConfig, folder: Path, step: Step) -> Index:
    """An index of the gallery, made anew, with the plan that is tuned on gallery rows standing in for queries."""
    shutil.rmtree(folder, ignore_errors=True)
    index = Index.create(folder, config.nesting)
    index.add(gallery)
    index.tune(recall=config.recall, seed=config.seed, progress=step)
    return index


def _neighbors(
    nested: Encoded, train: LabelledImages, test: LabelledImages, config: DemoConfig
) -> tuple[list[Row], tuple[Neighbors, ...]]:
    """mAP@10 of each class at three prefixes, and the pictures found for the queries that 8 dims serve worst."""
    dims = (config.nesting.dims[0], 64, config.nesting.width)
    rows: list[Row] = []
    found = {}
    for m in dims:
        hits = exact(nested.train, nested.test, 10, m=m)
        right = relevance(hits, train.labels, test.labels)
        rows += class_rows(right, test.labels, plan=str(Plan.of([(m, 10)])), system="MRL")
        found[m] = hits.ids, right
    chosen = _telling_queries(found[dims[0]][1], found[dims[-1]][1], test.labels)
    strip = tuple(
        Neighbors(
            query=test.pixels[q],
            label=train.classes[test.labels[q]],
            found={m: train.pixels[ids[q]] for m, (ids, _) in found.items()},
            right={m: right[q] for m, (_, right) in found.items()},
        )
        for q in chosen
    )
    return rows, strip


def _telling_queries(short: np.ndarray, full: np.ndarray, labels: np.ndarray, *, count: int = 5) -> Sequence[int]:
    """Of each class the query for which full width gains most over the short prefix; the largest gains first."""
    gain = full.sum(1) - short.sum(1)
    best = [int(np.flatnonzero(labels == c)[gain[labels == c].argmax()]) for c in np.unique(labels)]
    return sorted(best, key=lambda q: -int(gain[q]))[:count]
