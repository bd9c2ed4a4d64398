"""Data sets and formats in, arrays out: one file per data set or format.

`nestling.data.loader` is the edge to torch and is imported by its own name; nothing here needs torch, and
Pillow and pyarrow load only when a function that needs them is called.
"""

from __future__ import annotations

from nestling.data.cache import data_folder
from nestling.data.captioned_files import CaptionedFiles, CaptionedTree, captioned_files
from nestling.data.decoding import View
from nestling.data.fashion_mnist import fashion_mnist
from nestling.data.image_folder import ImageFolder, image_folder
from nestling.data.images import Duplicates, LabelledImages, Split, duplicates_across, split
from nestling.data.json_vectors import read_json_vectors
from nestling.data.packages import Packages, packages
from nestling.data.packing import pack, packed
from nestling.data.parts import of_part, part_of
from nestling.data.picture_files import Growing, PictureFiles, PictureTree, all_pictures, picture_files
from nestling.data.samples import Samples
from nestling.data.saved import SavedCaptions, SavedPictures, is_saved, saved_captions, saved_pictures
from nestling.data.texts import TextFiles, text_files
from nestling.data.tokens import Tokenizer
from nestling.data.tree import Unreadable
from nestling.data.vectors import check_finite, load_labels, load_vectors, save_vectors
from nestling.data.wordnet import Glosses, wordnet

__all__ = [
    "CaptionedFiles",
    "CaptionedTree",
    "Duplicates",
    "Glosses",
    "Growing",
    "ImageFolder",
    "LabelledImages",
    "Packages",
    "PictureFiles",
    "PictureTree",
    "Samples",
    "SavedCaptions",
    "SavedPictures",
    "Split",
    "TextFiles",
    "Tokenizer",
    "Unreadable",
    "View",
    "all_pictures",
    "captioned_files",
    "check_finite",
    "data_folder",
    "duplicates_across",
    "fashion_mnist",
    "image_folder",
    "is_saved",
    "load_labels",
    "load_vectors",
    "of_part",
    "pack",
    "packages",
    "packed",
    "part_of",
    "picture_files",
    "read_json_vectors",
    "save_vectors",
    "saved_captions",
    "saved_pictures",
    "split",
    "text_files",
    "wordnet",
]
