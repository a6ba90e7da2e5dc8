"""The command line, `python -m serving`: one picture, or a batch of them."""
