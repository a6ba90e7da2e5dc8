"""The server behind the page: its address, its description, its errors in plain words, and the page's header."""

from __future__ import annotations

import contextlib
import math
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import streamlit as st

from serving.client import StyleTransferClient
from serving.contract import DEFAULT_SERVER, SERVER_VARIABLE
from serving.endpoints import RetryPolicy, split_servers
from serving.errors import (
    DeadlineExceeded,
    InvalidInput,
    ModelNotFound,
    Overloaded,
    ServingUnavailable,
    StyleTransferError,
)
from serving.transports import served_versions

TITLE = "Neural style transfer"
SENTENCE = "Choose a photograph and a painting: your photograph is repainted in the painting's style."
RETRIES = RetryPolicy(max_elapsed_s=math.inf)  # as long as the page is open: Stop ends the wait, and so does leaving
ASK_AGAIN_S = 5.0  # how often the page asks a server that is down
SCHEMES = ("grpc://", "http://", "https://")


@dataclass(frozen=True)
class Server:
    """The server's state when it was last asked.

    Attributes:
      facts: its description, by label.
      notice: a warning about the quality of the pictures, or "".
      problem: why it does not answer, in a plain sentence, or "".
      asked_at: when it was asked, on the clock of `time.monotonic`.
    """

    facts: Mapping[str, str] = field(default_factory=dict)
    notice: str = ""
    problem: str = ""
    asked_at: float = field(default_factory=time.monotonic)


def address() -> str:
    """Returns the server's address, from the environment."""
    return os.environ.get(SERVER_VARIABLE, "").strip() or DEFAULT_SERVER


def connect(server: str) -> StyleTransferClient:
    """Returns a client of the server.

    Raises:
      InvalidInput: the address is not a server's. Given a path, the client would load TensorFlow and run the model in
        this process.
    """
    if not server.startswith(SCHEMES):
        raise InvalidInput(f"`{SERVER_VARIABLE}` must be grpc://HOST:PORT or http://HOST:PORT. Received: {server}")
    return StyleTransferClient(server, retry_policy=RETRIES)


def client() -> StyleTransferClient:
    """Returns this session's client."""
    if "client" not in st.session_state:
        st.session_state["client"] = connect(address())
    return st.session_state["client"]


def ask(client: StyleTransferClient) -> Server:
    """Asks a server to describe its model; a failure is part of the answer."""
    try:
        description = client.describe()
    except StyleTransferError as error:
        # A server that is busy with other people's runs still reports its status at once.
        busy = isinstance(error, (DeadlineExceeded, Overloaded)) and _model_version()
        return read({}, busy) if busy else Server(problem=explain(error))
    return read(description, _model_version())


def read(description: Mapping[str, Any], version: int | None) -> Server:
    """Returns the facts to show from a model's description, without those that it lacks."""
    weights = description.get("weights", {})
    facts = {
        "Weights": f"{weights.get('name', '')} ({weights.get('digest', '')[:8]})" if weights else "",
        "Precision": description.get("precision"),
        "Device": description.get("device"),
        "Model version": version,
    }
    return Server({label: str(fact) for label, fact in facts.items() if fact}, weights.get("notice", ""))


def _model_version() -> int | None:
    """Returns the version that is served, or None if no server reports one."""
    for one in split_servers(address()):
        with contextlib.suppress(StyleTransferError):
            return next(iter(served_versions(one)), None)
    return None


def explain(error: StyleTransferError) -> str:
    """Says in one plain sentence what went wrong and what to do."""
    if isinstance(error, ServingUnavailable):
        return f"The server at {address()} does not answer: start it, or wait until it has loaded the model."
    if isinstance(error, ModelNotFound):
        return f"The server at {address()} answers, but it does not serve the style transfer model."
    if isinstance(error, Overloaded):
        return "The server is busy: try again in a minute."
    if isinstance(error, DeadlineExceeded):
        return "The server took too long to answer: try again, or choose a smaller size."
    if isinstance(error, InvalidInput):
        return f"These pictures or settings cannot be used: {error}"
    return "Something went wrong on the server: try again; if that fails too, look in the server's log."


def refresh() -> None:
    """Asks the server, and keeps the answer for this session."""
    st.session_state["server"] = ask(client())


def is_ready() -> bool:
    """Tells whether the server answered when it was last asked."""
    return "server" in st.session_state and not st.session_state["server"].problem


def is_new_outage(problem: StyleTransferError | None) -> bool:
    """Tells whether a run's problem is an outage that the header has not shown yet."""
    return isinstance(problem, ServingUnavailable) and problem is not st.session_state.get("outage")


def note(problem: StyleTransferError | None) -> None:
    """Makes the header show an outage that interrupts a run."""
    if problem is not None and is_new_outage(problem):
        st.session_state["outage"] = problem
        st.session_state["server"] = Server(problem=explain(problem))


def show() -> None:
    """Draws the header: what the page is for, and the server's state."""
    with st.container(horizontal=True, horizontal_alignment="distribute", vertical_alignment="bottom"):
        with st.container(width="content", gap="xsmall"):
            st.title(TITLE, anchor=False)
            st.markdown(SENTENCE)
        badges = st.container(width="content", horizontal=True, gap="xsmall")
    if "server" not in st.session_state:
        with st.spinner("Connecting to the server"):
            refresh()
    server: Server = st.session_state["server"]
    with badges:
        if server.problem:
            st.badge("Server not ready", icon=":material/cloud_off:", color="red")
        else:
            st.badge("Server ready", icon=":material/check_circle:", color="green")
        st.badge(address(), icon=":material/dns:", color="gray", help="Address of the server")
        for label, fact in server.facts.items():
            st.badge(f"{label}: {fact}", color="gray")
    if server.notice:
        st.warning(server.notice, icon=":material/info:")
    if server.problem:
        with st.container(horizontal=True, vertical_alignment="center"):
            st.error(server.problem, icon=":material/cloud_off:")
            st.button("Retry", key="retry", icon=":material/refresh:", on_click=refresh)
        st.fragment(_ask_again, run_every=ASK_AGAIN_S)()


def _ask_again() -> None:
    # Drawing the page calls this too, but only the timer's calls come late enough after the last answer.
    if time.monotonic() - st.session_state["server"].asked_at < ASK_AGAIN_S * 0.8:
        return
    refresh()
    if is_ready():
        st.rerun()
