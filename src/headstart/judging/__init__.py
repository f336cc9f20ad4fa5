"""Scores, tests, intervals, the verdict, and the cost."""
