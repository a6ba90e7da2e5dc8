"""Variations: their settings, and their runs in sequence."""

import threading

from model.settings import SETTINGS, StyleSettings
from serving.errors import ServingUnavailable
from serving.request import Request
from tests.ui.fakes import FakeClient, FakeOwner, encoded, until
from ui.jobs import RunQueue
from ui.variations import FACTORS, SIZE_PX, STEPS, Variations, grid


def started(client: FakeClient, owner: FakeOwner | None = None) -> Variations:
    work = Variations(client, Request(encoded(), (encoded(),), StyleSettings()), RunQueue(1), owner or FakeOwner())
    work.start()
    return work


def test_rows_change_the_style_weight_and_columns_the_style_scale_within_their_ranges():
    rows = grid(StyleSettings(style_weight=500, style_scale=1, seed=3))
    assert [[cell.style_weight for cell in row] for row in rows] == [[100] * 3, [500] * 3, [2500] * 3]
    assert [[cell.style_scale for cell in row] for row in rows] == [[0.6, 1, 1.6]] * 3
    assert {(cell.size, cell.steps, cell.seed) for row in rows for cell in row} == {(SIZE_PX, STEPS, 3)}
    for end in ("low", "high"):  # of the ranges; size and steps never exceed the request's
        edge = StyleSettings(**{name: getattr(SETTINGS[name], end) for name in FACTORS}, size=64, steps=3)
        assert {(cell.size, cell.steps) for row in grid(edge) for cell in row} == {(64, 3)}


def test_the_variations_run_one_after_another():
    client, owner = FakeClient(gate=threading.Semaphore(0)), FakeOwner()
    work = started(client, owner)
    until(lambda: work.jobs[0].snapshot().step)
    assert [job.active for job in work.jobs] == [True] + [False] * 8
    client.gate.release(99)
    until(lambda: owner.advances, 10)
    assert owner.kept == []
    assert [call.settings for call in client.calls] == [cell for row in grid(StyleSettings()) for cell in row]
    assert (work.fraction_done, work.active) == (1, False)


def test_stopped_variations_keep_their_pictures():
    client = FakeClient(gate=threading.Semaphore(3))
    work = started(client)
    until(lambda: work.jobs[1].snapshot().step)
    work.stop()
    assert (work.running, work.active) == (False, True)
    client.gate.release(9)
    until(lambda: not work.active, 10)
    assert [bool(job.snapshot().image) for job in work.jobs] == [True] + [False] * 8
    assert len(client.calls) == 2


def test_variations_end_with_the_first_failure():
    client = FakeClient(run_problem=ServingUnavailable("gone"))
    work = started(client)
    until(lambda: not work.active, 10)
    assert (work.problem, len(client.calls)) == (client.run_problem, 1)
