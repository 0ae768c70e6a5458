"""Pieces of the command `table`."""
