#!/bin/sh
# Starts the load balancer in a cluster. nginx asks a name server by itself, for full names alone; which they are differs
# from one cluster to the next, and the pod's resolv.conf says it: `search` begins with NAMESPACE.svc.DOMAIN.
set -eu
server=$(awk '$1 == "nameserver" { print $2; exit }' /etc/resolv.conf)
domain=$(awk '$1 == "search" { print $2; exit }' /etc/resolv.conf)
case $server in *:*) server="[$server]" ;; esac
sed "s/resolver 127.0.0.11/resolver $server/; s/server serving:/server serving.$domain:/" \
  /etc/balancer/upstreams.conf > /tmp/upstreams.conf
cp /etc/balancer/nginx.conf /tmp/nginx.conf
exec nginx -c /tmp/nginx.conf -g "daemon off;"
