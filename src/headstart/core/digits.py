"""Numbers as files that git keeps hold them: with the digits that every processor agrees on."""


def rounded(value: float) -> float:
    """Returns `value` to six significant digits; NaN and infinities as they are.

    For all that went through floating-point sums, logarithms or single precision. What is one
    count divided by another is exact everywhere and needs no rounding.
    """
    return float(f"{value:.6g}")
