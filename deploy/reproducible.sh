#!/bin/sh
# Makes what is released twice, the second time from a copy of the source in another place,
# with nothing compiled before, and compares every byte.
set -eu
cd "$(dirname "$0")/.."
work=$(mktemp -d)
trap 'chmod -R u+w "$work" && rm -rf "$work"' EXIT
COMMIT=${COMMIT:-$(git rev-parse HEAD)}
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct)}
export COMMIT SOURCE_DATE_EPOCH
DIST=$work/first deploy/dist.sh
mkdir "$work/source"
git ls-files -z --cached --others --exclude-standard | tar --null -T - -cf - | tar -C "$work/source" -xf -
GOCACHE=$work/cache DIST=$work/second "$work/source/deploy/dist.sh"
diff -r "$work/first" "$work/second" && echo 'the same bytes twice'
