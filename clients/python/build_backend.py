"""Builds the package, for pip (PEP 517). The package is pure Python and has no
dependencies, so that this needs nothing but the standard library, and
installing needs no network.
"""

from __future__ import annotations

import base64
import hashlib
import io
import pathlib
import re
import tarfile
import zipfile
from collections.abc import Iterable
from typing import Any

ROOT = pathlib.Path(__file__).resolve().parent
_TAG = "py3-none-any"


def _field(name: str) -> str:
    """Return a text of pyproject.toml's; Python 3.10 has no parser for TOML."""
    found = re.search(rf'^{name} = "(.*)"$', (ROOT / "pyproject.toml").read_text("utf-8"), re.MULTILINE)
    assert found, name
    return found[1]


def _version() -> str:
    found = re.search(r'^__version__ = "(.*)"$', (ROOT / "millrace/__init__.py").read_text("utf-8"), re.MULTILINE)
    assert found
    return found[1]


def _base() -> str:
    return f"millrace-{_version()}"


def _metadata() -> bytes:
    lines = [
        "Metadata-Version: 2.1",
        "Name: millrace",
        f"Version: {_version()}",
        f"Summary: {_field('description')}",
        f"Requires-Python: {_field('requires-python')}",
        "Provides-Extra: snappy",
        'Requires-Dist: python-snappy; extra == "snappy"',
        "Description-Content-Type: text/markdown",
        "",
        (ROOT / "README.md").read_text("utf-8"),
    ]
    return "\n".join(lines).encode()


def _sources() -> list[pathlib.Path]:
    return sorted(p for p in (ROOT / "millrace").rglob("*") if p.suffix == ".py" or p.name == "py.typed")


def _wheel(directory: str, files: Iterable[tuple[str, bytes]]) -> str:
    """Write a wheel with files and what describes them; return its name."""
    info = f"{_base()}.dist-info"
    about = f"Wheel-Version: 1.0\nGenerator: millrace\nRoot-Is-Purelib: true\nTag: {_TAG}\n"
    files = [*files, (f"{info}/METADATA", _metadata()), (f"{info}/WHEEL", about.encode())]
    record = ""
    for name, data in files:
        digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
        record += f"{name},sha256={digest},{len(data)}\n"
    files.append((f"{info}/RECORD", f"{record}{info}/RECORD,,\n".encode()))
    name = f"{_base()}-{_TAG}.whl"
    with zipfile.ZipFile(pathlib.Path(directory) / name, "w", zipfile.ZIP_DEFLATED) as wheel:
        for path, data in files:
            wheel.writestr(path, data)
    return name


def build_wheel(
    wheel_directory: str, config_settings: dict[str, Any] | None = None, metadata_directory: str | None = None
) -> str:
    return _wheel(wheel_directory, [(p.relative_to(ROOT).as_posix(), p.read_bytes()) for p in _sources()])


def build_editable(
    wheel_directory: str, config_settings: dict[str, Any] | None = None, metadata_directory: str | None = None
) -> str:
    return _wheel(wheel_directory, [("millrace.pth", f"{ROOT}\n".encode())])


def build_sdist(sdist_directory: str, config_settings: dict[str, Any] | None = None) -> str:
    name = f"{_base()}.tar.gz"
    with tarfile.open(pathlib.Path(sdist_directory) / name, "w:gz", format=tarfile.PAX_FORMAT) as archive:
        for p in [*_sources(), *(ROOT / f for f in ("pyproject.toml", "README.md", "build_backend.py"))]:
            archive.add(p, f"{_base()}/{p.relative_to(ROOT).as_posix()}")
        about = tarfile.TarInfo(f"{_base()}/PKG-INFO")
        about.size = len(_metadata())
        archive.addfile(about, io.BytesIO(_metadata()))
    return name
