"""Opens every page of the admin, and the metrics, as a superuser, and keeps what they show."""

from __future__ import annotations

import sys
from pathlib import Path

import django


def main(folder: Path) -> None:
    """Write each page into a file.

    Args:
        folder: Where.
    """
    django.setup()
    from django.contrib import admin
    from django.contrib.auth.models import User
    from django.test import Client
    from django.urls import reverse

    folder.mkdir()
    client = Client()
    client.force_login(User.objects.create_superuser("root"))

    def keep(name: str, address: str) -> None:
        response = client.get(address)
        assert response.status_code == 200, (address, response.status_code)
        (folder / name).write_bytes(response.content + repr(response.headers).encode())

    keep("metrics", "/automate/metrics")
    keep("index", reverse("admin:index"))
    for model in admin.site._registry:
        name = f"{model._meta.app_label}_{model._meta.model_name}"
        keep(name, reverse(f"admin:{name}_changelist"))
        for row in model._default_manager.all():
            keep(f"{name}_{row.pk}".replace("/", "_"), reverse(f"admin:{name}_change", args=[row.pk]))
            if name == "automate_artifact":
                keep(f"{name}_{row.pk}_content", reverse("admin:automate_artifact_content", args=[row.pk]))

    from leaks.app.names import BROKEN

    client.raise_request_exception = False
    for number in range(len(BROKEN)):
        response = client.get(f"/broken/{number}/")
        assert response.status_code == 500, BROKEN[number]
        assert b"Local vars" in response.content, "the debug page"
        (folder / f"broken_{number}").write_bytes(response.content)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
