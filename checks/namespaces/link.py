"""A link between two network namespaces that is late, loses frames, and can be cut.

link.py NAME NAME MILLISECONDS PER_CENT: a device `link0` in each of the two, joined by this
process, for kernels that have no netem. SIGUSR1 cuts it; SIGTERM ends it, with a count.
"""

import ctypes
import fcntl
import heapq
import os
import random
import select
import signal
import struct
import sys
import time

TUNSETIFF, IFF_TAP, IFF_NO_PI = 0x400454CA, 0x0002, 0x1000


def device(namespace):
    """A device of this namespace, as a file of frames."""
    with open(f"/run/netns/{namespace}") as file:
        if ctypes.CDLL(None, use_errno=True).setns(file.fileno(), 0) != 0:
            sys.exit(f"link.py: cannot enter {namespace}: {os.strerror(ctypes.get_errno())}")
    tap = os.open("/dev/net/tun", os.O_RDWR)
    fcntl.ioctl(tap, TUNSETIFF, struct.pack("16sH22x", b"link0", IFF_TAP | IFF_NO_PI))
    return tap


def main():
    ends = [device(name) for name in sys.argv[1:3]]
    delay, loss = float(sys.argv[3]) / 1000, float(sys.argv[4]) / 100
    other, rng = {ends[0]: ends[1], ends[1]: ends[0]}, random.Random(1)
    state = {"cut": False, "carried": 0, "lost": 0}

    def cut(*_):
        state["cut"] = True

    def end(*_):
        sys.exit(f"link.py: {state['carried']} frames carried, {state['lost']} lost")

    signal.signal(signal.SIGUSR1, cut)
    signal.signal(signal.SIGTERM, end)
    print("up", flush=True)
    late = []
    while True:
        wait = max(0.0, late[0][0] - time.monotonic()) if late else None
        for tap in select.select(ends, [], [], wait)[0]:
            frame = os.read(tap, 65536)
            if state["cut"] or rng.random() < loss:
                state["lost"] += 1
                continue
            state["carried"] += 1
            heapq.heappush(late, (time.monotonic() + delay, state["carried"], other[tap], frame))
        while late and late[0][0] <= time.monotonic():
            _, _, tap, frame = heapq.heappop(late)
            try:
                os.write(tap, frame)
            except OSError:
                pass  # The device is not up yet.


main()
