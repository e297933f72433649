"""Reads episodes and answers questions about them."""
