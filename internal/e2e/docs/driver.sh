# Runs the blocks of a page in one shell, bash or zsh, as the tests tell it: a word and a
# block's number in a line on descriptor 3, the status in a line on descriptor 4. A block
# is $D/N.sh, what it prints goes to $D/N.out. With set -e a command that fails ends all.
trap 'find . -maxdepth 3 -name "*.log" -not -path "*/archive/*" -exec tail -v -n 25 {} + >"$D/logs" 2>/dev/null' EXIT
terminals=

# left lists the processes that are there besides this one.
left() {
	for entry in /proc/[0-9]*; do
		[ "$entry" = /proc/$$ ] || tr '\0' ' ' <"$entry/cmdline" 2>/dev/null || true
	done
}

set -e
while read -r word n <&3; do
	block=$D/$n.sh out=$D/$n.out
	case $word in
	run)
		{ . "$block"; } </dev/null >"$out" 2>&1 3<&- 4>&-
		echo 0 >&4
		;;
	try)
		set +e
		{ . "$block"; } </dev/null >"$out" 2>&1 3<&- 4>&-
		echo $? >&4
		set -e
		;;
	terminal)
		env --default-signal=INT setsid "$S" "$block" </dev/null >"$out" 2>&1 3<&- 4>&- &
		terminals="$! $terminals"
		echo 0 >&4
		;;
	interrupt)
		for p in $(echo "$terminals"); do
			kill -INT -- "-$p" 2>/dev/null || true
			wait "$p" || true
		done
		terminals=
		echo 0 >&4
		;;
	left)
		i=0
		while :; do
			left >"$out" 2>/dev/null
			[ -s "$out" ] && [ $i -lt 100 ] || break
			i=$((i + 1))
			sleep 0.1
		done
		echo 0 >&4
		;;
	esac
done
