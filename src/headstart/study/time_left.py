"""Progress of a study on the terminal: how much is done, and how long the rest takes."""

import time
from collections.abc import Callable, Mapping

from headstart.study import plan

# How often it is told, in seconds.
_SECONDS_BETWEEN = 5.0
# The first groups compile what others use: of what is left nothing is told until so much of the
# work is done, or so many seconds have gone.
_SHARE_DONE, _SECONDS_GONE = 0.1, 60.0

Say = Callable[[str], None]


class TimeLeft:
    """Tells how much is done, and the time left by the work that is left, `later` work too."""

    def __init__(self, say: Say, efforts: Mapping[plan.Work, float], later: float) -> None:
        self._say, self._later = say, later
        self._left = dict(efforts)
        self._groups, self._effort = len(efforts), sum(efforts.values())
        self._began = self._last_line = time.monotonic()

    def advance(self, work: plan.Work) -> float | None:
        """Counts `work` as done; returns the seconds left, None where it is too early to tell."""
        del self._left[work]
        now = time.monotonic()
        left = sum(self._left.values()) + self._later
        done, gone = self._effort + self._later - left, now - self._began
        known = done >= _SHARE_DONE * (done + left) or gone >= _SECONDS_GONE
        seconds = gone * left / done if known else None
        if now - self._last_line < _SECONDS_BETWEEN and self._left:
            return seconds
        self._last_line = now
        told = "" if seconds is None else f", {_clock(seconds)} left"
        count = f"{self._groups - len(self._left)} of {self._groups} groups"
        self._say(f"{count}, {_clock(gone)} gone{told}; {work.name}")
        return seconds


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}:{rest:02}"
