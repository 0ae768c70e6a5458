"""Parts of `scripts.pack`."""
