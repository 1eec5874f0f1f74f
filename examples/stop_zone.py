"""A robot that stops while somebody is in its way: python examples/stop_zone.py [ENDPOINT]

It prints STOP and GO with the reason; a robot would set its motors there. It stops at once, also when there
are no masks to go by, and goes again only after the way has been clear for a second.
"""

import argparse
import time

from gnetsegd.client import DEFAULT_ENDPOINT, MaskSubscriber, Zone

#: The way, in fractions of the camera's picture: the lower middle.
WAY = Zone([(0.35, 0.4), (0.65, 0.4), (0.9, 1.0), (0.1, 1.0)])
#: It stops from so much person in the way on, and goes below the second.
STOP_SHARE, GO_SHARE = 0.03, 0.01
CLEAR_S = 1.0
#: An older picture is none to drive by, in s; a loop has this beat.
MAX_AGE_S, BEAT_S = 0.3, 0.02


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("endpoint", nargs="?", default=DEFAULT_ENDPOINT)
    going, clear_since = None, None  # nothing is said yet
    with MaskSubscriber(parser.parse_args().endpoint) as masks:
        while True:
            mask, now = masks.latest(MAX_AGE_S), time.monotonic()
            share = None if mask is None else mask.share(WAY)
            if share is None or share >= STOP_SHARE:
                clear_since = None
                if going is not False:
                    going = False
                    reason = masks.no_data.reason if share is None else f"{share:.0%} of the way is person"
                    print(f"STOP: {reason}", flush=True)
            elif share < GO_SHARE:
                clear_since = clear_since or now
                if not going and now - clear_since >= CLEAR_S:
                    going = True
                    print("GO: the way is clear", flush=True)
            else:
                clear_since = None  # between the two: as it was
            time.sleep(BEAT_S)


if __name__ == "__main__":
    main()
