#!/usr/bin/env bash
# A trained model, uploaded into the registry.
#
#   register_model.sh FILE.pth VERSION [ALGORITHM [DESCRIPTION [TRAINING_PARAMS]]]
#
# TRAINING_PARAMS is JSON, such as '{"seed": 7}'. Prints the model's key. Scope of the key: admin.
set -euo pipefail
. "$(dirname "$0")/common.sh"
needs 2 "$@"

training_params=${5:-}
call /models/register -F "file=@\"$1\"" --form-string "version=$2" --form-string "algorithm_name=${3:-DDQN}" \
  --form-string "description=${4:-}" --form-string "training_params=${training_params:-"{}"}" \
  --form-string "created_by=${USER:-}" | field model_key
