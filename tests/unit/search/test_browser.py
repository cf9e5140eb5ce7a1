"""The page in a real browser: what a person sees, clicks and types.

Needs a Chromium with its driver on this machine (Debian: chromium, chromium-driver). Where there is none, these tests say
so and are skipped; nothing is downloaded.
"""

from __future__ import annotations

import os
import shutil
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from small_study import HYBRID, LANGUAGES, MARKUP, QUERIES, UNTRAINED

from polybatch.search.answers import Answers
from polybatch.search.differences import differences
from polybatch.search.indexed import read_study
from polybatch.search.loading import Loading
from polybatch.search.web import ADDRESS, listen, server

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
DRIVER = shutil.which("chromedriver") or shutil.which("chromedriver", path=os.environ.get("CHROMEWEBDRIVER", ""))
MISSING = [name for name, path in (("Chromium", CHROMIUM), ("chromedriver", DRIVER)) if path is None]

if MISSING:  # a skip alone is a letter among hundreds
    UNTESTED = f"THE PAGE OF `polybatch search` IS NOT TESTED IN A BROWSER: no {' and no '.join(MISSING)} here"
    warnings.warn(UNTESTED, stacklevel=1)
    pytest.skip(UNTESTED, allow_module_level=True)
_PATIENCE_S = 60.0


class Page:
    """A browser with the page open."""

    def __init__(self, driver: Any, address: str) -> None:
        self.driver, self.address = driver, address

    def open(self, width: int = 1400, **given: str) -> None:
        """Opens the page with a question in its address, in a window of some width, and waits until it can be used."""
        metrics = {"width": width, "height": 1000, "deviceScaleFactor": 1, "mobile": False}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        self.driver.get(f"{self.address}?{urlencode(given)}")
        self.wait(lambda: self.text("#status") and "Loading" not in self.text("#status"))
        if given:
            self.wait(lambda: "together" in self.text("#status") or self.text("#fault"))

    def all(self, selector: str) -> list[Any]:
        return self.driver.find_elements("css selector", selector)

    def text(self, selector: str) -> str:
        return str(self.driver.find_element("css selector", selector).text)

    def run(self, script: str, *arguments: Any) -> Any:
        return self.driver.execute_script(script, *arguments)

    def press(self, *keys: str) -> None:
        from selenium.webdriver import ActionChains

        for key in keys:
            ActionChains(self.driver).send_keys(key).perform()

    def focused(self) -> Any:
        return self.driver.switch_to.active_element

    def wait(self, until: Callable[[], Any]) -> Any:
        end = time.monotonic() + _PATIENCE_S
        while time.monotonic() < end:
            if found := until():
                return found
            time.sleep(0.05)
        raise AssertionError(f"not within {_PATIENCE_S} s; status: {self.text('#status')}; {self.text('#fault')}")


@pytest.fixture(scope="module")
def driver() -> Iterator[Any]:
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = str(CHROMIUM)
    # No sandbox within a sandbox: as root, Chromium starts in no other way. It sees pages of this test alone.
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    found = webdriver.Chrome(options=options, service=Service(str(DRIVER)))
    yield found
    found.quit()


@pytest.fixture(scope="module")
def page(driver: Any, written: Path, answers: Answers) -> Iterator[Page]:
    loading = Loading(read_study(written, "default").choose(None, None, "test"))
    loading.answers = answers
    loading.differences = differences(answers.retrievers, answers.queries, lambda share: None)
    sock = listen(0)
    running = server(loading, "default")
    thread = threading.Thread(target=running.run, kwargs={"sockets": [sock]})
    thread.start()
    yield Page(driver, f"http://{ADDRESS}:{sock.getsockname()[1]}/")
    running.should_exit = True
    thread.join(60)


def texts(page: Page, selector: str) -> list[str]:
    """The texts of all elements at one moment: the page may put others in their place."""
    script = "return [...document.querySelectorAll(arguments[0])].map(element => element.innerText.trim())"
    return list(page.run(script, selector))


def test_two_models_stand_side_by_side_with_their_passages_and_languages(page: Page) -> None:
    page.open(q="ضوء الباب 12")
    assert texts(page, ".model h2") == ["untrained", "hybrid-a0.5"]
    assert texts(page, ".model h2 + .facts") == [UNTRAINED, HYBRID]
    left, right = (element.rect["x"] for element in page.all(".model"))
    assert left + 400 < right
    assert [len(page.all(f".model:nth-child({n}) .hit")) for n in (1, 2)] == [10, 10]
    assert page.text(".shares tbody").splitlines()[0].startswith("English")
    assert len(page.all(".shares tbody tr")) == 2 * len(LANGUAGES)
    assert page.text("#status").count(" ms") == 3
    # The bars are as long as the numbers beside them say.
    for bar, told in zip(page.all(".bar i"), texts(page, ".share span:last-child"), strict=True):
        share = page.run("return arguments[0].offsetWidth / arguments[0].parentNode.offsetWidth", bar)
        assert abs(100 * share - int(told.removesuffix(" %"))) < 2


def test_text_that_tries_to_be_markup_stays_text(page: Page) -> None:
    page.open(q="<b>red</b> house 5 <script>document.title='taken'</script>", top="25")
    assert MARKUP in texts(page, ".hit .text")
    assert page.run("return document.querySelectorAll('main img, main script, main b:not(.bar b)').length") == 0
    assert page.driver.title == "Polybatch search"
    page.open(id="q3-en")
    assert page.run("return document.getElementById('question').value") == QUERIES["en"][3]
    page.wait(lambda: QUERIES["en"][3] in texts(page, "#list button"))
    assert page.driver.title == "Polybatch search"


def test_texts_are_marked_with_their_language_and_run_in_its_direction(page: Page) -> None:
    page.open(q="باب 14", top="25", langs="ar,en")
    directions = {
        (element.get_attribute("lang"), page.run("return getComputedStyle(arguments[0]).direction", element))
        for element in page.all(".hit .text")
    }
    assert directions == {("ar", "rtl"), ("en", "ltr")}
    assert page.run("return getComputedStyle(document.getElementById('question')).direction") == "rtl"


def test_parallel_passages_and_their_ranks_are_one_click_away(page: Page) -> None:
    page.open(q="door 14", top="25")
    ranks = [int(element.text) for element in page.all(".model:first-child .rank")]
    assert ranks == list(range(1, 25))
    button = page.all(".hit button")[0]
    assert button.get_attribute("aria-expanded") == "false"
    button.click()
    rows = page.wait(lambda: page.all(".group tbody tr"))
    assert button.get_attribute("aria-expanded") == "true"
    assert [row.find_element("css selector", "th").text.split()[0] for row in rows] == list(LANGUAGES)
    assert texts(page, ".group thead th")[1:] == ["untrained", "hybrid-a0.5", "Passage"]
    here = page.text(".group tr.here .text")
    assert here == page.text(".hit .text")
    assert page.text(".group tr.here td") == "1"
    button.click()
    assert not page.all(".group")[0].is_displayed()


def test_filters_list_other_passages_and_keep_their_ranks(page: Page) -> None:
    page.open(q="door 14")
    before = page.text(".shares tbody")
    page.driver.find_element("css selector", "#languages input[value=th]").click()
    page.wait(lambda: set(texts(page, ".hit .lang")) and {t[:2] for t in texts(page, ".hit .lang")} == {"th"})
    assert "langs=th" in page.driver.current_url
    assert page.text(".shares tbody") == before
    page.driver.find_element("id", "every").click()
    page.wait(lambda: len({t[:2] for t in texts(page, ".hit .lang")}) > 1)
    page.driver.back()
    page.wait(lambda: {t[:2] for t in texts(page, ".hit .lang")} == {"th"})


def test_a_query_of_the_benchmark_is_chosen_from_the_list(page: Page) -> None:
    page.open()
    rows = page.wait(lambda: page.all("#list tbody tr"))
    assert len(rows) == 16
    differing = [int(row.find_elements("css selector", "td")[1].text) for row in rows]
    assert differing == sorted(differing, reverse=True)
    rows[0].find_element("css selector", "button").click()
    page.wait(lambda: "stored query" in page.text("#status"))
    assert "is a query of the benchmark" in page.text("#own")
    assert page.all(".yes")
    assert page.focused().get_attribute("id") == "results"
    page.run("const by = document.getElementById('lang'); by.value = 'zh'; by.dispatchEvent(new Event('change'))")
    page.wait(lambda: len(page.all("#list tbody tr")) == 4)


def test_the_keyboard_alone_is_enough_and_focus_is_seen(page: Page) -> None:
    from selenium.webdriver.common.keys import Keys

    page.open()
    page.wait(lambda: page.focused().get_attribute("id") == "question")
    page.press("red house", Keys.ENTER)
    page.wait(lambda: "together" in page.text("#status"))
    seen: list[str] = []
    for _ in range(40):
        page.press(Keys.TAB)
        element = page.focused()
        style = page.run("const s = getComputedStyle(arguments[0]); return [s.outlineStyle, s.outlineWidth]", element)
        assert style[0] == "solid" and style[1] == "3px", element.get_attribute("outerHTML")
        seen.append(element.get_attribute("id") or element.tag_name)
        if element.text.startswith("Parallel passages"):
            break
    assert {"top", "send", "every"} <= set(seen)
    page.press(Keys.ENTER)
    page.wait(lambda: page.all(".group tbody tr"))


def test_everything_that_is_typed_into_or_clicked_has_a_name(page: Page) -> None:
    page.open(id="q1-th")
    page.wait(lambda: page.all("#list tbody tr"))
    nameless = page.run(
        "return [...document.querySelectorAll('button, input, select, a, table')].filter(e => e.checkVisibility() && "
        "!(e.innerText || e.labels?.length || e.caption || e.getAttribute('aria-label'))).map(e => e.outerHTML)"
    )
    assert nameless == []
    assert page.run("return document.documentElement.lang") == "en"


@pytest.mark.parametrize("width", [1400, 400])
def test_nothing_is_wider_than_the_window(page: Page, width: int) -> None:
    page.open(width, q="red house " * 30, top="25")
    page.all(".hit button")[0].click()
    page.wait(lambda: page.all(".group tbody tr"))
    page.wait(lambda: page.all("#list tbody tr"))
    assert page.run("return document.documentElement.scrollWidth") <= width
    small = page.run(
        "return [...document.querySelectorAll('button, select, input[type=search]')].filter(e => e.checkVisibility() "
        "&& e.offsetHeight < 24).map(e => e.outerHTML)"
    )
    assert small == []  # WCAG 2.2, 2.5.8


@pytest.mark.parametrize(("given", "said"), [("x" * 100_000, "100,000 characters"), ("  ", "Type a question")])
def test_what_cannot_be_asked_is_told_and_the_page_goes_on(page: Page, given: str, said: str) -> None:
    page.open()
    page.run("document.getElementById('question').value = arguments[0]", given)
    page.driver.find_element("id", "send").click()
    page.wait(lambda: said in page.text("#fault") + page.text("#status"))
    page.run("document.getElementById('question').value = 'red house'")
    page.driver.find_element("id", "send").click()
    page.wait(lambda: page.all(".hit"))
    assert page.text("#fault") == ""


def test_nothing_comes_from_elsewhere_and_no_rule_of_the_policy_is_broken(page: Page) -> None:
    page.driver.get_log("browser")
    page.driver.get_log("performance")
    page.open(q="red house")
    page.wait(lambda: page.all("#list tbody tr"))
    assert [entry for entry in page.driver.get_log("browser") if entry["level"] != "INFO"] == []
    asked = page.run("return performance.getEntriesByType('resource').map(e => e.name)")
    assert asked
    assert all(address.startswith(page.address) for address in asked)
    # Were a text markup after all: the policy runs nothing that did not come as the page's own script.
    page.run(
        "const s = document.createElement('script'); s.textContent = 'document.title = 1'; document.body.append(s)"
    )
    assert page.driver.title == "Polybatch search"


def test_a_program_that_has_ended_is_told(page: Page, written: Path, answers: Answers) -> None:
    loading = Loading(read_study(written, "default").choose(None, None, "test"))
    loading.answers, loading.differences = answers, []
    sock = listen(0)
    running = server(loading, "default")
    thread = threading.Thread(target=running.run, kwargs={"sockets": [sock]})
    thread.start()
    other = Page(page.driver, f"http://{ADDRESS}:{sock.getsockname()[1]}/")
    other.open(q="red")
    running.should_exit = True
    thread.join(60)
    other.driver.find_element("id", "send").click()
    other.wait(lambda: "does not answer" in other.text("#fault"))
