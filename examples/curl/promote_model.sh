#!/usr/bin/env bash
# The next stage of a model: validated, then deployed; or retired.
#
#   promote_model.sh MODEL validated|deployed|retired [REASON]
#
# MODEL is a key, or a short name such as DDQN_v3.0. Prints the answer as JSON. Scope of the key: admin.
set -euo pipefail
. "$(dirname "$0")/common.sh"
needs 2 "$@"

call_json "/models/$(encoded "$1")/promote" "{\"status\": $(quoted "$2"), \"reason\": $(quoted "${3:-}"), \"actor\": $(quoted "${USER:-}")}"
