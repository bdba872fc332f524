"""Scratch: medjax's own choices on a card, and a profile of the first."""
import glob, gzip, json, os, sys, time
from collections import defaultdict
os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
import functools, jax
from benchmarks import card, programs
from benchmarks.programs import Policy, mtt, expert_steps, evaluation

P = Policy("convolutions", 2, graphs=True)
programs.PROGRAMS = {
    "mtt ipc 1": (functools.partial(mtt, 1), (P, P._replace(residuals="recomputed"))),
    "mtt ipc 10": (functools.partial(mtt, 10), (P, P._replace(bf16=True))),
    "mtt ipc 50": (functools.partial(mtt, 50), (P, P._replace(bf16=True))),
    "mtt ipc 1, 5 seeds": (functools.partial(mtt, 1, seeds=5), (P,)),
    "evaluation of 5, ipc 50": (functools.partial(evaluation, 5, 50), (Policy(graphs=True), Policy(graphs=True, bf16=True))),
    "10 experts": (functools.partial(expert_steps, 10), (Policy(graphs=True),)),
}
out = sys.argv[1]
card.PATIENCE = float(sys.argv[2])
real_rounds = card.rounds
first = []
def rounds(program, arguments):
    found = real_rounds(program, arguments)
    if len(first) < 1:
        first.append(1)
        with jax.profiler.trace(f"{out}/trace"):
            for _ in range(3):
                jax.block_until_ready(program(*arguments))
        try:
            path = glob.glob(f"{out}/trace/**/*.xplane.pb", recursive=True)[0]
            total = defaultdict(lambda: [0, 0.0])
            for plane in jax.profiler.ProfileData.from_file(path).planes:
                if "GPU" not in plane.name: continue
                for line in plane.lines:
                    for event in line.events:
                        cell = total[plane.name + "|" + line.name.split("(")[0] + "|" + event.name[:90]]
                        cell[0] += 1; cell[1] += event.duration_ns
            rows = sorted(([k, n, t / 1e3] for k, (n, t) in total.items()), key=lambda r: -r[2])[:150]
            json.dump(rows, open(f"{out}/profile.json", "w"), indent=0)
        except Exception as error:
            print("profile", error)
    return found
card.rounds = rounds
sys.argv = ["x", f"--out={out}", "--graphs", "--name=own", "--wait=2"]
card.main()
