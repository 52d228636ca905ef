#!/usr/bin/env bash
# A schedule of several work points; looked for during half a second.
#
#   run_work_points.sh [FILE]
#
# FILE holds the request, as work_points.json beside this script. Prints the answer as JSON. Scope of the key: run.
set -euo pipefail
. "$(dirname "$0")/common.sh"

call_json /run_algorithm "$(cat "${1:-$(dirname "$0")/work_points.json}")"
