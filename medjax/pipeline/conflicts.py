"""Options whose values do not go together."""

from collections.abc import Mapping
from typing import Any

from medjax.errors import UserError

#: Options that count only where another has this value.
ONLY_WITH = {"lr_labels": ("labels", "soft"), "epsilon": ("noise", True), "delta": ("noise", True)}


def check_together(values: Mapping[str, Any], given: Mapping[str, Any]) -> None:
    """UserError for a step of Adam that is one of SGD, and for an option that would change nothing."""
    if values.get("img_optimizer") == "adam" and values.get("lr_img", 0) > 1:
        raise UserError(
            f"--lr_img={values['lr_img']:g} is a step size of SGD; Adam moves pixels in [0, 1] by it: with"
            " --img_optimizer=adam give a small one, such as --lr_img=0.01"
        )
    for name, (other, needed) in ONLY_WITH.items():
        if name in given and values.get(other, needed) != needed:
            wanted = str(needed).lower()
            raise UserError(f"--{name} counts with --{other}={wanted} alone: leave it out")
