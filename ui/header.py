"""The top of the page: what it is, and which server stands behind it."""

from __future__ import annotations

import time

import streamlit as st

from serving.client import StyleTransferClient
from serving.errors import ServingUnavailable, StyleTransferError
from ui import backend
from ui.backend import Server

TITLE = "Neural style transfer"
SENTENCE = "Choose a photograph and a painting: the photograph is painted anew in the painting's style."
RETRY_S = 5.0  # how often a page whose server is down asks again by itself


def client() -> StyleTransferClient:
    """Returns this session's client."""
    if "client" not in st.session_state:
        st.session_state["client"] = backend.connect(backend.address())
    return st.session_state["client"]


def look() -> None:
    """Asks the server what it serves, and remembers the answer for this session."""
    st.session_state["server"] = backend.look(client(), backend.address())
    st.session_state["asked"] = time.monotonic()


def is_news(problem: StyleTransferError | None) -> bool:
    """Tells whether a run's problem is that the server went away, which the header does not say yet."""
    return isinstance(problem, ServingUnavailable) and problem is not st.session_state.get("noted")


def note(problem: StyleTransferError | None) -> None:
    """Takes a run's problem into account: a server that went away in mid-run is looked for from then on."""
    if problem is not None and is_news(problem):
        address = backend.address()
        st.session_state["noted"] = problem
        st.session_state["server"] = Server(address, problem=backend.sentence(problem, address))
        st.session_state["asked"] = time.monotonic()


def ready() -> bool:
    """Tells whether the server answered when it was last asked."""
    return "server" in st.session_state and st.session_state["server"].ready


def show() -> Server:
    """Draws the header and returns what is known of the server."""
    with st.container(horizontal=True, horizontal_alignment="distribute", vertical_alignment="bottom"):
        with st.container(width="content", gap="xsmall"):
            st.title(TITLE, anchor=False)
            st.markdown(SENTENCE)
        badges = st.container(width="content", horizontal=True, gap="xsmall")
    if "server" not in st.session_state:
        with st.spinner("Asking the server what it serves"):
            look()
    server: Server = st.session_state["server"]
    with badges:
        _badges(server)
    if server.notice:
        st.warning(server.notice, icon=":material/info:")
    if not server.ready:
        _down(server)
    return server


def _badges(server: Server) -> None:
    if server.ready:
        st.badge("Server ready", icon=":material/check_circle:", color="green")
    else:
        st.badge("Server not ready", icon=":material/cloud_off:", color="red")
    st.badge(server.address, icon=":material/dns:", color="gray", help="Address of the server")
    for name, value in server.facts:
        st.badge(f"{name}: {value}", color="gray")


def _down(server: Server) -> None:
    """Says that the server is down, with a button to ask again; asks again by itself now and then."""
    with st.container(horizontal=True, vertical_alignment="center"):
        st.error(server.problem, icon=":material/cloud_off:")
        st.button("Retry", key="retry", icon=":material/refresh:", on_click=look)
    st.fragment(_ask_again, run_every=RETRY_S)()


def _ask_again() -> None:
    # A full run of the script draws this too; only the timer's runs come late enough to ask.
    if time.monotonic() - st.session_state.get("asked", 0.0) < RETRY_S * 0.8:
        return
    look()
    if st.session_state["server"].ready:
        st.rerun()
