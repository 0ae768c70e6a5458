"""Reading what single public data sets unpack to; `scripts.datasets` makes data lists of it."""
