"""A page with both looks of a task's macro, below a policy that allows what bears a nonce."""

import re
import sys
import time
from pathlib import Path

from flask import Flask, render_template_string

from socketprogress import Reporter, SocketProgress
from socketprogress.server.bridge import listen

HTML = """<!doctype html><html lang="en"><title>Host</title><main>
{% from "socketprogress/macros.html" import task_progress, task_progress_bootstrap, progress_scripts %}
<section id="own">{{ task_progress(id) }}</section>
<section id="bootstrap">{{ task_progress_bootstrap(id) }}</section>
{{ progress_scripts(nonce="abc") }}</main></html>"""
GUIDE = Path(__file__).parents[2] / "docs" / "flask.md"
ELEMENT = re.findall(r"^```jinja\n(<script.*?)^```$", GUIDE.read_text(), re.MULTILINE | re.DOTALL)[
    0
]
POLICY = (
    "default-src 'none'; script-src 'nonce-abc'; style-src 'nonce-abc'; connect-src 'self'; "
    "require-trusted-types-for 'script'"
)

app = Flask("host", instance_path=sys.argv[1])
progress = SocketProgress(app)


@progress.task(executor="thread", title="Count <b>")
def count(progress: Reporter) -> int:
    progress.total = 4
    progress.current = 1
    while progress.message != "go on":
        progress.message = progress.message or "held"
        if (progress.output_dir / "go").exists():
            progress.message = "go on"
        time.sleep(0.02)
    progress.current = 2
    while not (progress.output_dir / "end").exists():
        time.sleep(0.02)
    return 4


@app.get("/start")
def start() -> str:
    return progress.start("count").task_id


@app.get("/element/<id>")
def element(id: str) -> str:
    page = f'<!doctype html><link rel="icon" href="data:,"><title>Host</title>{ELEMENT}'
    return render_template_string(page, task=progress.get(id))


@app.get("/<id>")
def page(id: str) -> tuple[str, dict[str, str]]:
    return render_template_string(HTML, id=id), {"Content-Security-Policy": POLICY}


if __name__ == "__main__":
    from werkzeug.serving import make_server

    listener = listen("127.0.0.1", 0)
    print(listener.getsockname()[1], flush=True)  # noqa: T201 - what the test reads
    make_server("127.0.0.1", 0, app, threaded=True, fd=listener.fileno()).serve_forever()
