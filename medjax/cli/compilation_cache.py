"""Compiled programs, kept in the user's cache folder, so that a second start skips compilation."""

import os
import sys
import warnings
from pathlib import Path
from typing import Any

import jax

#: How JAX's warning of an entry that it cannot read begins. A kill may cut one short, for JAX does not write entries in
#: one piece; it then compiles, but never replaces the entry.
DAMAGED = "Error reading persistent compilation cache entry"


def keep_programs() -> None:
    """Switch the cache on. A damaged entry has the cache emptied, and is said once, instead of a warning at every
    start. A folder of the user's own choice (JAX_COMPILATION_CACHE_DIR) is left alone."""
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.5)
    if "JAX_COMPILATION_CACHE_DIR" in os.environ:
        return
    cache = Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")).expanduser() / "medjax" / "jax"
    jax.config.update("jax_compilation_cache_dir", str(cache))
    usual = warnings.showwarning

    def show(message: Warning | str, *args: Any, **words: Any) -> None:
        if not str(message).startswith(DAMAGED):
            usual(message, *args, **words)
            return
        entries = list(cache.glob("*-cache"))
        for entry in entries:
            entry.unlink(missing_ok=True)
        if entries:
            print(
                f"note: a compiled program in {cache} was damaged; all are made again",
                file=sys.stderr,
            )

    warnings.showwarning = show
