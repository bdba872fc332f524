"""A folder of images -> an .npz that every command takes."""

from medjax.cli import flags
from medjax.cli.command import Command
from medjax.cli.console import Console
from medjax.paths import user_path
from medjax.pipeline.prepare import PrepareConfig, prepare


def main(words: list[str]) -> None:
    """Write the .npz, its report and its contact sheet; print their paths."""
    config = flags.read(PrepareConfig).config(PrepareConfig)
    out = user_path(config.out)
    with Console() as console:
        prepare(config, console)
        console.say(f"\n{out}\n{out.with_suffix('.report.md')}\n{out.with_suffix('.contact.png')}")


def command() -> Command:
    """The command."""
    return Command("Make an .npz of a folder of images.", (PrepareConfig,), main)
