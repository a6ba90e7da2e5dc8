#!/bin/sh
# export_once.sh DIR [FLAGS]: exports a model to DIR with the flags of `python -m model.export`, unless DIR has one.
# FORCE_EXPORT=1 writes the next version in any case; a running server picks it up.
set -eu
output=$1
shift
if [ "${FORCE_EXPORT:-0}" != 1 ]; then
  for version in "$output"/[0-9]*/saved_model.pb; do
    if [ -f "$version" ]; then
      echo "$output has a model; FORCE_EXPORT=1 writes another version."
      exit 0
    fi
  done
fi
exec python -m model.export --output="$output" "$@"
