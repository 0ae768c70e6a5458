"""Data lists, readers, the packed store and the phantoms."""
