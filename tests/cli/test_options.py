"""Where settings come from."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import pytest

from socketprogress.cli import serve
from socketprogress.cli.options import CONFIG_FILE, ConfiguredCommand
from socketprogress.server.settings import Settings

Read = Callable[..., Settings]


@pytest.fixture
def read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Read:
    """A function that gives the settings which `serve` would run with."""
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("SOCKETPROGRESS_")]:
        monkeypatch.delenv(name)

    def run(*args: str, file: str = "", **env: str) -> Settings:
        (tmp_path / CONFIG_FILE).write_text(file, encoding="utf-8")
        for name, value in env.items():
            monkeypatch.setenv(f"SOCKETPROGRESS_{name}", value)
        seen: list[Settings] = []

        @click.pass_context
        def keep(ctx: click.Context, /, *, open_page: bool, **given: Any) -> None:
            assert open_page in {True, False}
            seen.append(serve.settings_from(ctx, **given)[0])

        command = ConfiguredCommand("serve", params=list(serve.command.params), callback=keep)
        command.main(list(args), standalone_mode=False)
        return seen[0]

    return run


def test_the_defaults_are_those_of_the_settings(read: Read, tmp_path: Path) -> None:
    settings = read()

    assert settings == Settings(root=tmp_path, data=settings.data)
    assert settings.data.name == "socketprogress"


def test_a_flag_goes_over_the_environment_and_that_over_the_file(read: Read) -> None:
    file = 'host = "127.0.0.4"\nport = 4\nrate = 4\n'

    settings = read("--host", "127.0.0.2", file=file, HOST="127.0.0.3", PORT="3")

    assert (settings.host, settings.port, settings.rate_hz) == ("127.0.0.2", 3, 4.0)


def test_the_environment_gives_several_values_each_in_its_own_way(read: Read) -> None:
    settings = read(
        TASKS=f"one.py{os.pathsep}two",
        ORIGIN="https://a.example http://b.example:81",
        COMMAND="up=uptime -p\ndf=df -h /\n",
    )

    assert settings.tasks == ("one.py", "two")
    assert settings.origins == ("https://a.example", "http://b.example:81")
    assert settings.commands == ("up=uptime -p", "df=df -h /")


def test_the_file_takes_lists_flags_and_either_dash(read: Read) -> None:
    file = 'tasks = ["one.py"]\ncommand = "up=uptime"\nasync_mode = "threading"\nno-token = true\n'

    settings = read(file=file)

    assert settings.tasks == ("one.py",)
    assert settings.commands == ("up=uptime",)
    assert settings.async_mode == "threading"


@pytest.mark.parametrize(
    ("file", "words"),
    [
        ("prot = 1\nhots = 2", "unknown keys: hots, prot"),
        ("[server]\nport = 1", "unknown keys: server"),
        ('port = "x"', "'port' in socketprogress.toml: 'x'"),
        ("port = true", "port = True must be"),
        ('open = "yes"', "true or false"),
        ("tasks = [1]", "text or a list"),
        ("port = ", "cannot be read"),
    ],
)
def test_a_bad_file_is_a_usage_error_that_names_the_place(
    read: Read, file: str, words: str
) -> None:
    with pytest.raises(click.UsageError) as caught:
        read(file=file)

    assert words in caught.value.format_message()


def test_a_bad_environment_is_a_usage_error_that_names_the_variable(read: Read) -> None:
    with pytest.raises(click.UsageError) as caught:
        read(PORT="many")

    assert "SOCKETPROGRESS_PORT: 'many'" in caught.value.format_message()


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["--port", "70000"], "70000"),
        (["--root", "nowhere"], "nowhere"),
        (["--workers", "0"], "workers=0"),
        (["--max-upload", "plenty"], "10GiB"),
        (["--max-upload", "0"], "max_upload_bytes=0"),
        (["--upload-expiry", "-1"], "upload_expiry_s"),
        (["--origin", "example.org"], "https://example.org:8443"),
        (["--token", "t", "--no-token"], "contradict"),
    ],
)
def test_a_bad_value_is_a_usage_error_that_names_it(
    read: Read, args: list[str], words: str
) -> None:
    with pytest.raises(click.UsageError, match=words):
        read(*args)


@pytest.mark.parametrize(
    ("given", "size_bytes"),
    [
        ("1048576", 1 << 20),
        ("500MB", 500_000_000),
        ("10GiB", 10 << 30),
        ("1.5 kib", 1536),
        ("7b", 7),
    ],
)
def test_a_size_is_bytes_or_has_a_unit(read: Read, given: str, size_bytes: int) -> None:
    assert read("--max-upload", given).max_upload_bytes == size_bytes
    assert read(file=f'upload-quota = "{given}"').upload_quota_bytes == size_bytes


def test_off_loopback_a_token_is_made_unless_it_is_declined(
    read: Read, capsys: pytest.CaptureFixture[str]
) -> None:
    assert len(read("--host", "0.0.0.0").token or "") >= 32
    assert read("--host", "::1").token is None
    assert read("--host", "0.0.0.0", "--token", "given").token == "given"
    assert not capsys.readouterr().err

    assert read("--host", "0.0.0.0", "--no-token").token is None
    assert "WARNING" in capsys.readouterr().err


def test_the_stronger_source_decides_whether_there_is_a_token(read: Read) -> None:
    assert read("--no-token", TOKEN="weak").token is None
    assert read("--token", "strong", file="no-token = true").token == "strong"
