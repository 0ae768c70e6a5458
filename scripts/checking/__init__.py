"""What `scripts.check` looks at, one concern a module."""
