"""`python -m tests.serving.server.probe SECONDS SERVER...`: prints the longest time that each server took to answer.

A process of its own, so that it does not wait for the threads of a test.
"""

import sys
import time

from serving.transports import served_versions

PAUSE_S = 0.1

if __name__ == "__main__":
    seconds, *servers = sys.argv[1:]
    slowest = dict.fromkeys(servers, 0.0)
    end = time.monotonic() + float(seconds)
    while time.monotonic() < end:
        for server in servers:
            begin = time.monotonic()
            assert served_versions(server, timeout_s=60)
            slowest[server] = max(slowest[server], time.monotonic() - begin)
        time.sleep(PAUSE_S)
    print(*slowest.values())
