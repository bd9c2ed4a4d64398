"""One's own pictures: train on them, finish, encode, and what of it is kept in the folder of a run."""

from nestling.studies.images.choice import choose
from nestling.studies.images.encode import encode_images, encode_to_file, is_vector_file
from nestling.studies.images.encoders import EncoderChoice
from nestling.studies.images.finish import finish_images
from nestling.studies.images.frozen import train_frozen
from nestling.studies.images.reading import reading_of
from nestling.studies.images.run import ImageRun, train_images

__all__ = [
    "EncoderChoice",
    "ImageRun",
    "choose",
    "encode_images",
    "encode_to_file",
    "finish_images",
    "is_vector_file",
    "reading_of",
    "train_frozen",
    "train_images",
]
