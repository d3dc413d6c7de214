"""Runs the example: ``python examples/flask_host --async-mode threading --port 8003``."""

import argparse
from pathlib import Path


def main() -> None:
    parser = argparse.ArgumentParser(description="A Flask application with live tasks.")
    parser.add_argument(
        "--async-mode", choices=("threading", "gevent", "eventlet"), default="threading"
    )
    parser.add_argument("--patched", action="store_true", help="monkey-patch the standard library")
    parser.add_argument("--port", type=int, default=8003)
    parser.add_argument("--instance", type=Path, default=Path("/tmp/flask_host"))  # noqa: S108
    args = parser.parse_args()
    if args.patched:
        patch(args.async_mode)

    from host import create_app, socketio  # noqa: PLC0415 - after the patch, as always

    app = create_app(args.instance, async_mode=args.async_mode)
    print(f"Open http://127.0.0.1:{args.port}/ and sign in as ada or bob", flush=True)
    # Werkzeug's server wants to hear that this is no production.
    unsafe = {"allow_unsafe_werkzeug": True} if args.async_mode == "threading" else {}
    socketio.run(app, port=args.port, **unsafe)


def patch(async_mode: str) -> None:
    """Replace the blocking parts of the standard library, before anything else is imported."""
    if async_mode == "eventlet":
        import eventlet  # noqa: PLC0415

        eventlet.monkey_patch()
    elif async_mode == "gevent":
        from gevent import monkey  # noqa: PLC0415

        monkey.patch_all()


main()
