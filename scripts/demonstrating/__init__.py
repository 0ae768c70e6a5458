"""Parts of the command `scripts.demo`."""
