"""Metrics, each under the name of its protocol."""
