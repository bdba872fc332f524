"""Values of DM by preset, as {preset: {(dataset, ipc): {flag: value}}}; see configs/dc.py.

paper  the public code's values: the defaults of DMConfig; networks are evaluated as in configs/dc.py.
"""

PRESETS = {
    "paper": {("*", "*"): {"eval_every": 1000, "decay_parity": True}},
    "cpu": {("*", "*"): {"iterations": 1000, "batch_real": 64, "eval_every": 250}},
    "quick": {
        ("*", "*"): {
            "iterations": 100,
            "batch_real": 32,
            "eval_every": 50,
            "interim_networks": 1,
            "interim_epochs": 60,
            "eval_epochs": 60,
        }
    },
}
