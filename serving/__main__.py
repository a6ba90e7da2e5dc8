"""`python -m serving CONTENT STYLE [STYLE...] -o OUT`, or `python -m serving batch CONTENTS/ STYLES/ -o OUT/`."""

import io
import logging
import sys

from serving.errors import Cancelled, StyleTransferError
from serving.signals import EXIT_STOPPED


def main(arguments: list[str] | None = None) -> int:
    """Runs the command line; returns 0 done, 1 failed, 130 stopped by Ctrl-C (a picture that was returned is kept)."""
    arguments = sys.argv[1:] if arguments is None else arguments
    logging.basicConfig(format="%(message)s", level=logging.WARNING)
    if isinstance(sys.stdout, io.TextIOWrapper):  # a file's name may have letters that the terminal cannot show
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        from serving.command_line import batch, single  # takes a third of a second, in which Ctrl-C may come

        if arguments[:1] == ["batch"]:  # a picture named batch can be given as ./batch
            return batch.run(arguments[1:])
        return single.run(arguments)
    except Cancelled as error:
        print(f"\n{error}", file=sys.stderr)
        return EXIT_STOPPED
    except StyleTransferError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:  # second Ctrl-C: only files that are already saved are kept
        return EXIT_STOPPED


if __name__ == "__main__":
    sys.exit(main())
