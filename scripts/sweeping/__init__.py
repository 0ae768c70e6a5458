"""Pieces of the command `sweep`."""
