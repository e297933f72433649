"""Tasks, one folder each: `TASK` in the folder's __init__.py, its scene beside it, found by name."""
