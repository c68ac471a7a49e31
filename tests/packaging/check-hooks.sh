#!/bin/sh
# SPDX-License-Identifier: ISC
# The hooks of resolvconf and NetworkManager: from what those know to the file that dnsproxyd reads. All of it in a directory
# that stands for /, with stand-ins for what is installed.
build=$PWD
# Daemons that have changed their user cannot look for leaks.
export ASAN_OPTIONS=detect_leaks=0
. "${srcdir:-.}/tests/tree/tap.sh"
root=$(mktemp -d) || exit 99
trap 'rm -rf "$root"' EXIT
servers=$root/run/dnsproxyd/resolv.conf
reloads=$root/reloads

mkdir -p "$root/usr/libexec/dnsproxyd" "$root/lib/resolvconf" "$root/run/systemd/system" "$root/bin"
for hook in set-servers resolvconf NetworkManager; do
	sed -E "s,([ (])/(run|lib|usr/libexec)/,\\1$root/\\2/,g" "packaging/hooks/$hook" >"$root/$hook"
	chmod 755 "$root/$hook"
done
mv "$root/set-servers" "$root/usr/libexec/dnsproxyd"
printf '#!/bin/sh\nls %s/run/resolvconf/interface\n' "$root" >"$root/lib/resolvconf/list-records"
# shellcheck disable=SC2016 # for the stand-in
printf '#!/bin/sh\necho "$@" >>%s\n' "$reloads" >"$root/bin/systemctl"
chmod 755 "$root/lib/resolvconf/list-records" "$root/bin/systemctl"
PATH=$root/bin:$PATH

# check_servers NAME SERVERS RELOADS COMMAND...: what the command makes of the file, and how often dnsproxyd has reloaded
# since the beginning.
check_servers()
{
	name=$1 wanted="$2, $3"
	shift 3
	output=$("$@" 2>&1)
	status=$?
	got="$(sed 's/nameserver //' "$servers" 2>/dev/null | paste -s -d ' '), $(
		grep -c 'try-reload-or-restart dnsproxyd' "$reloads" 2>/dev/null
	)"
	check_result "$name" "$(
		[ "$got" = "$wanted" ] || echo "servers and reloads are '$got', not '$wanted'"
		[ "$status-$output" = 0- ] || echo "status $status: $output"
		[ ! -e "$servers.new" ] || echo "something is left behind"
	)"
}

check_servers 'resolvconf without records is nothing' '' '' "$root/resolvconf"
mkdir -p "$root/run/resolvconf/interface"
cd "$root/run/resolvconf/interface" || exit 99
printf 'nameserver 127.0.0.1\nnameserver 198.51.100.9\n' >lo.other
check_servers 'servers of this host are not asked' '' '' "$root/resolvconf"
printf 'search example\nnameserver 192.0.2.1\nnameserver 127.0.0.53\nnameserver ::1\n' >eth0.dhclient
printf '# comment\nnameserver 192.0.2.1\nnameserver 2001:db8::1\n' >wlan0.dhclient
check_servers 'the servers of all networks are asked, each once' '192.0.2.1 2001:db8::1' 1 "$root/resolvconf"
check_servers 'what has not changed is no reason to reload' '192.0.2.1 2001:db8::1' 1 "$root/resolvconf"
check_servers 'NetworkManager leaves it to resolvconf' '192.0.2.1 2001:db8::1' 1 "$root/NetworkManager" eth0 up
rm wlan0.dhclient
check_servers 'a network that goes takes its servers along' '192.0.2.1' 2 "$root/resolvconf"
rm eth0.dhclient
check_servers 'the last one leaves nothing' '' 3 "$root/resolvconf"
cd "$root" || exit 99
rm -r "$root/run/resolvconf"

check_servers 'NetworkManager without a file is nothing' '' 3 "$root/NetworkManager" eth0 up
mkdir "$root/run/NetworkManager"
echo 'nameserver 192.0.2.3' >"$root/run/NetworkManager/resolv.conf"
check_servers 'events that change no server are nothing' '' 3 "$root/NetworkManager" eth0 pre-up
check_servers 'NetworkManager brings servers' '192.0.2.3' 4 "$root/NetworkManager" eth0 dhcp4-change
echo 'nameserver 192.0.2.4' >"$root/run/NetworkManager/no-stub-resolv.conf"
check_servers 'its list without its own forwarder counts' '192.0.2.4' 5 "$root/NetworkManager" wlan0 up

# dnsproxyd says whom it asks, as soon as it starts.
touch "$root/empty.conf"
"$build/dnsproxyd/dnsproxyd" -c "$root/empty.conf" -o "listen test.address=127.77.0.1:$((10240 + $$ % 20000))" \
	-o "server.resolv-conf=$root/none,$servers" 2>"$root/log" &
daemon=$!
for _ in 1 2 3 4 5 6 7 8 9 10; do
	grep -q 'ready ' "$root/log" && break
	sleep 0.2
done
kill $daemon
wait $daemon
check_result 'dnsproxyd asks the servers of that file' "$(
	grep -q 'upstream group=default server=192\.0\.2\.4:53$' "$root/log" || cat "$root/log"
)"
check_end
