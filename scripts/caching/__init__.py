"""Parts of `scripts.cache_features`."""
