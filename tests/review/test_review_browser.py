"""The review page in a real Chromium: keyboard, screens, two tabs, and that nothing leaves the machine."""

import json
import shutil
import threading
from pathlib import Path

import pytest
from cleaning_runs import CLASSES, EVIL, items_of, save_picture, write_mask_store, write_run

from noisycorrect.review.report import write_report
from noisycorrect.review.server import ReviewServer, ReviewState
from noisycorrect.review.session import Item, final_labels, read_decisions
from noisycorrect_seg.sessions import final_masks, write_mask_items

webdriver = pytest.importorskip("selenium.webdriver", reason="pip install selenium to test the page in a browser")

from selenium.webdriver.chrome.options import Options  # noqa: E402 - only where selenium is
from selenium.webdriver.chrome.service import Service  # noqa: E402
from selenium.webdriver.common.action_chains import ActionChains  # noqa: E402
from selenium.webdriver.common.keys import Keys  # noqa: E402
from selenium.webdriver.support.ui import WebDriverWait  # noqa: E402

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")
pytestmark = pytest.mark.skipif(
    BROWSER is None or DRIVER is None, reason="no Chromium with its driver: apt-get install chromium chromium-driver"
)
CONTRAST = (Path(__file__).parent / "contrast.js").read_text(encoding="utf-8")
TICKED = "[...document.querySelectorAll('#region-list button')].map(each => each.ariaPressed).join()"
SIZES = ((1280, 800), (400, 860))


@pytest.fixture(scope="module")
def browser():
    options = Options()
    options.binary_location = BROWSER
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    for word in ("headless=new", "no-sandbox", "disable-gpu", "disable-dev-shm-usage", "disable-background-networking",
                 "no-first-run", "disable-component-update"):  # fmt: skip
        options.add_argument(f"--{word}")
    driver = webdriver.Chrome(options=options, service=Service(DRIVER))
    yield driver
    driver.quit()


class Page:
    """A page in one tab of the browser."""

    def __init__(self, browser, address, size=SIZES[0]):
        self.browser = browser
        self.resize(*size)
        browser.get_log("performance")
        browser.get_log("browser")
        browser.get(address)
        self.tab = browser.current_window_handle
        self.until("document.body.dataset.ready === 'true'")

    def resize(self, width, height):
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        self.browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)

    def __call__(self, expression):
        return self.browser.execute_script(f"return {expression}")

    def until(self, expression):
        WebDriverWait(self.browser, 60, 0.02).until(lambda _: self(expression), expression)

    def text(self, name):
        return self(f"document.getElementById('{name}').innerText")

    def press(self, *keys):
        for key in keys:
            ActionChains(self.browser, duration=0).send_keys(key).perform()

    def decide(self, key, then):
        """Press a key and wait until the item with that id is shown."""
        self.press(key)
        self.until(f"document.getElementById('place').textContent.includes('{then} ')")

    def choose(self, name, value):
        """Set a filter as somebody who uses it does."""
        found = f"(() => {{ const box = document.getElementById('{name}'); box.value = '{value}';"
        self(f"{found} box.dispatchEvent(new Event('change')); }})()")

    def notice(self, words):
        self.until(f"document.getElementById('notice').textContent.includes({words!r})")


@pytest.fixture
def served():
    """Return a function that serves a run folder and returns its address."""
    with_servers = []

    def serve(folder):
        server = ReviewServer(ReviewState(folder))
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        with_servers.append((server, thread))
        return server.address

    yield serve
    for server, thread in with_servers:
        server.shutdown()
        thread.join()
        server.server_close()


def requests(browser):
    """Return the addresses that the page asked for since the last call."""
    messages = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    return [m["params"]["request"]["url"] for m in messages if m["method"] == "Network.requestWillBeSent"]


def check_layout(page):
    """Nothing runs out of the page, and what is pressed with a finger is large enough and reachable."""
    assert page("document.documentElement.scrollWidth <= innerWidth")
    for name in ("accept", "keep", "skip", "undo"):
        box = page(f"(() => {{ const b = document.getElementById('{name}').getBoundingClientRect();"
                   " return [b.left, b.top, b.right, b.bottom, innerWidth, innerHeight] })()")  # fmt: skip
        assert box[0] >= 0, name
        assert box[1] >= 0, name
        assert box[2] <= box[4], name
        assert box[3] <= box[5], name
        assert box[3] - box[1] >= (44 if box[4] < 600 else 24), name


@pytest.mark.parametrize("size", SIZES)
def test_decisions_by_keyboard(browser, served, tmp_path, size):
    write_run(tmp_path)
    page = Page(browser, served(tmp_path), size)
    check_layout(page)
    assert page.text("place").startswith("1 of 10 · t0")
    assert page.text("text") == f"text 0 {EVIL}"
    page.decide("a", "t1")
    page.decide(Keys.ENTER, "t2")
    page.decide("k", "t3")
    page.decide("3", "t4")  # how-to, the third class
    page.decide("s", "t5")
    page.press("c", "how", Keys.ENTER)
    page.until("document.getElementById('place').textContent.includes('t6 ')")
    page.decide("k", "t7")
    page.decide("u", "t6")  # undone
    page.decide(Keys.ARROW_RIGHT, "t7")
    page.decide(Keys.ARROW_LEFT, "t6")
    said = [(each.id, each.action, each.label) for each in read_decisions(tmp_path)]
    assert said == [
        ("t0", "accept", "bug"), ("t1", "accept", "bug"), ("t2", "keep", "billing"), ("t3", "class", "how-to"),
        ("t4", "skip", None), ("t5", "class", "how-to"), ("t6", "keep", "billing"), ("t6", "undo", None),
    ]  # fmt: skip
    assert page.text("progress") == "5 of 10 decided"
    assert [final.label for final in final_labels(tmp_path)][:6] == ["bug", "bug", "billing", "how-to", "bug", "how-to"]
    assert page("window.ran === undefined")
    severe = [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"]
    assert severe == []


def test_every_request_stays_on_this_machine(browser, served, tmp_path):
    images = [str(save_picture(tmp_path / f"{number}.png")) for number in range(12)]
    write_run(tmp_path / "run", items_of(image=images), kind="image")
    address = served(tmp_path / "run")
    page = Page(browser, address)
    page.until("document.getElementById('picture').naturalWidth === 40")
    page.decide("a", "t1")
    asked = requests(browser)
    assert all(url.startswith(address) for url in asked), asked
    assert f"{address}picture/3" in asked  # ahead of being shown


@pytest.mark.parametrize("size", SIZES)
def test_pictures_that_are_missing_are_said_in_a_sentence(browser, served, tmp_path, size):
    write_run(tmp_path, items_of(image=["gone.png"] * 12), kind="image")
    page = Page(browser, served(tmp_path), size)
    page.until("document.getElementById('missing').textContent.includes('no such file')")
    assert page("document.getElementById('picture').hidden")
    check_layout(page)
    page.decide("k", "t1")  # and one can decide all the same


def test_rows_and_votes_are_shown_as_text(browser, served, tmp_path):
    items = items_of(row=[{"amount": number / 2, EVIL: EVIL, "empty": None} for number in range(12)])
    write_run(tmp_path, items, kind="row")
    page = Page(browser, served(tmp_path))
    page.decide(Keys.ARROW_RIGHT, "t1")
    shown = page.text("row")
    assert "amount\t0.5" in shown
    assert f"{EVIL}\t{EVIL}" in shown
    assert "bob" in page.text("votes")


def test_two_tabs_hear_of_each_other_and_lose_nothing(browser, served, tmp_path):
    write_run(tmp_path)
    address = served(tmp_path)
    first = Page(browser, address)
    browser.switch_to.new_window("tab")
    second = Page(browser, address)
    try:
        browser.execute_cdp_cmd("Emulation.setFocusEmulationEnabled", {"enabled": True})
        # What the second tab knows is what it was told last: its ears are stopped, so that it decides without knowing.
        second("(() => { const real = window.fetch; window.heard = real; window.fetch = (path, options) =>"
               " path.startsWith('api/changes') ? Promise.resolve(new Response(JSON.stringify({changed: [],"
               " progress: {issues: 10, issues_decided: 0, count: 0}}))) : real(path, options); })()")  # fmt: skip
        browser.switch_to.window(first.tab)
        first.decide("k", "t1")
        browser.switch_to.window(second.tab)
        second.press("a")
        second.notice("Another tab has decided about t0 meanwhile: kept as given: billing")
        assert second.text("state") == "kept as given: billing"
        assert [each.action for each in read_decisions(tmp_path)] == ["keep"]
        second("(() => { window.fetch = window.heard; })()")
        second.decide("a", "t1")  # seen now, and decided otherwise
        assert [each.action for each in read_decisions(tmp_path)] == ["keep", "accept"]
    finally:
        browser.close()
        browser.switch_to.window(first.tab)
    first.decide(Keys.ARROW_LEFT, "t0")
    first.until("document.getElementById('state').textContent === 'accepted: bug'")  # heard without a reload


def test_filters_and_the_end(browser, served, tmp_path):
    write_run(tmp_path, items_of(4))
    page = Page(browser, served(tmp_path))
    page.decide("a", "t1")
    page.press("k")
    page.notice("All of these are decided")
    page.choose("show", "unlabelled")
    page.until("document.getElementById('place').textContent.startsWith('1 of 1 · t3')")
    assert page.text("was") == "no label"
    page.choose("suggested", "how-to")
    page.until("document.getElementById('place').textContent.startsWith('Nothing here')")
    page.press("a", "k", "1")  # about nothing
    assert len(read_decisions(tmp_path)) == 2


def test_a_server_that_is_gone_is_said(browser, served, tmp_path):
    write_run(tmp_path)
    server = ReviewServer(ReviewState(tmp_path))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    page = Page(browser, server.address)
    server.shutdown()
    thread.join()
    server.server_close()
    page("(() => { window.fetch = () => Promise.reject(new TypeError('gone')); })()")  # kept connections may live on
    page.press("a")
    page.notice("run `noisycorrect review` again")
    assert page.text("place").startswith("1 of 10 · t0")


def test_reachable_by_tab_with_names_for_all(browser, served, tmp_path):
    write_run(tmp_path)
    page = Page(browser, served(tmp_path))
    seen = []
    for _ in range(20):
        page.press(Keys.TAB)
        seen.append(page("document.activeElement.id || document.activeElement.tagName"))
        assert page("document.activeElement.tagName") == "BODY" or page(
            "getComputedStyle(document.activeElement).outlineStyle !== 'none'"
        )
    assert {"show", "given", "suggested", "accept", "keep", "skip", "next", "class-filter"} <= set(seen)
    named = "(each.innerText || '').trim() || each.ariaLabel || each.labels?.length"
    controls = "[...document.querySelectorAll('button, select, input, progress')].filter(e => e.checkVisibility())"
    assert page(f"{controls}.length") > 15
    assert page(f"{controls}.filter(each => !({named})).map(each => each.outerHTML)") == []
    assert page("document.documentElement.lang") == "en"


def test_help_opens_and_its_keys_decide_nothing(browser, served, tmp_path):
    write_run(tmp_path)
    page = Page(browser, served(tmp_path))
    page.press("?")
    page.until("document.getElementById('help').open")
    page.press("a", "k")
    page.press(Keys.ESCAPE)
    page.until("!document.getElementById('help').open")
    assert page.text("place").startswith("1 of 10 · t0")
    assert read_decisions(tmp_path) == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_contrast_is_enough_to_read(browser, served, tmp_path, scheme):
    """WCAG 2.2, 1.4.3: 4.5 to 1, of every text that is shown."""
    write_run(tmp_path)
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
    try:
        page = Page(browser, served(tmp_path))
        page.decide("a", "t1")
        page.decide(Keys.ARROW_LEFT, "t0")
        poor = browser.execute_script(CONTRAST)
        assert poor == []
        browser.get(write_report(tmp_path).as_uri())
        assert browser.execute_script(CONTRAST) == []
    finally:
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})


@pytest.mark.parametrize("size", SIZES)
def test_regions_of_masks(browser, served, tmp_path, size):
    write_mask_store(tmp_path)
    images = [str(save_picture(tmp_path / "images" / f"{number}.png", size=(48, 32))) for number in range(3)]
    write_mask_items(tmp_path, ["background", "cat", "dog"], ids=["a", "b", "c"], images=images)
    page = Page(browser, served(tmp_path), size)
    page.until("document.getElementById('canvas').width > 300")
    check_layout(page)
    assert page(TICKED) == "true,true"
    page.press("n", " ", "v", "v")  # the second one is not to be changed
    assert page(TICKED) == "true,false"
    assert page("document.querySelector('#layers [aria-pressed=true]').textContent") == "Corrected"
    assert "not ticked" in page.text("spoken")
    page.decide("a", "b")
    page.until("document.getElementById('canvas').ariaLabel.startsWith('Picture of b')")
    # A click in the picture, in the middle of the square at the top left.
    canvas = browser.find_element("id", "canvas")
    width, height = canvas.size["width"], canvas.size["height"]
    aside = (round(width * (9 / 48 - 0.5)), round(height * (9 / 32 - 0.5)))
    ActionChains(browser, duration=0).move_to_element_with_offset(canvas, *aside).click().perform()
    assert page(TICKED) == "false,true"
    page.decide(Keys.ENTER, "c")
    page.press("k")
    page.notice("All of these are decided")
    (_, a, one), (_, b, two), (_, c, three) = final_masks(tmp_path)
    assert (one, two, three) == (True, True, True)
    squares = [(mask[8, 8], mask[22, 35]) for mask in (a, b, c)]
    assert squares == [(1, 2), (2, 1), (2, 2)]


def test_two_hundred_decisions_take_far_less_than_ten_minutes(browser, served, tmp_path):
    """As fast as keys are pressed: saving and showing may take a second each, at most."""
    count = 20
    items = [Item(id=f"n{number:03}", given="billing", suggested="bug", quality=number / 1000, is_issue=True, text="t")
             for number in range(count)]  # fmt: skip
    write_run(tmp_path, items)
    page = Page(browser, served(tmp_path))
    start = page("performance.now()")
    for number in range(1, count):
        page.decide("a" if number % 3 else "k", f"n{number:03}")
    assert page("performance.now()") - start < 1000 * count
    assert len(read_decisions(tmp_path)) == count - 1
    assert CLASSES[1] == "bug"


@pytest.mark.parametrize("size", SIZES)
def test_the_report_fits_the_screen_and_asks_for_nothing(browser, tmp_path, size):
    write_run(tmp_path)
    report = write_report(tmp_path).as_uri()
    metrics = {"width": size[0], "height": size[1], "deviceScaleFactor": 1, "mobile": size[0] < 600}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    browser.get_log("performance")
    browser.get(report)
    assert browser.execute_script("return document.documentElement.scrollWidth <= innerWidth")
    assert [url for url in requests(browser) if not url.startswith(("data:", report))] == []
    assert [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"] == []
