#!/bin/sh
# Records a.pcap, b.pcapng, sll.pcap and sll2.pcap here, as root: three Linux hosts in a row, a -- r -- b,
# in network namespaces; the link r -- b has an MTU of 1400. Afterwards neighbour discovery at the start was cut
# with editcap, which also removed the description of the recording machine from b.pcapng.
set -e
for n in a r b; do ip netns add wt$n; ip -n wt$n link set lo up; done
ip link add va netns wta type veth peer name vra netns wtr
ip link add vb netns wtb type veth peer name vrb netns wtr
x() { n=$1; shift; ip netns exec wt$n "$@"; }
for n in a r b; do x $n sysctl -qw net.ipv6.conf.all.accept_dad=0 net.ipv6.conf.default.accept_dad=0 net.ipv6.icmp.ratelimit=0 net.ipv4.icmp_ratelimit=0 net.ipv6.auto_flowlabels=0; done
x r sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1
for n in a b; do for v in va vb vra vrb; do x $n sysctl -qw net.ipv6.conf.$v.accept_dad=0 net.ipv6.conf.$v.router_solicitations=0 2>/dev/null || true; done; done
x a ip addr add 192.0.2.1/24 dev va;  x a ip -6 addr add 2001:db8:1::1/64 dev va nodad
x r ip addr add 192.0.2.254/24 dev vra; x r ip -6 addr add 2001:db8:1::ff/64 dev vra nodad
x r ip addr add 198.51.100.254/24 dev vrb; x r ip -6 addr add 2001:db8:2::ff/64 dev vrb nodad
x b ip addr add 198.51.100.1/24 dev vb; x b ip -6 addr add 2001:db8:2::1/64 dev vb nodad
x a ip link set va up; x r ip link set vra up; x r ip link set vrb mtu 1400 up; x b ip link set vb mtu 1400 up
x a ip route add default via 192.0.2.254; x a ip -6 route add default via 2001:db8:1::ff
x b ip route add default via 198.51.100.254; x b ip -6 route add default via 2001:db8:2::ff
x r ip route add prohibit 203.0.113.0/24; x r ip -6 route add prohibit 2001:db8:3::/64
sleep 2
x a ping -qc1 198.51.100.1 >/dev/null; x a ping -6 -qc1 2001:db8:2::1 >/dev/null
x a tcpdump -i va -U --time-stamp-precision=nano -w a.pcap 2>/dev/null & TA=$!
x b dumpcap -q -i vb -w b.pcapng 2>/dev/null & TB=$!
x r tcpdump -i any -y LINUX_SLL2 -c 4 -U -w sll2.pcap icmp 2>/dev/null & TR=$!
x r tcpdump -i any -y LINUX_SLL -c 4 -U -w sll.pcap icmp 2>/dev/null & TS=$!
sleep 2
p() { x a ping -n -q -c1 -W1 "$@" >/dev/null 2>&1 || true; }
p 198.51.100.1
p -Q 0xb9 -s 57 198.51.100.1
p -M dont -s 3001 198.51.100.1
p -R -M dont -s 2000 198.51.100.1
p -M do -s 1450 198.51.100.1
p -t 1 -s 700 198.51.100.1
p 203.0.113.9
p 10.9.9.9
p 2001:db8:2::1
p -Q 0xb9 -s 57 2001:db8:2::1
p -M do -s 1450 2001:db8:2::1
p -s 3001 2001:db8:2::1
p -t 1 -s 1300 2001:db8:2::1
p 2001:db8:3::9
p 2001:db9::9
x a python3 - <<'P'
import socket,time
for fam, to in ((socket.AF_INET,"198.51.100.1"),(socket.AF_INET6,"2001:db8:2::1")):
    s=socket.socket(fam,socket.SOCK_DGRAM); s.sendto(b"closed",(to,33434)); time.sleep(.1)
    s=socket.socket(fam,socket.SOCK_RAW,253); s.sendto(b"protocol 253",(to,0)); time.sleep(.1)
s=socket.socket(socket.AF_INET6,socket.SOCK_DGRAM); s.setsockopt(41,59,bytes([0,0,1,4,0,0,0,0]))  # IPV6_DSTOPTS
s.setsockopt(41,54,bytes([0,0,1,4,0,0,0,0]))  # IPV6_HOPOPTS
s.sendto(b"options",("2001:db8:2::1",33434)); time.sleep(.1)
P
x r ip route del prohibit 203.0.113.0/24
sleep 1
kill -INT $TA $TB $TR $TS 2>/dev/null || true
sleep 1
for n in a r b; do ip netns del wt$n; done
