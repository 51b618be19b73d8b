"""The server's page in a real browser: pictures in by every way, and for each an answer of its own."""

import base64
import contextlib
import io
import os
import shutil
import socket
import socketserver
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from tensorflow.core.protobuf import saved_model_pb2

from alexnet_tf.evaluation.trained_network import trained_network
from alexnet_tf.networks.network import named_variables
from alexnet_tf.runs.folder import TrainingFolder
from alexnet_tf.runs.records import TrainingState
from alexnet_tf.runs.run import open_run
from alexnet_tf.serving.export import export_run
from alexnet_tf.towers import Towers
from tests.alexnet_tf.serving.exported_models import EXAMPLE_LABELS, LICENSE, Exported, keep_one_warm_up
from tests.alexnet_tf.serving.pictures import encoded, smooth
from tests.alexnet_tf.serving.servers import Server, b64, local_server

CARDS = """
const seen = element => element.checkVisibility() ? element.textContent : "";
return [...document.querySelectorAll("#pictures article")].map(card => ({
  name: card.querySelector("h2").textContent,
  busy: card.getAttribute("aria-busy") === "true",
  doing: seen(card.querySelector(".work .doing")),
  moves: card.querySelector("progress").checkVisibility() && card.querySelector("progress").position === -1,
  rows: [...card.querySelectorAll("li")].map(li => [...li.querySelectorAll("span")].map(span => span.textContent)),
  widths: [...card.querySelectorAll(".bar")].map(bar => parseFloat(bar.style.width)),
  shown: card.querySelector("img").checkVisibility(),
  image: card.querySelector("img").src,
  alt: card.querySelector("img").alt,
  doubt: seen(card.querySelector(".doubt")),
  fault: seen(card.querySelector(".fault")),
  again: seen(card.querySelector(".again")),
  told: seen(card.querySelector(".told")),
  changed: seen(card.querySelector(".changed")),
  looks: [...card.querySelectorAll(".look")].map(box => ({
    title: box.querySelector("summary").textContent,
    busy: box.hasAttribute("aria-busy"),
    text: box.querySelector(".found").textContent,
    drawn: [...box.querySelectorAll("canvas")].map(canvas => canvas.toDataURL()),
    said: [...box.querySelectorAll("canvas")].map(canvas => canvas.ariaLabel),
    images: [...box.querySelectorAll("img")].map(image => [image.alt, image.src, image.naturalWidth]),
  })),
}));
"""
FILES = """
const files = new DataTransfer();
for (const [name, content] of arguments[0]) {
  files.items.add(new File([Uint8Array.from(atob(content), c => c.charCodeAt(0))], name));
}
"""
DROP = FILES + 'document.body.dispatchEvent(new DragEvent("drop", {dataTransfer: files, bubbles: true}));'
PASTE = FILES + 'document.body.dispatchEvent(new ClipboardEvent("paste", {clipboardData: files, bubbles: true}));'


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    webdriver = pytest.importorskip("selenium.webdriver", reason="NO BROWSER: selenium is not installed")
    programs = [shutil.which(name) for name in ("chromium", "chromedriver")]
    if None in programs:
        pytest.skip("NO BROWSER: chromium and chromedriver (Debian: chromium, chromium-driver) are not on the PATH")
    options = webdriver.ChromeOptions()
    options.binary_location, driver = programs
    arguments = ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--window-size=1000,900")
    for argument in (*arguments, "--use-fake-device-for-media-stream"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    started = webdriver.Chrome(options, webdriver.ChromeService(driver))
    yield started
    started.quit()


class Page:
    """The page, and what a person sees on it."""

    def __init__(self, browser: Any, server: Server) -> None:
        self.browser = browser
        self.server = server
        browser.get(f"http://{server.rest}/")
        self.until(lambda: self.find("about").is_displayed())
        self.until(lambda: self.find("examples").find_elements("tag name", "button"))

    def find(self, name: str) -> Any:
        return self.browser.find_element("id", name)

    def until(self, condition: Callable[[], Any]) -> None:
        from selenium.webdriver.support.ui import WebDriverWait

        WebDriverWait(self.browser, 60, poll_frequency=0.05).until(lambda _: condition())

    def cards(self) -> list[dict[str, Any]]:
        return self.browser.execute_script(CARDS)

    def answered(self, count: int) -> dict[str, dict[str, Any]]:
        """The cards by their names, once there are so many and all are done."""
        self.until(lambda: len(self.cards()) == count and not any(card["busy"] for card in self.cards()))
        return {card["name"]: card for card in self.cards()}

    def allow_camera(self, setting: str) -> None:
        permission = {"permission": {"name": "camera"}, "setting": setting, "origin": f"http://{self.server.rest}"}
        self.browser.execute_cdp_cmd("Browser.setPermission", permission)

    def open_looks(self, name: str) -> None:
        """Opens all that a card has to show of the network's inside, and waits for it."""
        place = [card["name"] for card in self.cards()].index(name)
        card = self.browser.find_elements("css selector", "#pictures article")[place]
        for summary in card.find_elements("css selector", ".look > summary"):
            self.browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", summary)
            summary.click()
        self.until(lambda: all(self._is_shown(look) for look in self.cards()[place]["looks"]))

    @staticmethod
    def _is_shown(look: dict[str, Any]) -> bool:
        return not look["busy"] and bool(look["text"]) and all(width for _, _, width in look["images"])

    def choose(self, *paths: Path) -> None:
        self.find("file").send_keys("\n".join(map(str, paths)))

    def give(self, script: str, **files: bytes) -> None:
        """Runs DROP or PASTE; `_` in a name stands for a dot."""
        given = [(name.replace("_", "."), base64.b64encode(content).decode()) for name, content in files.items()]
        self.browser.execute_script(script, given)

    def screenshot(self, name: str, whole: bool = True) -> None:
        if folder := os.environ.get("ALEXNET_TEST_SCREENSHOTS"):
            shot = self.browser.execute_cdp_cmd("Page.captureScreenshot", {"captureBeyondViewport": whole})
            (Path(folder) / f"{name}.png").write_bytes(base64.b64decode(shot["data"]))


@pytest.fixture
def page(browser: Any, server: Server) -> Iterator[Page]:
    opened = Page(browser, server)
    yield opened
    # A fault of the page, or anything from elsewhere that its policy would have to stop, is told here.
    serious = [line["message"] for line in browser.get_log("browser") if line["level"] == "SEVERE"]
    loaded = browser.execute_script("return performance.getEntriesByType('resource').map(one => one.name)")
    own = tuple(f"http://{server.rest}/{path}/" for path in ("v1/models", "page"))
    assert not [name for name in loaded if not name.startswith((*own, "data:", f"blob:http://{server.rest}/"))]
    assert not serious


def expected_answer(program: Exported, file: bytes) -> dict[str, np.ndarray]:
    return {key: value.numpy()[0] for key, value in program.signature("serving_default")(image_bytes=[file]).items()}


def check_rows(card: dict[str, Any], names: list[str], probabilities: np.ndarray) -> None:
    assert [name for name, _ in card["rows"]] == names
    assert [float(text.removesuffix(" %")) for _, text in card["rows"]] == pytest.approx(100 * probabilities, abs=0.06)
    assert card["widths"] == pytest.approx(100 * probabilities, abs=0.01)


def pixels_of(address: str) -> tuple[bytes, np.ndarray]:
    """The PNG file of a data URL, and its pixels."""
    png = base64.b64decode(address.removeprefix("data:image/png;base64,"))
    return png, np.asarray(Image.open(io.BytesIO(png)))


def check_answer(card: dict[str, Any], program: Exported, file: bytes) -> None:
    expected = expected_answer(program, file)
    check_rows(card, [name.decode() for name in expected["classes"]], expected["scores"])
    assert not card["fault"] and "ms, sending included, by alexnet version 1" in card["told"]
    view = program.signature("view")(image_bytes=tf.constant([file]))["png_bytes"].numpy()[0]
    assert pixels_of(card["image"])[0] == view
    assert card["alt"] == f"The center of {card['name']}, as the network sees it"


def test_every_picture_gets_its_own_answer(
    page: Page, program: Exported, stored_pictures: list[bytes], tmp_path: Path
) -> None:
    files = {f"{number}.jpg": stored_pictures[number] for number in range(5)} | {"notes.jpg": b"no picture"}
    for name in ("0.jpg", "1.jpg", "notes.jpg"):
        (tmp_path / name).write_bytes(files[name])
    page.choose(tmp_path / "0.jpg", tmp_path / "1.jpg", tmp_path / "notes.jpg")
    assert [card["name"] for card in page.cards()] == ["0.jpg", "1.jpg", "notes.jpg"]
    page.answered(3)
    page.give(DROP, **{"2_jpg": files["2.jpg"], "3_jpg": files["3.jpg"]})
    page.answered(5)
    page.give(PASTE, **{"4_jpg": files["4.jpg"]})
    found = page.answered(6)
    assert list(found) == ["4.jpg", "2.jpg", "3.jpg", "0.jpg", "1.jpg", "notes.jpg"]
    bad = found.pop("notes.jpg")
    assert "no JPEG, PNG or GIF file" in bad["fault"] and not bad["rows"] and not bad["again"] and not bad["doing"]
    assert not bad["shown"]  # else the browser would show its sign for a broken picture
    for name, card in found.items():
        check_answer(card, program, files[name])
        assert card["shown"]
    assert page.find("count").text == "6 pictures"
    spoken = page.find("spoken").get_attribute("textContent")
    assert all(f"{name}: " in spoken for name in files)
    page.screenshot("page")


def test_the_same_file_can_be_chosen_again(page: Page, stored_pictures: list[bytes], tmp_path: Path) -> None:
    (tmp_path / "same.jpg").write_bytes(stored_pictures[0])
    for count in (1, 2):
        page.choose(tmp_path / "same.jpg")
        page.until(lambda count=count: len(page.cards()) == count)
    page.answered(2)
    first, second = page.cards()
    assert first["rows"] == second["rows"] != []


def test_work_is_shown_and_no_old_answer_stays_beside_a_new_picture(
    page: Page, program: Exported, stored_pictures: list[bytes]
) -> None:
    page.give(DROP, old_jpg=stored_pictures[0])
    page.answered(1)
    page.browser.execute_cdp_cmd("Network.enable", {})
    conditions = {"offline": False, "latency": 1500, "downloadThroughput": -1, "uploadThroughput": -1}
    page.browser.execute_cdp_cmd("Network.emulateNetworkConditions", conditions)
    try:
        page.give(DROP, **{f"new{number}_jpg": stored_pictures[number] for number in (1, 2, 3)})
        page.until(lambda: page.cards()[0]["doing"].startswith("Asking"))
        *new, old = page.cards()
        for card in new:
            assert card["busy"] and card["moves"] and not card["rows"] and not card["told"]
        assert new[-1]["doing"].startswith("Waiting")  # two are asked for at a time
        check_answer(old, program, stored_pictures[0])
        assert page.browser.title.startswith("(3) ")
        assert page.find("count").text == "4 pictures, 3 still to be answered"
        page.screenshot("working")
    finally:
        conditions["latency"] = 0
        page.browser.execute_cdp_cmd("Network.emulateNetworkConditions", conditions)
    found = page.answered(4)
    for number in (1, 2, 3):
        check_answer(found[f"new{number}.jpg"], program, stored_pictures[number])
    assert not any(card["moves"] or card["doing"] for card in found.values())
    assert not page.browser.title.startswith("(")


def test_drawings_are_converted(page: Page) -> None:
    circle = b'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 9 9"><circle cx="4" cy="4" r="4" fill="red"/></svg>'
    page.give(DROP, circle_svg=circle)
    (card,) = page.answered(1).values()
    shown = np.asarray(Image.open(io.BytesIO(base64.b64decode(card["image"].partition(",")[2]))))
    assert shown[100, 100].tolist() == [255, 0, 0] and shown[0, 0].tolist() == [255, 255, 255]
    assert len(card["rows"]) == 5


@pytest.mark.parametrize("kind", ["BMP", "WEBP"])
def test_what_only_the_browser_can_read_is_converted_there(page: Page, program: Exported, kind: str) -> None:
    picture = smooth("RGB")
    options = {"lossless": True} if kind == "WEBP" else {}
    page.give(DROP, **{f"other_{kind.lower()}": encoded(picture, kind, **options)})
    (card,) = page.answered(1).values()
    check_answer(card, program, encoded(picture, "PNG"))
    assert card["changed"].startswith("This browser converted the file first")


def test_a_file_too_large_for_the_server_is_shrunk(page: Page) -> None:
    """The server of these tests takes 4 MB."""
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (1200, 1500, 3), np.uint8))
    page.give(DROP, large_png=encoded(noise, "PNG"))
    (card,) = page.answered(1).values()
    assert len(card["rows"]) == 5 and "the file is larger than the server takes" in card["changed"]


def test_what_nobody_can_read_is_refused(page: Page, stored_pictures: list[bytes]) -> None:
    page.give(DROP, cut_jpg=stored_pictures[0][:300], empty_jpg=b"", thin_png=encoded(smooth("RGB", (1, 300)), "PNG"))
    found = page.answered(3)
    for name, reason in (("cut.jpg", "damaged"), ("empty.jpg", "no JPEG, PNG or GIF"), ("thin.png", "too thin")):
        assert reason in found[name]["fault"] and not found[name]["rows"], name


def test_ten_views(page: Page, program: Exported, stored_pictures: list[bytes]) -> None:
    page.give(DROP, one_jpg=stored_pictures[0], two_jpg=stored_pictures[1])
    one_view = page.answered(2)
    page.find("ten").click()
    ten_views = page.answered(2)
    outputs = program.signature("ten_view")(image_bytes=tf.constant(stored_pictures[:2]))
    names = program.run.classes.names
    for name, probabilities in zip(("one.jpg", "two.jpg"), outputs["probabilities"].numpy(), strict=True):
        order = np.argsort(-probabilities, kind="stable")[:5]
        check_rows(ten_views[name], [names[label] for label in order], probabilities[order])
        assert "Mean of 10 views" in ten_views[name]["told"] and "One view" in one_view[name]["told"]
    page.find("ten").click()
    for name, card in page.answered(2).items():
        assert card["rows"] == one_view[name]["rows"]


@pytest.mark.slow
def test_a_guess_is_called_one(
    browser: Any, page: Page, program: Exported, stored_pictures: list[bytes], tmp_path: Path, small_net: None
) -> None:
    """A sure network, and the same with a last layer of next to no weights, as an earlier version exported it."""
    page.give(DROP, one_jpg=stored_pictures[0])
    assert not page.answered(1)["one.jpg"]["doubt"]
    run = program.run
    net, _ = trained_network(run, Towers.unplaced())
    variables = named_variables(net)
    variables["fc8_a/kernel"].assign(variables["fc8_a/kernel"] / 1000)
    with TrainingFolder(tmp_path / "run", run.config, run.classes, run.statistics) as folder:
        folder.save(tf.train.Checkpoint(weights=variables), TrainingState(step=1))
    version = export_run([open_run(tmp_path / "run")], tmp_path / "unsure", None)
    keep_signatures(version, "serving_default", "probabilities", "view", "classify")
    answers = tf.saved_model.load(str(version)).signatures["probabilities"](image_bytes=stored_pictures[:1])
    best = 100 * answers["probabilities"].numpy().max()
    with local_server(tmp_path / "unsure") as server:
        unsure = Page(browser, server)
        unsure.give(DROP, one_jpg=stored_pictures[0])
        told = f"No class is likely: even the best gets only {best:.1f} %. Blind guessing among its 7 classes"
        assert unsure.answered(1)["one.jpg"]["doubt"].startswith(told)
        unsure.screenshot("doubt")
        assert not unsure.cards()[0]["looks"] and not unsure.find("views").is_displayed()
        browser.find_element("css selector", "#about > summary").click()
        assert "not shown: an earlier version of the program exported it" in unsure.find("about").text
        check_drawn_examples(unsure)
        browser.get("about:blank")


def keep_signatures(version: Path, *kept: str) -> None:
    """Takes the other signatures out of a version, which earlier ones did not have."""
    path = version / "saved_model.pb"
    proto = saved_model_pb2.SavedModel.FromString(path.read_bytes())
    signatures = proto.meta_graphs[0].signature_def
    for name in [name for name in signatures if name not in kept and not name.startswith("__")]:
        del signatures[name]
    path.write_bytes(proto.SerializeToString())
    keep_one_warm_up(version)


def check_drawn_examples(page: Page) -> None:
    buttons = page.find("examples").find_elements("tag name", "button")
    names = [f"Example: {name}" for name in ("star", "ring", "checkerboard", "stripes")]
    assert [button.accessible_name for button in buttons] == names
    for button in buttons:
        button.click()
    found = page.answered(5)
    assert len({card["image"] for card in found.values()}) == 5
    assert all(card["rows"] and not card["fault"] for card in found.values())


def test_the_examples_of_the_model_are_offered(
    page: Page, program: Exported, server: Server, stored_pictures: list[bytes]
) -> None:
    names = [f"example: {program.run.classes.names[label]}" for label in EXAMPLE_LABELS]
    buttons = page.find("examples").find_elements("tag name", "button")
    assert [button.accessible_name for button in buttons] == [name.capitalize() for name in names]
    for button in buttons:
        button.click()
    found = page.answered(3)
    for name, file in zip(names, stored_pictures, strict=False):
        check_answer(found[name], program, file)
    page.screenshot("examples")
    for address in ("2/0", "1/3", "1/0/0", "1/%2e%2e", "1/-1", "1/" + 5000 * "0"):  # another version, or none of these
        assert server.call(f"/page/examples/{address}")[0] == 404


def asked(server: Server, signature: str, file: bytes) -> dict[str, Any]:
    """The answer to a single picture, by REST."""
    request = {"signature_name": signature, "instances": [{"image_bytes": b64(file)}]}
    status, answer = server.call("/v1/models/alexnet:predict", request)
    assert status == 200
    return answer["predictions"][0]


def test_what_goes_on_inside_is_shown_on_demand(page: Page, stored_pictures: list[bytes]) -> None:
    page.give(DROP, one_jpg=stored_pictures[0], two_jpg=stored_pictures[1])
    before = page.answered(2)
    assert [look["title"] for look in before["two.jpg"]["looks"]] == ["Where it looks (Grad-CAM)", "Feature maps"]
    assert not any(look["text"] for card in before.values() for look in card["looks"])
    page.open_looks("two.jpg")
    cam, maps = page.cards()[1]["looks"]
    expected = {name: asked(page.server, name, stored_pictures[1]) for name in ("grad_cam", "feature_maps")}
    speaks = expected["grad_cam"]
    assert f"What speaks for {speaks['class']} ({100 * speaks['score']:.1f} %" in cam["text"]
    assert "13 × 13 places" in cam["text"]
    _, heat = pixels_of(cam["drawn"][0])
    redness = heat[..., 0].astype(int) - heat[..., 2]
    row, column = np.unravel_index(np.argmax(speaks["heat"]), (13, 13))
    middle = redness[int((row + 0.5) * 224 / 13), int((column + 0.5) * 224 / 13)]
    assert heat.shape == (224, 224, 4) and middle > 60  # dark red where the heat is greatest
    row, column = np.unravel_index(np.argmin(speaks["heat"]), (13, 13))
    cold = heat[int((row + 0.5) * 224 / 13), int((column + 0.5) * 224 / 13), :3].astype(int)
    assert np.ptp(cold) < 60  # where there is next to none it stays gray
    assert cam["said"][0].startswith("Heat over the center of two.jpg: most of it ")
    shown = expected["feature_maps"]
    assert [address.partition(",")[2] for _, address, _ in maps["images"]] == [one["b64"] for one in shown["png_bytes"]]
    assert [alt for alt, _, _ in maps["images"]] == [f"What {layer} makes of two.jpg" for layer in shown["layers"]]
    assert all(width for _, _, width in maps["images"]) and "conv3 b: 12 of 16 maps, 13 × 13" in maps["text"]
    page.screenshot("inside")
    page.find("ten").click()
    after = page.answered(2)
    assert after["two.jpg"]["looks"][0]["drawn"] == cam["drawn"]  # of the center view, whatever the answer is of
    assert not after["one.jpg"]["looks"][0]["drawn"]


def test_the_camera(page: Page) -> None:
    """Chromium's own false camera: a green picture with a moving sign."""
    page.allow_camera("granted")
    page.find("camera-open").click()
    page.until(lambda: page.browser.execute_script(VIDEO)[0])
    assert page.find("camera-dialog").is_displayed()
    assert page.browser.switch_to.active_element.text == "Take the picture"
    page.screenshot("camera", whole=False)
    page.find("camera-take").click()
    (card,) = page.answered(1).values()
    assert card["name"] == "camera 1" and len(card["rows"]) == 5 and not card["fault"]
    green = pixels_of(card["image"])[1].reshape(-1, 3).mean(axis=0)
    assert green[1] > 20 + max(green[0], green[2])
    assert page.browser.execute_script(VIDEO) == [0, False]  # the camera is off again
    assert page.browser.switch_to.active_element.text == "Use the camera"
    page.find("camera-open").click()
    page.until(lambda: page.browser.execute_script(VIDEO)[0])
    page.find("camera-close").click()
    page.until(lambda: page.browser.execute_script(VIDEO) == [0, False])
    assert len(page.cards()) == 1
    page.allow_camera("denied")
    page.find("camera-open").click()
    page.until(lambda: page.find("notice").text)
    assert page.find("notice").text.startswith("The camera cannot be used: it was not allowed")
    assert not page.find("camera-dialog").is_displayed()


VIDEO = "const video = document.getElementById('camera-video'); return [video.videoWidth, video.srcObject !== null]"


def test_the_card_of_the_model(page: Page, program: Exported) -> None:
    page.browser.find_element("css selector", "#about > summary").click()
    told = page.find("about").text
    assert "alexnet, version 1" in told and "preset 2012-code, seed 3" in told and LICENSE in told
    assert "one of its 7 classes" in told and "up to 89 megapixels" in told
    page.browser.find_element("css selector", "#classes > summary").click()
    assert page.find("classes-list").text.splitlines() == program.run.classes.names
    page.browser.find_element("css selector", "#card > summary").click()
    written = page.find("card-text")
    assert [title.text for title in written.find_elements("tag name", "h3")] == [
        "Data", "Error rates", "Recipe", "Training", "Limits"
    ]  # fmt: skip
    assert "Classes: " + "; ".join(program.run.classes.names) in written.text
    cells = [cell.text for cell in written.find_elements("css selector", "tbody td")]
    assert cells[cells.index("train.seed") + 1] == "3" and not set("|#<>") & set(written.text)
    page.screenshot("card")


def test_keyboard(page: Page, stored_pictures: list[bytes]) -> None:
    """Everything is reached with Tab, has a name, and is worked with the space bar; focus is never lost."""
    from selenium.webdriver.common.action_chains import ActionChains
    from selenium.webdriver.common.keys import Keys

    def focused(key: str, back: bool = False) -> str:
        keys = ActionChains(page.browser)
        (keys.key_down(Keys.SHIFT).send_keys(key).key_up(Keys.SHIFT) if back else keys.send_keys(key)).perform()
        return page.browser.switch_to.active_element.accessible_name

    reached = [focused(Keys.TAB) for _ in range(7)]
    assert "Choose pictures" in reached[0]
    assert reached[1] == "Use the camera"
    examples = [f"Example: class {label}, größer" for label in EXAMPLE_LABELS]
    assert [name for name in reached if name.startswith("Example")] == examples
    assert reached[-2].startswith("Ten views") and reached[-1] == "About this model"
    page.give(DROP, one_jpg=stored_pictures[0], two_jpg=stored_pictures[1])
    page.answered(2)
    looks = ["Feature maps", "Where it looks (Grad-CAM)"]
    assert [focused(Keys.TAB, back=True) for _ in range(6)] == [*looks, "Remove two.jpg", *looks, "Remove one.jpg"]
    assert focused(Keys.TAB, back=True) == "Remove all"
    assert focused(Keys.TAB) == "Remove one.jpg"
    assert focused(Keys.TAB) == looks[1]
    focused(Keys.ENTER)
    page.until(lambda: page.cards()[0]["looks"][0]["drawn"])
    focused(Keys.TAB, back=True)
    assert focused(Keys.SPACE) == "Remove two.jpg"
    assert "Choose pictures" in focused(Keys.SPACE)
    assert page.cards() == []
    assert not page.find("all").is_displayed()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(("width", "height"), [(360, 740), (1280, 900)], ids=["phone", "desktop"])
def test_fits_phones_and_desktops(
    page: Page, stored_pictures: list[bytes], width: int, height: int, scheme: str
) -> None:
    cdp = page.browser.execute_cdp_cmd
    size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500}
    cdp("Emulation.setDeviceMetricsOverride", size)
    cdp("Emulation.setTouchEmulationEnabled", {"enabled": width < 500})
    cdp("Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": scheme}]})
    try:
        page.give(DROP, **{"a-picture-of-which-the-name-is-very-long-and-has-no-blanks" + 9 * "-more" + "_jpg":
            stored_pictures[0], "notes_txt": b"no picture"})  # fmt: skip
        page.answered(2)
        page.screenshot(f"{scheme}-{width}-closed")
        page.open_looks(page.cards()[0]["name"])
        page.browser.execute_script("for (const one of document.querySelectorAll('#about, #about *')) one.open = true")
        assert page.browser.execute_script("return document.documentElement.scrollWidth <= innerWidth")
        small = page.browser.execute_script(
            "return [...document.querySelectorAll('button, .button')].filter(one => one.checkVisibility() &&"
            " Math.min(one.offsetWidth, one.offsetHeight) < 44).length"
        )
        assert small == 0  # a finger's size
        assert page.browser.execute_script(CONTRAST) >= 4.5
        camera = page.browser.find_element("css selector", ".camera")
        assert camera.is_displayed() is (width < 500)
        assert page.find("camera-open").is_displayed() is (width > 500)
        page.screenshot(f"{scheme}-{width}")
    finally:
        cdp("Emulation.clearDeviceMetricsOverride", {})
        cdp("Emulation.setTouchEmulationEnabled", {"enabled": False})
        cdp("Emulation.setEmulatedMedia", {"features": []})


CONTRAST = """
const numbers = color => color.match(/[\\d.]+/g).map(Number);
const light = color => {
  const [r, g, b] = numbers(color).map(c => c / 255 <= 0.04045 ? c / 255 / 12.92 : ((c / 255 + 0.055) / 1.055) ** 2.4);
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
};
const behind = element => {
  for (let one = element; one; one = one.parentElement) {
    const color = getComputedStyle(one).backgroundColor;
    if (numbers(color)[3] !== 0) return color;
  }
};
const texts = [...document.querySelectorAll("main *")].filter(one => one.checkVisibility() &&
  [...one.childNodes].some(node => node.nodeType === Node.TEXT_NODE && node.textContent.trim()));
return Math.min(...texts.map(one => {
  const both = [light(getComputedStyle(one).color), light(behind(one))].sort((a, b) => b - a);
  return (both[0] + 0.05) / (both[1] + 0.05);
}));
"""
"""The least contrast of a text on the page with what is behind it (WCAG 2.2, section 1.4.3)."""


class Road(socketserver.ThreadingTCPServer):
    """A port that leads to a server; once it is closed, the server is not to be reached."""

    allow_reuse_address = daemon_threads = True

    def __init__(self, server: Server, port: int = 0) -> None:
        host, _, target = server.rest.rpartition(":")
        self.open: list[socket.socket] = []
        road = self

        class Handler(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                road.open.append(self.request)
                with socket.create_connection((host, int(target))) as there:
                    back = threading.Thread(target=carry, args=(there, self.request), daemon=True)
                    back.start()
                    carry(self.request, there)
                    back.join()

        super().__init__(("127.0.0.1", port), Handler)

    def __enter__(self) -> "Road":
        threading.Thread(target=self.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.shutdown()
        self.server_close()
        for connection in self.open:  # a browser keeps them for its next request
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)


def carry(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while piece := source.recv(65536):
            target.sendall(piece)
        target.shutdown(socket.SHUT_WR)


def test_a_server_that_is_gone_is_told_and_asked_again(
    browser: Any, server: Server, program: Exported, stored_pictures: list[bytes]
) -> None:
    with Road(server) as road:
        port = road.server_address[1]
        page = Page(browser, server._replace(rest=f"127.0.0.1:{port}"))
    page.browser.execute_cdp_cmd("Network.enable", {})
    page.browser.execute_cdp_cmd("Network.clearBrowserCache", {})
    page.give(DROP, one_jpg=stored_pictures[0])
    (card,) = page.answered(1).values()
    assert card["fault"] == "No answer: the server does not answer; is it still running?" and card["again"]
    with Road(server, port):
        browser.find_element("css selector", ".again").click()
        page.until(lambda: page.cards()[0]["told"])
        (card,) = page.answered(1).values()
        check_answer(card, program, stored_pictures[0])
    browser.get_log("browser")  # the refused connection is in it


@pytest.mark.parametrize("broken", [None, b"{", b"[1]", b'{"nets": [1], "license": "\\ud800"}'])
def test_a_model_without_metadata_is_described_as_far_as_can_be(
    program: Exported, tmp_path: Path, broken: bytes | None
) -> None:
    from alexnet_tf.serving.metadata import read_metadata

    folder = tmp_path / "assets.extra"
    folder.mkdir()
    if broken is not None:
        (folder / "classes.json").write_bytes(broken)
        (folder / "model.json").write_bytes(broken)
    found = read_metadata(tmp_path)
    assert found["classes"] is None
    assert found["metadata"] is None or isinstance(found["metadata"], dict)
