"""ViT-B/16 on a stream of labelled pictures as large as JFT-300M, MRL at 12 … 768 dims (Kusupati et al. 2022, §4).

    torchrun --nnodes 16 --nproc-per-node 8 -m nestling recipe jft_vit_b16 --set data='s3://…/{00000..29999}.tar'

data: WebDataset shards of name.jpg and name.cls, on disks or behind URLs; each part of a batch reads shards of its own,
so that a process fetches those only. JFT-300M is not public: any set of shards does (nestling data shard).
Hardware and time (estimated, not run at full size; a few steps on shards run in the tests): the paper's 300,000 steps
of 128 pictures a core ran on TPUs; at batch 4,096 they are 1.3 · 10²⁰ multiplications and additions, some 40 hours on 8
A100 at 40 % of their bf16 peak, if 9,000 pictures a second are decoded.

Adafactor with rate 1e-3, linear decay to 0 (the paper's appendix); the labels of a picture are one class here.
"""

from nestling.studies.recipes.image import ImageRecipe
from nestling.training import TrainConfig


def get_config() -> ImageRecipe:
    """The recipe."""
    return ImageRecipe(
        out="runs/jft-vit-b16",
        encoder="vit-b16",
        dims="12,24,48,96,192,384,768",
        crop=0.05,
        val_fraction=0.001,
        train=TrainConfig(
            steps=300_000,
            batch_size=4096,
            optimizer="adafactor",
            lr=1e-3,
            weight_decay=0.0,
            schedule="linear",
            warmup_epochs=0.14,
            label_smoothing=0.0,
            clip_norm=1.0,
            precision="bf16",
            checkpoint_every=2000,
        ),
    )
