"""python -m serving.server: flags, signals and exit codes.

Exit codes: 0 after SIGTERM or Ctrl-C; 1 if there is no model to serve or a port is taken; 2 for a wrong flag.
"""

import logging
import os
import signal
import sys
import threading
from collections.abc import Sequence
from types import FrameType

from serving.errors import StyleTransferError
from serving.server.flags import parse
from serving.signals import set_event, wait_for

log = logging.getLogger("serving.server")


def main(argv: Sequence[str] | None = None) -> int:
    """Serves until a signal arrives or the model cannot be loaded; returns the exit code."""
    options = parse(sys.argv[1:] if argv is None else argv)
    logging.basicConfig(
        level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(levelname)s %(message)s", datefmt="%H:%M:%S"
    )
    # Silences TensorFlow's INFO messages, and its warnings that v1 sessions are deprecated.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "1")
    logging.getLogger("tensorflow").setLevel(logging.ERROR)

    ended = threading.Event()

    def on_signal(number: int, _: FrameType | None) -> None:
        if ended.is_set():
            os._exit(128 + number)  # second signal: at once, with a shell's exit code for that signal
        set_event(ended)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, on_signal)

    # Imported here: wrong flags are reported, and signals heeded, before anything large is imported.
    from serving.server.app import ServerApp

    try:
        app = ServerApp(options, ended)
    except StyleTransferError as error:
        return _fail(error)
    app.start()
    wait_for(ended)
    if app.failure is None:
        log.info("Stopping: the running call finishes, new calls are refused.")
    all_ended = app.stop()
    code = 0 if app.failure is None else _fail(app.failure)
    if not all_ended:  # TensorFlow cannot be interrupted: exit without waiting for it
        logging.shutdown()
        os._exit(code)
    return code


def _fail(error: StyleTransferError) -> int:
    print(f"serving.server: error: {error}", file=sys.stderr, flush=True)
    return 1


if __name__ == "__main__":
    sys.exit(main())
