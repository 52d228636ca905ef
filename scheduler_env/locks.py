"""A lock that holds between native threads, whatever the server around it has patched."""

import sys
import threading


def native_rlock() -> threading.RLock:
    """A re-entrant lock of the operating system, also after gevent's monkey patching.

    The service computes and records on the native threads of gevent's hub, on which gevent's own locks hang under
    contention. Between greenlets of one thread this lock keeps nobody out: its holder must not yield to the hub.
    """
    monkey = sys.modules.get("gevent.monkey")
    lock: threading.RLock = monkey.get_original("_thread", "RLock")() if monkey else threading.RLock()
    return lock
