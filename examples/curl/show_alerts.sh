#!/usr/bin/env bash
# What is wrong now.
#
#   show_alerts.sh [json]
#
# Prints a line for each alert (severity, state, name, message), or `none`; with `json` the whole answer.
# Scope of the key: read.
set -euo pipefail
. "$(dirname "$0")/common.sh"

alerts=$(call /alerts)
if [ "${1:-}" = json ]; then
  echo "$alerts"
  exit
fi
# One alert a line, once the objects inside of them are dropped.
flat=$(sed -E ':a; s/"deliveries":\[[^]]*\]/"deliveries":null/g; s/"[a-z_]+":\{[^{}]*\}/"dropped":null/g; ta' <<<"$alerts")
found=$(grep -oE '\{[^{}]*"severity"[^{}]*\}' <<<"$flat" || true)
[ -n "$found" ] || {
  echo none
  exit
}
while read -r alert; do
  printf '%s\t%s\t%s\t%s\n' "$(field severity <<<"$alert")" "$(field state <<<"$alert")" "$(field name <<<"$alert")" \
    "$(field message <<<"$alert")"
done <<<"$found"
