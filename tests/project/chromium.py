"""A real headless Chromium, driven by its own driver."""

from __future__ import annotations

import base64
import shutil
from pathlib import Path
from typing import Any

PACKAGES = ("chromium", "chromium-driver", "poppler-utils")
PROGRAMS = ("chromium", "chromedriver", "pdfinfo", "pdftoppm")


class Browser:
    """One window that looks at files."""

    def __init__(self) -> None:
        from selenium import webdriver
        from selenium.webdriver.chrome.options import Options
        from selenium.webdriver.chrome.service import Service

        options = Options()
        options.binary_location = shutil.which("chromium") or ""
        # Without the sandbox it also runs as root, as in containers.
        for argument in ("headless=new", "no-sandbox", "disable-gpu", "disable-dev-shm-usage", "hide-scrollbars"):
            options.add_argument(f"--{argument}")
        options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
        self._driver = webdriver.Chrome(options=options, service=Service(shutil.which("chromedriver")))

    def close(self) -> None:
        """End the browser."""
        self._driver.quit()

    def open(self, page: Path, *, width: int = 1280, scripts: bool = True, dark: bool = False) -> None:
        """Show a page in a window of a width in CSS pixels."""
        size = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 500}
        self._command("Emulation.setDeviceMetricsOverride", size)
        self._command("Emulation.setScriptExecutionDisabled", {"value": not scripts})
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self._command("Emulation.setEmulatedMedia", {"features": [scheme]})
        for kind in ("browser", "performance"):
            self._driver.get_log(kind)  # what is told of earlier pages
        self._driver.get(page.as_uri())

    def ask(self, script: str) -> Any:
        """Return what a piece of JavaScript returns."""
        return self._driver.execute_script(script)

    def complaints(self) -> list[str]:
        """Return what the console has said."""
        return [entry["message"] for entry in self._driver.get_log("browser")]

    def requests(self) -> list[str]:
        """Return the addresses that were asked for."""
        import json

        messages = [json.loads(entry["message"])["message"] for entry in self._driver.get_log("performance")]
        return [m["params"]["request"]["url"] for m in messages if m["method"] == "Network.requestWillBeSent"]

    def picture(self) -> bytes:
        """Return the whole page as PNG."""
        width, height = self.ask("const page = document.documentElement; return [page.clientWidth, page.scrollHeight]")
        clip = {"x": 0, "y": 0, "width": width, "height": height, "scale": 1}
        answer = self._command("Page.captureScreenshot", {"captureBeyondViewport": True, "clip": clip})
        return base64.b64decode(answer["data"])

    def print(self) -> bytes:
        """Return the page as it is printed, PDF."""
        return base64.b64decode(self._command("Page.printToPDF", {"preferCSSPageSize": True})["data"])

    def _command(self, name: str, arguments: dict[str, Any]) -> Any:
        return self._driver.execute_cdp_cmd(name, arguments)
