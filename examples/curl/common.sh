# shellcheck shell=bash
# Sourced by the scripts beside it: the address, the key, one way to call and to tell of errors.
#
#   SCHEDULER_URL   where the service is; http://localhost:5001 if unset
#   SCHEDULER_KEY   its API key; unset on the service's own machine if it has no keys

: "${SCHEDULER_URL:=http://localhost:5001}"
answer=$(mktemp)
trap 'rm -f "$answer"' EXIT

usage() { # [STATUS]: the comment at the top of the script
  sed -n '2,/^[^#]/s/^# \{0,1\}//p' "$0"
  exit "${1:-0}"
}

case "${1:-}" in -h | --help) usage ;; esac

needs() { # COUNT "$@": the usage, if there are fewer arguments
  [ $(($# - 1)) -ge "$1" ] || usage 2 >&2
}

key_config() { # as a file for curl: on its command line every user of the machine could read the key
  [ -z "${SCHEDULER_KEY:-}" ] || printf 'header = "Authorization: Bearer %s"\n' "$SCHEDULER_KEY"
}

call() { # PATH [CURL OPTION...]: prints the answer; an error goes to stderr as a sentence, and ends the script with 1
  # curl waits as long as Retry-After says after 429 and 503.
  local status path=$1
  shift
  status=$(curl -sS --retry 4 --retry-max-time 60 --connect-timeout 5 --max-time 120 -K <(key_config) \
    -o "$answer" -w '%{http_code}' "$@" "$SCHEDULER_URL$path") || exit 1
  if [ "$status" -ge 400 ]; then
    echo "$status: $(field detail <"$answer")" >&2
    exit 1
  fi
  cat "$answer"
}

call_json() { # PATH BODY [CURL OPTION...]
  local path=$1 body=$2
  shift 2
  call "$path" -H 'Content-Type: application/json' --data-binary @- "$@" <<<"$body"
  echo
}

field() { # NAME: the first text or number of this name in the JSON on stdin
  grep -oE "\"$1\": *(\"([^\"\\\\]|\\\\.)*\"|[-0-9.e]+)" | head -n 1 | sed -E "s/^\"$1\": *//; s/^\"(.*)\"$/\1/; s/\\\\(.)/\1/g"
}

quoted() { # TEXT: as a JSON string
  local text=${1//\\/\\\\}
  text=${text//\"/\\\"}
  text=${text//$'\n'/\\n}
  printf '"%s"' "${text//$'\t'/\\t}"
}

encoded() { # TEXT: as a part of a path
  local LC_ALL=C text=$1 position letter
  for ((position = 0; position < ${#text}; position++)); do
    letter=${text:position:1}
    case "$letter" in [A-Za-z0-9._~:-]) printf '%s' "$letter" ;; *) printf '%%%02X' "'$letter" ;; esac
  done
}
