"""In which precision a fused loss multiplies and adds."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


def partial_sums(prefixes: int) -> int:
    """How many sums to cut a ring's product into when `prefixes` share the ring: one more, but the last ring's is the
    naive loop's own product."""
    return 1 if prefixes == 1 else prefixes + 1


@dataclass(frozen=True, slots=True)
class Precision:
    """Products in `multiply` (autocast's choice where it is on), sums in `add` (float32 or wider)."""

    multiply: torch.dtype
    add: torch.dtype

    @classmethod
    def of(cls, x: Tensor) -> Precision:
        """The precisions that the naive loop would have for `x`, except that sums never drop below float32."""
        device = x.device.type
        if x.dtype != torch.float64 and torch.is_autocast_enabled(device):
            return cls(torch.get_autocast_dtype(device), torch.float32)
        return cls(x.dtype, torch.promote_types(x.dtype, torch.float32))

    def cast(self, x: Tensor) -> Tensor:
        """`x` as a factor of products (itself when it already has the dtype)."""
        return x.detach().to(self.multiply)

    def add_product(self, out: Tensor, a: Tensor, b: Tensor, *, parts: int = 1, fresh: bool = False) -> None:
        """``out += a @ b``, or ``out = a @ b`` where `out` is fresh; the inner dim is cut into `parts` sums.

        Why parts: the naive loop adds a ring's gradient from one product per prefix, whose rounding errors partly
        cancel. A ring that is multiplied once has only its parts to cancel between.
        """
        if out.dtype != self.multiply:
            product = torch.mm(a.to(self.multiply), b.to(self.multiply))
            out.copy_(product) if fresh else out.add_(product)
            return
        size = max(-(-a.shape[1] // parts), 1)
        for start in range(0, a.shape[1], size):
            part = slice(start, start + size)
            out.addmm_(a[:, part], b[part], beta=0 if fresh and start == 0 else 1)
