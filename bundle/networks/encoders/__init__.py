"""Encoders of images and of texts."""
