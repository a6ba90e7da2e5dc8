"""The loss curve: a table of what to draw, and the drawing."""

from __future__ import annotations

from typing import Any

import altair as alt
import numpy as np
import numpy.typing as npt

from model.settings import LOSS_TERMS

LABELS = {"total": "Total", "content": "Content", "style": "Style", "total_variation": "Total variation"}
COLOURS = {"total": "#8a8494", "content": "#3f88c5", "style": "#d1603d", "total_variation": "#4f9d69"}
POINTS = 240  # for each line; more cannot be told apart, and would be sent anew with every redraw
HEIGHT_PX = 300


def loss_table(losses: npt.NDArray[np.float32], points: int = POINTS) -> list[dict[str, Any]]:
    """Returns the rows of the loss curve: `step` (from 1), `term` and `loss`.

    Args:
      losses: float32 [N, 4], a row for each step, columns as in `LOSS_TERMS`.
      points: the most points of a line. Steps are left out evenly; the last is always there.

    Returns:
      A row for each step and term that a logarithmic axis can show: finite and above 0.
    """
    count = len(losses)
    steps = np.unique(np.linspace(0, count - 1, min(count, points)).round().astype(int)) if count else np.empty(0, int)
    return [
        {"step": int(step) + 1, "term": LABELS[term], "loss": float(losses[step, column])}
        for column, term in enumerate(LOSS_TERMS)
        for step in steps
        if np.isfinite(losses[step, column]) and losses[step, column] > 0
    ]


def loss_chart(losses: npt.NDArray[np.float32], steps: int) -> alt.Chart:
    """Draws each term over the steps on a logarithmic axis; the axis of steps is as long as the run will be."""
    terms = alt.Scale(domain=[LABELS[t] for t in LOSS_TERMS], range=[COLOURS[t] for t in LOSS_TERMS])
    return (
        alt.Chart(alt.InlineData(values=loss_table(losses)))
        .mark_line(interpolate="monotone", strokeWidth=2)
        .encode(
            x=alt.X("step:Q", title="Step", scale=alt.Scale(domain=[0, max(steps, 1)]), axis=alt.Axis(tickMinStep=1)),
            y=alt.Y("loss:Q", title="Loss", scale=alt.Scale(type="log"), axis=alt.Axis(format="~g", tickCount=5)),
            color=alt.Color("term:N", title=None, scale=terms, legend=alt.Legend(orient="top", columns=2)),
            tooltip=[
                alt.Tooltip("term:N", title="Term"),
                alt.Tooltip("step:Q", title="Step"),
                alt.Tooltip("loss:Q", title="Loss", format=".3g"),
            ],
        )
        .properties(height=HEIGHT_PX)
    )
