"""WebDataset shards: tar files of samples, read in place or fetched one after the other, never all at once.

A sample is the files of one name: ``0001.jpg`` and ``0001.cls`` (its class) or ``0001.txt`` (its caption).
"""

from __future__ import annotations

from nestling.data.shards.place import is_shards
from nestling.data.shards.samples import Shards, open_shards
from nestling.data.shards.writing import Written, write_shards

__all__ = ["Shards", "Written", "is_shards", "open_shards", "write_shards"]
