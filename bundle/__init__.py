"""Components of the chest X-ray bundle, named by the configs in their `_target_` lines."""
