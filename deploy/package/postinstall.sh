#!/bin/sh
# Nothing is started: which of the three daemons a machine has is for its owner to say. Nor
# is one that runs restarted: it would drain, and a cluster is upgraded a node at a time.
set -e
if [ -d /run/systemd/system ]; then
	systemctl daemon-reload || true
	for daemon in qd lookupd admin; do
		if systemctl --quiet is-active millrace-$daemon; then
			echo "millrace-$daemon runs on as it was: systemctl restart millrace-$daemon"
		fi
	done
fi
