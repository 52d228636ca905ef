#!/usr/bin/env bash
# A person's verdict on a schedule.
#
#   give_feedback.sh REQUEST_ID 1|2|3|4|5 [COMMENT]
#
# REQUEST_ID is the `request_id` of the run's answer; 5 is good. Scope of the key: run.
set -euo pipefail
. "$(dirname "$0")/common.sh"
needs 2 "$@"

body="{\"request_id\": $(quoted "$1"), \"user_satisfaction\": $2"
[ $# -lt 3 ] || body+=", \"comment\": $(quoted "$3")"
call_json /feedback "$body}"
