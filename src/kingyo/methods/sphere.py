"""Angles and interpolation on a sphere, with tensors, rows or columns as vectors.

Shoemake 1985, "Animating rotation with quaternion curves".
"""

from __future__ import annotations

import math


def cosine(xx: float, yy: float, xy: float) -> float | None:
    """Return cos Ω from the inner products of two vectors, or None if one is zero."""
    norms = math.sqrt(xx) * math.sqrt(yy)
    return max(-1.0, min(1.0, xy / norms)) if norms > 0 else None


def shares(t: float, cos: float | None, linear_above: float) -> tuple[float, float]:
    """Return the factors of both ends at position t: sin((1-t)Ω) / sin Ω and sin(tΩ) / sin Ω.

    Args:
        t: position from 0 to 1; values outside extrapolate along the circle.
        cos: cos Ω, or None if there is no angle.
        linear_above: if |cos Ω| is larger, or there is no angle, the factors are 1 - t and t.
    """
    if cos is None or abs(cos) > linear_above:
        return 1 - t, t
    angle = math.acos(cos)
    return math.sin((1 - t) * angle) / math.sin(angle), math.sin(t * angle) / math.sin(angle)
