#!/bin/sh
# Of deb and rpm. The user has to be there before files are unpacked that are his group's.
# It is made without systemd-sysusers, whose file is unpacked only afterwards.
set -e
if ! getent group millrace >/dev/null; then groupadd --system millrace; fi
if ! getent passwd millrace >/dev/null; then
	useradd --system --gid millrace --home-dir /var/lib/millrace --no-create-home --shell /usr/sbin/nologin \
		--comment 'Millrace queue daemon' millrace
fi
