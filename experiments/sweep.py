"""Working through the cells of a sweep, alone or as one of several shards on a shared file system."""

import sys
import time
from collections.abc import Callable
from pathlib import Path

from experiments.cells import Cell, release, state, take, work_on
from medjax.data import sources

#: Seconds between looks at cells that others work on.
POLL = 15.0


def sweep(
    out: Path, cells: list[Cell], shard: tuple[int, int], command: Callable[[Cell], list[str]]
) -> None:
    """Until every cell has ended: run those that are free, one's own first, then wait for or take over the others'.

    shard: (index, count); cells are dealt out by what must be claimed for them. A cell that had failed before this
    call is tried again once, by the shard it belongs to. command: the command line of a cell.
    """
    index, count = shard
    claims = list(dict.fromkeys(cell.claim for cell in cells))
    mine = set(claims[index::count])
    again = {c.name for c in cells if c.claim in mine and _failed(out, c)}
    while True:
        waiting = False
        for cell in sorted(cells, key=lambda c: c.claim not in mine):
            if not _open(out, cell, again):
                continue
            claim = take(out, cell)
            if claim is None:
                waiting = True
                continue
            try:
                # It may have ended between the look and the claim.
                if _open(out, cell, again):
                    again.discard(cell.name)
                    _say(cell, "started")
                    record = work_on(out, cell, claim, command(cell))
                    _say(cell, record["status"], record.get("reason", ""))
            finally:
                release(claim)
        if not waiting:
            return
        time.sleep(POLL)


def check_data(out: Path, cells: list[Cell]) -> None:
    """Before anything is run: UserError for data that cannot be had of a cell that is still to do."""
    for cell in cells:
        if (state(out, cell) or {}).get("status") != "done":
            parts = cell.integrate.split(",") if cell.integrate else ()
            for name in parts if cell.dataset == "integrated" else (cell.dataset,):
                sources.check(name.strip())


def _failed(out: Path, cell: Cell) -> bool:
    return (state(out, cell) or {}).get("status") == "failed"


def _open(out: Path, cell: Cell, again: set[str]) -> bool:
    """Whether there is work: not ended, or failed and to be tried again."""
    return state(out, cell) is None or (cell.name in again and _failed(out, cell))


def _say(cell: Cell, what: str, why: str = "") -> None:
    line = f"{time.strftime('%H:%M:%S')} {cell.name}: {what}{f': {why}' if why else ''}"
    print(line, file=sys.stdout if what in ("started", "done") else sys.stderr, flush=True)
