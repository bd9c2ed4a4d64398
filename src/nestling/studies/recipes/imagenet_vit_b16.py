"""ViT-B/16 on ImageNet-1K from scratch, MRL at 12 … 768 dims.

    torchrun --nproc-per-node 8 -m nestling recipe imagenet_vit_b16 --set data=/data/imagenet

data: the tree as it is distributed (train/<class>/, val/<class>/), or shards of it (nestling data shard).
Hardware and time (estimated, not run at full size; a few steps run in the tests): some 4 hours on 8 A100, 90 epochs of
224 pixels.

The paper trains this architecture on JFT-300M only (jft_vit_b16); this is its nesting with the plain ImageNet recipe of
Beyer et al. 2022 (arXiv 2205.01580): batch 1,024, 90 epochs, AdamW, 10,000 steps of warm-up, gradients clipped at 1;
their RandAugment and mixup are not applied. The class token is read, as in the paper.
"""

from nestling.studies.recipes.image import ImageRecipe
from nestling.training import TrainConfig


def get_config() -> ImageRecipe:
    """The recipe."""
    return ImageRecipe(
        out="runs/imagenet-vit-b16",
        encoder="vit-b16",
        dims="12,24,48,96,192,384,768",
        crop=0.05,
        train=TrainConfig(
            epochs=90,
            batch_size=1024,
            optimizer="adamw",
            lr=1e-3,
            weight_decay=0.1,
            schedule="cosine",
            warmup_epochs=8.0,
            label_smoothing=0.0,
            clip_norm=1.0,
            precision="bf16",
        ),
    )
