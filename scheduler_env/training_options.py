"""The command lines of training and polishing: shared options, configuration files and errors."""

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from scheduler_env.errors import BatchFailed
from scheduler_env.values import strict_json


def config_in(path: Path, parser: argparse.ArgumentParser) -> dict[str, Any]:
    """The training configuration in a JSON file: the file itself, or the `training_params` of a model description.

    Ends the program with a message if the file has none.
    """
    try:
        content = strict_json(path.read_bytes())
    except (OSError, ValueError) as err:
        parser.error(f"{path} cannot be read: {err}")
    found = content.get("training_params", content) if isinstance(content, dict) else content
    if not isinstance(found, dict):
        parser.error(f"{path} does not contain a JSON object")
    return found


@contextmanager
def reported_errors(parser: argparse.ArgumentParser) -> Iterator[None]:
    """Within the block, a ValueError (also of pydantic) or a failed batch ends the program with its message."""
    try:
        yield
    except ValidationError as err:
        parser.error("; ".join(f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in err.errors()))
    except (ValueError, BatchFailed) as err:
        parser.error(str(err))


def command_parser(program: str, description: str, unit: str, validate_every: int) -> argparse.ArgumentParser:
    """The options that training and polishing share; `unit` is what `--validate-every` counts."""
    parser = argparse.ArgumentParser(prog=f"python -m scheduler_env.{program}", description=description)
    parser.add_argument("--config", type=Path, help="JSON file with fields of TrainingConfig (default: its defaults)")
    parser.add_argument("--out", type=Path, required=True, help="file for the best validated weights, e.g. best.pth")
    parser.add_argument("--run-dir", type=Path, help="folder for the run's state (default: training_runs/<out's name>)")
    parser.add_argument("--resume", action="store_true", help="continue the run saved in the run folder")
    parser.add_argument(
        "--validate-every", type=int, default=validate_every, metavar=unit, help="between validations (%(default)s)"
    )
    return parser
