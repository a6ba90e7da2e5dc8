#!/bin/sh
# export_once.sh DIR [FLAGS]: exports a model to DIR with the flags of `python -m model.export`, unless DIR has one that
# these flags made: the CPU's is no model for a GPU. FORCE_EXPORT=1 writes the next version in any case; a running server
# picks it up.
set -eu
output=$1
shift
asked=$output/.asked_for  # the flags of the last export, written before it began: an export that failed left none later
if [ "${FORCE_EXPORT:-0}" != 1 ] && [ "$(cat "$asked" 2>/dev/null)" = "$*" ]; then
  for version in "$output"/[0-9]*/saved_model.pb; do
    if [ "$version" -nt "$asked" ]; then
      echo "$output has a model that was made by $*; FORCE_EXPORT=1 writes another version."
      exit 0
    fi
  done
fi
mkdir -p "$output"
printf '%s\n' "$*" > "$asked"
exec python -m model.export --output="$output" "$@"
