"""Whether XLA may compile, for the whole process, by the very switch that tensorflow_model_server throws."""

from __future__ import annotations

import ctypes
import logging
from pathlib import Path

import tensorflow as tf

log = logging.getLogger("serving.server")

_SWITCH = "_ZN10tensorflow21DisableXlaCompilationEv"  # tensorflow::DisableXlaCompilation(), compiler/jit/flags.h


def forbid() -> None:
    """Lets every graph that XLA must compile fail with INTERNAL, "XLA compilation disabled"; nothing undoes it."""
    # Opened already: this finds the library of the process. Its name ends differently from system to system.
    for path in Path(tf.sysconfig.get_lib()).glob("libtensorflow_cc*"):
        library = ctypes.CDLL(str(path))
        if hasattr(library, _SWITCH):
            getattr(library, _SWITCH)()
            return
    log.warning("This TensorFlow has no switch for XLA: models made for it run here, whatever the flags say.")
