"""Values of random selection by preset, as {preset: {(dataset, ipc): {flag: value}}}.

paper      networks trained as in the other methods' `paper`.
cpu        10 and 50 images per class are trained on for fewer epochs, to stay within minutes on two cores.
indicator  what `experiments.indicator` trains: 450 to 800 steps of 32 images at every size, so that 50 images per class
           take minutes on two cores, where `cpu` takes hours. Three networks, each on a subset of its own.
"""

PRESETS = {
    "paper": {("*", "*"): {"decay_parity": True}},
    "cpu": {
        ("*", 10): {"eval_epochs": 500},
        ("*", 50): {"eval_epochs": 300, "interim_epochs": 100},
    },
    "quick": {
        ("*", "*"): {
            "networks": 2,
            "eval_epochs": 60,
            "interim_networks": 1,
            "interim_epochs": 60,
        }
    },
    "indicator": {
        ("*", "*"): {"networks": 3, "eval_batch": 32, "interim_networks": 1},
        ("*", 1): {"eval_epochs": 450, "interim_epochs": 150},
        ("*", 10): {"eval_epochs": 150, "interim_epochs": 50},
        ("*", 50): {"eval_epochs": 60, "interim_epochs": 15},
    },
}
