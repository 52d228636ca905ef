"""`enhanced_flask.py` with console files that a browser keeps.

To ask for each file whether it has changed takes a third of the processor time of a page; in a test none changes.
"""

import runpy
import sys
from dataclasses import replace
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def keep_files() -> None:
    """Answer every file but the page itself as those of the libraries are answered."""
    from scheduler_service.http.routes import console

    made = console._made
    console._made = lambda name, content, media_type: replace(
        made(name, content, media_type), is_immutable=name != "index.html"
    )


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    keep_files()
    sys.argv[0] = str(ROOT / "enhanced_flask.py")
    runpy.run_path(sys.argv[0], run_name="__main__")
