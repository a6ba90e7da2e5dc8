"""Train the feature weights: python -m model.training --output PATH.npz --checkpoint DIR."""

import argparse
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path

import numpy as np

from model.training.train import NO_PHOTOGRAPHS, SCIKIT_PHOTOGRAPHS, Settings, save, train

HELP = {
    "seed": "of everything that is drawn",
    "steps": "rounds of k-means in the first layer",
    "turns": "rounds of independent component analysis in each later layer",
    "patches": "3x3 patches that each layer learns from",
    "paintings": "number of painted pictures",
    "crops": "number of pieces of photographs",
    "size": "side of every picture, pixels",
    "photographs": "those within scikit-image and scikit-learn, or none",
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the training with command-line arguments (`sys.argv` by default)."""
    parser = argparse.ArgumentParser(prog="python -m model.training", description=__doc__)
    parser.add_argument("--output", type=Path, required=True, help=".npz file for the weights, in 16 bits")
    parser.add_argument("--checkpoint", type=Path, required=True, help="folder; a run that was cut off goes on there")
    for setting in fields(Settings):
        parser.add_argument(
            f"--{setting.name}",
            type=type(setting.default),
            default=setting.default,
            choices=(SCIKIT_PHOTOGRAPHS, NO_PHOTOGRAPHS) if setting.name == "photographs" else None,
            help=f"{HELP[setting.name]} (default: {setting.default})",
        )
    options = vars(parser.parse_args(arguments))
    output, checkpoint = options.pop("output"), options.pop("checkpoint")
    weights = train(Settings(**options), checkpoint, lambda line: print(line, flush=True))
    save(output, {name: array.astype(np.float16) for name, array in weights.items()})
    print(f"{output}: {output.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
