"""What interpolation on a sphere has in common: angles between tensors, and how much of each end a point has.

Shoemake 1985, "Animating rotation with quaternion curves"; applied to whole tensors, or lines, as vectors.
"""

from __future__ import annotations

import math


def cosine(xx: float, yy: float, xy: float) -> float | None:
    """cos Ω from the inner products of two vectors; None when one is zero and has no direction."""
    norms = math.sqrt(xx) * math.sqrt(yy)
    return max(-1.0, min(1.0, xy / norms)) if norms > 0 else None


def shares(t: float, cos: float | None, straight: float) -> tuple[float, float]:
    """How much of either end a point at t has: sin((1-t)Ω) / sin Ω and sin(tΩ) / sin Ω.

    Args:
        t: from 0 to 1; beyond these it goes on along the circle.
        cos: cos Ω.
        straight: where |cos Ω| is larger, or there is no angle, it is the straight line, 1 - t and t.
    """
    if cos is None or abs(cos) > straight:
        return 1 - t, t
    angle = math.acos(cos)
    return math.sin((1 - t) * angle) / math.sin(angle), math.sin(t * angle) / math.sin(angle)
