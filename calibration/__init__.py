"""Procedures that measure one cell, written against a Plant so that they run on the mirror first."""
