"""Radiographs, reports, tokens, masks: from files to what a network reads."""
