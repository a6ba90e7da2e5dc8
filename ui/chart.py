"""The loss curve."""

from typing import Any

import numpy as np
import numpy.typing as npt
import streamlit as st

from model.settings import LOSS_TERMS

LABELS = {"total": "Total", "content": "Content", "style": "Style", "total_variation": "Total variation"}
COLOURS = {"total": "#8a8494", "content": "#3f88c5", "style": "#d1603d", "total_variation": "#4f9d69"}
POINTS = 240  # in a line; more would look the same, and every redraw sends them all again
HEIGHT_PX = 300


def show(losses: npt.NDArray[np.float32], step: int, steps: int) -> None:
    """Draws the losses of a run up to a step, out of `steps`, once there are at least two."""
    if len(losses) > 1:
        alt = "Loss of each term over the steps, on a logarithmic axis"
        st.vega_lite_chart(loss_table(losses, step - len(losses)), specification(steps), alt=alt, key="losses")


def loss_table(losses: npt.NDArray[np.float32], before: int) -> list[dict[str, Any]]:
    """Returns a row of `step` (from 1), `term` and `loss` for each loss that a logarithmic axis can show.

    If there are more than POINTS, steps are left out evenly, but never the last.

    Args:
      losses: float32 [N, 4], a row for each step, columns as in `LOSS_TERMS`.
      before: steps that were taken before the first row.
    """
    steps = np.unique(np.linspace(0, len(losses) - 1, min(len(losses), POINTS)).round().astype(int))
    return [
        {"step": before + int(step) + 1, "term": LABELS[term], "loss": float(losses[step, column])}
        for column, term in enumerate(LOSS_TERMS)
        for step in steps
        if np.isfinite(losses[step, column]) and losses[step, column] > 0
    ]


def specification(steps: int) -> dict[str, Any]:
    """Returns the chart in Vega-Lite: each term over the steps of the whole run, on a logarithmic axis.

    It holds no data and never changes during a run, so the browser adds new rows to the chart it already shows.
    """
    terms = {"domain": [LABELS[term] for term in LOSS_TERMS], "range": [COLOURS[term] for term in LOSS_TERMS]}
    step = {"field": "step", "type": "quantitative", "title": "Step"}
    loss = {"field": "loss", "type": "quantitative", "title": "Loss"}
    term = {"field": "term", "type": "nominal"}
    return {
        "mark": {"type": "line", "interpolate": "monotone", "strokeWidth": 2},
        "encoding": {
            "x": {**step, "scale": {"domain": [0, steps]}, "axis": {"tickMinStep": 1}},
            "y": {**loss, "scale": {"type": "log"}, "axis": {"format": "~g", "tickCount": 5}},
            "color": {**term, "title": None, "scale": terms, "legend": {"orient": "top", "columns": 2}},
            "tooltip": [{**term, "title": "Term"}, step, {**loss, "format": ".3g"}],
        },
        "height": HEIGHT_PX,
    }
