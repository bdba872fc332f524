"""The cache of compiled programs."""

import os
import subprocess
import sys

SCRIPT = """
import pathlib, sys
import jax
from medjax.cli.compilation_cache import keep_programs

keep_programs()
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
for turn in range(3):
    print("turn", turn, file=sys.stderr, flush=True)
    jax.jit(lambda x: x * 3)(2.0).block_until_ready()
    entries = list(pathlib.Path(sys.argv[1]).rglob("*-cache"))
    assert entries
    if turn == 0:
        for entry in entries:
            entry.write_bytes(entry.read_bytes()[:20])
    jax.clear_caches()
"""


def test_damaged_entry_is_made_again_and_said_once(tmp_path):
    """A program cut short by a kill: one line, then a new entry, which the next start reads without a word."""
    environment = os.environ | {"XDG_CACHE_HOME": str(tmp_path)}
    environment.pop("JAX_COMPILATION_CACHE_DIR", None)
    command = [sys.executable, "-c", SCRIPT, str(tmp_path)]
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    assert ended.returncode == 0, ended.stderr
    first, second, third = ended.stderr.split("turn")[1:]
    assert first.strip() == "0" and third.strip() == "2"
    assert second.count("\n") == 2 and "was damaged; all are made again" in second
