"""What a card says of what the set gives away."""

from typing import Any

from medjax.bundle.finished import FinishedRun
from medjax.bundle.received import Received
from medjax.guarantee import terms
from medjax.pipeline import ledger

NOT_AUDITED = (
    "Not audited. Nobody has measured what these images give away of those that they were made from. A distilled"
    " image may reveal traits of single training images, more so where it began as one of them."
)
OF_PATIENTS = "Treat the set as derived from the data of patients."
#: What a preprocessing that was fitted on the training images says of them.
FITTED = {
    "zca": "the mean of all training images, pixel by pixel, and their covariance",
    "normalise": "the mean and the standard deviation of all training images",
}
#: What can be told from it.
TELLS = {
    "zca": " Who holds an image can tell from the covariance whether it was among them: almost surely where there were"
    " fewer training images than values in an image, less surely with more, unless the others are known too.",
    "normalise": "",
}


def start_words(run: FinishedRun, found: Any) -> str:
    """What the images began as, and whether they may still show it; empty where they began as noise. found: as in
    `privacy_of`."""
    if run.began_as == "set":
        return "The images began as those of another set, which can be real ones, and may still show them."
    if run.began_as == "real":
        begun = "Each image began as real training images and may still show them"
        return f"{begun}." if _is_counted(found) else f"{begun}: often it can be recognised which."
    return ""


def _is_counted(found: Any) -> bool:
    """Whether an audit counted of how many images the nearest training image is the one that they began with."""
    copies = found.get("copies") if isinstance(found, dict) else None
    return isinstance(copies, dict) and bool(copies.get("start_is_nearest"))


def notes_of(run: FinishedRun, found: Any, got: Received) -> list[str]:
    """What who shares a set of images that are not public should know of it before it leaves. found: as in
    `privacy_of`."""
    guarantee = run.result.guarantee or {}
    if run.public or guarantee.get("epsilon") is not None:
        return []
    if found is None:
        lines = [
            f"the set was not audited: python -m experiments.audit --run={run.folder} says what it gives away"
        ]
    else:
        lines = [f"the audit: {line}" for line in _found_words(found)]
    lines += [got.compared.words] if got.compared else []
    if got.exact and run.shared.preprocessor.kind == "zca":
        lines.append(
            "exact.npz holds the covariance of the training images, which can tell who was among them:"
            " --exact=false leaves it out"
        )
    return lines


def _found_words(found: Any) -> list[str]:
    """The numbers of an audit by which one decides."""
    try:
        attacked, start = found["membership"]["all"], found["copies"].get("start_is_nearest")
        low, high = attacked["auc_interval"]
        lines = [
            f"membership is guessed with AUC {attacked['auc']:.2f} ({low:.2f} to {high:.2f}; guessing has 0.5)"
        ]
        if start:
            lines.append(
                f"for {start['count']} of {start['of']} images the nearest training image is the one that they began"
                " with"
            )
        return lines
    except (TypeError, KeyError, ValueError, AttributeError):
        return []


def privacy_of(run: FinishedRun, found: Any, exact: bool) -> list[str]:
    """Sentences. found: the content of privacy.json, to which an audit wrote some under the key "card"; or None. exact:
    whether the set as it was distilled is in the bundle. A set that has a guarantee is not audited here."""
    guarantee = run.result.guarantee
    if guarantee and guarantee.get("epsilon") is not None:
        others = ledger.others(run.folder)
        count = "an unknown number of" if others is None else len(others)
        drawn = (
            f"When this bundle was made, {count} other releases of the same data had been drawn."
        )
        return [*terms(guarantee), *([] if others == [] else [drawn])]
    audited = found.get("card") if isinstance(found, dict) else None
    audited = [audited] if isinstance(audited, str) else audited
    lines = [str(line) for line in audited] if audited else [NOT_AUDITED]
    lines += [] if audited or run.public == "phantom" else [OF_PATIENTS]
    lines += [start] if (start := start_words(run, found)) else []
    fitted = FITTED.get(run.shared.preprocessor.kind) if exact else None
    if fitted:
        lines.append(
            f"exact.npz holds {fitted}: its preprocessing was fitted on them.{TELLS[run.shared.preprocessor.kind]}"
            " The same set can be had without it (share --exact=false)."
        )
        more = found.get("card_exact") if isinstance(found, dict) else None
        lines += [str(line) for line in more] if isinstance(more, list) else []
    return lines
