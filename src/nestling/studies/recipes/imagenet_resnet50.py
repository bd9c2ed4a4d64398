"""ResNet-50 on ImageNet-1K, MRL at 8 … 2,048 dims (Kusupati et al. 2022, §4.1 and the authors' code).

    torchrun --nproc-per-node 8 -m nestling recipe imagenet_resnet50 --set data=/data/imagenet

data: the tree as it is distributed (train/<class>/, val/<class>/), or shards of it (nestling data shard).
Hardware and time (estimated, not run at full size; a few steps run in the tests): an hour on 8 A100 and 100 cores. 40
epochs are 51 million pictures, half an hour for the cards; decoding is the bottleneck, three quarters of an hour at 200
a second and core (`python -m benchmarks.loading` tells yours). The authors decode with FFCV, and blur before they halve
(`use_blurpool`), which transformers' ResNet does not; their momentum is not Nesterov's.

Schedule: linear up to .425 at epoch 2, linear down to 0 at epoch 40, batch 512; pictures of 160 pixels until epoch 29,
192 from epoch 34, validation at 224; label smoothing .1, weight decay 1e-4 except on norms and biases, c_m = 1.
"""

from nestling.studies.recipes.image import ImageRecipe
from nestling.training import TrainConfig


def get_config() -> ImageRecipe:
    """The recipe."""
    return ImageRecipe(
        out="runs/imagenet-resnet50",
        encoder="resnet-50",
        dims="8,16,32,64,128,256,512,1024,2048",
        crop=0.08,
        grow="160:192:29:34",
        train=TrainConfig(
            epochs=40,
            batch_size=512,
            optimizer="sgd",
            lr=0.425,
            momentum=0.9,
            weight_decay=1e-4,
            schedule="one-cycle",
            warmup_epochs=2.0,
            label_smoothing=0.1,
            clip_norm=None,
            precision="bf16",
        ),
    )
