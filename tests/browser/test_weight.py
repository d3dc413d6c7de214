"""What a page weighs on its way to the browser, all of it."""

from __future__ import annotations

import gzip
from typing import Any

import pytest
from playwright.sync_api import expect

pytestmark = pytest.mark.browser

MOST_BYTES = 60 * 1024
CODE = ("text/html", "text/css", "text/javascript")


def test_each_page_is_light(visitor: Any, web: Any) -> None:
    # Given a page of each kind, in a browser that has cached nothing
    puppet = web.puppet("Weighed")
    for path in ("/", f"/tasks/{puppet.id}", f"/embed/{puppet.id}"):
        context = visitor.context()
        answers: dict[str, Any] = {}
        note = answers.setdefault
        context.on("response", lambda answer, note=note: note(answer.url, answer))
        page = context.new_page()

        # When it is opened
        page.goto(web.url + path)
        expect(page.locator("[data-offline]")).to_have_count(0)
        page.wait_for_load_state("networkidle")

        # Then its HTML, styles and scripts are small when gzipped, each by itself
        sizes = {
            url: len(gzip.compress(answer.body()))
            for url, answer in list(answers.items())
            if answer.header_value("content-type").startswith(CODE)
        }
        assert any(url.endswith("socket.io.esm.min.js") for url in sizes)
        assert sum(sizes.values()) < MOST_BYTES, f"{path}: {sum(sizes.values()):,} bytes: {sizes}"
        print(f"{path}: {sum(sizes.values()):,} bytes in {len(sizes)} files")  # noqa: T201
