"""How a network is called: precision, zero-shot, grounding."""
