"""Ignite handlers: logging, resume, pictures, results."""
