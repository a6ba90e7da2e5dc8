"""Measurements that `make bench` prints: each is a function that returns records of a figure beside its target."""
