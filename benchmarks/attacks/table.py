"""The tables of what was found."""

from collections.abc import Mapping
from typing import Any

from benchmarks.attacks.trial import MAX_LIVE_P99_MS
from benchmarks.machine import markdown_table

Found = Mapping[str, Any]

HEADER = (
    "attack", "held", "/health/live p50 / p99 / max ms", "machine late p99 ms", "a schedule p99 ms",
    "failed", "RSS MiB before, at most, after", "CPU, waited for it", "connections opened, left", "closed after s",
    "answers", "remarks",
)  # fmt: skip
ABOUT = f"""# Slow, broken and hostile clients

Each attack comes from a process of its own on the same machine. As clients are elsewhere in earnest and the machine is
not ours alone, the clients that do nothing wrong come before the service, the service before the attackers, and these
before other programs (niceness -15, -10, -5), where the system allows it. Beside each attack one client asks
`/health/live` every 10 ms over one connection, and another one asks for a schedule every 250 ms. A time that passes
while a client waits counts as one more slow answer. "Machine late": how late the system woke the first client, p99.

An attack is held if the p99 of `/health/live` is at most {MAX_LIVE_P99_MS:.0f} ms, no request of those two clients
failed, the memory kept within its bound, and the row's own condition was met. One that was only late is made
again, three times at most, and the table shows the last time. "CPU, waited for it": of
one core, and how long the event loop was ready to run while others had the processor. "Closed after": ages of the
attackers' connections, seen four times a second."""
FRAMING = """What was answered, and whether the connection stayed open; after most of what is wrong comes a request that
must not be executed. **Bold**: not as RFC 9112 has it, or not safe."""


def as_text(servers: Mapping[str, Found]) -> str:
    """Everything, side by side where servers are compared."""
    parts = [ABOUT]
    if len(servers) > 1:
        parts += ["## Side by side: held, and the p99 of `/health/live` in ms", _side_by_side(servers)]
    parts += ["## Requests a second", _speeds(servers)]
    if any("at_rest" in found for found in servers.values()):
        parts += ["## Experiments at rest", _at_rest(servers)]
    if any("framing" in found for found in servers.values()):
        parts += ["## Framing", FRAMING, _framing(servers)]
    for name, found in servers.items():
        rows = [line(trial) for trial in found["trials"]]
        stamp = found["machine"]
        parts += [f"## {name}", markdown_table(HEADER, rows)]
        parts += [f"At {stamp['measured_at']}, commit {stamp['commit']}."]
    return "\n\n".join(part for part in parts if part)


def line(trial: Found) -> list[str]:
    """The row of one attack."""
    live, attacker = trial["live_ms"], trial["attacker"]
    answers = ", ".join(f"{status}: {count}" for status, count in sorted(attacker["answers"].items()))
    return [
        trial["row"],
        "**no**" if trial["faults"] else "yes",
        " / ".join(f"{live[share]:.1f}" for share in ("p50", "p99", "max")),
        f"{trial['machine_late_p99_ms']:.1f}",
        f"{trial['runs_ms']['p99']:.0f}",
        f"{trial['live_failed']}, {trial['runs_failed']}",
        ", ".join(map(str, trial["rss_mib"])),
        f"{trial['cpu_share']:.0%}, {trial['waited_share']:.0%}",
        f"{attacker['opened']}, {trial['left']}",
        " - ".join(map(str, trial["closed_after_s"])) or "-",
        answers or "-",
        "; ".join([*trial["faults"], *attacker["notes"]]) or "-",
    ]


def _side_by_side(servers: Mapping[str, Found]) -> str:
    rows: dict[str, dict[str, str]] = {}
    for name, found in servers.items():
        for trial in found["trials"]:
            p99_ms = f"{trial['live_ms']['p99']:.0f}"
            rows.setdefault(trial["row"], {})[name] = f"**no**, {p99_ms}" if trial["faults"] else f"yes, {p99_ms}"
    cells = [[row, *(by_name.get(name, "-") for name in servers)] for row, by_name in rows.items()]
    held = [
        f"{sum(not trial['faults'] for trial in found['trials'])} of {len(found['trials'])}"
        for found in servers.values()
    ]
    return markdown_table(("attack", *servers), [*cells, ["held", *held]])


def _speeds(servers: Mapping[str, Found]) -> str:
    rows = [
        [name, speed["load"], speed["rate"], speed["p99_ms"], speed["live_p99_ms"], speed["failed"]]
        for name, found in servers.items()
        for speed in found.get("speeds", ())
    ]
    header = ("server", "32 connections ask for", "requests/s", "p99 ms", "/health/live beside it p99 ms", "failed")
    return markdown_table(header, rows) if rows else ""


def _at_rest(servers: Mapping[str, Found]) -> str:
    rows = [[name, *found["at_rest"].values()] for name, found in servers.items() if "at_rest" in found]
    header = ("server", "experiments", "share of a core", "/health", "/health/live p99 ms", "a schedule p99 ms")
    return markdown_table(header, rows)


def _framing(servers: Mapping[str, Found]) -> str:
    rows: dict[str, dict[str, str]] = {}
    for name, found in servers.items():
        for came in found.get("framing", ()):
            told = came["told"] if came["is_right"] else f"**{came['told']}**"
            rows.setdefault(came["case"].replace("|", "\\|"), {})[name] = told
    cells = [[case, *(by_name.get(name, "-") for name in servers)] for case, by_name in rows.items()]
    framings = [found.get("framing", ()) for found in servers.values()]
    right = [f"{sum(came['is_right'] for came in each)} of {len(each)}" for each in framings]
    return markdown_table(("sent", *servers), [*cells, ["as it should be", *right]])
