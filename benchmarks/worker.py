"""One side of a comparison, in a process of its own: prepares a case, then runs it once for every line that it reads.

Answers in JSON lines: the facts of the case once it is warm, the seconds of every run, and at the end the peak memory.
"""

import importlib
import json
import resource
import sys
import time
from typing import Any

#: Who can run a case; ``fast`` is what a PyTorch user reaches with little work.
SIDES = {
    "medjax": "benchmarks.medjax_side",
    "torch": "benchmarks.torch_side",
    "fast": "benchmarks.torch_fast",
}

#: Seconds of a first call after which one is warm enough.
LONG = 10.0


def say(**facts: Any) -> None:
    print(json.dumps(facts), flush=True)


def timed(function: Any) -> float:
    begin = time.perf_counter()
    function()
    return time.perf_counter() - begin


def main(side: str, suite: str, case: str) -> None:
    begin = time.perf_counter()
    module = importlib.import_module(SIDES[side])
    imported = time.perf_counter() - begin
    try:
        once, facts = getattr(module, suite)(**json.loads(case))
        first = timed(once)
        if first < LONG:
            timed(once)
        say(import_s=imported, first_s=first, **facts)
        for _ in sys.stdin:
            say(seconds=timed(once))
            module.rest()
    except Exception as error:  # whatever a side cannot do is a result, not a crash
        say(error=f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}")
        return
    resident = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    # The matrix rate last: its own matrices are no part of the case's memory.
    say(mb=module.device_megabytes() or resident, **module.ceiling())


if __name__ == "__main__":
    main(*sys.argv[1:])
