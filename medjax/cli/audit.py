"""What does the distilled set of a run give away? Attacks it, and writes RUN/privacy.json."""

from medjax.audit.making import AuditConfig, audit_run
from medjax.cli import flags
from medjax.cli.command import Command
from medjax.cli.console import Console
from medjax.paths import user_path
from medjax.report.privacy import OF_CANARIES, beside_table


def main(words: list[str]) -> None:
    """Audit the run; print the sentences and where the files lie."""
    config = flags.read(AuditConfig).config(AuditConfig)
    with Console() as console:
        found = audit_run(config, progress=console)
        if config.dry_run:
            return
        if config.beside:
            console.terminal.print(beside_table(found))
            console.say(OF_CANARIES)
        folder = user_path(config.run)
        files = {"all numbers": "privacy.json", "ROC": "roc.png", "closest pairs": "closest.png"}
        for line in [*found["card"], *found["card_exact"]]:
            console.say(line)
        for name, file in files.items():
            console.say(f"{name:<13}  {folder / file}")
        console.say("note: closest.png shows real images: it is as confidential as they are")


def command() -> Command:
    """The command."""
    return Command("Audit what the distilled set of a run gives away.", (AuditConfig,), main)
