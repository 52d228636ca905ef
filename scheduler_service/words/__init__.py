"""The texts of `scheduler_env` and of the service in one catalogue; `scheduler_env.words` says how it is written."""

from pathlib import Path

from scheduler_env.words import LANGS, LIST_MARKS, SCIENCE, SENTENCE_MARKS, Catalogue, Lang, Message

__all__ = ["LANGS", "LIST_MARKS", "SENTENCE_MARKS", "WORDS", "Lang", "Message"]

WORDS = Catalogue(SCIENCE, Path(__file__).parent)
