"""A finished run -> a folder that others load in one line."""

from medjax.bundle.making import ShareConfig, make_bundle
from medjax.bundle.writing import zip_of
from medjax.cli import flags
from medjax.cli.command import Command
from medjax.cli.console import Console


def main(words: list[str]) -> None:
    """Write the bundle; print its paths."""
    config = flags.read(ShareConfig).config(ShareConfig)
    with Console() as console:
        out = make_bundle(config, progress=console)
        console.say(f"bundle: {out}" + (f"\nas one file: {zip_of(out)}" if config.zip else ""))


def command() -> Command:
    """The command."""
    return Command("Make a bundle of a finished run for others.", (ShareConfig,), main)
