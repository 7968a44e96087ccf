#!/bin/sh
# Makes the root of the image in the folder $1: all programs, the authorities that sign the
# certificates of auth servers and webhooks, a user, and places to write to. Dockerfile and
# the tests use it. PROGRAMS, VERSION, COMMIT and GOARCH may be set.
set -eu
root=$1
cd "$(dirname "$0")/.."
program=github.com/millrace-mq/millrace/internal/program
mkdir -p "$root/usr/bin" "$root/etc/ssl/certs" "$root/data" "$root/tmp"
chmod 1777 "$root/tmp"
CGO_ENABLED=0 go build -trimpath -buildvcs=false -o "$root/usr/bin/" \
	-ldflags "-s -w -buildid= ${VERSION:+-X $program.Version=$VERSION} ${COMMIT:+-X $program.Commit=$COMMIT}" \
	$(for p in ${PROGRAMS:-...}; do echo ./apps/$p; done)
# As make install calls them.
for p in tail stat; do [ ! -f "$root/usr/bin/$p" ] || mv "$root/usr/bin/$p" "$root/usr/bin/millrace-$p"; done
cp /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/"
echo 'millrace:x:65532:65532:Millrace:/data:/nologin' >"$root/etc/passwd"
echo 'millrace:x:65532:' >"$root/etc/group"
