"""Whole networks: methods of pre-training, and networks of tasks."""
