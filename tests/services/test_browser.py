"""The page in a real browser, before a real daemon on a real clip."""

from __future__ import annotations

import io
import json
import re
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import sync_playwright
from processes import Daemon, Process

from gnetsegd.client import MaskSubscriber

CHROMIUM = "/usr/bin/chromium"
SECOND = 1000.0  # playwright counts in ms

PIXELS = """canvas => {
  const { width, height } = canvas;
  const { data } = canvas.getContext("2d").getImageData(0, 0, width, height);
  return [width, height, [...data]];
}"""


#: Controls and pictures that have no name for a screen reader.
UNNAMED = """() => [...document.querySelectorAll("input, button, select, canvas, summary")].filter(one =>
    !(one.labels?.length || one.textContent.trim() || one.getAttribute("aria-label"))
).map(one => one.outerHTML)"""
FOCUSED = """() => {
    const { className, value, tagName } = document.activeElement;
    return className || value || tagName;
}"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with sync_playwright() as playwright:
        # As root in a container there is no sandbox to be had.
        made = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield made
        made.close()


class Tab:
    """A page that may ask nobody but its own server, and have no error."""

    def __init__(self, browser: Any, **options: Any) -> None:
        self.context = browser.new_context(**options)
        self.page = self.context.new_page()
        self.asked: list[str] = []
        self.errors: list[str] = []
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on(
            "console", lambda message: self.errors.append(message.text) if message.type == "error" else None
        )

    def open(self, address: str) -> Any:
        self.page.goto(address)
        return self.page


@pytest.fixture
def tab(browser: Any) -> Iterator[Callable[..., Tab]]:
    made: list[Tab] = []

    def new(**options: Any) -> Tab:
        made.append(Tab(browser, **options))
        return made[-1]

    yield new
    for one in made:
        one.context.close()


def wait_for_masks(page: Any) -> None:
    page.locator(".fps", has_text=re.compile("[1-9]")).first.wait_for(timeout=30 * SECOND)


def canvas(page: Any) -> Any:
    """What the picture's canvas shows: RGB, uint8."""
    width, height, flat = page.locator(".picture").evaluate(PIXELS)
    return np.array(flat, np.uint8).reshape(height, width, 4)[..., :3]


def mask_of(address: str) -> Any:
    with urllib.request.urlopen(f"{address}mask.png", timeout=20) as answer:
        return np.array(Image.open(io.BytesIO(answer.read())))


def over_picture(mask: Any, width: int, height: int) -> Any:
    """The centre-cropped mask for each pixel of a wide picture; False beside it."""
    left = (width - height) // 2
    rows = (np.arange(height) + 0.5) / height * len(mask)
    inside = mask[rows.astype(int)][:, rows.astype(int)]
    found = np.zeros((height, width), bool)
    found[:, left : left + height] = inside
    return found


def test_the_pixels_of_the_page_are_tinted_where_the_mask_has_the_person(
    daemon: Daemon, view: Callable[..., str], tab: Callable[..., Tab]
) -> None:
    address = view("--endpoint", daemon.endpoint)
    opened = tab()
    page = opened.open(address)
    wait_for_masks(page)
    plain = canvas(page)
    assert plain.std() > 30, "a picture is shown"
    page.locator('.look input[value="colour"]').check()
    page.locator(".opacity").fill("100")
    page.locator(".tint").fill("#ff00ff")
    page.wait_for_timeout(500)
    pixels, mask = canvas(page).astype(int), mask_of(address)
    assert pixels.shape == (480, 640, 3)
    tinted = (pixels[..., 0] > 200) & (pixels[..., 1] < 60) & (pixels[..., 2] > 200)
    person = over_picture(mask, 640, 480)
    assert 0.15 < person.mean() < 0.6
    # The person moves between the two: most of it stays where it was.
    assert (tinted & person).sum() / (tinted | person).sum() > 0.8
    page.locator('.look input[value="cut-out"]').check()
    page.wait_for_timeout(500)
    board = canvas(page)[20:60, 100:140]
    assert board.min() > 200, "the background is a board of white and grey"
    assert opened.errors == []
    hosts = {urlsplit(url).netloc for url in opened.asked if not url.startswith("blob:")}
    assert hosts == {urlsplit(address).netloc}


def test_a_daemon_that_is_killed_is_told_within_3_seconds_and_its_return_too(
    daemon: Daemon, view: Callable[..., str], tab: Callable[..., Tab]
) -> None:
    page = tab().open(view("--endpoint", daemon.endpoint))
    wait_for_masks(page)
    assert page.locator(".no-data").is_hidden()
    daemon.process.kill()
    page.locator(".no-data").wait_for(timeout=3 * SECOND)
    assert page.locator(".no-data").inner_text().startswith("No data: ")
    assert page.locator(".no-data").get_attribute("role") == "alert"
    daemon.start()
    page.locator(".no-data").wait_for(state="hidden", timeout=20 * SECOND)


def test_the_pages_own_server_that_ends_is_told_too(
    daemon: Daemon, start: Callable[..., Process], tab: Callable[..., Tab], tmp_path: Path
) -> None:
    server = start(
        sys.executable, "-m", "gnetsegd.ctl.main", "view", "--port", "0", "--state", str(tmp_path / "s"),
        "--endpoint", daemon.endpoint,
    )  # fmt: skip
    page = tab().open(server.wait_for("the page: ").split()[2])
    wait_for_masks(page)
    server.kill()
    page.locator(".no-data", has_text="own server").wait_for(timeout=5 * SECOND)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_on_a_phone_nothing_is_cut_off_and_all_can_be_reached_by_keyboard(
    daemon: Daemon, view: Callable[..., str], tab: Callable[..., Tab], scheme: str
) -> None:
    phone = {"viewport": {"width": 360, "height": 740}, "is_mobile": True, "has_touch": True}
    page = tab(**phone, color_scheme=scheme).open(view("--endpoint", daemon.endpoint))
    wait_for_masks(page)
    page.locator(".zones summary").click()
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    background = page.evaluate("getComputedStyle(document.body).backgroundColor")
    levels = [int(level) for level in background[4:-1].split(",")]
    assert (max(levels) < 60) == (scheme == "dark")
    assert page.evaluate(UNNAMED) == []
    reached = set()
    page.locator("body").press("Tab")
    for _ in range(60):
        reached.add(page.evaluate(FOCUSED))
        page.keyboard.press("Tab")
    assert {"picture", "opacity", "tint", "outline", "SUMMARY", "draw"} <= reached
    assert "a person on" in page.locator(".picture").get_attribute("aria-label")


def test_a_zone_is_drawn_by_hand_and_by_keyboard_kept_and_taken_away(
    daemon: Daemon, view: Callable[..., str], tab: Callable[..., Tab], tmp_path: Path
) -> None:
    address = view("--endpoint", daemon.endpoint)
    page = tab().open(address)
    wait_for_masks(page)
    page.locator(".zones summary").click()
    page.locator('.draw[data-kind="zone"]').click()
    box = page.locator(".picture").bounding_box()
    corners = [(0.25, 0.25), (0.75, 0.25), (0.75, 0.75), (0.25, 0.75)]
    for x, y in corners:
        page.mouse.click(box["x"] + x * box["width"], box["y"] + y * box["height"])
    page.locator(".drawing .name").fill("Tür ♥")
    page.locator(".drawing .save").click()
    page.locator(".list", has_text="Tür ♥: zone, 4 corners").wait_for()
    kept = json.loads((tmp_path / "state" / "zones" / "cam0.json").read_text())["zones"]
    assert kept[0]["name"] == "Tür ♥"
    assert np.allclose(kept[0]["points"], corners, atol=0.01)
    page.locator(".list", has_text=re.compile("[0-9]+ % person")).wait_for()

    page.locator('.draw[data-kind="ignored"]').focus()
    page.keyboard.press("Enter")
    for keys in (["ArrowLeft"] * 5, ["ArrowUp"] * 5, ["ArrowRight"] * 5):
        for key in keys:
            page.keyboard.press(key)
        page.keyboard.press(" ")
    page.keyboard.press("Enter")
    page.keyboard.type("Mirror")
    page.keyboard.press("Enter")
    page.locator(".list", has_text="Mirror: ignored, 3 corners").wait_for()

    again = tab().open(address)
    wait_for_masks(again)
    again.locator(".zones summary").click()
    assert "Tür ♥" in again.locator(".list").inner_text()
    again.get_by_role("button", name="Remove Tür ♥").click()
    again.locator(".list", has_not_text="Tür").wait_for()
    kept = json.loads((tmp_path / "state" / "zones" / "cam0.json").read_text())["zones"]
    assert [area["name"] for area in kept] == ["Mirror"]
    again.locator(".by-numbers [name=right]").fill("0")
    again.locator(".by-numbers [name=name]").fill("Flat")
    again.get_by_role("button", name="Add").click()
    again.locator(".zones-state", has_text="zone Flat").wait_for()


def test_a_shared_page_opens_with_its_address_and_keeps_the_token_out_of_it(
    daemon: Daemon, view: Callable[..., str], tab: Callable[..., Tab]
) -> None:
    address = view("--share", "--endpoint", daemon.endpoint)
    base, _, token = address.partition("#token=")
    port = base.rstrip("/").rpartition(":")[2]
    base = f"http://127.0.0.1:{port}/"
    stranger = tab().open(base)
    stranger.locator("#login").wait_for(timeout=10 * SECOND)
    assert stranger.locator(".camera").count() == 0
    guest = tab()
    page = guest.open(f"{base}#token={token}")
    wait_for_masks(page)
    assert token not in page.url
    assert page.evaluate("document.cookie") == "", "no script can read it"
    assert not any(token in url for url in guest.asked if not url.startswith(base + "#"))
    page.reload()
    wait_for_masks(page)
    stranger.locator("#token").fill(token)
    stranger.locator("#login button").click()
    wait_for_masks(stranger)


def test_one_browser_and_49_other_viewers_and_no_mask_is_lost(
    daemon: Daemon, view: Callable[..., str], tab: Callable[..., Tab]
) -> None:
    address = view("--endpoint", daemon.endpoint)
    page = tab().open(address)
    wait_for_masks(page)
    counts = [0] * 49
    stop = threading.Event()

    def look(number: int) -> None:
        with urllib.request.urlopen(f"{address}overlay.mjpg", timeout=20) as answer:
            while not stop.is_set():
                counts[number] += answer.read1(65536).count(b"--gnetsegd")

    crowd = [threading.Thread(target=look, args=(number,), daemon=True) for number in range(len(counts))]
    with MaskSubscriber(daemon.endpoint, newest_only=False) as every:
        assert every.receive(20) is not None
        for one in crowd:
            one.start()
        deadline = time.monotonic() + 60
        masks = 0
        while min(counts) < 10 or masks < 100:
            assert time.monotonic() < deadline, f"{sorted(counts)} pictures, {masks} masks"
            masks += every.receive(0.1) is not None
        assert every.missed == 0
        assert page.locator(".no-data").is_hidden()
        wait_for_masks(page)
    stop.set()
    for one in crowd:
        one.join(20)
