"""Pictures a second: of the loader from a tree and from shards, of WebDataset's own, and of the models they feed.

The smaller of loader and model is what a run gets: with each model stands how many times as fast the loader of its size
is, and for people a sentence that names the bottleneck. The pictures are JPEGs of 500 × 375 pixels (quality 90, as most
of ImageNet is), cut out of the two photographs that scikit-learn ships; crops and flips are drawn as in training.
"""

from __future__ import annotations

import math
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from benchmarks.form import Row, arguments, report
from nestling.data import PictureFiles, Samples, View
from nestling.data.shards import open_shards, write_shards
from nestling.models import Classifier, Encoder, NestedLinear, ResidualEncoder, ResNetEncoder
from nestling.nesting import Nesting
from nestling.training import TrainConfig, WorkerFeed
from nestling.training.batches import Batches

BENCH, BATCH = "loading", 64
SIDES = (64, 160, 224)


def pictures(folder: Path, count: int) -> list[str]:
    """JPEG files, each another part of a photograph."""
    from sklearn.datasets import load_sample_images

    photos, rng = load_sample_images().images, np.random.default_rng(0)
    folder.mkdir()
    paths = []
    for i in range(count):
        y, x = rng.integers(0, 427 - 375), rng.integers(0, 640 - 500)
        path = folder / f"{i:05d}.jpg"
        Image.fromarray(photos[i % 2][y : y + 375, x : x + 500]).save(path, quality=90)
        paths.append(str(path))
    return paths


def loaded(samples: Samples, workers: int, steps: int) -> float:
    """Pictures a second of our feed, after its first two batches."""
    batches = Batches(len(samples), TrainConfig(batch_size=BATCH, steps=steps + 2, epochs=2))
    return _rate(WorkerFeed(samples, workers=workers).shares(batches, 0), steps)


def webdataset_loaded(folder: Path, side: int, workers: int, steps: int) -> float:
    """The same by WebDataset and Pillow, as its documentation has it."""
    import webdataset

    urls = sorted(str(path) for path in folder.glob("*.tar"))
    view = _Cropped(View(side=side, crop=0.08, flip=True))
    data = (
        webdataset.WebDataset(urls, shardshuffle=False, resampled=True).shuffle(500).decode("pil")
    )  # shards are drawn
    data = data.to_tuple("jpg", "cls").map_tuple(view, int).batched(BATCH)
    return _rate(iter(webdataset.WebLoader(data, num_workers=workers, batch_size=None)), steps)


class _Cropped:
    """A random crop of a decoded picture."""

    def __init__(self, view: View) -> None:
        self.view, self.rng = view, np.random.default_rng(0)

    def __call__(self, image: Any) -> np.ndarray:
        box = self.view.box(*image.size, self.rng)
        corners = (box.left, box.top, box.left + box.width, box.top + box.height)
        seen = np.asarray(image.convert("RGB").resize((self.view.side,) * 2, Image.Resampling.BICUBIC, box=corners))
        return np.ascontiguousarray((seen[:, ::-1] if box.mirrored else seen).transpose(2, 0, 1))


def trained(encoder: Encoder, side: int, steps: int, batch: int) -> float:
    """Pictures a second of forward and backward passes."""
    model = Classifier(encoder, NestedLinear(Nesting.halving(encoder.width, smallest=8), 1000)).train()
    images = torch.randint(0, 256, (batch, 3, side, side), dtype=torch.uint8)
    labels = torch.randint(0, 1000, (batch,))
    seconds = []
    for _ in range(steps + 1):
        started = time.perf_counter()
        model.loss(images, labels).total.backward()
        seconds.append(time.perf_counter() - started)
    return batch / statistics.median(seconds[1:])


def _rate(batches: Iterator[Any], steps: int) -> float:
    next(batches), next(batches)
    started = time.perf_counter()
    for _ in range(steps):
        next(batches)
    seconds = time.perf_counter() - started
    close: Callable[[], None] = getattr(batches, "close", lambda: None)
    close()
    return steps * BATCH / seconds


def rows(quick: bool, verdicts: list[str]) -> Iterator[Row]:
    """Medians of several runs, ours and the peer's in turn; what each model waits for goes into `verdicts`."""
    steps, repeats = (4, 2) if quick else (20, 5)
    rates: dict[tuple[int, int], float] = {}
    cores = os.cpu_count() or 1
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        paths = pictures(folder / "tree", 320 if quick else 1280)
        labels = [i % 10 for i in range(len(paths))]
        classes = [str(i) for i in range(10)]
        write_shards(paths, labels, folder / "shards", classes=classes, most=math.ceil(len(paths) / 8))
        for side in SIDES[:2] if quick else SIDES:
            view = View(side=side, crop=0.08, flip=True)
            tree = PictureFiles(paths, np.array(labels), classes, view)
            shards = open_shards(str(folder / "shards"), view)
            for workers in sorted({1, cores}):
                systems = {
                    "nestling tree": lambda t=tree, w=workers: loaded(t, w, steps),
                    "nestling shards": lambda s=shards, w=workers: loaded(s, w, steps),
                    "webdataset": lambda x=side, w=workers: webdataset_loaded(folder / "shards", x, w, steps),
                }
                found: dict[str, list[float]] = {system: [] for system in systems}
                for _ in range(repeats):
                    for system, run in systems.items():
                        found[system].append(run())
                for system, several in found.items():
                    rate = statistics.median(several)
                    if system == "nestling tree":
                        rates[side, workers] = rate
                    yield Row(BENCH, f"{side} px, {workers} readers", system, "images_per_s", rate, "1/s")
    compact, deep = ResidualEncoder(256, channels=3, size=64), ResNetEncoder("resnet-50")
    for name, encoder, side, batch in (("compact", compact, 64, 128), ("resnet-50", deep, 160, 16)):
        model = trained(encoder, side, 1 if quick else 3, batch)
        yield Row(BENCH, f"{side} px", f"model {name}", "images_per_s", model, "1/s")
        for workers in sorted({1, cores}):
            ratio = rates[side, workers] / model
            case = f"{side} px, {workers} readers"
            yield Row(BENCH, case, f"model {name}", "loader_per_model", ratio, "x")
            verdicts.append(
                f"{case}: {name} trains {model:,.3g} images/s, the loader gives {rates[side, workers]:,.3g}: "
                f"the {'loader' if ratio < 1 else 'model'} is the bottleneck"
            )


if __name__ == "__main__":
    given = arguments(__doc__ or "")
    told: list[str] = []
    report(rows(given.quick, told), as_json=given.json, torch_threads=torch.get_num_threads())
    for verdict in () if given.json else told:
        print(verdict)
