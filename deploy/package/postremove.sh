#!/bin/sh
# Messages are not the package's: neither remove nor purge takes them away, nor their owner.
set -e
if [ -d /run/systemd/system ]; then systemctl daemon-reload || true; fi
if [ "${1:-}" = purge ] && [ -d /var/lib/millrace ]; then
	echo "the messages in /var/lib/millrace are kept: rm -r /var/lib/millrace removes them"
fi
