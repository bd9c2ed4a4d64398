"""The systems of the paper's tables, each as vectors at the widths that it serves, and the classifiers it has."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from nestling.baselines import PCA, SVD, RandomFeatures
from nestling.evaluation import Classification, Neighbor, Probe, Vectors, Vote
from nestling.nesting import Nesting, prefix
from nestling.studies.reproduce.recipe import Recipe, Training
from nestling.studies.reproduce.settings import FEW_DIMS
from nestling.studies.reproduce.zoo import PARTS, Trained, Zoo, flops_of

NESTED = ("MRL", "MRL-E")
PLAIN = ("FF", "FF projected")
_WORDS = {"probe_top1": "probe", "1nn_top1": "1-NN", "knn_top1": "k-NN"}
_VOTERS = 10  # k of k-NN
_VERSION = 1  # of probe and neighbours: what they predicted is kept
PROBE, NEIGHBOR, VOTE, HEAD = "probe_top1", "1nn_top1", "knn_top1", "head_top1"


@dataclass(frozen=True, eq=False)
class Block:
    """Vectors of one system and seed that share their first numbers.

    Attributes:
        key: stands for all that decided the numbers.
        nesting: the widths served.
        features: part → (n, d), d the nesting's width.
        predictions: part → (K, n) classes by the classifiers of its own; None where it has none.
    """

    key: str
    system: str
    seed: int
    nesting: Nesting
    features: Mapping[str, np.ndarray]
    predictions: Callable[[str], np.ndarray] | None = None
    logits: Callable[[str], list[np.ndarray]] | None = field(default=None)


class Systems:
    """Makes the blocks of all systems from the models of a zoo."""

    def __init__(self, zoo: Zoo) -> None:
        self.zoo, self.settings, self.images = zoo, zoo.settings, zoo.images
        self.nesting = self.settings.nesting

    def trainings(self) -> list[Training]:
        """The models of the main table, all seeds."""
        return [Training(recipe, seed) for seed in self.settings.few_dims_seeds for _, recipe in self._models(seed)]

    def nested_trainings(self, seeds: Sequence[int], systems: Sequence[str] = NESTED) -> list[Training]:
        """MRL and MRL-E, or one of them."""
        return [Training(self._nested(system), seed) for seed in seeds for system in systems]

    def plain_trainings(self, seeds: Sequence[int]) -> list[Training]:
        """FF at every width."""
        return [Training(self._plain(m), seed) for seed in seeds for m in self.nesting]

    def nested(self, system: str, seed: int, *, finished: bool = True) -> Block:
        """MRL or MRL-E, finished unless said; the raw model is called "MRL raw"."""
        return self.block(system if finished else f"{system} raw", self._nested(system, finished=finished), seed)

    def plain(self, m: int, seed: int) -> Block:
        """FF-m, the same encoder whose first m features feed a head of their own: finished if that helps 1-NN on
        validation."""
        return self._better("FF", self._plain(m), seed)

    def _better(self, system: str, recipe: Recipe, seed: int) -> Block:
        """A plain model finished or raw, whichever has the better 1-NN on validation."""
        val = self.images.val.labels
        blocks = [self.block(system, each, seed) for each in (recipe, recipe.plain())]
        return max(blocks, key=lambda block: (self.predict(block, Neighbor())["val"] == val).mean())

    def _nested(self, system: str, **changes: Any) -> Recipe:
        return self.zoo.recipe(system, **{"tied": system == "MRL-E", "finished": True, **changes})

    def _plain(self, m: int, **changes: Any) -> Recipe:
        return self.zoo.recipe(f"FF-{m}", Nesting((m,)), **{"finished": True, **changes})

    def _models(self, seed: int) -> list[tuple[str, Recipe]]:
        """(system, recipe) of all that is trained for the main table with this seed; the long ones last."""
        dims = self._dims(seed)
        found = [(system, self._nested(system)) for system in NESTED] + [("FF", self._plain(m)) for m in dims]
        if seed in self.settings.seeds:
            found.append(("slimmable", self.zoo.slimmable_recipe))
        if seed in self.settings.once:
            found += [("MRL projected", self.zoo.recipe("MRL projected", ending="projection", finished=True))]
            found += [("FF projected", self._plain(m, ending="projection")) for m in dims]
        return found

    def _dims(self, seed: int) -> tuple[int, ...]:
        """The widths of plain models that this seed has."""
        return tuple(m for m in self.nesting if seed in self.settings.seeds or m <= FEW_DIMS)

    def block(self, system: str, recipe: Recipe, seed: int) -> Block:
        """The block of a trained model."""
        trained = self.zoo.trained(recipe, seed)

        def predictions(part: str) -> np.ndarray:
            return np.stack([z.argmax(axis=1) for z in trained.logits(part)])

        return Block(trained.key, system, seed, recipe.nesting, trained.features, predictions, trained.logits)

    def widest(self, seed: int) -> Trained:
        """The plain model at full width, which SVD, PCA and random features shorten."""
        return self.zoo.trained(self._plain(self.nesting.width, finished=False), seed)

    def backbone_flops(self, block: Block) -> int:
        """Multiplications and additions of one image in the encoder of a trained model."""
        model, image = self.zoo.model(block.key), torch.from_numpy(self.images.test.images.pixels[:1])
        return flops_of(lambda: model.encoder(image))

    def svd(self, seed: int) -> Block:
        """Features of the plain model on their singular vectors; its classifier cut to rank m, not refitted."""
        widest = self.widest(seed)
        head, m = widest.model.head, self.nesting.width
        bias = head.bias_at(m)
        baseline = SVD(head.weight_at(m).detach().numpy(), None if bias is None else bias.detach().numpy())
        baseline.fit(widest.features["train"], self.images.train.labels)

        def predictions(part: str) -> np.ndarray:
            return np.stack([baseline.predict(widest.features[part], k) for k in self.nesting])

        return self._shortened("SVD", widest, seed, lambda x: baseline.encode(x, m), predictions)

    def pca(self, seed: int) -> Block:
        """Principal components of the plain model's features."""
        widest = self.widest(seed)
        baseline = PCA().fit(widest.features["train"], self.images.train.labels)
        return self._shortened("PCA", widest, seed, lambda x: baseline.encode(x, self.nesting.width))

    def random(self, seed: int, draw: int) -> Block:
        """The first features of one permutation of the plain model's."""
        widest = self.widest(seed)
        baseline = RandomFeatures(draw).fit(widest.features["train"], self.images.train.labels)
        return self._shortened("random", widest, seed, lambda x: baseline.encode(x, self.nesting.width), draw=draw)

    def slimmable(self, seed: int) -> Iterator[Block]:
        """A block for each width of the net; below the narrowest, prefixes of its features."""
        net = self.zoo.slimmable(seed)
        least = 0
        for width in net.nesting:
            dims = tuple(m for m in (*self.nesting, *net.nesting) if least < m <= width)
            nesting, features = Nesting(tuple(sorted(set(dims)))), net.features[width]

            def predictions(part: str, nesting: Nesting = nesting, features: Mapping = features) -> np.ndarray:
                logits = [prefix(features[part], m) @ prefix(net.weight, m).T + net.bias for m in nesting]
                return np.stack([z.argmax(axis=1) for z in logits])

            yield Block(net.key, "slimmable", seed, nesting, features, predictions)
            least = width

    def pixels(self) -> Block:
        """The images themselves."""
        parts = {name: self.images.part(name).images.pixels for name in PARTS}
        flat = {name: p.reshape(len(p), -1).astype(np.float32) / 255 for name, p in parts.items()}
        key = f"pixels-{self.images.fingerprint()}"
        return Block(key, "pixels", 0, Nesting((flat["train"].shape[1],)), flat)

    def main(self, seed: int, *, variants: bool = False) -> Iterator[Block]:
        """All systems of the main table that this seed has.

        Args:
            variants: plain models finished and raw, each by its name, instead of the better one; nested ones raw too.
        """
        for system, recipe in self._models(seed):
            if recipe == self.zoo.slimmable_recipe:
                yield from self.slimmable(seed)
            elif system in PLAIN and not variants:
                yield self._better(system, recipe, seed)
            else:
                yield self.block(f"{system} finished" if system in PLAIN else system, recipe, seed)
                if variants:
                    yield self.block(f"{system} raw", recipe.plain(), seed)
        if seed in self.settings.seeds:
            yield self.svd(seed)
            yield self.pca(seed)
            for draw in range(self.settings.random_draws if seed in self.settings.once else 1):
                yield self.random(seed, draw)

    def vectors(self, block: Block) -> Vectors:
        """Training and test vectors with their labels."""
        labels = self.images.train.labels, self.images.test.labels
        return Vectors(block.nesting, _cut(block, "train"), labels[0], _cut(block, "test"), labels[1])

    def predict(self, block: Block, by: Classification) -> dict[str, np.ndarray]:
        """Part → (K, n) classes of validation and test; kept beside the model."""
        return self._predictions(block, by.metric, lambda vectors: by.predict(vectors, seed=0))

    def probe(self, block: Block) -> dict[str, np.ndarray]:
        """The same by probes, of the strength that is right most often on validation at each prefix."""
        val = self.images.val.labels

        def best(vectors: Vectors) -> np.ndarray:
            tried = np.stack([Probe(strength).predict(vectors, seed=0) for strength in self.settings.strengths])
            right = (tried[:, :, : len(val)] == val).mean(axis=2)
            return tried[right.argmax(axis=0), np.arange(tried.shape[1])]

        return self._predictions(block, PROBE, best)

    def _predictions(self, block: Block, metric: str, make: Callable[[Vectors], np.ndarray]) -> dict[str, np.ndarray]:
        name = f"{metric}-{_VERSION}-{'.'.join(map(str, block.nesting))}"
        train, val, test = (self.images.part(part).labels for part in PARTS)

        def made() -> np.ndarray:
            both = np.concatenate([_cut(block, "val"), _cut(block, "test")])
            vectors = Vectors(block.nesting, _cut(block, "train"), train, both, np.concatenate([val, test]))
            with self.zoo.watch.task(f"{_WORDS[metric]} of {block.system}, seed {block.seed}"):
                return make(vectors)

        found = self.zoo.arrays(block.key, name, made)
        return {"val": found[:, : len(val)], "test": found[:, len(val) :]}

    def predicted(self, block: Block) -> dict[str, dict[str, np.ndarray]]:
        """Metric → part → (K, n) classes: by its own head if there is one, by a refitted probe, by 1-NN, by k-NN."""
        found: dict[str, dict[str, np.ndarray]] = {}
        if block.predictions is not None:
            found[HEAD] = {part: block.predictions(part) for part in ("val", "test")}
        if block.system != "pixels":
            found[PROBE] = self.probe(block)
        found[NEIGHBOR] = self.predict(block, Neighbor())
        if block.system not in ("pixels", "slimmable"):
            found[VOTE] = self.predict(block, Vote(_VOTERS))
        return found

    def _shortened(
        self,
        system: str,
        widest: Trained,
        seed: int,
        encode: Callable[[np.ndarray], np.ndarray],
        predictions: Callable[[str], np.ndarray] | None = None,
        draw: int = 0,
    ) -> Block:
        features = {name: encode(np.asarray(widest.features[name])) for name in PARTS}
        key = f"{widest.key}/{system.lower()}-{draw}"
        return Block(key, system, seed, self.nesting, features, predictions)


def _cut(block: Block, part: str) -> np.ndarray:
    return np.ascontiguousarray(prefix(np.asarray(block.features[part]), block.nesting.width))
