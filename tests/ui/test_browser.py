"""The page as visitors see it: Chromium and what `make run` starts, with a small network and small pictures.

Each test leaves screenshots in artifacts/. Tests that need Chromium skip if it or its driver is missing.
"""

import base64
import os
import re
import shutil
import signal
import time
import urllib.request
import zipfile
from importlib import resources
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from selenium import webdriver
from selenium.common.exceptions import (
    ElementClickInterceptedException,
    MoveTargetOutOfBoundsException,
    StaleElementReferenceException,
    TimeoutException,
)
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.wait import WebDriverWait

from serving.results import settings_of
from tests.conftest import decoded, encode
from tests.ui.launched import ROOT, Launched

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
PATIENCE_S = 120  # a busy machine is slow to restart a server
RESULT = "img[alt='The result']"
CONTROLS = """
  const all = (root) => [...root.querySelectorAll("*")].flatMap((e) => [e, ...(e.shadowRoot ? all(e.shadowRoot) : [])]);
  return all(document).filter((e) => e.matches("button, input, img, canvas") && e.checkVisibility());
"""
# The first element of a selector that shows some words; scrolled out from under the bar at the foot of the window.
SHOWING = """
  const [selector, words] = arguments, shows = (e) => e.checkVisibility() && e.innerText.includes(words);
  const found = [...document.querySelectorAll(selector)].find(shows);
  if (!found?.closest("[data-testid=stBottom]")) found?.scrollIntoView({block: "center"});
  return found;
"""
AXE = (resources.files("axe_playwright_python") / "axe.min.js").read_text()
# Of violations that are serious or critical: what is wrong, and where.
FAULTS = """
  const [own, done] = arguments, serious = (one) => ["serious", "critical"].includes(one.impact);
  axe.run({exclude: own.map((one) => [one])}, {resultTypes: ["violations"]}).then((found) => done(
    found.violations.filter(serious).flatMap((one) => one.nodes.map((node) => [
      one.id, node.html.slice(0, 200), node.any[0]?.message ?? one.help,
    ]))));
"""
# Streamlit draws these itself, whatever the theme: fainter than text may be.
STREAMLITS_OWN = ["kbd"]
STREAMLITS_OWN_IN_THE_DARK = [*STREAMLITS_OWN, "[data-selected=true]", "[data-testid=stSliderThumbValue]"]
DESKTOP, PHONE = (1360, 900), (390, 844)
IN_SHADOW = """
  return [...document.querySelectorAll("*")].map((e) => e.shadowRoot?.querySelector(arguments[0])).find(Boolean);
"""

pytestmark = pytest.mark.browser


class Tab:
    """A tab of Chromium, with a visit of its own."""

    def __init__(self, chrome: webdriver.Chrome, page: str, name: str) -> None:
        self.chrome, self._page, self._name = chrome, page, name
        self._dark = False
        chrome.switch_to.new_window("tab")
        self.resize(*DESKTOP)

    def resize(self, width, height):
        screen = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width == PHONE[0]}
        self.chrome.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", screen)

    def darken(self, dark=True):
        """Makes the system's theme dark or light."""
        self._dark = dark
        theme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.chrome.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [theme]})

    def shoot(self, state):
        """Saves a screenshot of a state of the page."""
        (ROOT / "artifacts").mkdir(exist_ok=True)
        self.chrome.save_screenshot(str(ROOT / "artifacts" / f"{self._name}_{state}.png"))

    def check(self, state):
        """Saves a screenshot of a state of the page, and checks that everybody can use it."""
        self.shoot(state)
        self.chrome.execute_script(AXE)
        own = STREAMLITS_OWN_IN_THE_DARK if self._dark else STREAMLITS_OWN
        for _ in range(5):  # what is about to be replaced fades, and can be read worse meanwhile
            if not (faults := self.chrome.execute_async_script(FAULTS, own)):
                break
            time.sleep(1)
        assert faults == []

    def another(self):
        """Opens a second tab."""
        return Tab(self.chrome, self._page, self._name)

    def wait(self, condition, why):
        """Waits until a condition is true, and returns its value; elements may be replaced meanwhile."""
        # While the page is being drawn.
        passing = [StaleElementReferenceException, ElementClickInterceptedException, MoveTargetOutOfBoundsException]
        waiting = WebDriverWait(self.chrome, PATIENCE_S, poll_frequency=0.1, ignored_exceptions=passing)
        try:
            return waiting.until(lambda _: condition(), why)
        except TimeoutException:
            self.shoot("failed")
            pytest.fail(f"{why}; the page says:\n{self.text}")

    def visit(self, query=""):
        """Opens the page, checks that it shows no other tab's result, and waits until it is drawn."""
        self.chrome.get(f"{self._page}/?{query}")
        self.button("Start")
        self.settle()
        assert "Download" not in self.text

    def settle(self):
        """Waits until the page has drawn what the last action changed."""
        time.sleep(0.3)  # the action has to reach the server before the page counts as running
        self.wait(lambda: self.all("[data-testid=stApp][data-test-script-state=notRunning]"), "never came to rest")
        self.wait(lambda: self._top() == (time.sleep(0.15), self._top())[1], "never stopped scrolling")

    def _top(self):
        """Returns where the page's content begins: Streamlit scrolls smoothly to what has been opened."""
        top = "return document.querySelector('[data-testid=stMainBlockContainer]').getBoundingClientRect().top"
        return self.chrome.execute_script(top)

    def all(self, selector):
        return self.chrome.find_elements(By.CSS_SELECTOR, selector)

    def showing(self, selector, words):
        """Waits for an element that shows these words, and scrolls to it."""
        return self.wait(lambda: self.chrome.execute_script(SHOWING, selector, words), f"no {selector} with {words}")

    def button(self, label):
        """Waits for a button that can be pressed, and scrolls to it."""
        return self.showing("button:enabled", label)

    def expander(self, label):
        return self.showing("summary", label)

    def scroll_to(self, element):
        self.chrome.execute_script("arguments[0].scrollIntoView({block: 'center'})", element)
        return element

    @property
    def text(self):
        return self.chrome.execute_script("return document.body.innerText")

    def says(self, words):
        self.wait(lambda: words in self.text, f"never said: {words}")

    def step(self):
        """Waits until the page shows a run's step, and returns it."""
        bars = lambda: " ".join(bar.text for bar in self.all("[data-testid=stProgress]"))  # noqa: E731
        return int(self.wait(lambda: re.search(r"Step (\d+) of", bars()), "no step")[1])

    def run(self):
        """Presses Start and waits for the result."""
        self.button("Start").click()
        self.wait(lambda: self.all(".st-key-download button:enabled"), "no result")
        self.settle()

    def picture(self, selector=RESULT):
        """Returns a picture on the page as uint8 [H, W, 3]."""
        source = self.wait(lambda: self.all(selector), f"no {selector}")[0].get_attribute("src")
        assert source.startswith(self._page)
        with urllib.request.urlopen(source) as answer:
            return decoded(answer.read())

    def within_component(self, selector):
        """Waits for an element of one of the page's own components, and scrolls to it."""
        find = lambda: self.chrome.execute_script(IN_SHADOW, selector)  # noqa: E731
        return self.wait(lambda: (found := find()) and self.scroll_to(found), f"no {selector}")


@pytest.fixture(scope="module")
def launched(small_model, tmp_path_factory):
    """Server and page, which Ctrl-C stops after the last test."""
    with Launched(small_model, tmp_path_factory.mktemp("launch") / "log") as launched:
        log = launched.wait_for("The page is at")
        assert f"The page is at http://localhost:{launched.ports['NST_UI_PORT']} " in log
        yield launched
        launched.process.send_signal(signal.SIGINT)
        assert launched.process.wait(30) == 0
        assert launched.nobody_listens()
        assert "Traceback" not in launched.log.read_text()


@pytest.fixture(scope="module")
def chromium():
    if not (CHROMIUM and DRIVER):
        pytest.skip("chromium and chromedriver are not installed")
    options = Options()
    options.binary_location = CHROMIUM
    for flag in (
        "headless=new", "no-sandbox", "disable-gpu", "disable-background-networking", "disable-component-update",
        "disable-sync", "no-first-run", "disable-dev-shm-usage", "window-size=1360,900",
        "use-fake-device-for-media-stream", "use-fake-ui-for-media-stream",
    ):  # fmt: skip
        options.add_argument(f"--{flag}")
    chrome = webdriver.Chrome(options=options, service=Service(DRIVER))
    yield chrome
    chrome.quit()


@pytest.fixture
def tab(chromium, launched, request):
    before = chromium.current_window_handle
    tab = Tab(chromium, launched.page, request.node.name.removeprefix("test_"))
    yield tab
    tab.shoot("end")
    for handle in set(chromium.window_handles) - {before}:
        chromium.switch_to.window(handle)
        chromium.close()
    chromium.switch_to.window(before)


def test_a_phone_photograph_is_painted_upright_with_one_click_compared_and_downloaded(tab, tmp_path):
    tab.visit("size=96&steps=5&content_weight=100")
    tab.check("first")
    lying = np.zeros((40, 60, 3), np.uint8)
    lying[:, :30] = 255  # a phone held upright stores the top of a picture on the left
    exif = Image.Exif()
    exif[0x0112] = 6
    (tmp_path / "tall.jpg").write_bytes(encode(lying, "JPEG", exif=exif))
    tab.all("input[type=file]")[0].send_keys(str(tmp_path / "tall.jpg"))
    assert is_light_above_dark(tab.picture("img[alt*='tall.jpg']"))
    tab.settle()
    tab.run()
    tab.check("result")
    result = tab.picture()
    assert result.shape == (96, 64, 3)
    assert is_light_above_dark(result)

    data = downloaded(tab, tmp_path, "Download", "tall-eddies-96.png").read_bytes()
    np.testing.assert_array_equal(decoded(data), result)
    assert settings_of(data).content_weight == 100
    tab.button("More").click()
    tab.button("JPEG").click()
    tab.settle()
    ActionChains(tab.chrome).send_keys(Keys.ESCAPE).perform()
    tab.wait(lambda: not tab.all("[data-testid=stPopoverBody]"), "More stays open")
    downloaded(tab, tmp_path, "Download", "tall-eddies-96.jpg")  # the choice outlives what it is made with

    tab.chrome.find_element(By.XPATH, "//*[@role='tab'][contains(., 'Before and after')]").click()
    frame = tab.within_component(".compare")
    slider = frame.find_element(By.CSS_SELECTOR, "input")
    share = "return getComputedStyle(arguments[0]).getPropertyValue('--at')"
    assert tab.chrome.execute_script(share, frame) == "50%"
    slider.send_keys(Keys.ARROW_LEFT * 20)
    assert tab.chrome.execute_script(share, frame) == "30%"
    assert frame.size["height"] > 100
    ActionChains(tab.chrome).drag_and_drop_by_offset(slider, frame.size["width"] // 4, 0).perform()
    assert 70 <= int(tab.chrome.execute_script(share, frame).rstrip("%")) <= 80


def downloaded(tab, folder, label, name):
    """Presses a button and returns the path of the file that it downloads."""
    tab.chrome.execute_cdp_cmd("Browser.setDownloadBehavior", {"behavior": "allow", "downloadPath": str(folder)})
    tab.button(label).click()
    tab.wait((folder / name).exists, f"no file {name}")
    return folder / name


def is_light_above_dark(shown):
    height, width = shown.shape[:2]
    middle = shown[:, width * 2 // 5 : width * 3 // 5]  # a thumbnail has borders on both sides
    return float(middle[: height // 3].mean()) > float(middle[-height // 3 :].mean()) + 40


def test_every_control_has_a_name_and_the_page_fits_a_phones_width(tab, launched):
    tab.visit("size=64&steps=4&style=eddies,waves")
    tab.run()
    assert "Traceback" not in tab.chrome.page_source
    assert "tensorflow" not in Path(f"/proc/{launched.child('streamlit')}/maps").read_text()  # 500 MB, and slow to load
    paint_a_mask(tab)
    for element in tab.chrome.execute_script(CONTROLS):
        name = element.get_attribute("alt") if element.tag_name == "img" else element.accessible_name
        assert name, element.get_attribute("outerHTML")
        assert not name.endswith(" icon"), element.get_attribute("outerHTML")
    tab.within_component("[data-do=clear]").click()
    tab.says("Without masks, all of it is used.")
    tab.button("Try variations").click()
    tab.says("Press the one you like")
    tab.settle()
    tab.check("variations")
    tab.button("Weaker, small strokes").click()
    tab.wait(lambda: "style_weight=200" in tab.chrome.current_url, "the variation was not used")
    tab.button("Make it large")
    tab.resize(PHONE[0], 2400)
    tab.says("Your results")
    wide = "return document.scrollingElement.scrollWidth - document.scrollingElement.clientWidth"
    assert tab.chrome.execute_script(wide) <= 0
    tab.button("Compare").click()
    tab.within_component(".compare")


def paint_a_mask(tab):
    """Paints a stroke over the upper half of the photograph."""
    canvas = open_masks(tab)
    left = -canvas.size["width"] // 3
    stroke = ActionChains(tab.chrome).move_to_element_with_offset(canvas, left, -canvas.size["height"] // 4)
    stroke.click_and_hold().move_by_offset(-left, 0).move_by_offset(-left, 0).release().perform()
    tab.says("only where masked")
    assert opacity(tab, [(0.25, 0.25), (0.5, 0.25), (0.75, 0.25)]) == [1, 1, 1]
    assert opacity(tab, [(0.25, 0.6), (0.75, 0.9)]) == [0, 0]


def test_a_run_survives_a_reload_and_a_killed_server_and_stop_keeps_the_picture(tab, launched):
    tab.visit("size=48&steps=10000&optimizer=adam")  # Adam never ends early
    ActionChains(tab.chrome).key_down(Keys.CONTROL).send_keys(Keys.ENTER).key_up(Keys.CONTROL).perform()
    before = tab.step()
    assert "visit" not in tab.chrome.current_url
    tab.chrome.refresh()
    assert tab.step() >= before
    tab.check("running")

    os.kill(launched.child("serving.server"), signal.SIGKILL)
    tab.says("Your run will resume from step")
    reached = tab.step()
    tab.check("interrupted")
    tab.wait(lambda: tab.step() > reached, "never went on")
    tab.button("Stop").click()
    tab.button("Continue")
    assert max(tab.picture().shape) == 48
    assert "does not answer" not in tab.text


def test_strokes_that_follow_each_other_faster_than_the_server_answers_stay_even_if_the_canvas_is_rebuilt(tab):
    tab.visit()
    canvas = open_masks(tab)
    slow = {"offline": False, "latency": 500, "downloadThroughput": -1, "uploadThroughput": -1}
    tab.chrome.execute_cdp_cmd("Network.emulateNetworkConditions", slow)
    left, up = -canvas.size["width"] // 3, -canvas.size["height"] // 4
    for height in (up, 0, -up):  # the last one is held while the answer to the first arrives
        canvas = tab.within_component("canvas")  # the sentence above it may have become shorter
        stroke = ActionChains(tab.chrome).move_to_element_with_offset(canvas, left, height).click_and_hold()
        stroke.move_by_offset(-left, 0).pause(1.5 if height == -up else 0).move_by_offset(-left, 0).release().perform()
    tab.says("only where masked")  # the answer, which moves the canvas
    tab.settle()
    painted = [(0.5, 0.25), (0.5, 0.5), (0.4, 0.75), (0.75, 0.75), (0.3, 0.9)]
    assert opacity(tab, painted) == [1, 1, 1, 1, 0]
    canvas = tab.within_component("canvas")
    stroke = ActionChains(tab.chrome).move_to_element_with_offset(canvas, left, -up * 1.6).click_and_hold()
    stroke.move_by_offset(-left, 0).perform()
    fold = "document.querySelector('[class*=st-key-masks_open] summary').click()"
    tab.chrome.execute_script(fold)
    tab.wait(lambda: not tab.chrome.execute_script(IN_SHADOW, "canvas"), "the canvas stayed")
    tab.chrome.execute_script(fold)
    end = lambda: ActionChains(tab.chrome).move_to_element_with_offset(canvas_of(tab), -left, -up * 1.6)  # noqa: E731
    tab.wait(lambda: end().perform() or True, "the end of the stroke never came into sight")
    ActionChains(tab.chrome).release().perform()
    tab.settle()
    assert opacity(tab, painted) == [1, 1, 1, 1, 1]
    tab.says("only where masked")
    tab.chrome.refresh()  # what is drawn now is what the server has
    tab.settle()
    open_masks(tab)
    assert opacity(tab, painted) == [1, 1, 1, 1, 1]
    assert opacity(tab, [(0.5, 0.05), (0.05, 0.5)]) == [0, 0]


def test_a_mask_is_painted_and_undone_by_keyboard_and_the_error_about_a_file_keeps_it(tab, tmp_path):
    tab.visit()
    canvas = open_masks(tab)
    tab.chrome.execute_script("arguments[0].focus()", canvas)
    keys = ActionChains(tab.chrome).send_keys(" ").key_down(Keys.SHIFT)
    keys.send_keys(Keys.ARROW_RIGHT, Keys.ARROW_RIGHT, Keys.ARROW_RIGHT).key_up(Keys.SHIFT)
    keys.send_keys(Keys.ARROW_UP, Keys.ARROW_UP, Keys.ARROW_UP, Keys.ARROW_UP, " ").perform()
    tab.says("only where masked")
    places = [(0.5, 0.5), (0.65, 0.5), (0.68, 0.19)]
    assert opacity(tab, places) == [1, 1, 1]
    tab.check("masks")
    ActionChains(tab.chrome).key_down(Keys.CONTROL).send_keys("z").key_up(Keys.CONTROL).perform()
    assert opacity(tab, places) == [1, 1, 0]
    (tmp_path / "black.png").write_bytes(encode(np.zeros((20, 20, 3), np.uint8)))
    tab.all("input[type=file]")[-1].send_keys(str(tmp_path / "black.png"))
    tab.says("black everywhere")
    assert opacity(tab, places) == [1, 1, 0]
    tab.settle()  # there is a new uploader
    (tmp_path / "white.png").write_bytes(encode(np.full((20, 20, 3), 255, np.uint8)))
    tab.all("input[type=file]")[-1].send_keys(str(tmp_path / "white.png"))
    tab.wait(lambda: opacity(tab, places) == [1, 1, 1], "the uploaded mask was not drawn")


def open_masks(tab):
    """Opens the masks, and returns the canvas with the picture under it."""
    tab.wait(lambda: tab.expander("Masks").click() or True, "the masks cannot be opened")
    return canvas_of(tab)


def canvas_of(tab):
    """Waits for the canvas with a picture under it, and scrolls to it once all has come to rest."""
    tab.wait(lambda: tab.within_component("canvas").size["height"] > 100, "no picture under the canvas")
    tab.settle()
    return tab.within_component("canvas")


def opacity(tab, places):
    """Returns how much of the mask there is at each place (x, y), from 0 to 1; full means 1."""
    read = """
      const [canvas, places] = arguments, pen = canvas.getContext("2d");
      return places.map(([x, y]) => pen.getImageData(x * canvas.width, y * canvas.height, 1, 1).data[3] / 255);
    """
    return [round(value, 1) for value in tab.chrome.execute_script(read, tab.within_component("canvas"), places)]


PASTE = """
  const [base64, type] = arguments, bytes = Uint8Array.from(atob(base64), (c) => c.charCodeAt(0));
  const clipboardData = new DataTransfer();
  clipboardData.items.add(new File([bytes], "pasted", {type}));
  document.body.dispatchEvent(new ClipboardEvent("paste", {clipboardData, bubbles: true, cancelable: true}));
"""
COUNT_READS = """
  window.reads = 0;
  const read = FileReader.prototype.readAsDataURL;
  FileReader.prototype.readAsDataURL = function(file) { window.reads += 1; read.call(this, file); };
"""


def paste(tab, data, kind):
    tab.chrome.execute_script(PASTE, base64.b64encode(data).decode(), kind)


def test_a_picture_is_pasted_once_and_one_that_cannot_be_read_is_explained_and_keeps_it(tab):
    tab.visit()
    picture = np.zeros((40, 60, 3), np.uint8)
    for dark in (True, False):  # each draws the page's elements anew
        tab.darken(dark)
        tab.settle()
    tab.chrome.execute_script(COUNT_READS)
    paste(tab, encode(picture, "TIFF"), "image/tiff")
    tab.wait(lambda: tab.all("img[alt$='pasted.tiff']"), "the picture was not pasted")
    assert tab.chrome.execute_script("return window.reads") == 1
    tab.settle()
    paste(tab, b"\0\0\0\x18ftypheic" + bytes(20), "image/heic")
    tab.says("HEIC")
    assert tab.all("img[alt$='pasted.tiff']")
    tab.check("heic")
    paste(tab, encode(picture, "AVIF"), "image/avif")
    tab.wait(lambda: tab.all("img[alt$='pasted.avif']"), "the picture was not pasted")
    tab.settle()
    assert "HEIC" not in tab.text


def test_the_camera_takes_the_photograph(tab):
    tab.visit()
    tab.button("Camera").click()
    tab.button("Take Photo").click()
    green = tab.picture("img[alt*='camera.jpg']")
    middle = green[green.shape[0] // 2, green.shape[1] // 4]
    assert middle.argmax() == 1


def test_a_window_stays_open_when_a_run_ends_meanwhile_and_closes_when_its_work_is_done(tab):
    tab.visit("size=96&steps=600")
    tab.button("Start").click()
    tab.step()
    tab.button("Edit").click()
    tab.wait(lambda: tab.all("[role=dialog] input"), "no window")
    tab.chrome.execute_script("document.querySelector('[role=dialog] input').focus()")
    ActionChains(tab.chrome).send_keys(Keys.ARROW_RIGHT * 30).perform()
    assert tab.all("[data-testid=stProgress]")
    tab.wait(lambda: tab.all("img[alt^='One of your results']"), "the run did not end")
    tab.settle()
    assert tab.all("[role=dialog] input")[0].get_attribute("value") == "30"
    tab.shoot("crop")
    tab.button("Crop").click()
    tab.wait(lambda: not tab.all("[role=dialog]"), "the window stays open")
    tab.button("Edit").click()
    tab.wait(lambda: tab.all("[role=dialog]"), "the window does not open again")
    ActionChains(tab.chrome).send_keys(Keys.ESCAPE).perform()
    tab.wait(lambda: not tab.all("[role=dialog]"), "Escape does not close the window")


def test_a_browser_that_blocks_storage_shows_the_page(tab):
    block = (
        """Object.defineProperty(window, "sessionStorage", {get() { throw new DOMException("", "SecurityError"); }});"""
    )
    tab.chrome.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": block})
    tab.visit()
    assert not tab.all("[data-testid=stException]")
    assert "BidiComponent" not in tab.text


def test_a_knob_that_is_turned_just_before_start_counts(tab):
    tab.visit("size=48&steps=300")
    tab.expander("Advanced").click()
    steps = tab.wait(lambda: tab.all("[class*=st-key-knob_steps] input"), "no knob")[0]
    tab.scroll_to(steps).send_keys(Keys.CONTROL, "a")
    steps.send_keys("7")
    tab.run()
    tab.says("7 steps in")


def test_a_link_opens_elsewhere_with_the_same_settings_and_without_the_results(tab):
    tab.visit("size=48&steps=4")
    tab.run()
    tab.button("512 px").click()
    tab.wait(lambda: "size=48" not in tab.chrome.current_url, "the address does not follow the knobs")
    link = tab.chrome.current_url
    elsewhere = tab.another()
    elsewhere.visit(link.partition("?")[2])
    pressed = "[data-testid=stButtonGroup] [data-selected=true]"
    assert "512 px" in [one.text for one in elsewhere.all(pressed)]
    assert "Your results" not in elsewhere.text


def test_a_phone_in_the_dark_shows_start_without_scrolling_and_the_run_after_it(tab):
    tab.resize(*PHONE)
    tab.darken()
    tab.visit("size=48&steps=10000&optimizer=adam")
    tab.check("first")
    tab.chrome.execute_script("document.querySelector('[data-testid=stMain]').scrollTo(0, 0)")  # `button` scrolls
    box = "return document.querySelector('.st-key-start button').getBoundingClientRect().toJSON()"
    start = tab.chrome.execute_script(box)
    assert 0 <= start["top"] < start["bottom"] <= PHONE[1]
    tab.button("Start").click()
    stop = "return document.querySelector('.st-key-stop')?.getBoundingClientRect().bottom"
    tab.wait(lambda: (tab.chrome.execute_script(stop) or 9999) < PHONE[1], "the run is not in sight")
    tab.check("running")
    tab.button("Stop").click()
    tab.button("Continue")
    wide = "return document.scrollingElement.scrollWidth - document.scrollingElement.clientWidth"
    assert tab.chrome.execute_script(wide) <= 0


def test_back_leaves_the_page_however_many_controls_were_changed(tab):
    tab.chrome.get("about:blank")
    tab.visit()
    for size in ("512 px", "768 px", "1024 px"):
        tab.button(size).click()
        tab.settle()
    assert tab.chrome.current_url.endswith("?preset=fine")
    tab.chrome.back()
    tab.wait(lambda: tab.chrome.current_url == "about:blank", "Back did not leave the page")


def test_pictures_are_chosen_by_keyboard_and_the_chosen_one_is_marked(tab):
    tab.visit()
    first = tab.within_component("input[type=radio]:checked")
    assert first.accessible_name == "Cat"
    tab.chrome.execute_script("arguments[0].focus()", first)
    ActionChains(tab.chrome).send_keys(Keys.ARROW_RIGHT).perform()
    tab.wait(lambda: tab.all("img[alt^='A village by a lake']"), "the photograph did not change")
    tab.settle()
    focused = "return document.activeElement.shadowRoot.activeElement"
    second = tab.chrome.execute_script(focused)  # the focus stays, so that the next key goes on from here
    assert (second.get_attribute("value"), second.is_selected()) == ("dusk_lake", True)
    marks = """
      const label = arguments[0].parentElement;
      return [getComputedStyle(label).outlineStyle, getComputedStyle(label, "::after").content.includes("✓")];
    """
    assert tab.chrome.execute_script(marks, second) == ["solid", True]
    assert tab.chrome.execute_script(marks, first) == ["none", False]


def test_more_photographs_follow_in_the_same_style_with_a_film_of_each_and_all_in_a_zip(tab, tmp_path):
    tab.visit("size=48&steps=4&content_weight=100")
    tab.run()
    tab.button("More").click()
    with Image.open(downloaded(tab, tmp_path, "Download the film", "cat-eddies-48.webp")) as film:
        assert (film.format, film.n_frames > 1) == ("WEBP", True)
    tab.button("More photos in this style").click()
    for name in ("beach", "hill"):
        (tmp_path / f"{name}.png").write_bytes(encode(np.full((30, 40, 3), len(name) * 40, np.uint8)))
    chooser = tab.wait(lambda: tab.all("[role=dialog] input[type=file]"), "no window")[0]
    chooser.send_keys(f"{tmp_path / 'beach.png'}\n{tmp_path / 'hill.png'}")
    tab.wait(lambda: not tab.all("[role=dialog]"), "the window stays open")
    tab.wait(lambda: len(tab.all("img[alt^='One of your results']")) == 3, "not all were painted")
    tab.button("Start")
    with zipfile.ZipFile(downloaded(tab, tmp_path, "Download all", "pictures.zip")) as archive:
        assert archive.namelist() == [f"{name}-eddies-48.png" for name in ("cat", "beach", "hill")]
