"""A project as a folder: made, checked, and run with DVC."""
