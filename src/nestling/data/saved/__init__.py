"""Folders that Hugging Face's `datasets` saved: pictures with classes, pictures with captions, texts.

Read by pyarrow, mapped: in memory is a sample at a time.
"""

from nestling.data.saved.captioned import SavedCaptions, saved_captions
from nestling.data.saved.layout import is_saved
from nestling.data.saved.pictures import SavedPictures, saved_pictures

__all__ = ["SavedCaptions", "SavedPictures", "is_saved", "saved_captions", "saved_pictures"]
