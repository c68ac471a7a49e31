#!/bin/sh
# SPDX-License-Identifier: ISC
# deb-test.sh WORK DEB...: the packages in a Debian of their own, which debootstrap makes in the directory WORK. They are
# installed, used as their units would start them, upgraded, removed and purged; the first thing that is wrong ends it. Wants
# root, debootstrap, and what `./dev deb-test` installs. WORK/base is kept for the next time.
set -eu
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd -P)
mkdir -p "$1"
work=$(CDPATH='' cd -- "$1" && pwd -P)
shift

# --- the Debian ----------------------------------------------------------------------------------

# The first alternatives of what the packages depend on.
depends=$(for deb; do
	dpkg-deb -f "$deb" Pre-Depends Depends
done | sed 's/^[A-Za-z-]*: //; s/,/\n/g' | sed 's/[|(].*//; s/ //g' | sort -u | grep . | paste -s -d ,)
include=$depends,python3,curl,bind9-dnsutils
# shellcheck disable=SC1091 # of the host
suite=$(. /etc/os-release && echo "$VERSION_CODENAME")

if [ "$(cat "$work/base.is" 2>/dev/null)" != "$suite $include" ]; then
	rm -rf --one-file-system "$work/base" "$work/base.is"
	debootstrap --variant=minbase --include="$include" "$suite" "$work/base" >"$work/debootstrap.log"
	echo "$suite $include" >"$work/base.is"
fi
rm -rf --one-file-system "$work/root"
cp -a "$work/base" "$work/root"
mkdir "$work/root/deb-test"
cp "$@" "$work/root/deb-test"
cp -R "$here/debian/tests" "$work/root/deb-test"

# --- the packages of a lower version -------------------------------------------------------------

# Of dnsproxyd the configuration has changed since, of socksd it has not.
for deb; do
	name=$(dpkg-deb -f "$deb" Package)
	rm -rf "$work/older"
	dpkg-deb -R "$deb" "$work/older"
	sed -i 's/^Version: .*/Version: 0.0.1-1/' "$work/older/DEBIAN/control"
	if [ "$name" = dnsproxyd ]; then
		echo '# As it was.' >>"$work/older/etc/dnsproxyd/dnsproxyd.conf"
	fi
	mkdir -p "$work/root/deb-test/older"
	dpkg-deb --root-owner-group -b "$work/older" "$work/root/deb-test/older/$name.deb" >/dev/null
done
rm -rf "$work/older"

# --- inside --------------------------------------------------------------------------------------

cat >"$work/root/deb-test/inside" <<'END'
set -eu
export DEBIAN_FRONTEND=noninteractive PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root
cd /deb-test
done_with()
{
	echo "ok - $1"
}
fail()
{
	echo "not ok - $1"
	exit 1
}

# All files, but for what dpkg and the C library keep for themselves.
files()
{
	find / -xdev \( -path /proc -o -path /deb-test -o -path /tmp -o -path /run -o -path /var/lib/dpkg -o -path /var/log -o \
		-path '/var/cache/*' -prune -o -name 'ld.so.cache' -o -name '*.pyc' -o -name __pycache__ -o \
		-path '/etc/passwd*' -o -path '/etc/group*' -o -path '/etc/*shadow*' -o -path '/etc/subuid*' -o \
		-path '/etc/subgid*' \) -prune -o -type f -printf '%p %m %U:%G ' -exec sha256sum {} \; -o \
		-printf '%p %y %m %U:%G %l\n' | sort
	find /var/cache /run -xdev \( -name '*socksd*' -o -name '*dnsproxyd*' \)
	getent passwd
	getent group
}

files >before
dpkg -i ./*.deb >log 2>&1 || fail "install: $(cat log)"
[ "$(dpkg -V socksd dnsproxyd)" = "" ] || fail "dpkg -V: $(dpkg -V socksd dnsproxyd)"
for daemon in socksd dnsproxyd; do
	$daemon -t || fail "$daemon -t"
	! grep -q 'port 53 is taken' log || fail 'port 53 is free, and said to be taken'
done
done_with 'installed'

for daemon in socksd dnsproxyd; do
	sh tests/$daemon >log 2>&1 || fail "the test of $daemon: $(cat log)"
	done_with "$daemon works as its unit starts it"
done

dpkg -r socksd dnsproxyd >log 2>&1 || fail "remove: $(cat log)"
[ -e /etc/socksd/socksd.conf ] && [ -e /etc/dnsproxyd/dnsproxyd.conf ] || fail 'a removal took configuration away'
[ ! -e /usr/sbin/socksd ] && [ ! -e /usr/sbin/dnsproxyd ] || fail 'a removal left a program'
done_with 'removed'
dpkg -P socksd dnsproxyd >log 2>&1 || fail "purge: $(cat log)"
files >after
cmp -s before after || fail "a purge left or took: $(diff before after)"
done_with 'purged: nothing is left'

python3 -c 'import socket, time
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind(("0.0.0.0", 53))
time.sleep(60)' &
taker=$!
tries=0
until grep -q ':0035 ' /proc/net/udp || [ $((tries += 1)) -gt 100 ]; do sleep 0.1; done
dpkg -i ./dnsproxyd_*.deb >log 2>&1 || fail "install with port 53 taken: $(cat log)"
grep -q 'port 53 is taken' log || fail "nobody says that port 53 is taken: $(cat log)"
status=0
dnsproxyd -o 'listen test.address=127.0.0.1:53' 2>log || status=$?
[ $status -eq 1 ] && grep -q 'cannot-listen address=127.0.0.1:53 .*in use' log || fail "dnsproxyd says $status: $(cat log)"
kill $taker
dpkg -P dnsproxyd >log 2>&1
done_with 'port 53 taken: said at the installation, which succeeds, and by the daemon'

dpkg -i older/*.deb >log 2>&1 || fail "install of the older: $(cat log)"
for daemon in socksd dnsproxyd; do
	printf '[limits]\ndrain-timeout = 7s\n' >>/etc/$daemon/$daemon.conf
done
echo secret | socksd-passwd /etc/socksd/users alice
mkdir -p /var/cache/dnsproxyd
touch /var/cache/dnsproxyd/cache
cat /etc/socksd/* >kept
# What changed on both sides is kept as apt keeps it when nobody is there to ask.
dpkg --force-confdef --force-confold -i ./*.deb >log 2>&1 || fail "upgrade: $(cat log)"
cat /etc/socksd/* | cmp -s - kept || fail 'an upgrade changed a file of socksd'
for daemon in socksd dnsproxyd; do
	$daemon --print-config | grep -q '^drain-timeout = 7s' || fail "an upgrade lost the configuration of $daemon"
done
[ "$(cat /etc/dnsproxyd/dnsproxyd.conf.dpkg-dist | grep -c '7s\|As it was')" = 0 ] || fail 'the new configuration is not there'
[ -e /var/cache/dnsproxyd/cache ] || fail 'an upgrade lost the cache'
done_with 'upgraded: edited configuration and the cache are kept'

dpkg -P socksd dnsproxyd >log 2>&1 || fail "purge: $(cat log)"
files >after
cmp -s before after || fail "a purge left or took: $(diff before after)"
done_with 'purged after an upgrade and use: nothing is left'
END

# shellcheck disable=SC2016 # for the shell that runs it
exec unshare --mount --net --pid --fork sh -euc '
	ip link set lo up
	mount -t proc proc "$1/proc"
	exec chroot "$1" env -i sh /deb-test/inside' sh "$work/root"
