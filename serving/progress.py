"""What a run tells of itself, stretch by stretch."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class Progress:
    """Where a run stands after a stretch.

    Attributes:
      step: steps taken since the start of the run.
      steps: steps of the whole run.
      share: share of the whole run's work that is done, 0 to 1 (steps on small pictures weigh less).
      losses: float32 [N, 4], a row for each step of this stretch: total, content, style, total_variation.
      preview: the picture as it stands, JPEG, at most 512 pixels long.
      image: the result as PNG, in the last record of a run; else empty.
      state: what a run goes on from; opaque.
      seconds: since this run was started or resumed.
      steps_per_s: at the size that is being worked on.
      seconds_left: estimate; None until there is ground for one.
      stopped: why the run is over before its last step, `converged` or `not_finite`; "" if it is not.
    """

    step: int
    steps: int
    share: float
    losses: npt.NDArray[np.float32]
    preview: bytes
    image: bytes
    state: bytes
    seconds: float
    steps_per_s: float
    seconds_left: float | None
    stopped: str = ""

    @property
    def complete(self) -> bool:
        """Whether the run has come to its end, rather than been cancelled on the way."""
        return self.step >= self.steps or bool(self.stopped)
