"""Values of random selection by preset, as {preset: {(dataset, ipc): {flag: value}}}."""

PRESETS = {
    "paper": {},
    "cpu": {},
    "quick": {
        ("*", "*"): {
            "networks": 2,
            "eval_epochs": 120,
            "interim_networks": 1,
            "interim_epochs": 100,
        }
    },
}
