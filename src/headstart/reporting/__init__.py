"""Figures, tables, terminal and pages: drawn once, in one style."""
