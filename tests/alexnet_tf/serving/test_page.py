"""The server's page in a real browser: choose and drop pictures, read the answer, see what the network sees."""

import base64
import io
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from tests.alexnet_tf.serving.conftest import Exported
from tests.alexnet_tf.serving.servers import Server

DROP = """
const bytes = Uint8Array.from(atob(arguments[0]), c => c.charCodeAt(0));
const dropped = new DataTransfer();
dropped.items.add(new File([bytes], "dropped.png", {type: "image/png"}));
document.body.dispatchEvent(new DragEvent("drop", {dataTransfer: dropped, bubbles: true, cancelable: true}));
"""


@pytest.fixture(scope="module")
def browser() -> Iterator[object]:
    webdriver = pytest.importorskip("selenium.webdriver", reason="NO BROWSER: selenium is not installed")
    programs = [shutil.which(name) for name in ("chromium", "chromedriver")]
    if None in programs:
        pytest.skip("NO BROWSER: chromium and chromedriver (Debian: chromium, chromium-driver) are not on the PATH")
    options = webdriver.ChromeOptions()
    options.binary_location, driver = programs
    for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--window-size=1000,900"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    started = webdriver.Chrome(options, webdriver.ChromeService(driver))
    yield started
    started.quit()


def shown(browser, name: str) -> dict[str, object]:
    """What the page tells of this picture, as soon as it does."""
    from selenium.webdriver.support.ui import WebDriverWait

    def text(part: str) -> str:
        return browser.execute_script(f"return document.getElementById('{part}').textContent")

    WebDriverWait(browser, 60).until(lambda _: name in text("name") or name in text("fault"))
    rows = "return [...document.querySelectorAll('#top li')].map(li => [...li.querySelectorAll('span')].map("
    return {
        "hidden": not browser.find_element("id", "result").is_displayed(),
        "rows": browser.execute_script(rows + "span => span.textContent))"),
        "widths": browser.execute_script(rows.replace("span')", ".bar')") + "bar => parseFloat(bar.style.width)))"),
        "view": browser.execute_script("return document.getElementById('view').src"),
        "fault": text("fault"),
        "time": text("time"),
    }


def test_pictures_are_named_and_shown(
    browser, server: Server, program: Exported, stored_pictures: list[bytes], tmp_path: Path
) -> None:
    (tmp_path / "chosen.jpg").write_bytes(stored_pictures[0])
    browser.get(f"http://{server.rest}/")
    assert not browser.find_element("id", "result").is_displayed()
    browser.find_element("id", "file").send_keys(str(tmp_path / "chosen.jpg"))
    found = shown(browser, "chosen.jpg")
    files = tf.constant(stored_pictures[:1])
    expected = program.signature("serving_default")(image_bytes=files)
    assert [name for name, _ in found["rows"]] == [name.decode() for name in expected["classes"].numpy()[0]]
    percents = 100 * expected["scores"].numpy()[0]
    assert [float(percent.removesuffix(" %")) for _, percent in found["rows"]] == pytest.approx(percents, abs=0.06)
    assert [width for (width,) in found["widths"]] == pytest.approx(percents, abs=0.01)
    png = base64.b64decode(found["view"].removeprefix("data:image/png;base64,"))
    assert png == program.signature("view")(image_bytes=files)["png_bytes"].numpy()[0]
    assert not found["hidden"] and not found["fault"] and "ms, sending included, by alexnet" in found["time"]

    buffer = io.BytesIO()
    Image.fromarray(np.full((300, 300, 3), 200, np.uint8)).save(buffer, "PNG")
    browser.execute_script(DROP, base64.b64encode(buffer.getvalue()).decode())
    assert shown(browser, "dropped.png")["view"] != found["view"]

    (tmp_path / "notes.jpg").write_text("no picture")
    browser.find_element("id", "file").send_keys(str(tmp_path / "notes.jpg"))
    found = shown(browser, "notes.jpg")
    assert found["hidden"] and found["fault"] == "notes.jpg: no JPEG, PNG or GIF file"

    # A fault of the page, or anything from elsewhere that its policy would have to stop, is told here.
    serious = [line["message"] for line in browser.get_log("browser") if line["level"] == "SEVERE"]
    assert not serious
    loaded = browser.execute_script("return performance.getEntriesByType('resource').map(one => one.name)")
    assert all(name.startswith((f"http://{server.rest}/v1/models/", "data:")) for name in loaded)
    if os.environ.get("ALEXNET_TEST_SCREENSHOTS"):
        browser.save_screenshot(str(Path(os.environ["ALEXNET_TEST_SCREENSHOTS"]) / "page.png"))
