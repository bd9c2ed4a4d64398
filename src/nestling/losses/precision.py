"""In which precision a fused loss multiplies and adds."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


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

    def add_product(self, out: Tensor, a: Tensor, b: Tensor, *, parts: int = 1) -> None:
        """``out += a @ b``, without a temporary where the precisions are one, the inner dim cut into `parts` sums.

        Why parts: the naive loop adds a ring's gradient from one product per prefix, whose rounding errors partly
        cancel. A ring that is multiplied once has only its parts to cancel between.
        """
        if out.dtype != self.multiply:
            out.add_(torch.mm(a.to(self.multiply), b.to(self.multiply)))
            return
        for columns, rows in zip(a.tensor_split(parts, 1), b.tensor_split(parts, 0), strict=True):
            out.addmm_(columns, rows)
