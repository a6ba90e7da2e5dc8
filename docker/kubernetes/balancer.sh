#!/bin/sh
# Starts the load balancer in a cluster. nginx needs the name server's address and full names, which differ from one cluster
# to the next. The pod's resolv.conf has both: `search` begins with NAMESPACE.svc.DOMAIN.
set -eu
server=$(awk '$1 == "nameserver" { print $2; exit }' /etc/resolv.conf)
domain=$(awk '$1 == "search" { print $2; exit }' /etc/resolv.conf)
case $server in *:*) server="[$server]" ;; esac
sed "s/resolver 127.0.0.11/resolver $server/; s/server serving:/server serving.$domain:/" \
  /etc/balancer/upstreams.conf > /tmp/upstreams.conf
cp /etc/balancer/nginx.conf /tmp/nginx.conf
exec nginx -c /tmp/nginx.conf -g "daemon off;"
