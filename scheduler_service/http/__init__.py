"""HTTP: what clients send and get; see API.md. Knows the doors; no door knows HTTP.

contract/   how a route is declared; the types of requests and answers; problems; /openapi.json
guards/     what a request has to pass first: keys, limits, headers, room in the queue
routes/     the handlers, one module per resource, each with its contract; /docs
runs/       a run from its request to its record; shadow runs and replays beside it
watch/      health and metrics for who asks; rollouts, guardrails and alerts for who does not
server/     sockets, worker processes, threads beside the event loop
services    the doors, made once
bodies      strict JSON in, fast JSON out
"""
