#!/usr/bin/env bash
# Compresses the files of a folder into another one and reports with nothing but curl.
set -euo pipefail
from=$1 to=$2

task="${SOCKETPROGRESS_URL:-http://127.0.0.1:8765}/api/tasks/compress-$(date +%s)-$$"
headers=(-H 'Content-Type: application/json')
[ -z "${SOCKETPROGRESS_TOKEN-}" ] || headers+=(-H "Authorization: Bearer $SOCKETPROGRESS_TOKEN")

# Prints the task as the server has it now; a server that is down stops nothing.
report() { curl -fsS --max-time 5 -X PUT "$task" "${headers[@]}" -d "$1" || true; }
# A text as JSON, whatever is in it.
quoted() { local s=${1//\\/\\\\}; s=${s//\"/\\\"}; printf '"%s"' "${s//[[:cntrl:]]/ }"; }

ended='{"status": "failed", "error": "it was stopped halfway"}'
trap 'report "$ended" >/dev/null' EXIT

files=("$from"/*)
mkdir -p "$to"
report "{\"name\": \"compress\", \"title\": $(quoted "Compress $from"), \"total\": ${#files[@]}, \"unit\": \"file\"}" >/dev/null
count=0
for file in "${files[@]}"; do
  gzip -c "$file" >"$to/${file##*/}.gz"
  count=$((count + 1))
  answer=$(report "{\"current\": $count, \"message\": $(quoted "${file##*/}")}")
  if [[ $answer =~ \"cancel_requested\":\ *true ]]; then
    ended='{"status": "cancelled"}'
    exit 1
  fi
done
ended='{"status": "completed"}'
