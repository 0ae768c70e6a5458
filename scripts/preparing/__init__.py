"""What the modules of `scripts.datasets` share: tables, persons under two names, the record of what was left out."""
