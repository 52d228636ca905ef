"""atheris on what reads bytes of others: `python -m tests.fuzz.parsers [corpus] -max_total_time=120`.

The first byte chooses the reader. A reader answers a value or one of its documented errors; all else is a crash.
"""

import inspect
import json
import sys
from collections.abc import Callable
from contextlib import suppress

from scheduler_env import json_requests, problem, psplib, readers, tables, values, vocabulary
from scheduler_env.errors import InvalidInstance
from scheduler_env.psplib import instance_from_psplib
from scheduler_env.readers import instance_from_request
from scheduler_service import trace_context
from scheduler_service.errors import ServiceError
from scheduler_service.experiments import config, experiment, rollout
from scheduler_service.http import bodies
from scheduler_service.http.bodies import parse_json, validated
from scheduler_service.http.contract import experiment_requests, models, runs
from scheduler_service.http.runs import reading
from scheduler_service.http.server.incoming import BadFraming, Incoming, Refused, RequestBody, environ_of
from scheduler_service.registry import names, records
from scheduler_service.registry.names import parse_version, parse_versioned, split_tag
from scheduler_service.registry.records import plain_object
from scheduler_service.trace_context import read_headers


def read_run(data: bytes) -> None:
    instance_from_request(validated(runs.RunRequest, parse_json(data)).problem)


def read_planners_file(data: bytes) -> None:
    """The first byte says which kind of file, and whether blank ids are filled down."""
    text, kind = reading.text_of(data[1:]), data[0] % 3 if data else 0
    if kind == 2:
        reading.read_json(text)
    else:
        reading.read_table(text, kind == 1)


def read_experiment(data: bytes) -> None:
    validated(experiment_requests.ExperimentRequest, parse_json(data))


def read_registration(data: bytes) -> None:
    body = validated(models.RegisterRequest, parse_json(data))
    plain_object("training_params", body.training_params)


def read_config(data: bytes) -> None:
    # As the one who reads the file does: these, too, leave the last good configuration in force.
    with suppress(ValueError, RecursionError):
        config.validate(config.parse(data))


def read_psplib(data: bytes) -> None:
    instance_from_psplib(data.decode("utf-8", "replace"))


def read_name(data: bytes) -> None:
    text = data.decode("utf-8", "replace")
    parse_versioned(text)
    for reader in (parse_version, split_tag):
        with suppress(ServiceError):
            reader(text)


class Sent:
    """A socket whose client has sent `data`, in pieces of a few bytes, and its end."""

    def __init__(self, data: bytes) -> None:
        self.size, self.data = 1 + data[0] % 64 if data else 1, data[1:]

    def recv(self, size: int) -> bytes:
        size = min(size, self.size)
        piece, self.data = self.data[:size], self.data[size:]
        return piece


def read_trace(data: bytes) -> None:
    """The lines are traceparent and tracestate; what is read is written in the form of version 00."""
    traceparent, _, tracestate = data.decode("latin-1").partition("\n")
    trace = read_headers(traceparent, tracestate)
    if trace is not None and read_headers(trace.traceparent, trace.state) != trace:
        raise AssertionError(f"{trace} is not read as it is written")


def read_requests(data: bytes) -> None:
    incoming = Incoming(Sent(data))  # type: ignore[arg-type]
    with suppress(Refused, BadFraming, OSError):
        while True:
            request = incoming.read_head(("127.0.0.1", 1))
            environ_of(request)
            body = RequestBody(incoming, request, invite=lambda: None, count=lambda _n: None)
            body.read()
            if not body.can_be_passed_over:
                return
            body.readall()


READERS: tuple[Callable[[bytes], None], ...] = (
    *(read_run, read_experiment, read_registration, read_config, read_psplib, read_name, read_requests),
    *(read_planners_file, read_trace),
)

SEEDS: dict[Callable[[bytes], None], list[bytes]] = {
    read_run: [
        json.dumps(
            {"params": [10, 5, 8, 6, 7, 9, 6, 7, 6, 7, 7, 7, 4, 7, 5], "user_id": 7, "charts": ["team"]}
        ).encode(),
        json.dumps(
            {
                "workpoints": {
                    "a": {"steps": [{"name": "x", "team": "t", "team_size": 3, "duration": 1.5, "predecessors": []}]}
                },
                "teams": [{"name": "u", "headcount": 2, "min_crew": 1}],
                "crew_efficiency": "linear",
            }
        ).encode(),
    ],
    read_experiment: [b'{"experiment_name":"e","model_a":"A_v1","model_b":"A_v2","rollout":{"stages":[0.1,1.0]}}'],
    read_registration: [b'{"model_path":"a.pth","algorithm_name":"DDQN","training_params":{"seed":1},"tags":["x"]}'],
    read_config: [
        b'{"default_model":"DDQN_v2.0","experiments":{"e":{"name":"e","model_a":"A_v1","model_b":"A_v2",'
        b'"start_time":"2026-01-01T00:00:00+00:00","status":"active"}}}'
    ],
    read_psplib: [
        b"PRECEDENCE RELATIONS:\njobnr. #modes #successors successors\n 1 1 1 2\n 2 1 0\n********\n"
        b"REQUESTS/DURATIONS:\njobnr. mode duration R 1\n----\n 1 1 0 0\n 2 1 3 1\n********\n"
        b"RESOURCEAVAILABILITIES:\n R 1\n 4\n"
    ],
    read_planners_file: [
        b'\x00workpoint_id;step;team;duration;Alone\r\nA;"s t";team2;7.5;no\r\n',
        '\x01工作点,工序,班组,工时\n锅炉,返修,返修,７\n,"x",team2,7\n'.encode("gb18030"),
        b'\x02\xef\xbb\xbf{"workpoints": {"a": {"steps": [{"name": "x", "team": "Repair", "duration": 1.5}]}}}',
    ],
    read_trace: [
        b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\ncongo=t61rcWkgMzE,rojo=00f067aa0ba902b7",
        b"01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more\na@b=1 , ,c=2\t",
    ],
    read_name: [b"DDQN_1a2b3c4d_v2.0.0", b"DDQN:stable", b"v1.2"],
    read_requests: [
        b"\x3fPOST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3;a=b\r\nabc\r\n0\r\nX: y\r\n\r\n"
        b"GET http://h:1/%20?q HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n{}",
        b"\x01GET / HTTP/1.0\r\nConnection: keep-alive\r\nCookie: a\r\nCookie: b\r\n\r\n",
    ],
}


def one_input(data: bytes) -> None:
    """Reads `data` by the reader that its first byte chooses."""
    if not data:
        return
    with suppress(ServiceError, InvalidInstance):
        READERS[data[0] % len(READERS)](data[1:])


def main() -> None:
    import tempfile
    from pathlib import Path

    import atheris

    with tempfile.TemporaryDirectory() as folder:
        for number, reader in enumerate(READERS):
            for index, seed in enumerate(SEEDS[reader]):
                Path(folder, f"{number}-{index}").write_bytes(bytes([number]) + seed)
        science = (values, readers, psplib, problem, tables, json_requests, vocabulary)
        for module in (
            *science,
            bodies,
            experiment_requests,
            reading,
            config,
            experiment,
            rollout,
            names,
            records,
            trace_context,
        ):
            for member in vars(module).values():
                if inspect.isfunction(member) and member.__module__ == module.__name__:
                    atheris.instrument_func(member)
        atheris.Setup([*sys.argv, folder], one_input)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
