"""Compiled programs, kept in the user's cache folder, so that a second start skips compilation."""

import os
import sys
import warnings
from pathlib import Path
from typing import Any

import jax

from medjax.errors import UserError, reason_of
from medjax.paths import user_path

#: How JAX's warning of an entry that it cannot read begins. A kill may cut one short, for JAX does not write entries in
#: one piece; it then compiles, but never replaces the entry.
DAMAGED = "Error reading persistent compilation cache entry"
#: And of one that it cannot write: the folder is not the user's, or the disk is full.
UNWRITTEN = "Error writing persistent compilation cache entry"


def keep_programs() -> None:
    """Switch the cache on. A damaged entry has the cache emptied, and is said once, instead of a warning at every
    start; so is a folder that cannot be written. In a folder of the user's own choice (JAX_COMPILATION_CACHE_DIR)
    nothing is deleted."""
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.5)
    chosen = os.environ.get("JAX_COMPILATION_CACHE_DIR")
    if chosen is not None and (not chosen or "://" in chosen):  # none, or in a cloud
        return
    try:
        base = user_path(chosen or os.environ.get("XDG_CACHE_HOME") or "~/.cache")
        cache = base if chosen else base / "medjax" / "jax"
        cache.mkdir(parents=True, exist_ok=True)
        next(cache.iterdir(), None)
    except (UserError, OSError) as error:  # of nobody, or of another user: JAX would fail
        _note(
            f"{reason_of(error)}; {'JAX_COMPILATION_CACHE_DIR' if chosen else 'XDG_CACHE_HOME'}=FOLDER keeps them"
        )
        jax.config.update("jax_compilation_cache_dir", None)
        return
    if not chosen:
        jax.config.update("jax_compilation_cache_dir", str(cache))
    usual, said = warnings.showwarning, []

    def show(message: Warning | str, *args: Any, **words: Any) -> None:
        text = str(message)
        if text.startswith(UNWRITTEN):
            if not said:
                _note(f"{cache} cannot be written ({text.partition(': ')[2][:200]})")
            said.append(text)
        elif not text.startswith(DAMAGED):
            usual(message, *args, **words)
        elif chosen is None:
            _empty(cache)

    # Of these alone, whatever the user has asked for (python -W error): they are about a cache, and change nothing.
    for text in (DAMAGED, UNWRITTEN):
        warnings.filterwarnings("default", text)
    warnings.showwarning = show


def _empty(cache: Path) -> None:
    """Delete all entries, for one is damaged."""
    entries = list(cache.glob("*-cache"))
    for entry in entries:
        entry.unlink(missing_ok=True)
    if entries:
        print(
            f"note: a compiled program in {cache} was damaged; all are made again", file=sys.stderr
        )


def _note(why: str) -> None:
    print(f"note: compiled programs are not kept, and made again each time: {why}", file=sys.stderr)
