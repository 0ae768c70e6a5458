"""The seam between a batch and a network call."""
