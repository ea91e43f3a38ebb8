"""Debian's Chromium, headless, for what only a browser can tell of a page."""

import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from axe_core_python.selenium import Axe
from selenium.webdriver import Chrome, ChromeOptions
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement

WCAG = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "best-practice"]}
# As Kubeflow's UI shows an HTML artifact: text put into an empty frame, with scripts and nothing else allowed.
FRAME = """<!doctype html><title>Kubeflow</title><link rel="icon" href="data:,">
<meta name="viewport" content="width=device-width">
<style>body {{ margin: 0 }} iframe {{ border: 0; width: 100%; height: 100vh }}</style>
<iframe title="artifact" src="about:blank" sandbox="{allowed}"></iframe>
<script>document.querySelector("iframe").srcdoc = {page}</script>"""


class Browser:
    """One window. Pages are shown in a sandboxed frame."""

    def __init__(self, driver: Chrome, folder: Path, url: str) -> None:
        self.driver, self._folder, self._url = driver, folder, url
        self._pages = 0

    def look(self, width: int = 1280, theme: str = "light", media: str = "screen") -> None:
        """How wide the window is, and what the reader prefers."""
        size = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 500}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        preferred = {"media": media, "features": [{"name": "prefers-color-scheme", "value": theme}]}
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", preferred)

    def show(self, html: str, allowed: str = "allow-scripts") -> None:
        """Open a page as Kubeflow does."""
        text = FRAME.format(allowed=allowed, page=json.dumps(html).replace("<", "\\u003c"))
        self._pages += 1  # under one name a page of the same second would be taken from Chromium's cache
        name = f"kubeflow-{self._pages}.html"
        (self._folder / name).write_text(text, encoding="utf-8")
        self.driver.get_log("browser")  # what the page before said
        self.driver.get(f"{self._url}/{name}")
        self.driver.switch_to.frame(0)

    def print(self, html: str) -> None:
        """Open a page by itself, as it goes to paper."""
        file = self._folder / "page.html"
        file.write_text(html, encoding="utf-8")
        self.driver.get(file.as_uri())
        self.look(media="print")

    def open_all(self) -> None:
        """Open every details element."""
        self.ask("for (const d of document.querySelectorAll('details')) d.open = true")

    def ask(self, script: str, *values: Any) -> Any:
        """Run a script in the page."""
        return self.driver.execute_script(script, *values)

    def find(self, css: str) -> WebElement:
        """The first element."""
        return self.driver.find_element(By.CSS_SELECTOR, css)

    def visible(self, css: str) -> list[str]:
        """Texts of those elements that are seen."""
        return [e.text for e in self.driver.find_elements(By.CSS_SELECTOR, css) if e.is_displayed()]

    def console(self) -> list[str]:
        """What the page complained of."""
        return [entry["message"] for entry in self.driver.get_log("browser")]

    def barriers(self) -> list[str]:
        """What axe-core finds against WCAG 2.1 AA in what is seen now, computed contrast included."""
        found = Axe().run(self.driver, options=WCAG)
        return [f"{v['id']}: {node['html']} {node.get('failureSummary')}" for v in found["violations"] for node in v["nodes"]]


@contextmanager
def open_browser(folder: Path) -> Iterator[Browser]:
    """Start Chromium; skips the test where there is none."""
    paths = {name: shutil.which(name) for name in ("chromium", "chromedriver")}
    if missing := [name for name, path in paths.items() if path is None]:
        pytest.skip(f"NO PAGE IS TESTED IN A BROWSER: {', '.join(missing)} not found; apt install chromium chromium-driver")
    options = ChromeOptions()
    options.binary_location = str(paths["chromium"])
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as scratch, _served(folder) as url:
        driver = Chrome(options=options, service=Service(paths["chromedriver"], env={**os.environ, "TMPDIR": scratch}))
        try:
            yield Browser(driver, folder, url)
        finally:
            driver.quit()


@contextmanager
def _served(folder: Path) -> Iterator[str]:
    """The folder on the loopback: pages of a web server may do what files may not."""
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=folder)) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *args: object) -> None:
        """Not to the terminal."""
