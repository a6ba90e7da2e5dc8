"""An evaluation that anyone can run: `make evaluate`, or `python -m tests.benchmarks.evaluate --help`."""
