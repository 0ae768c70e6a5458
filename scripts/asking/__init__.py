"""What `scripts.ask` is made of."""
