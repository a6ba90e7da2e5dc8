"""The page as a person meets it: Chromium against what `make run` starts, with a small network and small pictures.

Screenshots are kept in artifacts/. Skips where Chromium or its driver is missing.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import time
import urllib.request
from collections.abc import Iterator
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
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.wait import WebDriverWait

from serving.results import settings_of
from tests.conftest import decoded
from tests.ui.test_launch import ROOT, launch, wait_for
from ui.samples import CONTENTS

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
PATIENCE_S = 60
CONTROLS = """
  const all = (root) => [...root.querySelectorAll("*")].flatMap((e) => [e, ...(e.shadowRoot ? all(e.shadowRoot) : [])]);
  return all(document).filter((e) => e.matches("button, input, img, canvas"));
"""

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(not (CHROMIUM and DRIVER), reason="chromium and chromedriver are not installed"),
]


@pytest.fixture(scope="module")
def launched(small_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[int, str]]:
    """The process that has started a page with its server, as `make run` does, and the page's address."""
    log = tmp_path_factory.mktemp("launch") / "log"
    process, ports = launch(small_model, log)
    try:
        assert "The page is at" in wait_for("The page is at", log, process)
        yield process.pid, f"http://127.0.0.1:{ports['NST_UI_PORT']}"
    finally:
        process.terminate()
        process.wait(30)


@pytest.fixture(scope="module")
def page(launched: tuple[int, str]) -> str:
    """Address of the page."""
    return launched[1]


@pytest.fixture(scope="module")
def downloads(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("downloads")


@pytest.fixture(scope="module")
def chromium(downloads: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[webdriver.Chrome]:
    options = Options()
    options.binary_location = CHROMIUM or ""
    for flag in (
        "headless=new", "no-sandbox", "disable-gpu", "disable-background-networking", "disable-component-update",
        "disable-sync", "no-first-run", "disable-dev-shm-usage", "window-size=1360,900",
        f"user-data-dir={tmp_path_factory.mktemp('profile')}",
    ):  # fmt: skip
        options.add_argument(f"--{flag}")
    options.add_experimental_option("prefs", {"download.default_directory": str(downloads)})
    chrome = webdriver.Chrome(options=options, service=Service(DRIVER))
    try:
        yield chrome
    finally:
        chrome.quit()


@pytest.fixture
def browser(chromium: webdriver.Chrome) -> Iterator[webdriver.Chrome]:
    """A tab of its own, and with it a visit of its own."""
    before = chromium.current_window_handle
    chromium.switch_to.new_window("tab")
    yield chromium
    for handle in chromium.window_handles:
        if handle != before:
            chromium.switch_to.window(handle)
            chromium.close()
    chromium.switch_to.window(before)


def button(browser: webdriver.Chrome, label: str) -> WebElement:
    """Waits for a button that can be pressed."""

    def find(_: object) -> WebElement | None:
        found = [b for b in browser.find_elements(By.TAG_NAME, "button") if label in b.text and b.is_enabled()]
        return found[0] if found else None

    waiting = WebDriverWait(browser, PATIENCE_S, ignored_exceptions=[StaleElementReferenceException])
    return waiting.until(find, f"no button {label}")


def says(browser: webdriver.Chrome, words: str) -> None:
    waiting = WebDriverWait(browser, PATIENCE_S, ignored_exceptions=[StaleElementReferenceException])
    waiting.until(lambda _: words in browser.find_element(By.TAG_NAME, "body").text, f"never said: {words}")


def shown_picture(browser: webdriver.Chrome, selector: str) -> np.ndarray:
    """Returns a picture of the page as uint8 [H, W, 3]."""
    source = browser.find_element(By.CSS_SELECTOR, selector).get_attribute("src")
    assert source is not None
    with urllib.request.urlopen(source) as answer:
        return decoded(answer.read())


def picture(browser: webdriver.Chrome, page: str) -> np.ndarray:
    """Returns the result that the page shows."""
    result = "img[alt='The stylised picture']"
    assert str(browser.find_element(By.CSS_SELECTOR, result).get_attribute("src")).startswith(page)
    return shown_picture(browser, result)


def keep(browser: webdriver.Chrome, name: str) -> None:
    artifacts = ROOT / "artifacts"
    artifacts.mkdir(exist_ok=True)
    browser.save_screenshot(str(artifacts / f"{name}.png"))


def settle(browser: webdriver.Chrome) -> None:
    """Waits until the page has drawn what the last action changed."""
    time.sleep(0.5)  # the action has to reach the server before the page counts as running
    app = "[data-testid=stApp][data-test-script-state=notRunning]"
    WebDriverWait(browser, PATIENCE_S).until(lambda _: browser.find_elements(By.CSS_SELECTOR, app))


def visit(browser: webdriver.Chrome, page: str, query: str = "") -> None:
    """Opens the page and waits until it is drawn."""
    browser.get(f"{page}/?{query}")
    button(browser, "Start")
    settle(browser)


def run(browser: webdriver.Chrome) -> None:
    """Presses Start and waits until the picture is there."""
    button(browser, "Start").click()
    button(browser, "Download PNG")
    settle(browser)


def upload(browser: webdriver.Chrome, path: Path) -> None:
    """Brings a file to the content card."""
    browser.find_element(By.CSS_SELECTOR, "input[type=file]").send_keys(str(path))


def within_component(browser: webdriver.Chrome, selector: str) -> WebElement:
    """Waits for an element of one of the page's own components."""
    find = "return [...document.querySelectorAll('*')].map(e => e.shadowRoot?.querySelector(arguments[0])).find(e => e)"
    found = WebDriverWait(browser, PATIENCE_S).until(lambda _: browser.execute_script(find, selector))
    assert isinstance(found, WebElement)
    return found


def step_of(browser: webdriver.Chrome) -> int:
    """Waits until the page says at which step a run is, and returns it."""
    waiting = WebDriverWait(browser, PATIENCE_S, ignored_exceptions=[StaleElementReferenceException])
    bar = "[data-testid=stProgress]"
    found = waiting.until(
        lambda _: re.search(r"Step (\d+) of", " ".join(e.text for e in browser.find_elements(By.CSS_SELECTOR, bar)))
    )
    return int(found[1])


def test_a_first_visit_gives_a_picture_with_one_click_to_compare_by_mouse_and_keys(
    browser: webdriver.Chrome, page: str
) -> None:
    browser.get(page)
    start = button(browser, "Start")
    keep(browser, "first_visit")
    start.click()
    button(browser, "Stop")
    button(browser, "Download PNG")
    settle(browser)
    keep(browser, "done")
    with Image.open(CONTENTS[0].path) as content:
        assert picture(browser, page).shape == (round(512 * content.height / content.width), 512, 3)
    assert "Traceback" not in browser.page_source

    browser.find_element(By.XPATH, "//*[@role='tab'][contains(., 'Before and after')]").click()
    frame = within_component(browser, ".compare")
    share = "return [getComputedStyle(arguments[0]).getPropertyValue('--at'), arguments[0].offsetHeight]"
    slider = frame.find_element(By.CSS_SELECTOR, "input")
    assert browser.execute_script(share, frame)[0] == "50%"
    slider.send_keys(Keys.ARROW_LEFT * 20)
    at, height = browser.execute_script(share, frame)
    assert at == "30%"
    assert height > 100
    keep(browser, "before_and_after")
    ActionChains(browser).drag_and_drop_by_offset(slider, frame.size["width"] // 4, 0).perform()
    assert 70 <= int(browser.execute_script(share, frame)[0].rstrip("%")) <= 80


def test_a_page_that_is_loaded_anew_goes_on_with_its_run_and_stop_keeps_the_picture(
    browser: webdriver.Chrome, page: str
) -> None:
    visit(browser, page, "size=96&steps=10000&optimizer=adam")  # which never ends early
    button(browser, "Start").click()
    before = step_of(browser)
    assert "visit" not in browser.current_url
    browser.refresh()
    assert step_of(browser) >= before
    settle(browser)
    keep(browser, "reloaded")
    button(browser, "Stop").click()
    button(browser, "Download PNG")
    result = picture(browser, page)
    assert max(result.shape) == 96
    assert np.ptp(result) > 0
    keep(browser, "stopped")
    browser.switch_to.new_window("tab")
    visit(browser, page)
    assert "Download PNG" not in browser.find_element(By.TAG_NAME, "body").text


def test_a_server_that_is_killed_in_mid_run_is_told_and_the_run_goes_on_when_it_is_back(
    browser: webdriver.Chrome, launched: tuple[int, str]
) -> None:
    launcher, page = launched
    visit(browser, page, "size=48&steps=3000&optimizer=adam")
    button(browser, "Start").click()
    step_of(browser)
    os.kill(child_of(launcher, "serving.server"), signal.SIGKILL)
    says(browser, "Your run will resume from step")
    says(browser, "Server not ready")
    reached = step_of(browser)
    assert 0 < reached < 3000
    assert button(browser, "Stop")
    keep(browser, "server_away")
    says(browser, "Server ready")
    # So many steps that the run is not over before the page has seen that the server is back.
    WebDriverWait(browser, PATIENCE_S).until(lambda _: step_of(browser) > reached)
    button(browser, "Download PNG")
    says(browser, "3000 steps in")
    assert max(picture(browser, page).shape) == 48
    assert "does not answer" not in browser.find_element(By.TAG_NAME, "body").text


def child_of(parent: int, words: str) -> int:
    """Returns the process that a process has started, by words of its command line."""
    for child in Path(f"/proc/{parent}/task/{parent}/children").read_text().split():
        if words in Path(f"/proc/{child}/cmdline").read_text():
            return int(child)
    raise AssertionError(f"there is no child with {words}")


def test_a_phone_photograph_is_painted_upright_and_its_result_brought_back_gives_its_settings(
    browser: webdriver.Chrome, page: str, tmp_path: Path, downloads: Path
) -> None:
    visit(browser, page, "size=96&steps=5&content_weight=100")
    (tmp_path / "text.jpg").write_text("hello")
    upload(browser, tmp_path / "text.jpg")
    says(browser, "is not a picture")
    keep(browser, "no_picture")

    lying = np.zeros((40, 60, 3), np.uint8)
    lying[:, :30] = 255  # as a phone that is held upright stores it: what is on the left is the top
    photograph = Image.fromarray(lying)
    exif = photograph.getexif()
    exif[0x0112] = 6
    photograph.save(tmp_path / "tall.jpg", exif=exif)
    settle(browser)
    upload(browser, tmp_path / "tall.jpg")
    shown = "img[alt*='tall.jpg']"
    WebDriverWait(browser, PATIENCE_S).until(lambda _: browser.find_elements(By.CSS_SELECTOR, shown))
    settle(browser)
    assert is_light_above_dark(shown_picture(browser, shown))
    run(browser)
    keep(browser, "phone_photograph")
    result = picture(browser, page)
    assert result.shape == (96, 64, 3)
    assert is_light_above_dark(result)

    button(browser, "Download PNG").click()
    WebDriverWait(browser, PATIENCE_S).until(lambda _: (downloads / "stylised.png").exists())
    data = (downloads / "stylised.png").read_bytes()
    np.testing.assert_array_equal(decoded(data), result)
    settings = settings_of(data)
    assert settings is not None
    assert (settings.size, settings.steps) == (96, 5)
    button(browser, "Quick").click()
    settle(browser)
    upload(browser, downloads / "stylised.png")
    button(browser, "Use the settings of this picture").click()
    settle(browser)
    assert browser.find_element(By.CSS_SELECTOR, "input[aria-label^='Steps']").get_attribute("value") == "5"
    keep(browser, "settings_of_a_result")


def is_light_above_dark(shown: np.ndarray) -> bool:
    height, width = shown.shape[:2]
    middle = shown[:, width * 2 // 5 : width * 3 // 5]  # a thumbnail has a ground on both sides
    return float(middle[: height // 3].mean()) > float(middle[-height // 3 :].mean()) + 40


def test_a_painted_mask_a_link_and_the_keyboard(browser: webdriver.Chrome, page: str) -> None:
    visit(browser, page, "size=96&steps=5&start=noise&content=lighthouse")
    browser.find_element(By.XPATH, "//summary[contains(., 'Masks')]").click()
    canvas = within_component(browser, "canvas")
    WebDriverWait(browser, PATIENCE_S).until(lambda _: canvas.size["height"] > 100)  # the picture is there
    settle(browser)
    browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", canvas)
    left = -canvas.size["width"] // 3
    stroke = ActionChains(browser).move_to_element_with_offset(canvas, left, -canvas.size["height"] // 4)
    stroke.click_and_hold().move_by_offset(-left, 0).move_by_offset(-left, 0).release().perform()
    says(browser, "painted where the mask is; elsewhere the photograph stays")
    keep(browser, "mask")
    ActionChains(browser).key_down(Keys.CONTROL).send_keys(Keys.ENTER).key_up(Keys.CONTROL).perform()
    button(browser, "Download PNG")
    result = picture(browser, page).astype(int)
    photograph = Image.open(ROOT / "ui" / "samples" / "lighthouse.jpg").resize(
        result.shape[1::-1], Image.Resampling.BOX
    )
    changed = np.abs(result - np.asarray(photograph)).mean(-1)
    assert changed[13:19, 24:72].mean() > 30
    assert changed[32:].mean() < 8


def test_variations_and_the_history_and_every_control_has_a_name(browser: webdriver.Chrome, page: str) -> None:
    visit(browser, page, "size=64&steps=4&style=eddies,waves")
    run(browser)
    for element in browser.execute_script(CONTROLS):
        name = element.get_attribute("alt") if element.tag_name == "img" else element.accessible_name
        if element.is_displayed():
            assert name, element.get_attribute("outerHTML")
            assert not name.endswith(" icon"), element.get_attribute("outerHTML")
    button(browser, "Try variations").click()
    button(browser, "Download the sheet")
    settle(browser)
    keep(browser, "variations")
    button(browser, "Use this look").click()
    settle(browser)
    assert browser.find_element(By.CSS_SELECTOR, "input[aria-label^='Style weight']").get_attribute("value") == "200"
    assert "style_weight=200" in browser.current_url
    button(browser, "Compare").click()
    within_component(browser, ".compare")
    keep(browser, "history_compared")


def test_a_blend_on_a_phone(browser: webdriver.Chrome, page: str) -> None:
    browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride", {"width": 390, "height": 2400, "deviceScaleFactor": 1, "mobile": True}
    )
    visit(browser, page, "size=96&steps=5")
    browser.find_element(By.XPATH, "//*[text()='Blend several styles']").click()
    settle(browser)
    button(browser, "Waves").click()
    settle(browser)
    assert len(browser.find_elements(By.CSS_SELECTOR, "[data-testid=stSlider]")) == 2
    run(browser)
    says(browser, "Your results")
    keep(browser, "blend_on_a_phone")
    wide = "return document.scrollingElement.scrollWidth - document.scrollingElement.clientWidth"
    assert browser.execute_script(wide) <= 0
