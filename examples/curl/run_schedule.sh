#!/usr/bin/env bash
# A schedule of the standard inspection cycle.
#
#   run_schedule.sh [USER [EXPERIMENT [HOURS x 15]]]
#
# Prints the answer as JSON. Scope of the key: run.
set -euo pipefail
. "$(dirname "$0")/common.sh"

user=${1:-} experiment=${2:-}
shift $(($# < 2 ? $# : 2))
hours=("$@")
[ $# -gt 0 ] || hours=(10 5 8 6 7 9 6 7 6 7 7 7 4 7 5)

body="{\"params\": [$(
  IFS=,
  echo "${hours[*]}"
)]"
[ -z "$user" ] || body+=", \"user_id\": $(quoted "$user")"
[ -z "$experiment" ] || body+=", \"experiment\": $(quoted "$experiment")"
call_json /run_algorithm "$body}"
