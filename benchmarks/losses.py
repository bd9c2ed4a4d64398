"""Time and peak memory of the nested losses, forward and backward, against the plain per-prefix loop.

Peak memory is the rise of the process's high-water mark (VmHWM) over inputs, weights and gradients, in a fresh process
in which all three were already allocated. Two ways of stepping are told apart: ``peak_mb`` as a training step does it
(``zero_grad(set_to_none=True)``, torch's default, has released the last gradients), and ``peak_accumulate_mb`` with
gradients kept and added to, where autograd must hold the new gradient beside the old one whatever the loss.

The loop of ``ranking`` is that of sentence-transformers: its MatryoshkaLoss over its MultipleNegativesRankingLoss.

A GPU, where there is one, is measured too (cases end in ``cuda``; peak by torch.cuda.max_memory_allocated).
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.form import Row, arguments, interleaved, median_ms, report
from nestling.losses import contrastive, mrl_cross_entropy, mrl_e_cross_entropy
from nestling.nesting import Nesting

BENCH = "losses"
VOCABULARY = 30_522  # BERT's
SYSTEMS = ("nestling", "loop")
CASES = ("mrl c=1000", "mrl c=18000", "mrl-e c=1000", "mrl-e c=18000", "mlm b=4096", "infonce b=4096", "ranking b=512")
QUICK_CASES = (
    "mrl c=1000",
    "mrl c=2000",
    "mrl-e c=1000",
    "mrl-e c=2000",
    "mlm b=512",
    "infonce b=512",
    "ranking b=128",
)


class Case:
    """Inputs and weights of one case, with both systems' losses of them."""

    def __init__(self, name: str, device: str) -> None:
        self.kind, _, size = name.partition(" ")
        generator = torch.Generator().manual_seed(0)

        def normal(*shape: int, scale: float = 1.0) -> Tensor:
            return (torch.randn(*shape, generator=generator) * scale).to(device).requires_grad_()

        number = int(size.partition("=")[2])
        if self.kind == "infonce":
            self.nesting = Nesting.halving(768)
            self.leaves = [
                normal(number, 768),
                normal(number, 768),
                torch.tensor(0.07, device=device).requires_grad_(),
            ]
            return
        if self.kind == "ranking":
            self.nesting = Nesting((16, 32, 64, 128, 256, 384))
            self.leaves = [normal(number, 384), normal(number, 384)]
            self.library = _Library(self.nesting)
            return
        rows, classes, width = (number, VOCABULARY, 384) if self.kind == "mlm" else (256, number, 2048)
        self.nesting = Nesting.halving(width)
        widths = list(self.nesting) if self.kind == "mrl" else [width]
        self.labels = torch.randint(classes, (rows,), generator=generator).to(device)
        self.heads = [normal(classes, m, scale=m**-0.5) for m in widths]
        self.biases = [normal(classes) for _ in widths]
        self.leaves = [normal(rows, width), *self.heads, *self.biases]

    def loss(self, system: str) -> Tensor:
        """The loss of one step."""
        return getattr(self, f"_{system}_{self.kind.replace('-', '_')}")()

    def step(self, system: str, *, keep_gradients: bool = False) -> None:
        """Forward and backward, after `zero_grad` in torch's default way unless gradients are kept."""
        if not keep_gradients:
            for leaf in self.leaves:
                leaf.grad = None
        self.loss(system).backward()

    def claim_library_memory(self) -> None:
        """Multiply once at this size: the workspace of the matrix product belongs to the library, not to a loss."""
        with torch.no_grad():
            x, w = self.leaves[0], self.leaves[1]
            torch.mm(torch.mm(x[:, : w.shape[1]], w.T), w)

    def _nestling_ranking(self) -> Tensor:
        queries, documents = self.leaves
        return contrastive(queries, documents, self.nesting, 1 / 20.0, symmetric=False).total

    def _loop_ranking(self) -> Tensor:
        return self.library.loss([{"given": leaf} for leaf in self.leaves], torch.zeros(1))

    def _nestling_mrl(self) -> Tensor:
        return mrl_cross_entropy(self.leaves[0], self.labels, self.nesting, self.heads, self.biases).total

    def _loop_mrl(self) -> Tensor:
        x = self.leaves[0]
        parts = zip(self.nesting, self.heads, self.biases, strict=True)
        return torch.stack([F.cross_entropy(F.linear(x[:, :m], w, b), self.labels) for m, w, b in parts]).sum()

    def _nestling_mrl_e(self) -> Tensor:
        return mrl_e_cross_entropy(self.leaves[0], self.labels, self.nesting, self.heads[0], self.biases[0]).total

    def _loop_mrl_e(self) -> Tensor:
        x, w, b = self.leaves
        losses = [F.cross_entropy(F.linear(x[:, :m], w[:, :m], b), self.labels) for m in self.nesting]
        return torch.stack(losses).sum()

    def _nestling_mlm(self) -> Tensor:
        return self._nestling_mrl_e()

    def _loop_mlm(self) -> Tensor:
        return self._loop_mrl_e()

    def _nestling_infonce(self) -> Tensor:
        images, texts, temperature = self.leaves
        return contrastive(images, texts, self.nesting, temperature).total

    def _loop_infonce(self) -> Tensor:
        images, texts, temperature = self.leaves
        match = torch.arange(len(images), device=images.device)
        losses = []
        for m in self.nesting:
            s = F.normalize(images[:, :m], dim=1) @ F.normalize(texts[:, :m], dim=1).T / temperature
            losses.append((F.cross_entropy(s, match) + F.cross_entropy(s.T, match)) / 2)
        return torch.stack(losses).sum()


class _Library:
    """The loss of sentence-transformers, of vectors instead of a model's."""

    def __init__(self, nesting: Nesting) -> None:
        from sentence_transformers.sentence_transformer import losses

        class Given(torch.nn.Module):
            def forward(self, features: dict[str, Tensor]) -> dict[str, Tensor]:
                return {"sentence_embedding": features["given"]}

            def get_embedding_dimension(self) -> int:
                return nesting.width

        model = Given()
        ranking = losses.MultipleNegativesRankingLoss(model)
        self.loss = losses.MatryoshkaLoss(model, ranking, list(nesting.dims))


def times(name: str, device: str, *, repeats: int) -> Iterator[Row]:
    """Median times of both systems, and ours as a ratio."""
    case = Case(name, device)
    synchronise: Callable[[], object] = torch.cuda.synchronize if device == "cuda" else lambda: None
    runs = {s: lambda s=s: (case.step(s), synchronise()) for s in SYSTEMS}
    seconds = interleaved(runs, repeats=repeats)
    label = _label(name, device)
    for system in SYSTEMS:
        yield Row(BENCH, label, system, "time_ms", median_ms(seconds[system]), "ms")
    yield Row(BENCH, label, "nestling", "speedup", median_ms(seconds["loop"]) / median_ms(seconds["nestling"]), "x")


def peaks(name: str, device: str) -> Iterator[Row]:
    """Peak memory of both systems, each in a fresh process, and ours as a share of the loop's."""
    for keep, metric in ((False, "peak_mb"), (True, "peak_accumulate_mb")):
        found = {system: _peak_in_fresh_process(name, device, system, keep) for system in SYSTEMS}
        for system in SYSTEMS:
            yield Row(BENCH, _label(name, device), system, metric, found[system], "MB")
        share = found["nestling"] / max(found["loop"], 1e-9)
        yield Row(BENCH, _label(name, device), "nestling", metric.replace("_mb", "_share"), share, "of loop")


def _label(name: str, device: str) -> str:
    return name if device == "cpu" else f"{name} {device}"


def _peak_in_fresh_process(name: str, device: str, system: str, keep: bool) -> float:
    command = [sys.executable, "-m", "benchmarks.losses", "--peak", json.dumps([name, device, system, keep])]
    runs = [
        subprocess.run(command, capture_output=True, text=True, check=True, cwd=Path(__file__).parents[1])
        for _ in range(3)
    ]
    return statistics.median(float(done.stdout) for done in runs)


def _measure_peak(name: str, device: str, system: str, keep: bool) -> float:
    """MB that one step needs above inputs, weights and gradients."""
    Case(f"{name.partition(' ')[0]} c=64", device).step(system)
    case = Case(name, device)
    case.claim_library_memory()
    for leaf in case.leaves:
        leaf.grad = torch.zeros_like(leaf)
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.max_memory_allocated() / 2**20
        case.step(system, keep_gradients=keep)
        return torch.cuda.max_memory_allocated() / 2**20 - before
    Path("/proc/self/clear_refs").write_text("5")  # the high-water mark starts again from what is resident now
    before = _high_water_mb()
    case.step(system, keep_gradients=keep)
    return _high_water_mb() - before


def _high_water_mb() -> float:
    status = Path("/proc/self/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1024


def rows(quick: bool) -> Iterator[Row]:
    """All figures, as they are measured."""
    for device in ("cpu", "cuda") if torch.cuda.is_available() else ("cpu",):
        for name in QUICK_CASES if quick else CASES:
            yield from times(name, device, repeats=5 if quick else 9)
            yield from peaks(name, device)


if __name__ == "__main__":
    if "--peak" in sys.argv:
        parser = argparse.ArgumentParser()
        parser.add_argument("--peak", type=json.loads)
        print(_measure_peak(*parser.parse_args().peak))
    else:
        given = arguments(__doc__.splitlines()[0])
        report(rows(given.quick), as_json=given.json)
