"""A masked language model whose every prefix tells the hidden words (Kusupati et al. 2022, §4: BERT)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from nestling.errors import InputError
from nestling.losses import NestedLoss, mrl_e_cross_entropy
from nestling.models.encoders.text import BertEncoder
from nestling.nesting import Nesting, prefix


class MaskedLanguageModel(nn.Module):
    """A text encoder with BERT's head: dense, GELU and layer norm at full width, then the words' own embeddings.

    The output of the layer norm is cut to each prefix, and so are the embeddings (MRL-E: z_k = z_{k-1} + x_ring ·
    E_ringᵀ, one bias), so that the head adds nothing for a further prefix.

    Args:
        encoder: whose token vectors are read; its word embeddings are the decoder.
        nesting: the prefixes, at most as wide as the encoder; a single dim is the fixed-feature baseline of that width.
        generator: draws the transform's first weights; torch's own when left out.

    Raises:
        InputError: the nesting is wider than the encoder, or the encoder was rotated.
    """

    def __init__(self, encoder: BertEncoder, nesting: Nesting, *, generator: torch.Generator | None = None) -> None:
        super().__init__()
        if nesting.width > encoder.width:
            raise InputError.of("nesting", f"at most as wide as the encoder ({encoder.width})", nesting.width)
        if encoder.config["ending"] != "pooled":
            raise InputError.of("encoder", "one whose tokens are as it gives them", "a rotated one")
        self.encoder, self.nesting = encoder, nesting
        width = encoder.width
        self.dense, self.norm = nn.Linear(width, width), nn.LayerNorm(width, eps=1e-12)
        self.bias = nn.Parameter(torch.zeros(len(self.decoder)))
        with torch.no_grad():
            self.dense.weight.normal_(0, 0.02, generator=generator)
            self.dense.bias.zero_()

    @property
    def decoder(self) -> Float[Tensor, "v d"]:
        """The embeddings by which the encoder reads words, as wide as the nesting."""
        return prefix(cast(Any, self.encoder.network).get_input_embeddings().weight, self.nesting.width)

    def forward(self, ids: Int[Tensor, "b t"], hidden: Bool[Tensor, "b t"]) -> Float[Tensor, "h d"]:
        """What is known of each hidden token, row by row; all prefixes of it are answers.

        Args:
            ids: with the hidden tokens already replaced; hidden: which those are.
        """
        tokens, _ = self.encoder.tokens(ids)
        return prefix(self.norm(F.gelu(self.dense(tokens[hidden]))), self.nesting.width)

    def loss(
        self,
        ids: Int[Tensor, "b t"],
        hidden: Bool[Tensor, "b t"],
        words: Int[Tensor, " h"],
        *,
        weights: Float[Tensor, " k"] | None = None,
        label_smoothing: float | Sequence[float] = 0.0,
    ) -> NestedLoss:
        """Σ_m c_m · cross-entropy of the true `words` under prefix m, fused over rings and rows.

        Raises:
            ShapeError: not one word per hidden token.
        """
        return mrl_e_cross_entropy(
            self(ids, hidden),
            words,
            self.nesting,
            self.decoder,
            self.bias,
            weights=weights,
            label_smoothing=label_smoothing,
        )

    @torch.inference_mode()
    def words(self, ids: Int[Tensor, "b t"], hidden: Bool[Tensor, "b t"]) -> Int[Tensor, "k h"]:
        """The likeliest word of each hidden token, by each prefix."""
        x, decoder, z = self(ids, hidden), self.decoder, self.bias
        found: list[Tensor] = []
        for ring in self.nesting.rings():
            z = z + F.linear(x[:, ring], decoder[:, ring])
            found.append(z.argmax(dim=1))
        return torch.stack(found)
