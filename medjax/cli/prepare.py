"""A folder of images -> an .npz that every command takes."""

from medjax.audit import canaries
from medjax.cli import flags
from medjax.cli.command import Command
from medjax.cli.console import Console
from medjax.errors import UserError
from medjax.paths import user_path
from medjax.pipeline.prepare import PrepareConfig, prepare


def main(words: list[str]) -> None:
    """Write the .npz, its report and its contact sheet; print their paths."""
    config = flags.read(PrepareConfig).config(PrepareConfig)
    out = user_path(config.out)
    with Console() as console:
        raw = prepare(config, console)
        try:
            canaries.draw(raw, 0, 0, 1)
        except UserError as error:
            console.say(f"note: {error}")
        console.say(f"\n{out}\n{out.with_suffix('.report.md')}\n{out.with_suffix('.contact.png')}")


def command() -> Command:
    """The command."""
    return Command("Make an .npz of a folder of images.", (PrepareConfig,), main)
