"""Nested symmetric InfoNCE (CLIP, ALIGN), fused over rings and gathered across processes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from nestling.errors import InputError, ShapeError
from nestling.losses import weighting
from nestling.losses.chunks import row_chunks
from nestling.losses.formed import formed_loss
from nestling.losses.gather import gather_rows, max_over_processes, sum_over_processes, world
from nestling.losses.precision import Precision, partial_sums
from nestling.losses.result import NestedLoss
from nestling.nesting import Nesting, truncate

LARGEST_LOGIT = 40.0
"""While 1/τ is below, exp of a logit needs no shift in float32, and one exponential serves rows and columns."""


def contrastive(
    images: Float[Tensor, "b _"],
    texts: Float[Tensor, "b _"],
    nesting: Nesting,
    temperature: float | Float[Tensor, ""],
    *,
    weights: Float[Tensor, " k"] | None = None,
    groups: Int[Tensor, " b"] | None = None,
    negatives: Float[Tensor, "n _"] | None = None,
    symmetric: bool = True,
    differentiable_parts: bool = False,
) -> NestedLoss:
    """Symmetric InfoNCE of matching rows, at every prefix (Kusupati et al. 2022, §3 with ALIGN's loss).

    Equals, for each m, ``s = truncate(images, m) @ truncate(texts, m).T / τ`` and
    ``(cross_entropy(s, arange(b)) + cross_entropy(s.T, arange(b))) / 2``, weighted by c_m and summed. All prefixes
    together cost what the widest costs: s is a running sum over rings, scaled by the prefixes' own norms.

    When torch.distributed is up the batch is that of all processes: every process gets the loss of the whole batch, and
    gradients whose mean over processes (as DistributedDataParallel takes it) is the single process's with all rows.

    Args:
        images, texts: (b, d) embeddings, row i of one belonging to row i of the other; they need not be normalised.
        nesting: the K prefixes; d is its width.
        temperature: τ > 0, a number or a scalar tensor that gets its gradient.
        weights: (K,) c_m of this call, the nesting's when None; gets a gradient when it asks for one.
        groups: rows of the same number are not held against one another (equal captions of different images would be
            false negatives): the logits of their pairs are left out.
        negatives: (n, d) more texts that belong to no image; every image is held against them (hard negatives).
        symmetric: False leaves out the second term, each text against all images: the loss of queries and documents
            (MultipleNegativesRankingLoss).
        differentiable_parts: let ``per_dim`` carry gradients too (single process only); recomputes the logits in the
            backward pass, slower.

    Raises:
        ShapeError: shapes that do not fit, not one group per row, or batches of unequal size on the processes.
        InputError: τ is not positive; parts asked for with several processes.
    """
    nesting.check(images, "images")
    nesting.check(texts, "texts")
    if images.ndim != 2 or images.shape != texts.shape:
        raise ShapeError.of("texts", f"as many rows as images {tuple(images.shape)}", f"shape {tuple(texts.shape)}")
    if groups is not None and groups.shape != images.shape[:1]:
        raise ShapeError.of("groups", f"one per row ({len(images)})", f"shape {tuple(groups.shape)}")
    if negatives is not None:
        nesting.check(negatives, "negatives")
        if negatives.ndim != 2:
            raise ShapeError.of("negatives", "(n, d), as wide as texts", f"shape {tuple(negatives.shape)}")
    tau = temperature if isinstance(temperature, Tensor) else torch.tensor(float(temperature), device=images.device)
    if not float(tau.detach()) > 0:
        raise InputError.of("temperature", "positive", float(tau.detach()))
    c = weighting.resolve(weights, nesting, images)
    if differentiable_parts:
        return _recomputed(nesting, [images, texts, tau, negatives], c, groups, symmetric)
    return formed_loss(_Form(nesting, Precision.of(images), groups, symmetric), c, [images, texts, tau, negatives])


def _recomputed(
    nesting: Nesting, inputs: Sequence[Tensor | None], c: Tensor, groups: Tensor | None, symmetric: bool
) -> NestedLoss:
    if world()[1] > 1:
        raise InputError.of("differentiable_parts", "False with several processes", True)

    def parts_of(x: Tensor, y: Tensor, t: Tensor, more: Tensor | None) -> Tensor:
        match = torch.arange(len(x), device=x.device)
        every = y if more is None else torch.cat([y, more])
        logits = [truncate(x, m) @ truncate(every, m).T / t for m in nesting]
        if groups is not None:
            left_out = F.pad((groups[:, None] == groups).fill_diagonal_(False), (0, len(every) - len(y)))
            logits = [s.masked_fill(left_out, -torch.inf) for s in logits]
        parts = torch.stack([F.cross_entropy(s, match) for s in logits])
        if not symmetric:
            return parts
        return (parts + torch.stack([F.cross_entropy(s[:, : len(y)].T, match) for s in logits])) / 2

    parts = checkpoint(parts_of, *inputs, use_reentrant=False)
    return NestedLoss(torch.dot(c.to(parts.dtype), parts), parts)


class _Form:
    """The fused loss: see `_Walk`."""

    def __init__(self, nesting: Nesting, precision: Precision, groups: Tensor | None, symmetric: bool) -> None:
        self.nesting, self.precision, self.groups, self.symmetric = nesting, precision, groups, symmetric

    def __call__(self, inputs: Sequence[Any], c: Tensor, wanted: Sequence[bool]) -> tuple[Tensor, list[Tensor | None]]:
        images, texts, tau, negatives = inputs
        columns = [gather_rows(part) for part in (texts, negatives) if part is not None]
        walk = _Walk(self.nesting, self.precision, images, columns, float(tau), self.groups, self.symmetric)
        if self.symmetric or not any(wanted):
            walk.sum_up()
        if not any(wanted):
            return walk.losses(), [None] * 4
        grads = walk.gradients(c)
        return walk.losses(), [
            g.to(t.dtype) if want and g is not None else None for g, t, want in zip(grads, inputs, wanted, strict=True)
        ]


class _Walk:
    """The logits of this process's images with all texts: two walks over chunks of image rows, each ring by ring.

    The first sums the exponentials over rows and columns. The second, with these sums known, turns the logits into
    gradients by the dot products and adds them up from the last ring to the first. In one direction it is the only one:
    a chunk has whole rows. Texts that belong to no image stand behind the others; they have no column of their own in
    the second term.
    """

    def __init__(
        self,
        nesting: Nesting,
        precision: Precision,
        images: Tensor,
        columns: Sequence[Tensor],
        tau: float,
        groups: Tensor | None,
        symmetric: bool,
    ) -> None:
        texts = columns[0] if len(columns) == 1 else torch.cat(list(columns))
        self.matched, self.symmetric, self.terms = len(columns[0]), symmetric, 2 if symmetric else 1
        self.precision, self.tau, self.rings = precision, tau, nesting.rings()
        self.x, self.y = precision.cast(images), precision.cast(texts)
        self.u, self.v = self._inverse_norms(images), self._inverse_norms(texts)  # (K, b), (K, B)
        self.first = world()[0] * len(images)  # row i matches column first + i
        self.groups, self.all_groups = groups, None if groups is None else gather_rows(groups)
        width = len(self.y) * self.u.itemsize
        self.chunks = row_chunks(len(self.x), max(width * (len(nesting) + 1 + self.terms), 1), images.device)
        self.shifted = 1 / tau > LARGEST_LOGIT
        self.match = torch.empty_like(self.u)  # (K, b) logits of the pairs
        # Sums of exp(logit - top) over each row (K, b) and column (K, B); tops stay 0 where no shift is needed.
        self.row_tops, self.row_sums = torch.zeros_like(self.u), torch.zeros_like(self.u)
        self.column_tops, self.column_sums = torch.zeros_like(self.v), torch.zeros_like(self.v)

    def sum_up(self) -> None:
        """The first walk."""
        room = self._room(3)
        tops = torch.full_like(self.v, -1 / self.tau)  # no logit is lower; a column may have none in this chunk
        for rows in self.chunks:
            dots, outer, out = room[:, : rows.stop - rows.start]
            for k, z in self._logits(rows, dots, outer, [out] * len(self.rings)):
                if self.symmetric and self.shifted:
                    top = torch.maximum(tops[k], z.amax(0))
                    sums = torch.sub(z, top, out=outer).exp_().sum(0)
                    self.column_sums[k].mul_(torch.exp(tops[k] - top)).add_(sums)
                    tops[k] = top
                self._sum_rows(z, k, rows)
                if self.symmetric and not self.shifted:
                    self.column_sums[k] += z.sum(0)
        if not self.symmetric:
            return
        if self.shifted:
            self.column_tops = max_over_processes(tops.clone())
            self.column_sums.mul_(torch.exp(tops - self.column_tops))
        sum_over_processes(self.column_sums)
        self.column_sums[:, self.matched :] = torch.inf  # no column of theirs: one over it is nothing

    def losses(self) -> Tensor:
        """(K,) over the rows of all processes, after the walk that summed."""
        match, own = self.match, slice(self.first, self.first + len(self.x))
        # Unshifted: not log(sum) - match: the logits' magnitude would be rounded into a small difference.
        if self.shifted:
            losses = self.row_sums.log() + (self.row_tops - match)
        else:
            losses = (self.row_sums / match.exp()).log()
        if self.symmetric and self.shifted:
            losses += self.column_sums[:, own].log() + (self.column_tops[:, own] - match)
        elif self.symmetric:
            losses += (self.column_sums[:, own] / match.exp()).log()
        return sum_over_processes(losses.sum(1)) / (self.terms * self.matched)

    def gradients(self, c: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
        """d Σ c_m L_m by images (b, d), texts (b, d), τ and negatives, times the processes, whose mean is taken
        later."""
        to_x = torch.zeros_like(self.x, dtype=self.precision.add)
        to_y = torch.zeros_like(self.y, dtype=self.precision.add)
        radial_x, radial_y = torch.zeros_like(self.u), torch.zeros_like(self.v)
        rank, size = world()
        factor = c * (size / (self.terms * self.matched))
        room = self._room(self.terms + 1 + len(self.rings))
        for rows in self.chunks:
            dots, outer, *more = room[:, : rows.stop - rows.start]
            scratch, parts = more[0], more[self.terms - 1 :]  # in one direction scratch is not written
            for k, g in self._logits(rows, dots, outer, parts):
                self._to_gradient(g, k, rows, factor[k], outer, scratch)
                torch.mul(g, dots, out=outer)
                radial_x[k, rows] = outer.sum(1)
                radial_y[k] += outer.sum(0)
            self._inwards(rows, parts, to_x, to_y)
        self._leave_sphere(to_x, self.x, radial_x * self.u.square())
        self._leave_sphere(to_y, self.y, radial_y * self.v.square())
        every = sum_over_processes(to_y)
        own = every[self.first : self.first + len(self.x)]
        more = (len(self.y) - self.matched) // size
        behind = every[self.matched + rank * more :][:more] if more else None
        return to_x, own, -radial_x.sum() / self.tau, behind

    def _inverse_norms(self, x: Tensor) -> Tensor:
        squares = torch.stack([x.detach()[:, ring].to(self.precision.add).square().sum(1) for ring in self.rings])
        norms = squares.cumsum(0).sqrt()
        return torch.where(norms > 0, 1 / norms, 0)

    def _room(self, layers: int) -> Tensor:
        largest = max((c.stop - c.start for c in self.chunks), default=0)
        return self.u.new_empty((layers, largest, len(self.y)))

    def _logits(self, rows: slice, dots: Tensor, outer: Tensor, outs: Sequence[Tensor]) -> Iterator[tuple[int, Tensor]]:
        """Prefix after prefix: its running dot products, ``outer = u vᵀ/τ`` and the logits ``dots · outer``."""
        dots.zero_()
        left_out = self._left_out(rows)
        for k, (ring, out) in enumerate(zip(self.rings, outs, strict=True)):
            self.precision.add_product(dots, self.x[rows, ring], self.y[:, ring].T)
            torch.mul(self.u[k, rows, None], self.v[k] / self.tau, out=outer)
            torch.mul(dots, outer, out=out)
            yield k, out if left_out is None else out.masked_fill_(left_out, -torch.inf)

    def _left_out(self, rows: slice) -> Tensor | None:
        """(rows, B) pairs of one group that do not belong to each other."""
        if self.groups is None or self.all_groups is None:
            return None
        same = F.pad(self.groups[rows, None] == self.all_groups, (0, len(self.y) - self.matched))
        self._matches(same, rows).fill_(False)
        return same

    def _matches(self, z: Tensor, rows: slice) -> Tensor:
        return z.diagonal(self.first + rows.start)

    def _sum_rows(self, z: Tensor, k: int, rows: slice) -> None:
        """Keep what the rows of a chunk add up to; in place, logits → exp(logit - top)."""
        self.match[k, rows] = self._matches(z, rows)
        if self.shifted:
            self.row_tops[k, rows] = z.amax(1)
            z.sub_(self.row_tops[k, rows, None])
        self.row_sums[k, rows] = z.exp_().sum(1)

    def _to_gradient(self, z: Tensor, k: int, rows: slice, factor: Tensor, outer: Tensor, scratch: Tensor) -> None:
        """In place: logits → factor · (softmax over the row + over the column - 2 · match) · outer; in one direction
        factor · (softmax over the row - match) · outer."""
        if not self.symmetric:
            self._sum_rows(z, k, rows)
        by_row, by_column = self.row_sums[k, rows, None].reciprocal(), self.column_sums[k].reciprocal()
        if not self.symmetric:
            z.mul_(by_row)
        elif self.shifted:
            torch.sub(z, self.row_tops[k, rows, None], out=scratch).exp_().mul_(by_row)
            z.sub_(self.column_tops[k]).exp_().mul_(by_column).add_(scratch)
        else:
            torch.add(by_row, by_column, out=scratch)
            z.exp_().mul_(scratch)
        self._matches(z, rows).sub_(self.terms)
        z.mul_(outer.mul_(factor))

    def _inwards(self, rows: slice, parts: Sequence[Tensor], to_x: Tensor, to_y: Tensor) -> None:
        """A ring's dot products are in its own prefix and in all larger ones: sum their gradients from the last."""
        for k, ring in reversed(list(enumerate(self.rings))):
            g = parts[k] if k + 1 == len(parts) else parts[k].add_(parts[k + 1])
            sums = partial_sums(len(parts) - k)
            self.precision.add_product(to_x[rows, ring], g, self.y[:, ring], parts=sums, fresh=True)
            self.precision.add_product(
                to_y[:, ring], g.T, self.x[rows, ring], parts=-(-sums // len(self.chunks)), fresh=rows.start == 0
            )

    def _leave_sphere(self, grad: Tensor, x: Tensor, radial: Tensor) -> None:
        """Subtract what only lengthens a prefix: a cosine does not change along it."""
        for k, ring in enumerate(self.rings):
            grad[:, ring].addcmul_(x[:, ring].to(grad.dtype), radial[k:].sum(0)[:, None], value=-1)
