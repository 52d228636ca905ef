"""`python -m scheduler_service.plans <command>`."""

import sys

from scheduler_service.plans.cli import main

sys.exit(main())
