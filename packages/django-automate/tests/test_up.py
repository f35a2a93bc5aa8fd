"""``automate up``: in an empty folder, in a project, twice, and where it must not."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest


def up(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {key: value for key, value in os.environ.items() if key != "DJANGO_SETTINGS_MODULE"}
    return subprocess.run(
        [sys.executable, "-W", "error", "-m", "automate_core", "up", *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        timeout=120,
        check=False,
    )


def snapshot(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*.py")}


def test_from_an_empty_folder_to_a_run_and_a_second_time_changes_nothing(tmp_path: Path) -> None:
    first = up(tmp_path, "--no-serve")  # nobody is asked about a file that was made just now
    assert first.returncode == 0, first.stdout + first.stderr
    assert first.stderr == ""
    assert 'INSTALLED_APPS = [*INSTALLED_APPS, "automate_outbox", "automate"]' in first.stdout
    assert "SUCCESS" in first.stdout
    before = snapshot(tmp_path)
    second = up(tmp_path, "--no-serve")
    assert second.returncode == 0, second.stdout + second.stderr
    assert snapshot(tmp_path) == before
    run = re.search(r"run \S+", first.stdout)
    assert run is not None
    assert run[0] in second.stdout
    assert second.stdout.count("unchanged") == 3


def test_nothing_is_changed_without_consent(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-m", "django", "startproject", "mine", str(tmp_path)], check=True)
    before = snapshot(tmp_path)
    for arguments in ((), ("--no-edit",)):
        refused = up(tmp_path, "--no-serve", *arguments)
        assert refused.returncode == 1
        assert "+INSTALLED_APPS" in refused.stdout
        assert snapshot(tmp_path) == before
    assert not (tmp_path / "db.sqlite3").exists()


def test_a_port_that_is_taken_is_told_before_anything_is_made(tmp_path: Path) -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        port = server.getsockname()[1]
        refused = up(tmp_path, "--yes", "--port", str(port))
    assert refused.returncode == 1
    assert f"Port {port} is in use" in refused.stderr
    assert os.listdir(tmp_path) == []


def test_a_folder_with_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("long")
    refused = up(tmp_path, "--yes", "--no-serve")
    assert refused.returncode == 1
    assert "thesis.txt" in refused.stderr
    assert os.listdir(tmp_path) == ["thesis.txt"]


USER = """
from django.contrib.auth.models import AbstractBaseUser, BaseUserManager, PermissionsMixin
from django.db import models

class Manager(BaseUserManager):
    def create_superuser(self, email, password, born):
        user = self.model(email=email, born=born, is_staff=True, is_superuser=True)
        user.set_password(password)
        user.save()
        return user

class Person(AbstractBaseUser, PermissionsMixin):
    email = models.EmailField(unique=True)
    born = models.DateField()
    is_staff = models.BooleanField(default=False)
    is_active = models.BooleanField(default=True)
    objects = Manager()
    USERNAME_FIELD = "email"
    REQUIRED_FIELDS = ["born"]
"""


def test_a_project_of_ones_own_with_another_user_model_and_atomic_requests_is_served(tmp_path: Path) -> None:
    django = [sys.executable, "-m", "django"]
    subprocess.run([*django, "startproject", "mine", str(tmp_path)], check=True)
    people = tmp_path / "people"
    people.mkdir()
    (people / "__init__.py").write_text("")
    (people / "models.py").write_text(USER)
    settings = tmp_path / "mine" / "settings.py"
    text = settings.read_text().replace("INSTALLED_APPS = [", 'INSTALLED_APPS = [\n    "people",')
    settings.write_text(text + '\nAUTH_USER_MODEL = "people.Person"\nDATABASES["default"]["ATOMIC_REQUESTS"] = True\n')
    subprocess.run([sys.executable, "manage.py", "makemigrations", "people", "-v0"], cwd=tmp_path, check=True)
    port = free_port()
    environment = {key: value for key, value in os.environ.items() if key != "DJANGO_SETTINGS_MODULE"}
    process = subprocess.Popen(
        [sys.executable, "-u", "-m", "automate_core", "up", "--yes", "--port", str(port)],
        cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    try:
        lines = []
        assert process.stdout is not None
        for line in process.stdout:
            lines.append(line)
            if line.startswith("serving"):
                break
        said = "".join(lines)
        look = re.search(r"look\s+(http\S+)", said)
        login = re.search(r"login\s+(\S+)\s+password (\S+)", said)
        assert look, said
        assert login, said
        assert login[1] == "automate@localhost.invalid"
        assert "SUCCESS" in signed_in(look[1], login[1], login[2])
    finally:
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 0
        process.communicate()


def free_port() -> int:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        return int(server.getsockname()[1])


def signed_in(url: str, user: str, password: str) -> str:
    """Log in as a browser would and return the page."""
    from http.cookiejar import CookieJar
    from urllib.parse import urlencode

    jar = CookieJar()
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), urllib.request.HTTPCookieProcessor(jar))
    deadline = time.monotonic() + 20
    while True:
        try:
            page = opener.open(url)
            break
        except urllib.error.URLError:
            assert time.monotonic() < deadline
            time.sleep(0.1)
    token = next(cookie.value for cookie in jar if cookie.name == "csrftoken")
    form = urlencode({"username": user, "password": password, "csrfmiddlewaretoken": token}).encode()
    content: bytes = opener.open(urllib.request.Request(page.url, form, {"Referer": page.url})).read()
    return content.decode()


pytestmark = pytest.mark.slow
