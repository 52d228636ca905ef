"""`gunicorn -c deploy/gunicorn.conf.py` serves what `python enhanced_flask.py --workers N` serves.

The settings are the environment's (SCHED_WORKERS, SCHED_HOST, SCHED_HOME, ...; docs/operations.md); how gunicorn is set
is said in `scheduler_service/http/server/processes.py`. A flag of gunicorn's own, such as `--timeout 60`, goes before.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from enhanced_flask import gunicorn_configuration

globals().update(gunicorn_configuration())
