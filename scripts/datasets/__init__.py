"""One module a data set: `HELP`, `add_arguments(parser)` and `build(args)`, found by `scripts.prepare`."""
