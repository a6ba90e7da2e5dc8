"""The page as visitors see it: Chromium and what `make run` starts, with a small network and small pictures.

Each test ends with a screenshot in artifacts/. Tests that need Chromium skip if it or its driver is missing.
"""

import base64
import os
import re
import shutil
import signal
import time
import urllib.request
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from selenium import webdriver
from selenium.common.exceptions import StaleElementReferenceException
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
  return all(document).filter((e) => e.matches("button, input, img, canvas"));
"""
IN_SHADOW = """
  return [...document.querySelectorAll("*")].map((e) => e.shadowRoot?.querySelector(arguments[0])).find(Boolean);
"""

pytestmark = pytest.mark.browser


class Tab:
    """A tab of Chromium, with a visit of its own."""

    def __init__(self, chrome: webdriver.Chrome, page: str) -> None:
        self.chrome, self._page = chrome, page
        chrome.switch_to.new_window("tab")

    def wait(self, condition, why):
        """Waits until a condition is true, and returns its value; elements may be replaced meanwhile."""
        waiting = WebDriverWait(self.chrome, PATIENCE_S, ignored_exceptions=[StaleElementReferenceException])
        return waiting.until(lambda _: condition(), why)

    def visit(self, query=""):
        """Opens the page, checks that it shows no other tab's result, and waits until it is drawn."""
        self.chrome.get(f"{self._page}/?{query}")
        self.button("Start")
        self.settle()
        assert "Download" not in self.text

    def settle(self):
        """Waits until the page has drawn what the last action changed."""
        time.sleep(0.5)  # the action has to reach the server before the page counts as running
        self.wait(lambda: self.all("[data-testid=stApp][data-test-script-state=notRunning]"), "never came to rest")

    def all(self, selector):
        return self.chrome.find_elements(By.CSS_SELECTOR, selector)

    def button(self, label):
        """Waits for a button that can be pressed."""
        found = lambda: [one for one in self.all("button") if label in one.text and one.is_enabled()]  # noqa: E731
        return self.wait(found, f"no button {label}")[0]

    @property
    def text(self):
        return self.chrome.find_element(By.TAG_NAME, "body").text

    def says(self, words):
        self.wait(lambda: words in self.text, f"never said: {words}")

    def step(self):
        """Waits until the page shows a run's step, and returns it."""
        bars = lambda: " ".join(bar.text for bar in self.all("[data-testid=stProgress]"))  # noqa: E731
        return int(self.wait(lambda: re.search(r"Step (\d+) of", bars()), "no step")[1])

    def run(self):
        """Presses Start and waits for the result."""
        self.button("Start").click()
        self.button("Download")
        self.settle()

    def picture(self, selector=RESULT):
        """Returns a picture on the page as uint8 [H, W, 3]."""
        source = self.wait(lambda: self.all(selector), f"no {selector}")[0].get_attribute("src")
        assert source.startswith(self._page)
        with urllib.request.urlopen(source) as answer:
            return decoded(answer.read())

    def within_component(self, selector):
        """Waits for an element of one of the page's own components."""
        return self.wait(lambda: self.chrome.execute_script(IN_SHADOW, selector), f"no {selector}")


@pytest.fixture(scope="module")
def launched(small_model, tmp_path_factory):
    with Launched(small_model, tmp_path_factory.mktemp("launch") / "log") as launched:
        log = launched.wait_for("The page is at")
        assert f"The page is at http://localhost:{launched.ports['NST_UI_PORT']} " in log
        yield launched


@pytest.fixture(scope="module")
def chromium():
    if not (CHROMIUM and DRIVER):
        pytest.skip("chromium and chromedriver are not installed")
    options = Options()
    options.binary_location = CHROMIUM
    for flag in (
        "headless=new", "no-sandbox", "disable-gpu", "disable-background-networking", "disable-component-update",
        "disable-sync", "no-first-run", "disable-dev-shm-usage", "window-size=1360,900",
    ):  # fmt: skip
        options.add_argument(f"--{flag}")
    chrome = webdriver.Chrome(options=options, service=Service(DRIVER))
    yield chrome
    chrome.quit()


@pytest.fixture
def tab(chromium, launched, request):
    before = chromium.current_window_handle
    yield Tab(chromium, launched.page)
    (ROOT / "artifacts").mkdir(exist_ok=True)
    chromium.save_screenshot(str(ROOT / "artifacts" / f"{request.node.name}.png"))
    for handle in set(chromium.window_handles) - {before}:
        chromium.switch_to.window(handle)
        chromium.close()
    chromium.switch_to.window(before)


def test_a_phone_photograph_is_painted_upright_with_one_click_compared_and_downloaded(tab, tmp_path):
    tab.visit("size=96&steps=5&content_weight=100")
    lying = np.zeros((40, 60, 3), np.uint8)
    lying[:, :30] = 255  # a phone held upright stores the top of a picture on the left
    exif = Image.Exif()
    exif[0x0112] = 6
    (tmp_path / "tall.jpg").write_bytes(encode(lying, "JPEG", exif=exif))
    tab.all("input[type=file]")[0].send_keys(str(tmp_path / "tall.jpg"))
    assert is_light_above_dark(tab.picture("img[alt*='tall.jpg']"))
    tab.settle()
    tab.run()
    result = tab.picture()
    assert result.shape == (96, 64, 3)
    assert is_light_above_dark(result)

    tab.chrome.execute_cdp_cmd("Browser.setDownloadBehavior", {"behavior": "allow", "downloadPath": str(tmp_path)})
    tab.button("Download").click()
    tab.wait((tmp_path / "tall-eddies-96.png").exists, "no file")
    data = (tmp_path / "tall-eddies-96.png").read_bytes()
    np.testing.assert_array_equal(decoded(data), result)
    assert settings_of(data).content_weight == 100

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
    for element in [one for one in tab.chrome.execute_script(CONTROLS) if one.is_displayed()]:
        name = element.get_attribute("alt") if element.tag_name == "img" else element.accessible_name
        assert name, element.get_attribute("outerHTML")
        assert not name.endswith(" icon"), element.get_attribute("outerHTML")
    tab.within_component("[data-do=clear]").click()
    tab.says("Without masks, all of it is used.")
    tab.button("Try variations").click()
    tab.button("Download the sheet")
    tab.settle()
    tab.button("Weaker, small strokes").click()
    tab.wait(lambda: "style_weight=200" in tab.chrome.current_url, "the variation was not used")
    tab.button("Make it large")
    tab.chrome.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride", {"width": 390, "height": 2400, "deviceScaleFactor": 1, "mobile": True}
    )
    tab.says("Your results")
    wide = "return document.scrollingElement.scrollWidth - document.scrollingElement.clientWidth"
    assert tab.chrome.execute_script(wide) <= 0
    tab.button("Compare").click()
    tab.within_component(".compare")


def paint_a_mask(tab):
    """Paints a stroke over the upper half of the photograph."""
    tab.chrome.find_element(By.XPATH, "//*[not(self::script)][contains(text(), 'Masks')]").click()
    canvas = tab.within_component("canvas")
    tab.wait(lambda: canvas.size["height"] > 100, "no picture under the canvas")
    tab.settle()
    tab.chrome.execute_script("arguments[0].scrollIntoView({block: 'center'})", canvas)
    left = -canvas.size["width"] // 3
    stroke = ActionChains(tab.chrome).move_to_element_with_offset(canvas, left, -canvas.size["height"] // 4)
    stroke.click_and_hold().move_by_offset(-left, 0).move_by_offset(-left, 0).release().perform()
    tab.says("only where masked")
    sent = tab.chrome.execute_script("return arguments[0].shown", canvas)
    mask = decoded(base64.b64decode(sent.partition(",")[2]))
    height, width = mask.shape[:2]
    assert mask[height // 4, width // 4 : width * 3 // 4].min() == 255
    assert mask[height // 2 :].max() == 0


def test_a_run_survives_a_reload_and_a_killed_server_and_stop_keeps_the_picture(tab, launched):
    tab.visit("size=48&steps=10000&optimizer=adam")  # Adam never ends early
    ActionChains(tab.chrome).key_down(Keys.CONTROL).send_keys(Keys.ENTER).key_up(Keys.CONTROL).perform()
    before = tab.step()
    assert "visit" not in tab.chrome.current_url
    tab.chrome.refresh()
    assert tab.step() >= before

    os.kill(launched.child("serving.server"), signal.SIGKILL)
    tab.says("Your run will resume from step")
    tab.says("Server not ready")
    reached = tab.step()
    tab.wait(lambda: tab.step() > reached, "never went on")
    tab.says("Server ready")
    tab.button("Stop").click()
    tab.button("Continue")
    assert max(tab.picture().shape) == 48
    assert "does not answer" not in tab.text


def downloaded(tab, folder, label, name):
    """Presses a button and returns the path of the file that it downloads."""
    tab.chrome.execute_cdp_cmd("Browser.setDownloadBehavior", {"behavior": "allow", "downloadPath": str(folder)})
    tab.button(label).click()
    tab.wait((folder / name).exists, f"no file {name}")
    return folder / name


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


def test_ctrl_c_stops_server_and_page(launched):
    launched.process.send_signal(signal.SIGINT)
    assert launched.process.wait(30) == 0
    assert launched.nobody_listens()
    assert "Traceback" not in launched.log.read_text()
