"""Time, size and progress in plain words."""

from serving.errors import Overloaded
from ui.jobs import Snapshot, Status


def duration(seconds: float) -> str:
    """Says how long something takes, rounded as people would say it: `8 seconds`, `2 minutes`, `1 h 10 min`."""
    if seconds < 1:
        return "less than a second"
    if seconds < 20:
        return _count(round(seconds), "second")
    if seconds < 57.5:
        return f"{5 * round(seconds / 5)} seconds"
    minutes = round(seconds / 60)
    if minutes < 60:
        return _count(minutes, "minute")
    hours, minutes = divmod(5 * round(minutes / 5), 60)
    return f"{hours} h {minutes} min" if minutes else _count(hours, "hour")


def progress_line(now: Snapshot) -> str:
    """Returns the text of the progress bar."""
    if now.status is Status.STOPPING:
        return STOPPING
    if now.waits_for:
        return f"Waiting: {_count(now.waits_for, 'run')} ahead of yours"
    if now.problem is not None:
        return f"Step {now.step} of {now.steps} · waiting for the server"
    if not now.step:
        return "Sending the pictures"
    left = "estimating the time left"
    if now.seconds_left is not None:
        left = "almost done" if now.seconds_left < 2 else f"about {duration(now.seconds_left)} left"
    return f"Step {now.step} of {now.steps} · {left}"


def summary(now: Snapshot) -> str:
    """Returns the line under the picture of a run that has ended."""
    if now.status is Status.DONE and not now.stopped:
        return f"{_count(now.steps, 'step')} in {duration(now.seconds)}"
    at = f"at step {now.step} of {now.steps}"
    if now.status is Status.FAILED:
        return f"The picture {at}"
    return f"{'Finished' if now.status is Status.DONE else 'Stopped'} {at}, after {duration(now.seconds)}"


STOPPING = "Stopping after the current step…"
NO_RUN = "This file is not a saved run, or it is damaged: choose one that this page or the command line saved."
OTHER_MODEL = "Another model made this run, and only that one can continue it."
CONVERGED = "The picture had stopped changing, so the run ended early."
NOT_FINITE = (
    "The numbers grew too large, so the run ended early and kept its last good picture. Lower the learning rate or the "
    "weights, then start again."
)


def out_of_time(most_s: float, can_continue: bool) -> str:
    """Says that a run has ended because it may paint only for so long at a time."""
    more = ": press Continue for as long again." if can_continue else "."
    return f"A run may paint for {duration(most_s)} on this page, so it ended early{more}"


def interrupted(now: Snapshot) -> str:
    """Says that the server does not answer at the moment, and that the run will resume by itself."""
    what = "is busy" if isinstance(now.problem, Overloaded) else "does not answer at the moment"
    where = f"resume from step {now.step}" if now.step else "start"
    return f"The server {what}: trying again. Your run will {where} automatically."


def plain(text: str) -> str:
    """Returns a text with Markdown's characters escaped: a file may have any name."""
    return "".join(f"\\{c}" if c in "\\`*_[]$:#<>~" else c for c in text)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
