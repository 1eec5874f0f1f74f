"""Follow the person in front of the camera: python examples/subscribe.py [ENDPOINT]"""

import sys

from gnetsegd.client import DEFAULT_ENDPOINT, MaskSubscriber

with MaskSubscriber(sys.argv[1] if len(sys.argv) > 1 else DEFAULT_ENDPOINT) as masks:
    for mask in masks:  # ends with NoDataError, which says why, when the masks stop
        print(f"frame {mask.sequence}: {mask.age_s * 1000:.0f} ms old, {mask.share():.0%} person", flush=True)
