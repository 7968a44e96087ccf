#!/bin/sh
# Installs the package $1 on this machine's root, of which only this script sees the
# changes, with a network of its own, and starts qd as its unit does. It is run by
# "unshare --mount --net"; $2 is an empty folder.
set -eu
mount --make-rprivate /
mount -t tmpfs tmpfs "$2"
mkdir "$2/upper" "$2/work" "$2/root"
mount -t overlay overlay -o "lowerdir=/,upperdir=$2/upper,workdir=$2/work" "$2/root"
mount -t proc proc "$2/root/proc"
mount --rbind /dev "$2/root/dev"
mount -t tmpfs tmpfs "$2/root/run"
mount -t tmpfs tmpfs "$2/root/tmp"
cp "$1" "$2/root/tmp/millrace.deb"
cat >"$2/root/tmp/inside.sh" <<'EOF'
set -eu
dpkg --no-triggers -i /tmp/millrace.deb
dpkg -V millrace
stat -c '%n %U:%G %a' /etc/millrace /etc/millrace/qd.toml /usr/bin/qd
unit=/usr/lib/systemd/system/millrace-qd.service
set -- $(sed -n 's/^ExecStart=//p' $unit)
user=$(sed -n 's/^User=//p' $unit)
# systemd's StateDirectory and LogsDirectory, and those of daemons with a user for a while.
install -d -o "$user" -g "$user" -m 700 /var/lib/millrace /var/log/millrace
mkdir /var/lib/millrace-admin /var/log/millrace-lookupd
"$@" --version
for daemon in qd lookupd admin; do
	$(sed -n 's/^ExecStart=//p' /usr/lib/systemd/system/millrace-$daemon.service) --check-config
done
cd /var/lib/millrace
setpriv --reuid="$user" --regid="$user" --init-groups --no-new-privs --bounding-set=-all "$@" --tcp-address=/tmp/qd.sock --http-address=/tmp/qd-http.sock &
qd=$!
for i in $(seq 600); do [ ! -S /tmp/qd-http.sock ] || break; kill -0 $qd; sleep 0.1; done
curl -sS --unix-socket /tmp/qd-http.sock -d 'kept' 'http://qd/pub?topic=t'; echo
kill -INT $qd
wait $qd
ls /var/lib/millrace
grep '"topic":"t"' /var/log/millrace/qd.jsonl
# What its owner has changed in the settings an upgrade keeps.
echo '# mine' >>/etc/millrace/qd.toml
dpkg --no-triggers -i /tmp/millrace.deb
grep -qx '# mine' /etc/millrace/qd.toml
dpkg --no-triggers --purge millrace
[ ! -e /usr/bin/qd ] && [ ! -e /etc/millrace/qd.toml ] && [ -n "$(ls /var/lib/millrace)" ] && getent passwd millrace
echo 'all is as it should be'
EOF
exec chroot "$2/root" sh /tmp/inside.sh
