"""Jobs that one process at a time does: it holds the lease of the job, and another one takes over after its death.

The processes are the workers of one machine, or with a PostgreSQL database those of all replicas.
"""

import logging
import os
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial

import gevent

from scheduler_service.errors import ServiceError
from scheduler_service.http.services import Services
from scheduler_service.lease import Lease
from scheduler_service.telemetry.database import Database, database_of

TAKE_INTERVAL_S = 0.5
"""How often the other processes try to take a lease. One in PostgreSQL ends `leases.LEASE_S` after its last renewal."""

log = logging.getLogger(__name__)


def do_alone(parts: Services, name: str, work: Callable[[Lease], None]) -> None:
    """Call `work` whenever this process gets the lease `name`; runs forever.

    Args:
        work: called on the event loop; returns soon after the lease is lost.
    """
    database = database_of(parts.monitor.engine)
    while True:
        held = ExitStack()
        try:
            lease: Lease = parts.storage.run(partial(_enter, held, database, name))
        except ServiceError as err:  # usually another process holds it
            log.debug("%s", err)
            gevent.sleep(TAKE_INTERVAL_S)
            continue
        log.info("process %d holds the lease %s", os.getpid(), name)
        work(lease)
        log.warning("process %d has lost the lease %s", os.getpid(), name)
        try:
            parts.storage.run(held.close)
        except ServiceError as err:  # it is lost already
            log.debug("%s", err)


def _enter(held: ExitStack, database: Database, name: str) -> Lease:
    return held.enter_context(database.hold(name, 0.0))
