"""HTTP: what clients send and get; see API.md. It uses the doors; no door uses HTTP.

contract/   how a route is declared; the types of requests and answers; problems; /openapi.json
guards/     checks before a handler runs: keys, limits, headers, room in the queue
routes/     the handlers, one module per resource, each with its contract; /docs
runs/       a run from its request to its record; shadow runs and replays beside it
watch/      health, metrics, and what runs periodically: rollouts, guardrails, alerts
server/     sockets, worker processes, threads beside the event loop
services    the doors, created once
bodies      strict JSON in, fast JSON out
"""
