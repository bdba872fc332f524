"""What a user waits for before the first iteration: import, compilation cold and from the cache, first call."""

import json
import tempfile
from typing import Any

from benchmarks.measure import Worker, row


def rows(suite: str, quick: bool) -> list[dict[str, Any]]:
    """The same first iteration twice, with an empty compilation cache and with the one it left."""
    found = []
    case = {"images": 8, "steps": 10 if quick else 20}
    with tempfile.TemporaryDirectory() as cache:
        settings = {
            "JAX_COMPILATION_CACHE_DIR": cache,
            "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0.5",
        }
        for name in ("cold", "warm"):
            worker = Worker("medjax", "mtt", case, settings)
            facts, side = worker.facts, worker.finish()
            for what, key in (
                ("import", "import_s"),
                ("compile", "compile_s"),
                ("first iteration", "first_s"),
            ):
                moment = side._replace(seconds=facts.get(key), facts={})
                found.append(row(suite, f"{what}, {name} cache", {"medjax": moment}))
                print(json.dumps(found[-1]), flush=True)
    return found
