"""Pictures of the page for docs/img: python tools/services/screenshots.py http://localhost:8090/ docs/img

Needs playwright and Debian's chromium (make test-services sees to both).
"""

from __future__ import annotations

import sys
from pathlib import Path

from playwright.sync_api import sync_playwright

PHONE = {"viewport": {"width": 390, "height": 844}, "is_mobile": True, "device_scale_factor": 1.5}
DESK = {"viewport": {"width": 1000, "height": 900}}
#: For the plot to have something to show, in ms.
WAIT_MS = 30_000


def main() -> None:
    address, folder = sys.argv[1], Path(sys.argv[2])
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
        for name, options, scheme in (("view-phone", PHONE, "dark"), ("view-desk", DESK, "light")):
            page = browser.new_context(color_scheme=scheme, **options).new_page()
            page.goto(address)
            page.locator(".picture").first.wait_for()
            page.wait_for_timeout(WAIT_MS)
            page.screenshot(path=str(folder / f"{name}.jpg"), full_page=True, quality=85)
        browser.close()


if __name__ == "__main__":
    main()
