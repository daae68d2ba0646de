#!/bin/bash
# Records web-download.pcap: a host asks a resolver for names and downloads pages, with the kernel's own TCP.
#
#   sudo topologies/captures/record.sh [OUT.pcap]
#
# Needs root, and Debian's iproute2, python3, curl, dnsmasq-base and tcpdump. Everything happens in two network
# namespaces that it makes and removes; no packet leaves the machine.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
out=${1:-$here/web-download.pcap}
client=capture-client
server=capture-server
work=$(mktemp -d)
jobs_started=()

cleanup() {
    for pid in "${jobs_started[@]}"; do kill "$pid" 2>/dev/null || true; done
    wait
    for ns in "$client" "$server"; do
        ip netns del "$ns" 2>/dev/null || true
        rm -rf "/etc/netns/$ns"
    done
    rm -rf "$work"
}
trap cleanup EXIT

start() {
    "$@" &
    jobs_started+=($!)
}

wait_for() {    # file, text
    for _ in $(seq 100); do grep -q "$2" "$1" 2>/dev/null && return; sleep 0.05; done
    echo "record.sh: no '$2' in $1:" >&2
    cat "$1" >&2
    exit 1
}

# Two hosts and a line: 15 ms each way, 20 Mbit/s, MTU 1400 so that a packet fits into a tunnel over 1500.
start python3 "$here/delay_line.py" cap-client cap-server 15 20 >"$work/line"
wait_for "$work/line" ready
for end in client server; do
    ns=${!end}
    ip netns add "$ns"
    ip link set "cap-$end" netns "$ns" name tun0
    ip netns exec "$ns" sysctl -qw net.ipv6.conf.all.disable_ipv6=1
    ip -n "$ns" link set lo up
    ip -n "$ns" link set tun0 mtu 1400 up
done
ip -n "$client" addr add 192.0.2.10/32 dev tun0
ip -n "$client" route add default dev tun0
ip -n "$server" addr add 198.51.100.80/32 dev tun0
ip -n "$server" addr add 198.51.100.53/32 dev tun0
ip -n "$server" route add default dev tun0
for ns in "$client" "$server"; do
    mkdir -p "/etc/netns/$ns"
    echo "nameserver 198.51.100.53" >"/etc/netns/$ns/resolv.conf"
done

# What is served: two small pages and 200 KB of numbers.
mkdir "$work/www"
echo '<title>Example</title><link rel=stylesheet href=style.css><p>See <a href=numbers.txt>numbers</a>.' \
    >"$work/www/index.html"
echo 'body { font: 16px/1.5 serif; margin: 2em auto; max-width: 40em }' >"$work/www/style.css"
seq 36000 >"$work/www/numbers.txt"
start ip netns exec "$server" dnsmasq --keep-in-foreground --conf-file=/dev/null --no-resolv --no-hosts \
    --user=root --pid-file= --log-facility=- --bind-interfaces --listen-address=198.51.100.53 --local=/example/ \
    --host-record=www.example,198.51.100.80 --host-record=mail.example,198.51.100.25 2>"$work/dns"
wait_for "$work/dns" started
start ip netns exec "$server" python3 -u -m http.server 80 --bind 198.51.100.80 --directory "$work/www" \
    >"$work/http" 2>&1
wait_for "$work/http" "Serving HTTP"

start ip netns exec "$client" tcpdump -i tun0 -n -U --immediate-mode -Z root \
    --time-stamp-precision=nano -w "$work/out.pcap" \
    2>"$work/tcpdump"
wait_for "$work/tcpdump" listening
tcpdump=${jobs_started[-1]}

in_client() { ip netns exec "$client" "$@"; }
get() { in_client curl -sS --fail -o /dev/null "$@"; }

get http://www.example/index.html
get http://www.example/style.css
sleep 0.4
in_client getent ahostsv4 mail.example >/dev/null
in_client getent ahostsv4 nowhere.example >/dev/null || true      # NXDOMAIN
sleep 0.6
get http://www.example/numbers.txt
sleep 0.4
in_client curl -sS -o /dev/null http://www.example/missing        # 404
sleep 0.3

kill "$tcpdump"
wait "$tcpdump" || true
mv "$work/out.pcap" "$out"
chmod 644 "$out"
echo "$out: $(stat -c %s "$out") octets"
