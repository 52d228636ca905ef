"""HTTP: what clients send and get; see API.md. Knows the doors; no door knows HTTP.

problems        every error as problem+json, one table from class to status
bodies          strict JSON in, fast JSON out
schemas         the request bodies
hygiene         request ids, headers, CORS, and who may change state
offload         native threads beside the event loop
services        the doors, made once
running         a run from its request to its record
metrics         what /metrics tells
openapi         the document, from the schemas and a table of routes
serving         sockets, signals, worker processes
routes/         runs, models, experiments, operations
"""
