#!/bin/sh
# deb says remove or upgrade, rpm how many will be left.
set -e
case "${1:-}" in
remove | 0)
	if [ -d /run/systemd/system ]; then
		systemctl --quiet disable --now millrace-qd millrace-lookupd millrace-admin || true
	fi
	;;
esac
