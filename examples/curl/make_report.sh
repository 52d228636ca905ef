#!/usr/bin/env bash
# A report, made now and saved: of the service's runs, or of an experiment.
#
#   make_report.sh FILE.html|FILE.pdf [EXPERIMENT]
#
# REPORT_LANG is zh or en, REPORT_DAYS how far back (7). A report of an experiment is HTML. Scope of the key: admin.
set -euo pipefail
. "$(dirname "$0")/common.sh"
needs 1 "$@"

options="\"lang\": $(quoted "${REPORT_LANG:-zh}"), \"days\": ${REPORT_DAYS:-7}"
if [ $# -ge 2 ]; then
  case "$1" in *.pdf) usage 2 >&2 ;; esac
  made=$(call_json /reports/ab_test "{$options, \"experiment_name\": $(quoted "$2")}")
else
  case "$1" in *.pdf) format=pdf ;; *) format=html ;; esac
  made=$(call_json /reports/performance "{$options, \"format\": \"$format\"}")
fi
call "$(field url <<<"$made")" >"$1"
echo "$1"
