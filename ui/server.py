"""The server behind the page: whether it answers, what it serves, its errors in plain words, and the page's header."""

import atexit
import contextlib
import functools
import logging
import math
import os
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field

import streamlit as st

from serving.child_server import GRPC, HOST, LaunchError, ModelServer
from serving.client import StyleTransferClient
from serving.contract import SERVER_VARIABLE
from serving.endpoints import RetryPolicy, split_servers
from serving.errors import (
    AccessDenied,
    DeadlineExceeded,
    InvalidInput,
    ModelNotFound,
    Overloaded,
    ServingUnavailable,
    StyleTransferError,
    TooLarge,
)
from serving.network import SCHEMES
from serving.responses import Description
from serving.transports import served_versions

log = logging.getLogger(__name__)

TITLE = "Neural style transfer"
SENTENCE = "Your photo, repainted in the style of a painting."
ABOUT = (
    "A neural network compares your picture with the photo and with the painting, and changes it step by step "
    "until it has the shapes of the one and the brush strokes of the other."
)
SENTENCES = {
    ServingUnavailable: "The server does not answer: it may still be starting, and this page goes on once it is ready.",
    ModelNotFound: "The server answers, but does not serve the style transfer model: tell whoever runs this page.",
    Overloaded: "The server is busy: try again in a minute.",
    DeadlineExceeded: "The server took too long to answer: try again, or choose a smaller size.",
}
OTHERWISE = "Something went wrong on the server: try again; if that fails too, tell whoever runs this page."
RETRIES = RetryPolicy(max_elapsed_s=math.inf)  # as long as the page is open: Stop ends the wait, and so does leaving
ASK_AGAIN_S = 5.0  # how often the page asks a server that does not answer
FRESH_S = 30.0  # how long an answer counts
LOOK_S = 1.0  # how often a page that waits for the first answer looks whether it is there
DRAWN = "server"  # key of session_state: the answer that the page shows


@dataclass(frozen=True)
class Server:
    """The server's state when it was last asked."""

    facts: Mapping[str, str] = field(default_factory=dict)  # its description, by label
    notice: str = ""  # a warning about the quality of the pictures
    problem: str = ""  # why it cannot be used, in a plain sentence


def address() -> str:
    """Returns the server's address, from the environment."""
    of_own = f"grpc://{HOST}:{os.environ.get(GRPC.variable, GRPC.default)}"
    return os.environ.get(SERVER_VARIABLE, "").strip() or of_own


@functools.cache
def own_server() -> ModelServer | None:
    """Starts the embedded server, and returns it, unless an address is given or a server answers at the default one.

    Raises:
      LaunchError: a port is taken or no port.
    """
    if os.environ.get(SERVER_VARIABLE, "").strip() or _model_version() is not None:
        return None
    started = ModelServer(rest=False)  # its port is Streamlit's own default
    started.start()
    atexit.register(started.stop)
    return started


def connect(server: str) -> StyleTransferClient:
    """Returns a client of the server.

    Raises:
      InvalidInput: the address is not a server's. Given a path, the client would load TensorFlow and run the model in
        this process.
    """
    if not server.startswith(tuple(f"{scheme}://" for scheme in SCHEMES)):
        raise InvalidInput(
            f"`{SERVER_VARIABLE}` must be grpc://HOST:PORT or http://HOST:PORT; over TLS, grpcs:// or https://. "
            f"Received: {_shown(server)}"
        )
    return StyleTransferClient(server, retry_policy=RETRIES)


def _shown(server: str) -> str:
    return server.rpartition("@")[2]  # without a password, which the client refuses anyway


def client() -> StyleTransferClient:
    """Returns this session's client."""
    if "client" not in st.session_state:
        st.session_state["client"] = connect(address())
    return st.session_state["client"]


def ask() -> Server:
    """Asks the server to describe its model; a failure is part of the answer."""
    try:
        own = own_server()
        client = connect(address())
        if own is not None and own.failure is not None:
            raise own.failure
    except (InvalidInput, LaunchError) as error:
        log.error("%s", error)
        return Server(problem="This page is not set up correctly: whoever runs it finds the reason in its log.")
    try:
        description = client.describe()
    except StyleTransferError as error:
        # A server that is busy with other people's runs still reports its status at once.
        busy = isinstance(error, (DeadlineExceeded, Overloaded)) and _model_version()
        return read(Description(), busy) if busy else Server(problem=explain(error))
    return read(description, _model_version())


def read(model: Description, version: int | None) -> Server:
    """Returns the facts to show from a model's description, without those that it lacks."""
    facts = {
        "Weights": f"{model.weights.name} ({model.weights.digest[:8]})" if model.weights.name else "",
        "Precision": model.precision,
        "Device": model.device,
        "Model version": version,
    }
    return Server({label: str(fact) for label, fact in facts.items() if fact}, model.weights.notice)


def _model_version() -> int | None:
    """Returns the version that is served, or None if no server reports one."""
    for one in split_servers(address()):
        with contextlib.suppress(StyleTransferError):
            return next(iter(served_versions(one)), None)
    return None


def explain(error: StyleTransferError) -> str:
    """Says in one plain sentence what went wrong and what to do."""
    if isinstance(error, (AccessDenied, TooLarge)):
        return str(error)  # written by the client, for whoever runs the page or chose the size
    if isinstance(error, InvalidInput):
        return f"These pictures or settings cannot be used: {error}"
    return next((words for kind, words in SENTENCES.items() if isinstance(error, kind)), OTHERWISE)


class Watch:
    """What is known about the server, for all visitors of this process. It is asked in the background: a page never
    waits for the answer. All methods may be called from any thread.
    """

    def __init__(self) -> None:
        self.latest: Server | None = None  # the last answer; None before the first
        self._asked_at = -FRESH_S  # on the clock of `time.monotonic`
        self._lock = threading.Lock()
        self._worker: threading.Thread | None = None

    def ask(self, older_than_s: float = 0.0) -> None:
        """Asks the server, unless the last answer is younger, or an answer is on its way."""
        with self._lock:
            if self._worker is None and time.monotonic() - self._asked_at >= older_than_s:
                self._worker = threading.Thread(target=self._work, name="description", daemon=True)
                self._worker.start()

    def _work(self) -> None:
        answer = ask()
        with self._lock:
            self.latest, self._asked_at, self._worker = answer, time.monotonic(), None


WATCH = Watch()


def is_ready() -> bool:
    """Tells whether a run may start, as the header says. A run itself waits for a server that has not answered yet."""
    return not _problem(st.session_state.get(DRAWN))


def _problem(server: Server | None) -> str:
    return server.problem if server else ""


def show(outage: StyleTransferError | None, active: bool) -> None:
    """Draws the header: what the page is for and, in front, what is wrong with the server.

    `outage` is why the visitor's run waits or has failed; an active run says itself that it waits for the server.
    """
    WATCH.ask(0 if isinstance(outage, ServingUnavailable) else FRESH_S)
    server = st.session_state[DRAWN] = WATCH.latest  # the answer may change while the page is drawn
    with st.container(gap=None):
        with st.container(horizontal=True, vertical_alignment="center", wrap=False):
            st.title(TITLE, anchor=False)
            with st.popover("About", type="tertiary", icon=":material/info:"):
                st.markdown(ABOUT)
                facts = {"Server": _shown(address()), **(server.facts if server else {})}
                st.caption("  \n".join(f"{label}: `{fact}`" for label, fact in facts.items()))
        st.markdown(SENTENCE)
    if server and server.notice:
        st.warning(server.notice, icon=":material/info:")
    if server and server.problem and not active:
        st.error(server.problem, icon=":material/cloud_off:")
    st.fragment(_look, run_every=ASK_AGAIN_S if server else LOOK_S)()


def _look() -> None:
    """Keeps the answer fresh, and draws the page anew if it has become another than the page shows."""
    drawn, latest = st.session_state[DRAWN], WATCH.latest
    WATCH.ask(ASK_AGAIN_S * 0.8 if _problem(latest) else FRESH_S)
    if (drawn is None) != (latest is None) or _problem(drawn) != _problem(latest):
        st.rerun()
