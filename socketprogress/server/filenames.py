"""The names of files that clients send, made harmless: they are shown, and given to tasks."""

from __future__ import annotations

import re
import unicodedata

from socketprogress.core.protocol import one_line

__all__ = ["safe_name"]

NAME_BYTES = 200
SUFFIX_BYTES = 20
UNNAMED = "file"

# What shells, other systems and HTML give a meaning to.
MEANINGFUL = re.compile(r'[<>:"|?*\\/&$`\']+')
# Devices, on systems where this name may be saved one day.
DEVICE = re.compile(r"(con|prn|aux|nul|conin\$|conout\$|com\d|lpt\d)(\.|$)", re.IGNORECASE)


def safe_name(given: str) -> str:
    """Return one file name, never a path, that is like the given one and means nothing special.

    Folders in front are left out, and so are dots and spaces at its ends, characters that cannot be
    seen, and those that turn the text around. It has at most 200 bytes, its suffix included.
    """
    name = re.split(r"[/\\]", given[-4096:])[-1]
    name = unicodedata.normalize("NFC", one_line(name, len(name)))
    name = "".join(c if c == " " or c.isprintable() else "_" for c in name)
    name = MEANINGFUL.sub("_", name).strip(". ")
    if not name.strip("_"):
        return UNNAMED
    if name[0] in "-~" or DEVICE.match(name):
        name = f"_{name}"
    return _cut(name)


def _cut(name: str) -> str:
    stem, dot, suffix = name.rpartition(".")
    end = dot + suffix
    if not stem or len(end.encode()) > SUFFIX_BYTES:
        stem, end = name, ""
    room = NAME_BYTES - len(end.encode())
    return stem.encode()[:room].decode("utf-8", "ignore") + end
