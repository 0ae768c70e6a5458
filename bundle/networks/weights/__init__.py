"""Weights in and out, parts of them, and which of them are trained."""
