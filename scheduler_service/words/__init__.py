"""The texts of `scheduler_env` and of the service in one catalogue; `scheduler_env.words` says how it is written."""

from pathlib import Path

from scheduler_env.words import LANGS, SCIENCE, Catalogue, Lang

__all__ = ["LANGS", "WORDS", "Lang"]

WORDS = Catalogue(SCIENCE, Path(__file__).parent)
