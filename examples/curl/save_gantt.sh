#!/usr/bin/env bash
# A Gantt chart of a schedule as a picture.
#
#   save_gantt.sh FILE.png|FILE.svg [team|workpoint|process [REQUEST]]
#
# REQUEST is a file as work_points.json, which is the default. Scope of the key: run.
set -euo pipefail
. "$(dirname "$0")/common.sh"
needs 1 "$@"

picture=$1 view=${2:-team} request=${3:-$(dirname "$0")/work_points.json}
case "$picture" in *.png) format=png ;; *.svg) format=svg ;; *) usage 2 >&2 ;; esac

# The request with two more fields: put before its last brace.
body=$(sed -z 's/}[[:space:]]*$//' "$request" | tr '\n' ' ')
call_json /run_algorithm "$body, \"charts\": [$(quoted "$view")], \"chart_format\": \"$format\"}" >/dev/null
field plot_image <"$answer" | base64 -d >"$picture"
echo "$picture: makespan $(field makespan <"$answer") h, no schedule is shorter than $(field lower_bound <"$answer") h"
