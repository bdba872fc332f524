"""What was measured, by commands that repeat it. Each module says its command and where its results are.

Results: `rows` (the runs of a plan, plans/), `steps` (how long networks train), `matching` (how well real images match
the experts), `thinned` (an unbalanced set).
medjax beside PyTorch: `run`, of `measure`, `worker`, `medjax_side`, `torch_side`, `torch_fast`, `table`.
A GPU: `gpu`, of `card`, `torch_card`, `card_table`, `programs`, `policies`; `many_cards` is an estimate; aot/ compiles
for GPUs without one.
Two states of medjax and its parts: `commits`, `lowerings`, `precision`, `start`.
"""
