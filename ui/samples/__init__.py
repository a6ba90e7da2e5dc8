"""The sample pictures and their files. README.md says how they were made.

A new visit starts with the first content and the first style: a large, plain shape, and a painting with strokes that
suit it.
"""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Sample:
    """One sample picture."""

    name: str  # of the file, without its suffix
    label: str  # the name that visitors read
    alt: str  # what it shows, for those who cannot see it

    @property
    def path(self) -> Path:
        return Path(__file__).parent / f"{self.name}.jpg"


CONTENTS = (
    Sample("cat", "Cat", "A ginger cat on a window sill beside a flower pot"),
    Sample("dusk_lake", "Dusk lake", "A village by a lake below snowy mountains at dusk"),
    Sample("lighthouse", "Lighthouse", "A red and white lighthouse on a cliff above a blue sea"),
    Sample("still_life", "Still life", "A bowl of fruit, a jug, a bottle and grapes on a table in a window's light"),
)
STYLES = (
    Sample("eddies", "Eddies", "Thick brush strokes that swirl in teal, indigo and gold"),
    Sample("stained_glass", "Glass", "A stained glass window: a sun of coloured pieces joined by dark lead"),
    Sample("waves", "Waves", "A woodcut of a great blue wave about to break under a red sun"),
    Sample("birches", "Birches", "Thick paint from a palette knife: white birches and orange leaves by a stream"),
    Sample("mosaic", "Mosaic", "A mosaic of small stones: a golden tree of spirals and red flowers on blue"),
    Sample("watercolour", "Watercolour", "Flowers in wet watercolour: rose, violet and orange on blue and green"),
    Sample("poppies", "Poppies", "Thick brush strokes: red poppies in a field of wheat below a warm sky"),
    Sample("engraving", "Engraving", "An engraved valley in brown lines: a great tree, mountains and clouds"),
    Sample("bamboo", "Ink", "Bamboo in black ink and pale washes on paper, with a red seal"),
    Sample("cubist", "Cubist", "A guitar, a bottle and sheet music as overlapping planes in ochre and blue"),
    Sample("dots", "Dots", "A river between trees in dots of pure colour"),
    Sample("kilim", "Rug", "A woven rug with diamonds and zigzags in red, indigo, ochre and white"),
)
