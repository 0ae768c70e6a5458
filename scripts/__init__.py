"""The commands that people type: `python -m scripts.NAME --help`."""
