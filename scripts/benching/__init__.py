"""Parts of `scripts.bench`."""
