"""Encoders, decoders, methods and task networks."""
