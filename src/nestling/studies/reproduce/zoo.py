"""The trained models of a reproduction: what is missing is trained, what is there is read.

A model's folder is named by its system, its seed, and a digest of all that decides its numbers: a changed setting
trains anew, and nothing stale is ever read.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from nestling.baselines import Slimmable
from nestling.files import write_file
from nestling.models import Classifier, NestedLinear, ResidualEncoder, load, save
from nestling.nesting import Nesting
from nestling.studies.demo import report_training
from nestling.studies.reproduce.images import StudyImages
from nestling.studies.reproduce.kept import about, complete, complete_once, read_array, write_array, write_arrays
from nestling.studies.reproduce.recipe import Recipe, Training
from nestling.studies.reproduce.settings import Settings
from nestling.studies.watch import Watch
from nestling.training import ArrayFeed, ClassificationObjective, finish, fit

_LATER = {
    "steps": None,
    "accumulate": 1,
    "fsdp": False,
    "tune": "all",
}  # settings that once were not, and what they say of such runs
_FINISHING = 3  # which way of finishing: what another way made is not read
PARTS = ("train", "val", "test")


@dataclass(frozen=True, eq=False)
class Trained:
    """A model with the features it gives all three parts.

    Attributes:
        key: a text that stands for all that decided the numbers.
        features: part → (n, d).
    """

    key: str
    model: Classifier
    features: Mapping[str, np.ndarray]

    def logits(self, part: str) -> list[np.ndarray]:
        """(n, c) by each head, smallest prefix first."""
        with torch.inference_mode():
            return [z.numpy() for z in self.model.head(torch.from_numpy(np.array(self.features[part])))]


@dataclass(frozen=True, eq=False)
class Slimmed:
    """A slimmable net with the features of each of its widths.

    Attributes:
        features: width → part → (n, width).
        weight, bias: of the classifier, whose first columns a width reads.
        flops: width → multiplications of one image in the backbone.
    """

    key: str
    nesting: Nesting
    features: Mapping[int, Mapping[str, np.ndarray]]
    weight: np.ndarray
    bias: np.ndarray
    flops: Mapping[int, int]


class Zoo:
    """Trains, keeps and reads models.

    Args:
        folder: of all runs.
        images: what they are trained on.
        settings: of the reproduction.
    """

    def __init__(self, folder: Path, images: StudyImages, settings: Settings, watch: Watch) -> None:
        self.folder, self.images, self.settings, self.watch = folder, images, settings, watch
        self._data = images.fingerprint()

    def recipe(self, system: str, nesting: Nesting | None = None, **changes: Any) -> Recipe:
        """A recipe by the settings' training, with these fields changed."""
        nesting, train = nesting or self.settings.nesting, self.settings.train
        if len(nesting) > 1:
            train = replace(train, smooth_from=self.settings.sharp_below)
        return replace(Recipe(system=system, nesting=nesting, train=train), **changes)

    @property
    def slimmable_recipe(self) -> Recipe:
        """The one that `slimmable` trains."""
        return self.recipe("slimmable")

    def prepare(self, wanted: Sequence[Training]) -> None:
        """Train what is missing of these, telling how many models and about how many minutes are left.

        Raises:
            CheckpointError, TrainingDivergedError: as of `trained`.
        """
        missing = [each for each in dict.fromkeys(wanted) if not complete(self.folder / self._key(*each))]
        begun, done, whole = time.monotonic(), 0.0, sum(map(self._epochs, missing))
        for place, each in enumerate(missing, start=1):
            seconds = (time.monotonic() - begun) / done * (whole - done) if done else 0.0
            left = f", about {seconds / 60:.0f} minutes for all that are left" if seconds else ""
            self.watch.say(f"Model {place} of {len(missing)}: {each.recipe.system}, seed {each.seed}{left}")
            done += self._epochs(each)
            if each.recipe == self.slimmable_recipe:
                self.slimmable(each.seed)
            else:
                self.trained(*each)

    def trained(self, recipe: Recipe, seed: int) -> Trained:
        """The model, trained now if it is not there.

        Raises:
            CheckpointError: what is there was written by another version, or is damaged.
            TrainingDivergedError: the loss became NaN or infinite.
        """
        key = self._key(recipe, seed)
        folder = self.folder / key
        complete_once(folder, lambda: self._make(recipe, seed, folder), self.watch.say)
        about(folder)
        return Trained(key, load(folder / "model"), {name: read_array(folder, name) for name in PARTS})

    def model(self, key: str) -> Classifier:
        """The model of a key that `trained` gave."""
        return load(self.folder / key / "model")

    def slimmable(self, seed: int) -> Slimmed:
        """The slimmable net; errors as of `trained`."""
        recipe = self.slimmable_recipe
        key = self._key(recipe, seed)
        folder = self.folder / key
        complete_once(folder, lambda: self._slim(recipe, seed, folder), self.watch.say)
        facts = about(folder)
        flops = {int(width): int(count) for width, count in facts["flops"].items()}
        features = {width: {name: read_array(folder, f"{name}-{width}") for name in PARTS} for width in flops}
        weight, bias = read_array(folder, "weight"), read_array(folder, "bias")
        return Slimmed(key, Nesting(tuple(flops)), features, weight, bias, flops)

    def arrays(self, key: str, name: str, make: Callable[[], np.ndarray]) -> np.ndarray:
        """Something that takes long to compute and follows from a model: read if it is there, else made and kept."""
        path = self.folder / key / f"{name}.npy"
        if not path.exists():
            write_array(path, make())
        return read_array(path.parent, name)

    def text(self, key: str, name: str, make: Callable[[], str]) -> str:
        """The same for a text, such as rows."""
        path = self.folder / key / f"{name}.jsonl"
        if not path.exists():
            write_file(path, make())
        return path.read_text(encoding="utf-8")

    def classifier(self, recipe: Recipe, seed: int) -> Classifier:
        """The first weights of a recipe."""
        generator = torch.Generator().manual_seed(seed)
        encoder = self._encoder(recipe.ending, generator)
        classes = self.images.classes
        head = NestedLinear(recipe.nesting, len(classes), tied=recipe.tied, generator=generator)
        return Classifier(encoder, head, classes=classes)

    def _encoder(self, ending: str, generator: torch.Generator) -> ResidualEncoder:
        pixels = self.images.train.images.pixels
        scaled = pixels[:: max(1, len(pixels) // 2000)].astype(np.float32) / 255
        return ResidualEncoder(
            self.settings.stages[-1],
            channels=pixels.shape[1],
            size=pixels.shape[2],
            stages=self.settings.stages,
            ending=ending,
            mean=float(scaled.mean()),
            std=max(float(scaled.std()), 1e-3),
            generator=generator,
        )

    def _make(self, recipe: Recipe, seed: int, folder: Path) -> None:
        model = self._finish(recipe, seed, folder) if recipe.finished else self._train(recipe, seed, folder)
        save(model, folder / "model")
        with self.watch.task(f"encode with {recipe.system}"):
            features = {name: model.encode(self.images.part(name).images.pixels) for name in PARTS}
        write_arrays(folder, features)

    def _train(self, recipe: Recipe, seed: int, folder: Path) -> Classifier:
        model = self.classifier(recipe, seed)
        if recipe.start is not None:
            begun = self.trained(recipe.start, seed).model
            model.encoder.load_state_dict(begun.encoder.state_dict())
        model.encoder.tune(recipe.tune)
        train = self.images.train
        with self.watch.task(f"train {recipe.system}, seed {seed}") as step:
            fit(
                ClassificationObjective(model),
                ArrayFeed(train.images.pixels, train.labels),
                replace(recipe.train, seed=seed),
                folder=folder / "run",
                resume=True,
                progress=partial(report_training, step),
            )
        return model

    def _finish(self, recipe: Recipe, seed: int, folder: Path) -> Classifier:
        begun, train = self.trained(recipe.plain(), seed), self.images.train
        with self.watch.task(f"encode with {recipe.system}"):
            features = begun.model.encode(train.images.pixels, whole=True)
        with self.watch.task(f"finish {recipe.system}, seed {seed}") as step:
            return finish(
                begun.model,
                features,
                train.labels,
                epochs=self.settings.finish_epochs,
                seed=seed,
                folder=folder / "run",
                progress=partial(report_training, step),
            )

    def _slim(self, recipe: Recipe, seed: int, folder: Path) -> None:
        train = self.images.train
        with self.watch.task(f"train slimmable, seed {seed}") as step:
            baseline = Slimmable(
                lambda generator: self._encoder("pooled", generator),
                replace(recipe.train, seed=seed),
                folder=folder / "run",
                progress=partial(report_training, step),
            ).fit(train.images.pixels, train.labels)
        net = baseline.net
        with self.watch.task("encode with slimmable"):
            features = {
                f"{name}-{width}": baseline.encode(self.images.part(name).images.pixels, width)
                for width in net.nesting
                for name in PARTS
            }
        bias = net.head.bias_at(net.nesting.width)
        assert bias is not None
        features |= {"weight": net.head.weight_at(net.nesting.width).detach().numpy(), "bias": bias.detach().numpy()}
        image = torch.from_numpy(train.images.pixels[:1])
        flops = {str(width): flops_of(lambda width=width: net(image, width)) for width in net.nesting}
        write_arrays(folder, features, flops=flops)

    def _epochs(self, each: Training) -> float:
        """What a training costs, in epochs of a plain model."""
        recipe, seed = each
        if recipe.finished:
            finishing = 0.02 * self.settings.finish_epochs * (1 + len(recipe.nesting) / 2)
            begun = Training(recipe.plain(), seed)
            return finishing + (0 if complete(self.folder / self._key(*begun)) else self._epochs(begun))
        return float(recipe.train.epochs) * (2 if recipe == self.slimmable_recipe else 1)

    def _key(self, recipe: Recipe, seed: int) -> str:
        s = self.settings
        decides = {
            "recipe": _plain(asdict(recipe)),
            "data": self._data,
            "stages": s.stages,
            "finish": (s.finish_epochs, _FINISHING) if recipe.finished else None,
        }
        digest = hashlib.sha256(json.dumps(decides, sort_keys=True).encode()).hexdigest()[:10]
        return f"{recipe.system.lower().replace(' ', '-')}-{seed}-{digest}"


def flops_of(call: Callable[[], object]) -> int:
    """Multiplications and additions of the products and convolutions of a call."""
    from torch.utils.flop_counter import FlopCounterMode

    with torch.inference_mode(), FlopCounterMode(display=False) as counter:
        call()
    return counter.get_total_flops()


def _plain(value: object) -> object:
    """JSON of a recipe without what does not change its numbers."""
    if isinstance(value, dict):
        free = ("system", "checkpoint_every", "log_every", "seed")
        absent = object()
        kept = {name for name, item in value.items() if name not in free and item != _LATER.get(name, absent)}
        return {name: _plain(value[name]) for name in value if name in kept}
    return value
