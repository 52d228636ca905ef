"""FastAPI; served by `fastapi_server`. `PEER_HOME` and `PEER_WEIGHTS` say where and with what.

`/run` answers without a record, `/recorded` after its record is on disk, both computing in the event loop;
`/threads` records, too, and computes in FastAPI's threads, as plain `def` routes do.
"""

from typing import Any

from fastapi import FastAPI, Response
from pydantic import BaseModel

from benchmarks.peers.inline import Scheduler

app = FastAPI()
scheduler = Scheduler()


class RunRequest(BaseModel):
    """Either 15 durations or work points, as for the service; what is in them, `scheduler_env.readers` checks."""

    params: list[float] | None = None
    workpoints: list[dict[str, Any]] | None = None
    teams: dict[str, dict[str, Any]] | None = None
    user_id: str


@app.get("/noop")
async def noop() -> dict[str, str]:
    return {"status": "alive"}


@app.post("/run")
async def run(body: RunRequest) -> Response:
    return Response(scheduler.run(body.model_dump(exclude_none=True), is_recorded=False), media_type="application/json")


@app.post("/recorded")
async def recorded(body: RunRequest) -> Response:
    return Response(scheduler.run(body.model_dump(exclude_none=True), is_recorded=True), media_type="application/json")


@app.post("/threads")
def threads(body: RunRequest) -> Response:
    return Response(scheduler.run(body.model_dump(exclude_none=True), is_recorded=True), media_type="application/json")
