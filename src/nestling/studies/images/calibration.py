"""What a run keeps of its held-out images, so that a cascade can be fitted later, for any wanted accuracy.

A file beside ``model/``: the logits of every prefix, the labels, and which model they are of.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Float32, Int64

from nestling.errors import CheckpointError
from nestling.evaluation import cascade
from nestling.evaluation.cascade import Cascade
from nestling.models import Classifier
from nestling.models.store import identity
from nestling.models.tensors import read_tensors, write_tensors

NAME = "calibration.safetensors"
FORMAT = 1
_MOST = 1 << 26  # logits kept, 256 MB: of 1,000 classes and 9 prefixes 7,456 images


@torch.inference_mode()
def logits_of(model: Classifier, features: Float[np.ndarray, "n d"]) -> list[Float32[np.ndarray, "n c"]]:
    """What the head says of features that `model.encode` gave, at every prefix, smallest first."""
    return [z.float().cpu().numpy() for z in model.head(torch.from_numpy(features).to(model.device))]


def keep_calibration(
    model: Classifier, features: Float[np.ndarray, "n d"], labels: Int64[np.ndarray, " n"], run: Path, *, seed: int
) -> None:
    """Write the logits of held-out images into the run's folder.

    Args:
        features: of the images, as `model.encode` gives them; labels: their classes.
        seed: draws those that are kept where there are too many.

    Raises:
        DataError: the folder cannot be written.
    """
    most = max(2, _MOST // (len(model.head.nesting) * model.head.classes))
    if len(labels) > most:
        rows = np.sort(np.random.default_rng(seed).choice(len(labels), most, replace=False))
        features, labels = features[rows], labels[rows]
    logits = torch.from_numpy(np.stack(logits_of(model, features)))
    about = {"format": FORMAT, "calibration of": identity(model)}
    write_tensors(run / NAME, {"logits": logits, "labels": torch.from_numpy(labels)}, about)


def fitted_cascade(model: Classifier, run: Path, accuracy: float) -> Cascade:
    """The cascade that promises an accuracy on images like those held out in training.

    Raises:
        CheckpointError: no calibration in the run's folder, a damaged one, or another model's.
        InputError: the accuracy is out of range, or cannot be promised.
    """
    path = run / NAME
    if not path.exists():
        raise CheckpointError(f"{path} does not exist. Make it with `nestling finish`, or train anew.")
    tensors, about = read_tensors(path)
    version = about.get("format")
    if "calibration of" not in about or not isinstance(version, int):
        raise CheckpointError(f"{path} is no calibration. Make it with `nestling finish`, or train anew.")
    if version > FORMAT:
        raise CheckpointError(f"{path} is of format {version}, newer than the {FORMAT} known here. Upgrade Nestling.")
    if about["calibration of"] != identity(model):
        raise CheckpointError(f"{path} belongs to another model. Restore the one that was written with this model.")
    logits, labels = tensors["logits"].numpy(), tensors["labels"].numpy()
    return cascade.fit(list(logits), labels, model.head.nesting, target_accuracy=accuracy)
