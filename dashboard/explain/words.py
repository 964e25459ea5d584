"""Numbers as people read them."""

from __future__ import annotations

__all__ = ["percent", "size", "span"]


def percent(share: float) -> str:
    """For people."""
    return f"{share * 100:.0f} %"


def span(seconds: float) -> str:
    """A time as people read it."""
    if seconds < 0.001:
        return f"{seconds * 1e6:.0f} µs"
    if seconds < 1:
        return f"{seconds * 1e3:.3g} ms"
    return f"{seconds:.1f} s" if seconds < 120 else f"{seconds / 60:.0f} min"


def size(nbytes: float) -> str:
    """Bytes as people read them."""
    for unit in ("bytes", "kB", "MB"):
        if nbytes < 1000:
            return f"{nbytes:.3g} {unit}"
        nbytes /= 1000
    return f"{nbytes:.3g} GB"
