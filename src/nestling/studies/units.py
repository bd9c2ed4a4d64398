"""Sizes and times as people read them."""

from __future__ import annotations


def in_bytes(count: int | float) -> str:
    """``"4.1 GB"``, in powers of 1,000, as disks are sold."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if count < 999.5:
            return f"{count:.0f} {unit}" if unit == "bytes" or count >= 99.5 else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:,.1f} TB"


def in_time(seconds: int | float) -> str:
    """``"0.08 ms"``, ``"9.4 s"``, ``"12 min"``."""
    if seconds < 0.9995e-3:
        return f"{1e3 * seconds:.3f} ms"
    if seconds < 0.9995:
        return f"{1e3 * seconds:.3g} ms"
    if seconds < 99.5:
        return f"{seconds:.3g} s"
    return f"{seconds / 60:.0f} min" if seconds < 99.5 * 60 else f"{seconds / 3600:.1f} h"
