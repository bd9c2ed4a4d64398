"""One's own pictures: train on them, finish, encode, and what of it is kept in the folder of a run."""

from nestling.studies.images.choice import choose
from nestling.studies.images.encoders import EncoderChoice
from nestling.studies.images.finish import finish_images
from nestling.studies.images.frozen import train_frozen
from nestling.studies.images.reading import reading_of
from nestling.studies.images.run import ImageRun, train_images

__all__ = [
    "EncoderChoice",
    "ImageRun",
    "choose",
    "finish_images",
    "reading_of",
    "train_frozen",
    "train_images",
]
