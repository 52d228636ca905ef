#!/usr/bin/env bash
# An experiment: two models, compared on live traffic for a week.
#
#   create_experiment.sh NAME BASELINE CANDIDATE [PERCENT]
#
# PERCENT of the users get the CANDIDATE; 50 if it is left out. Models are keys, or short names such as DDQN_v2.0.
# Prints the answer as JSON. Scope of the key: admin.
set -euo pipefail
. "$(dirname "$0")/common.sh"
needs 3 "$@"

share() { # PERCENT: as 0..1
  printf '%d.%02d' $(($1 / 100)) $(($1 % 100))
}

percent=${4:-50}
[[ $percent =~ ^[0-9]{1,2}$|^100$ ]] || usage 2 >&2
call_json /experiments "{
  \"experiment_name\": $(quoted "$1"),
  \"model_a\": $(quoted "$2"),
  \"model_b\": $(quoted "$3"),
  \"traffic_split\": {\"model_a\": $(share $((100 - 10#$percent))), \"model_b\": $(share "$((10#$percent))")},
  \"success_metric\": \"makespan\",
  \"duration_days\": 7
}"
