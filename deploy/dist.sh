#!/bin/sh
# Makes what is released, in build/dist: for each architecture the programs as .tar.gz, .deb,
# .rpm, and what is in them as an SBOM; and the checksums of all. The same source makes the
# same bytes, on whatever machine with the same Go. "make dist" runs it.
#
# ARCHES, FORMATS, PROGRAMS, VERSION, COMMIT, SOURCE_DATE_EPOCH and DIST may be set.
set -eu
cd "$(dirname "$0")/.."
export LC_ALL=C TZ=UTC CGO_ENABLED=0 GOOS= GOARCH= GOAMD64=v1 GOARM64=v8.0 GOEXPERIMENT= GOFLAGS=
umask 022
program=github.com/millrace-mq/millrace/internal/program
dist=${DIST:-$PWD/build/dist}
commit=${COMMIT:-$(git rev-parse HEAD 2>/dev/null || echo unknown)}
# Files are as old as what they were made of.
export SOURCE_DATE_EPOCH="${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || date -d 2026-11-21 +%s)}"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# compile OS ARCH builds the programs into $work/OS-ARCH, unless they are there. No path of
# this machine is in them.
compile() {
	[ ! -d "$work/$1-$2" ] || return 0
	mkdir "$work/$1-$2"
	GOOS=$1 GOARCH=$2 go build -trimpath -buildvcs=false -ldflags "-s -w -buildid= $stamp" -o "$work/$1-$2/" \
		$(for p in ${PROGRAMS:-...}; do echo ./apps/$p; done)
}

# named lists the programs, each with the name that it is installed by.
named() {
	make --no-print-directory names | while read -r pair; do
		case " ${PROGRAMS:-${pair%%=*}} " in *" ${pair%%=*} "*) echo "$pair" ;; esac
	done
}

# pack ARCHIVE FOLDER... is tar, of what is in the current folder.
pack() {
	archive=$1
	shift
	tar --sort=name --format=ustar --owner=0 --group=0 --numeric-owner --mtime="@$SOURCE_DATE_EPOCH" -cf - "$@" | gzip -9n >"$archive"
}

stamp="-X $program.Commit=$commit -X $program.Released=$(date -u -d "@$SOURCE_DATE_EPOCH" +%Y-%m-%d)"
stamp="$stamp${VERSION:+ -X $program.Version=$VERSION}"

# Where they are up to date they are not linked again.
tools=$PWD/build/tools
mkdir -p "$tools"
go -C internal/tools/packages build -buildvcs=false -o "$tools/" ./sbom github.com/goreleaser/nfpm/v2/cmd/nfpm

# Man pages and completions are the same for all architectures: this machine's programs tell.
echo 'dist: man pages and completions'
os=$(go env GOHOSTOS) arch=$(go env GOHOSTARCH)
compile "$os" "$arch"
host=$work/$os-$arch
first=$(ls "$host" | head -n 1)
version=$("$host/$first" --version | sed 's/^[^ ]* v\([^ ]*\).*/\1/')
make --no-print-directory install-built names="$(named | tr '\n' ' ')" BUILD="$host" DESTDIR="$work/shared" PREFIX=/usr >/dev/null
rm -r "$work/shared/usr/bin"
gzip -9n "$work"/shared/usr/share/man/man1/*

rm -rf "$dist"
mkdir -p "$dist"
for arch in ${ARCHES:-amd64 arm64}; do
	echo "dist: $version for linux/$arch"
	compile linux "$arch"
	tree=$work/tree-$arch
	mkdir -p "$tree/usr/bin" "$tree/usr/lib/systemd/system" "$tree/usr/lib/sysusers.d" "$tree/usr/share/doc/millrace" "$tree/etc/logrotate.d"
	cp -R "$work/shared/usr/share" "$tree/usr/"
	for pair in $(named); do cp "$work/linux-$arch/${pair%%=*}" "$tree/usr/bin/${pair#*=}"; done
	cp deploy/systemd/*.service "$tree/usr/lib/systemd/system/"
	cp deploy/systemd/millrace.sysusers.conf "$tree/usr/lib/sysusers.d/millrace.conf"
	cp LICENSE "$tree/usr/share/doc/millrace/copyright"
	cp -R deploy/grafana deploy/prometheus "$tree/usr/share/doc/millrace/"
	cp -R deploy/etc "$tree/etc/millrace"
	cp deploy/logrotate.conf "$tree/etc/logrotate.d/millrace"
	cp -R deploy/package "$tree/package"
	chmod -R u=rwX,go=rX "$tree"
	find "$tree" -exec touch -h -d "@$SOURCE_DATE_EPOCH" {} +
	name=millrace-$version-linux-$arch
	mv "$tree" "$work/$name"
	(cd "$work" && pack "$dist/$name.tar.gz" "$name/usr" "$name/etc")
	"$tools/sbom" -version "$version" "$work/$name"/usr/bin/* >"$dist/$name.cdx.json"
	for format in ${FORMATS:-deb rpm}; do
		(cd "$work/$name" && ARCH=$arch VERSION=$version "$tools/nfpm" package \
			--config package/nfpm.yaml --packager $format --target "$dist/" >/dev/null)
	done
done
(cd "$dist" && sha256sum -- * >"$work/sums" && mv "$work/sums" SHA256SUMS)
ls -l "$dist"
