"""Attack a service with slow, broken and hostile clients, from this machine only.

    python -m benchmarks.attacks                              our service in one process
    python -m benchmarks.attacks --server workers             with two workers
    python -m benchmarks.attacks --through http://127.0.0.1:8080 --pid 123 --name front --home /srv/scheduler
                                                              what runs already, a front before it, too
    python -m benchmarks.attacks --only chunk                 the rows with this word; nothing is written

Writes results/attacks.md; ends with 1 if a row failed.
"""

import sys

from benchmarks.attacks.command import main

if __name__ == "__main__":
    sys.exit(main())
