#!/bin/sh
# A restore, tried: dump of one replica set, restored into another that nothing uses, and everything in it
# compared with its digests. Usage: FROM_URI=mongodb://… INTO_URI=mongodb://… drill.sh [DATABASE]
set -eu

if [ -z "${FROM_URI:-}" ] || [ -z "${INTO_URI:-}" ]; then
    sed -n '2,3s/^# //p' "$0" >&2
    exit 2
fi
from=$FROM_URI into=$INTO_URI database=${1:-dod}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export DOD_MONGODB_DATABASE="$database"

seconds() { date +%s; }

# URIs are settings of the environment, so that no password is in the list of processes.
verify() { DOD_MONGODB_URI=$1 dod verify-data --json; }

# The tools take them from a file for the same reason.
config() { printf 'uri: "%s"\n' "$1" >"$2" && chmod 600 "$2"; }
config "$from" "$work/from.yaml"
config "$into" "$work/into.yaml"

start=$(seconds)
mongodump --config="$work/from.yaml" --db="$database" --gzip --archive="$work/dump" --quiet
dumped=$(seconds)
verify "$from" >"$work/from.json"
restoring=$(seconds)
mongorestore --config="$work/into.yaml" --nsInclude="$database.*" --drop --gzip --archive="$work/dump" --quiet
restored=$(seconds)
verify "$into" >"$work/into.json"
verified=$(seconds)

echo "dump $((dumped - start)) s, restore $((restored - restoring)) s, verification $((verified - restored)) s," \
    "$(wc -c <"$work/dump") bytes"
if cmp -s "$work/from.json" "$work/into.json"; then
    echo "the same in both"
else
    echo "different: pushes went on meanwhile, or the restore is not whole"
    diff "$work/from.json" "$work/into.json" || true
fi
