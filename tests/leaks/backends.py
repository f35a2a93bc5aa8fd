"""Secrets that are kept elsewhere: AWS as moto serves it to boto3, and the test Vault for hvac."""

from __future__ import annotations

import secrets
import sys
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType

import boto3
from moto.moto_api._internal.models import moto_api_backend
from moto.server import ThreadedMotoServer

from leaks.app.names import AWS, VAULT

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "packages" / "automate-secrets" / "tests"))

from vault_server import VaultServer  # type: ignore[import-not-found]  # a module of those tests

__all__ = ["Backends"]

REGION = "eu-west-1"
ROLE = "auth/approle/role/hunt"


class Backends:
    """Both servers on loopback, with some of the secrets in them; use it in a ``with`` statement.

    Args:
        found: The secrets, by name.

    Attributes:
        credentials: With what a project logs in, by name: they must be seen nowhere either.
    """

    def __init__(self, found: dict[str, str]) -> None:
        self._found = found
        self._stack = ExitStack()
        self._vault = VaultServer()
        self._aws = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
        self.credentials = {
            "AWS_SECRET_ACCESS_KEY": secrets.token_urlsafe(30),
            "AWS_SESSION_TOKEN": secrets.token_urlsafe(90),
        }

    def __enter__(self) -> Backends:
        self._stack.enter_context(self._vault)
        self._aws.start()
        self._stack.callback(self._aws.stop)
        self._fill_vault()
        self._fill_aws()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    @property
    def settings(self) -> dict[str, object]:
        """What the section ``SECRETS`` says of them."""
        host, port = self._aws.get_host_and_port()
        return {
            "vault": {
                "address": self._vault.url, "auth": "approle", "role_id": "the-role-of-the-hunt",
                "secret_id": "$env:LEAKS_SECRET_ID",
            },
            "aws": {"endpoint": f"http://{host}:{port}", "region": REGION, "timeout_seconds": 60},
        }  # fmt: skip

    @property
    def environment(self) -> dict[str, str]:
        """What the processes of the project are given."""
        return {
            "AWS_ACCESS_KEY_ID": "AKIAIOSFODNN7EXAMPLE",
            "AWS_SECRET_ACCESS_KEY": self.credentials["AWS_SECRET_ACCESS_KEY"],
            "AWS_SESSION_TOKEN": self.credentials["AWS_SESSION_TOKEN"],
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_CONFIG_FILE": "/dev/null",
            "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
            "LEAKS_SECRET_ID": self.credentials["VAULT_SECRET_ID"],
        }

    def tokens(self) -> dict[str, str]:
        """Return the tokens that Vault has issued, by accessor."""
        return {token.accessor: token.id for token in self._vault._tokens._tokens.values()}

    def _fill_vault(self) -> None:
        for name in VAULT:
            self._vault.write(f"secret/data/hunt/{name}", {"data": {"value": self._found[name]}})
        # Not even its own token may it look at: each denial is doubted by a new login.
        self._vault.policy("hunt", {"secret/data/hunt/*": ["read"]})
        self._vault.write("sys/auth/approle", {"type": "approle"})
        self._vault.write(ROLE, {"token_policies": ["hunt"], "token_ttl": "20m", "token_no_default_policy": True})
        self._vault.write(f"{ROLE}/role-id", {"role_id": "the-role-of-the-hunt"})
        self.credentials["VAULT_SECRET_ID"] = self._vault.write(f"{ROLE}/secret-id", {})["secret_id"]

    def _fill_aws(self) -> None:
        host, port = self._aws.get_host_and_port()
        session = boto3.session.Session(
            aws_access_key_id="AKIAIOSFODNN7EXAMPLE", aws_secret_access_key="of the tests", region_name=REGION
        )
        moto_api_backend.reset()  # a server that was stopped leaves its state to the next one in the process
        manager = session.client("secretsmanager", endpoint_url=f"http://{host}:{port}")
        store = session.client("ssm", endpoint_url=f"http://{host}:{port}")
        for name, path in AWS.items():
            if path.startswith("ssm/"):
                store.put_parameter(
                    Name=path.removeprefix("ssm"), Value=self._found[name], Type="SecureString", Tier="Advanced"
                )
            else:
                manager.create_secret(Name=path, SecretString=self._found[name])
