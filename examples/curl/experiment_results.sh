#!/usr/bin/env bash
# What an experiment has shown until now.
#
#   experiment_results.sh NAME [json]
#
# Prints verdict, sentence and recommendation; with `json` the whole answer. Scope of the key: read.
set -euo pipefail
. "$(dirname "$0")/common.sh"
needs 1 "$@"

results=$(call "/experiments/$(encoded "$1")/results")
if [ "${2:-}" = json ]; then
  echo "$results"
else
  for name in verdict verdict_sentence recommendation; do
    field "$name" <<<"$results"
  done
fi
