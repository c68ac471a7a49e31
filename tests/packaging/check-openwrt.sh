#!/bin/sh
# SPDX-License-Identifier: ISC
# The init scripts for OpenWrt: what they tell procd (stand-ins note it) starts the daemons, with the samples beside them.
build=$PWD
# Daemons that have changed their user cannot look for leaks.
export ASAN_OPTIONS=detect_leaks=0
. "${srcdir:-.}/tests/tree/tap.sh"
work=$(mktemp -d) || exit 99
chmod 755 "$work"
trap 'rm -rf "$work"' EXIT
# The words of a command are not to be split in the middle of a path.
ln -s "$build" "$work/build"
build=$work/build
port=$((10240 + $$ % 20000))

# told DAEMON FUNCTION: what a function of an init script tells procd, a line for each call.
told()
{
	# shellcheck disable=SC2016 # for the shell that runs it
	sh -eu -c '
		for call in procd_open_instance procd_set_param procd_close_instance procd_send_signal procd_add_raw_trigger; do
			eval "$call() { echo $call \"\$@\"; }"
		done
		. "$0"
		PROG=$1 CONFIG=$2
		"$3"' "./packaging/openwrt/$1.init" "$build/$1/$1" "$work/$1.conf" "$2" 2>&1
}

# What is wrong with a start as procd would make it.
start_problems()
{
	told "$1" start_service >"$work/told" || cat "$work/told"
	grep -q '^procd_set_param respawn ' "$work/told" || echo 'procd will not start it again'
	command=$(sed -n 's/^procd_set_param command //p' "$work/told")
	: >"$work/log" # or what the last one said may be read before the next one starts
	# shellcheck disable=SC2086 # words, as procd gets them
	$command 2>"$work/log" &
	daemon=$!
	tries=0
	until grep -q ' ready version=' "$work/log" || [ $tries -eq 150 ]; do
		sleep 0.1
		tries=$((tries + 1))
	done
	kill $daemon 2>/dev/null
	wait $daemon || echo "'$command' ended with $?"
	grep -q "listening address=127\.77\.0\.2:$port " "$work/log" || cat "$work/log"
}

echo secret | "$build/socksd/socksd-passwd" "$work/users" alice 2>/dev/null
for daemon in socksd dnsproxyd; do
	printf 'nameserver 192.0.2.1\n' >"$work/resolv.conf.auto"
	sed "s,192\.168\.1\.1:[0-9]*,127.77.0.2:$port,; s/127\.0\.0\.1:53, //; s,/etc/socksd/,$work/,; s,/tmp/resolv.conf.d/,$work/," \
		"packaging/openwrt/$daemon.conf" >"$work/$daemon.conf"
	check_result "$daemon starts as its init script says" "$(start_problems $daemon)"
	check_result "$daemon reloads as its init script says" "$(
		[ "$(told $daemon reload_service)" = "procd_send_signal $daemon * HUP" ] || told $daemon reload_service
	)"
	echo '[nonsense]' >>"$work/$daemon.conf"
	check_result "$daemon does not reload a file with errors" "$(
		told $daemon reload_service >"$work/told" && echo 'it succeeds'
		grep -q procd_send_signal "$work/told" && cat "$work/told"
		grep -q "$daemon.conf:.*nonsense" "$work/told" || cat "$work/told"
	)"
done
check_result 'dnsproxyd reads the servers of a new interface' "$(
	told dnsproxyd service_triggers | grep -Fqx 'procd_add_raw_trigger interface.* 2000 /etc/init.d/dnsproxyd reload' ||
		told dnsproxyd service_triggers
)"
check_end
