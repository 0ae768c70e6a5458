"""Losses: each is a module called with the named predictions and targets of a batch."""
