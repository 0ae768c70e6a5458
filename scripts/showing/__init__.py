"""What the web page of `scripts.app` is made of."""
