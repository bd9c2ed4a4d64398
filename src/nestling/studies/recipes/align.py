"""ALIGN on pictures and their captions from scratch, MRL at 10 … 640 dims (Jia et al. 2021; Kusupati et al. 2022, §4).

    torchrun --nnodes 16 --nproc-per-node 8 -m nestling recipe align --set data='s3://…/{00000..99999}.tar'

data: WebDataset shards of name.jpg and name.txt, on disks or behind URLs, a folder of such files, or one that Hugging
Face's `datasets` saved with a column of pictures and one of captions; train and val beside one another, or a part is
held out: whole shards, or captions by their own bytes. ALIGN's 1.8 billion pairs are not public: any set of shards with
texts does.
Hardware and time (estimated, not run at full size; a few steps run in the tests): the paper's 1,000,000 steps of 64
pairs a core ran on TPUs. At 8,192 pairs a step they are 7 · 10²⁰ multiplications and additions: some two days on 128
A100, if 47,000 pictures a second are decoded.

Adafactor with rate 1e-3, linear decay to 0 (the paper's appendix). EfficientNet-B7, whose pooled maps are 640 numbers,
and BERT-base, whose tokens are averaged; pictures of 289 pixels, cropped and mirrored, captions of 64 tokens, a learnt
temperature (Jia et al.). Equal captions of a batch are not held against one another. Other towers: encoder=vit-b16
size=224 dims=12,24,48,96,192,384,768, or text_pretrained=FOLDER. align=FOLDER goes on from a whole `AlignModel` that
transformers saved: the nested loss then makes prefixes of a model that had none.
"""

from nestling.studies.recipes.captioned import CaptionedRecipe
from nestling.training import TrainConfig


def get_config() -> CaptionedRecipe:
    """The recipe."""
    return CaptionedRecipe(
        out="runs/align",
        encoder="efficientnet-b7",
        text="bert-base",
        dims="10,20,40,80,160,320,640",
        size=289,
        crop=0.7,
        flip=True,
        length=64,
        val_fraction=0.001,
        train=TrainConfig(
            steps=1_000_000,
            batch_size=8192,
            optimizer="adafactor",
            lr=1e-3,
            weight_decay=0.0,
            schedule="linear",
            warmup_epochs=0.05,
            label_smoothing=0.0,
            clip_norm=1.0,
            precision="bf16",
            checkpoint_every=2000,
        ),
    )
