"""What a reader of an HTML report sees: its text, images and tags."""

from html.parser import HTMLParser
from pathlib import Path


class Page(HTMLParser):
    """The text, sources and tags of a page; fails on tags that are not closed in order."""

    def __init__(self, source: str) -> None:
        """`source` is the page itself or the path of its file."""
        super().__init__()
        self.words: list[str] = []
        self.sources: list[str] = []
        self.tags: set[str] = set()
        self._open: list[str] = []
        self.html = source if source.startswith("<!DOCTYPE") else Path(source).read_text(encoding="utf-8")
        self.feed(self.html)
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.sources += [value or "" for name, value in attrs if name in ("src", "href")]
        if tag not in ("meta", "img", "br"):
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if not self._open or self._open[-1] != "style":
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())
