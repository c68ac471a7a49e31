#!/bin/sh
# SPDX-License-Identifier: ISC
# The systemd units: systemd takes them, and their sandbox leaves little.
build=$PWD
. "${srcdir:-.}/tests/tree/tap.sh"
units='socksd.service socksd.socket socksd@.service dnsproxyd.service dnsproxyd.socket'

if ! command -v systemd-analyze >/dev/null; then
	for unit in $units; do
		check_skip "systemd takes $unit" 'systemd-analyze is not installed'
	done
	check_end
	exit
fi

# A copy whose commands and manual pages are there, wherever they will be installed.
units_dir=$(mktemp -d) || exit 99
trap 'rm -rf "$units_dir"' EXIT
ln -s "$build/socksd/socksd" "$build/dnsproxyd/dnsproxyd" "$units_dir"
for unit in $units; do
	sed "s,/usr/sbin/,$units_dir/,; /^Documentation=/d" "packaging/systemd/$unit" \
		>"$units_dir/$(printf '%s' "$unit" | sed 's/@/@x/')"
done
for unit in $units; do
	instance=$(printf '%s' "$unit" | sed 's/@/@x/')
	check_result "systemd takes $unit" "$(
		systemd-analyze verify --man=no "$units_dir/$instance" 2>&1 | grep -F "$units_dir"
		systemd-analyze verify --man=no "$units_dir/$instance" 2>&1 | grep "^${instance%.*}\."
	)"
done

# The form for systemd 253 and later, which this one may not know.
version=$(systemd-analyze --version | sed -n '1s/^systemd \([0-9]*\).*/\1/p')
for unit in socksd.service socksd@.service dnsproxyd.service; do
	instance=$(printf '%s' "$unit" | sed 's/@/@x/')
	sed -i.notify -f packaging/systemd/notify-reload.sed "$units_dir/$instance"
	check_result "$unit can have systemd reload it" "$(
		[ "$(diff "$units_dir/$instance.notify" "$units_dir/$instance" | grep '^[<>]')" = "< Type=notify
> Type=notify-reload
< ExecReload=kill -HUP \$MAINPID" ] || diff "$units_dir/$instance.notify" "$units_dir/$instance"
		[ "$version" -lt 253 ] || systemd-analyze verify --man=no "$units_dir/$instance" 2>&1 | grep -F "$units_dir"
	)"
	mv "$units_dir/$instance.notify" "$units_dir/$instance"
done
for unit in socksd.service socksd@.service dnsproxyd.service; do
	instance=$(printf '%s' "$unit" | sed 's/@/@x/')
	check_result "$unit is exposed no more than 1.2 of 10" "$(
		systemd-analyze security --no-pager --offline=true --threshold=12 "$units_dir/$instance" >"$units_dir/log" 2>&1 ||
			tail -n 1 "$units_dir/log"
	)"
done
check_end
