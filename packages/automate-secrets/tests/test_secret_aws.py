"""The backend of AWS, through the real boto3, against moto's server over HTTP and against what it does not do."""

from __future__ import annotations

import asyncio
import base64
import json
import logging
import os
import traceback
from collections.abc import Iterator
from functools import cache
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import boto3
import pytest
from automate_core import redaction
from automate_core.errors import (
    SecretAccessDenied,
    SecretBackendUnavailable,
    SecretDecryptionError,
    SecretError,
    SecretNotFoundError,
)
from automate_core.registry import Registry
from automate_core.secrets import Resolver, SecretBackend
from automate_core.settings import SecretSettings
from automate_core.testing.secrets import SecretBackendContract
from automate_secrets._aws_client import AwsClient
from automate_secrets.aws import AwsBackend
from aws_server import AwsServer, Reply
from moto.server import ThreadedMotoServer

VALUE = "a value that nobody else has"
ACCOUNT = "123456789012"


@pytest.fixture(scope="module")
def moto() -> Iterator[str]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAIOSFODNN7EXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "the-secret-key-of-the-tests")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
    yield
    redaction._live.clear()


@pytest.fixture(scope="module")
def clients(moto: str) -> Any:
    """Make clients that put things there, each once."""
    session = boto3.session.Session(aws_access_key_id="AKIAIOSFODNN7EXAMPLE", aws_secret_access_key="of the tests")

    @cache
    def client(service: str, region: str = "eu-west-1") -> Any:
        return session.client(service, endpoint_url=moto, region_name=region)

    return client


@pytest.fixture
def aws(moto: str, clients: Any) -> Iterator[Any]:
    """The clients; what they put there is gone afterwards."""
    yield clients
    connection = HTTPConnection(urlsplit(moto).netloc, timeout=60)
    connection.request("POST", "/moto-api/reset")
    assert connection.getresponse().status == 200
    connection.close()


def config_for(endpoint: str, **settings: Any) -> SecretSettings:
    return SecretSettings(
        backend="aws", aws={"endpoint": endpoint, "region": "eu-west-1", "timeout_seconds": 20, **settings}
    )


class TestSecretsManager(SecretBackendContract):
    versions = ("AWSPREVIOUS", "AWSCURRENT")

    @pytest.fixture(autouse=True)
    def _server(self, aws: Any, moto: str) -> None:
        self.secrets, self.endpoint = aws("secretsmanager"), moto
        self.fields: dict[str, str] = {}

    def make_config(self) -> SecretSettings:
        return config_for(self.endpoint)

    def make_backend(self, config: SecretSettings) -> SecretBackend:
        return AwsBackend(config)

    def put(
        self, backend: SecretBackend, path: str, value: str, *, field: str | None = None, tenant: str | None = None
    ) -> None:
        if field is not None:
            self.fields[field] = value
            value = json.dumps(self.fields)
        try:
            self.secrets.create_secret(Name=path, SecretString=value)
        except self.secrets.exceptions.ResourceExistsException:
            self.secrets.put_secret_value(SecretId=path, SecretString=value)


class TestParameterStore(TestSecretsManager):
    path = "ssm/contract/API_KEY"
    versions = ("1", "2")

    @pytest.fixture(autouse=True)
    def _parameters(self, aws: Any) -> None:
        self.ssm = aws("ssm")

    def put(
        self, backend: SecretBackend, path: str, value: str, *, field: str | None = None, tenant: str | None = None
    ) -> None:
        if field is not None:
            self.fields[field] = value
            value = json.dumps(self.fields)
        name = path.removeprefix("ssm")
        self.ssm.put_parameter(Name=name, Value=value, Type="SecureString", Tier="Advanced", Overwrite=True)


# -- Secrets Manager --------------------------------------------------------------------------------------------------


def test_versions_are_stages_and_ids(aws: Any, moto: str) -> None:
    secrets = aws("secretsmanager")
    first = secrets.create_secret(Name="prod/billing", SecretString="the first value")["VersionId"]
    second = secrets.put_secret_value(SecretId="prod/billing", SecretString="the second value")["VersionId"]
    backend = AwsBackend(config_for(moto))
    for version, value in {
        None: "the second value",
        "AWSCURRENT": "the second value",
        "AWSPREVIOUS": "the first value",
        first: "the first value",
        second: "the second value",
    }.items():
        assert backend.get("prod/billing", version=version) == value
    secrets.put_secret_value(SecretId="prod/billing", SecretString="a candidate", VersionStages=["AWSPENDING"])
    assert backend.get("prod/billing") == "the second value"
    assert backend.get("prod/billing", version="AWSPENDING") == "a candidate"
    for missing in ("NO_SUCH_STAGE", "0" * 32):
        with pytest.raises(SecretNotFoundError, match=f"no version @{missing} of a secret 'prod/billing'"):
            backend.get("prod/billing", version=missing)


def test_a_secret_is_found_by_its_arn(aws: Any, moto: str) -> None:
    arn = aws("secretsmanager").create_secret(Name="prod/billing", SecretString=VALUE)["ARN"]
    assert Resolver(config=config_for(moto)).resolve(f"$aws:{arn}@AWSCURRENT") == VALUE


def test_fields_are_those_of_a_json_object(aws: Any, moto: str) -> None:
    secrets = aws("secretsmanager")
    secrets.create_secret(Name="object", SecretString=json.dumps({"user": "shop", "port": 5432, "none": None}))
    secrets.create_secret(Name="plain", SecretString=VALUE)
    secrets.create_secret(Name="list", SecretString="[1]")
    secrets.create_secret(Name="bytes", SecretBinary=b"bytes that are text")
    secrets.create_secret(Name="binary", SecretBinary=b"\xff\xfe")
    backend = AwsBackend(config_for(moto))
    assert backend.get("object", field="user") == "shop"
    assert backend.get("object", field="port") == "5432"
    assert backend.get("bytes") == "bytes that are text"
    for missing in ("users", "none"):
        with pytest.raises(SecretNotFoundError, match="has no field"):
            backend.get("object", field=missing)
    for name in ("plain", "list"):
        with pytest.raises(SecretError, match="not a JSON object, so it has no fields: leave #user out") as raised:
            backend.get(name, field="user")
        assert VALUE not in "".join(traceback.format_exception(raised.value))
    with pytest.raises(SecretError, match="is not text"):
        backend.get("binary")


def test_a_deleted_secret_says_how_to_get_it_back(aws: Any, moto: str) -> None:
    secrets = aws("secretsmanager")
    secrets.create_secret(Name="billing", SecretString=VALUE)
    secrets.delete_secret(SecretId="billing", RecoveryWindowInDays=7)
    backend = AwsBackend(config_for(moto))
    with pytest.raises(SecretNotFoundError, match=r"was deleted.* restore-secret --secret-id billing"):
        backend.get("billing")
    secrets.restore_secret(SecretId="billing")
    assert backend.get("billing") == VALUE
    with pytest.raises(SecretNotFoundError, match="aws secretsmanager create-secret --name other"):
        backend.get("other")


# -- the parameter store ----------------------------------------------------------------------------------------------


def test_parameters_are_named_by_their_path_or_their_arn(aws: Any, moto: str) -> None:
    ssm = aws("ssm")
    for name, kind in (("plain", "String"), ("/prod/shop/key", "SecureString"), ("/prod/list", "StringList")):
        ssm.put_parameter(Name=name, Value=f"the value of {name}", Type=kind)
    resolver = Resolver(config=config_for(moto, prefix="ssm/prod/"))
    assert resolver.resolve("$aws:ssm/plain") == "the value of plain"
    assert resolver.resolve("$aws:ssm/prod/shop/key") == "the value of /prod/shop/key"
    assert resolver.resolve("$aws:ssm/prod/list") == "the value of /prod/list"
    assert resolver.resolve("$aws:arn:aws:ssm:eu-west-1:123456789012:parameter/prod/shop/key") == (
        "the value of /prod/shop/key"
    )
    assert resolver.resolve("$secret:shop/key") == "the value of /prod/shop/key"


def test_versions_of_parameters_are_numbers_and_labels(aws: Any, moto: str) -> None:
    ssm = aws("ssm")
    for number in (1, 2, 3):
        ssm.put_parameter(Name="/prod/key", Value=f"value {number}", Type="SecureString", Overwrite=True)
    ssm.label_parameter_version(Name="/prod/key", ParameterVersion=2, Labels=["stable"])
    backend = AwsBackend(config_for(moto))
    assert backend.get("ssm/prod/key") == "value 3"
    assert backend.get("ssm/prod/key", version="1") == "value 1"
    assert backend.get("ssm/prod/key", version="stable") == "value 2"
    with pytest.raises(SecretNotFoundError, match="no version @9 of a parameter '/prod/key'"):
        backend.get("ssm/prod/key", version="9")
    with pytest.raises(SecretNotFoundError, match="aws ssm put-parameter --type SecureString --name /prod/other"):
        backend.get("ssm/prod/other")


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("ssm/prod/key:3", "cannot name a parameter"),
        ("ssm/", "cannot name a parameter"),
        ("ssm/a//b", "cannot name a parameter"),
        ("arn:aws:ssm:eu-west-1:123456789012:parameter/key:3", "neither name nor ARN"),
        ("ssm/aws/reference/secretsmanager/prod/billing", "name the secret itself"),
        ("ssm/AWS/Reference/secretsmanager/billing", "name the secret itself"),
        (
            "arn:aws:ssm:eu-west-1:123456789012:parameter/aws/reference/secretsmanager/billing",
            "name the secret itself",
        ),
        ("arn:aws:s3:::bucket/key", "neither name nor ARN"),
        ("prod/billing:3", "neither name nor ARN"),
        ("a b", "neither name nor ARN"),
    ],
)
def test_what_would_name_something_in_another_way_is_refused(path: str, says: str) -> None:
    with AwsServer(Reply(500)) as server:
        with pytest.raises(SecretError, match=says):
            AwsBackend(config_for(server.url)).get(path)
        assert not server.asked


# -- settings ---------------------------------------------------------------------------------------------------------


def test_the_region_is_that_of_the_settings(aws: Any, moto: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for region in ("eu-west-1", "us-east-1"):
        aws("secretsmanager", region).create_secret(Name="billing", SecretString=f"of {region}")
    assert AwsBackend(config_for(moto, region="us-east-1")).get("billing") == "of us-east-1"
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    assert AwsBackend(config_for(moto, region="")).get("billing") == "of us-east-1"
    assert AwsBackend(config_for(moto)).get("billing") == "of eu-west-1"


def test_the_prefix_belongs_to_secret(aws: Any, moto: str) -> None:
    aws("secretsmanager").create_secret(Name="prod/API_KEY", SecretString=VALUE)
    resolver = Resolver(registry=Registry(), config=config_for(moto, prefix="prod/"))
    assert resolver.resolve("$secret:API_KEY") == asyncio.run(resolver.aresolve("$aws:prod/API_KEY")) == VALUE


def test_the_profile_is_that_of_the_settings(
    aws: Any, moto: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    aws("secretsmanager", "us-east-1").create_secret(Name="billing", SecretString="of us-east-1")
    files = tmp_path / "config"
    files.write_text(
        "[profile shop]\nregion = us-east-1\n"
        "aws_access_key_id = AKIAI44QH8DHBEXAMPLE\naws_secret_access_key = another\n"
    )
    monkeypatch.setenv("AWS_CONFIG_FILE", str(files))
    assert AwsBackend(config_for(moto, profile="shop", region="")).get("billing") == "of us-east-1"
    backend = AwsBackend(config_for(moto, profile="shp"))
    with pytest.raises(SecretBackendUnavailable, match=r"SECRETS\.aws\.profile") as raised:
        backend.get("billing")
    assert not raised.value.retryable
    assert backend.check() == [raised.value.message]


def test_a_role_is_assumed(aws: Any, moto: str) -> None:
    aws("secretsmanager").create_secret(Name="billing", SecretString=VALUE)
    backend = AwsBackend(config_for(moto, role_arn=f"arn:aws:iam::{ACCOUNT}:role/shop"))
    assert backend.get("billing") == VALUE
    assert backend.check() == []
    assert backend.client._session.get_credentials().access_key.startswith("ASIA")


def test_a_role_may_ask_for_an_external_id() -> None:
    with AwsServer(Reply(403, "<ErrorResponse><Error><Code>AccessDenied</Code></Error></ErrorResponse>")) as server:
        role = {"role_arn": f"arn:aws:iam::{ACCOUNT}:role/shop", "external_id": "the-shop"}
        backend = AwsBackend(config_for(server.url, **role))
        with pytest.raises(SecretAccessDenied, match="AssumeRole: AccessDenied"):
            backend.get("billing")
        assert "AssumeRole: AccessDenied" in backend.check()[0]
        assert len(server.asked) == 2
        assert "Action=AssumeRole" in server.asked[0]
        assert "ExternalId=the-shop" in server.asked[0]


def test_without_credentials_it_says_where_to_put_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.delenv("AWS_EC2_METADATA_DISABLED")
    with AwsServer(Reply(-1)) as metadata:
        monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", metadata.url)
        backend = AwsBackend(config_for("http://127.0.0.1:9", connect_seconds=0.2))
        with pytest.raises(SecretBackendUnavailable, match="No credentials of AWS") as raised:
            backend.get("billing")
        assert not raised.value.retryable
        assert backend.check() == [raised.value.message]
        assert len(metadata.asked) <= 4  # for a token and for a role, once for each of the two


def test_without_a_region_it_says_where_to_set_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_DEFAULT_REGION", raising=False)
    monkeypatch.delenv("AWS_REGION", raising=False)
    with pytest.raises(SecretBackendUnavailable, match=r"No region is known\. Set SECRETS\.aws\.region") as raised:
        AwsBackend(SecretSettings()).get("billing")
    assert not raised.value.retryable


def test_no_proxy_of_the_environment_is_used(aws: Any, moto: str, monkeypatch: pytest.MonkeyPatch) -> None:
    aws("secretsmanager").create_secret(Name="billing", SecretString=VALUE)
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    assert AwsBackend(config_for(moto)).get("billing") == VALUE


def test_a_forked_process_has_connections_of_its_own(aws: Any, moto: str, monkeypatch: pytest.MonkeyPatch) -> None:
    aws("secretsmanager").create_secret(Name="billing", SecretString=VALUE)
    backend = AwsBackend(config_for(moto))
    backend.get("billing")
    before, pid = backend.client._clients["secretsmanager"], os.getpid()
    monkeypatch.setattr("automate_secrets._aws_client.os.getpid", lambda: pid + 1)
    assert backend.get("billing") == VALUE
    assert backend.client._clients["secretsmanager"] is not before


# -- what goes wrong --------------------------------------------------------------------------------------------------


def refusal(status: int, code: str, **headers: str) -> Reply:
    body = json.dumps({"__type": code, "message": f"said about {code}"})
    return Reply(status, body, {"Content-Type": "application/x-amz-json-1.1", **headers})


FAILURES: dict[str, tuple[Reply, type[SecretError], str, bool, float | None]] = {
    "denied": (refusal(400, "AccessDeniedException"), SecretAccessDenied, "denies it .* policy", False, None),
    "unknown key": (refusal(400, "UnrecognizedClientException"), SecretAccessDenied, "credentials", False, None),
    "expired": (refusal(400, "ExpiredTokenException"), SecretAccessDenied, "credentials", False, None),
    "throttled": (
        refusal(400, "ThrottlingException", **{"Retry-After": "4"}), SecretBackendUnavailable, "limits the", True, 4,
    ),
    "busy": (refusal(429, "TooManyRequestsException"), SecretBackendUnavailable, "limits the rate", True, None),
    "undecipherable": (refusal(400, "DecryptionFailure"), SecretDecryptionError, "KMS key is enabled", False, None),
    "disabled key": (refusal(400, "InvalidKeyId"), SecretDecryptionError, "KMS key is enabled", False, None),
    "failing": (refusal(500, "InternalServiceError"), SecretBackendUnavailable, "AWS fails", True, None),
    "gateway": (Reply(502, "<html>"), SecretBackendUnavailable, "AWS fails", True, None),
    "unavailable": (Reply(503, "", {"Retry-After": "9"}), SecretBackendUnavailable, "AWS fails", True, 9),
    "invalid": (refusal(400, "InvalidParameterException"), SecretError, "does not accept the request", False, None),
    "a page": (Reply(200, "<html>"), SecretBackendUnavailable, "does not speak its protocol", True, None),
    "dropped": (Reply(0), SecretBackendUnavailable, "closes the connection", True, None),
    "slow": (Reply(-1), SecretBackendUnavailable, r"within SECRETS\.aws\.timeout_seconds", True, None),
}  # fmt: skip


@pytest.fixture(scope="module")
def failing() -> Iterator[tuple[AwsServer, Resolver]]:
    with AwsServer(Reply(500)) as server:
        yield server, Resolver(config=config_for(server.url, timeout_seconds=0.3))


@pytest.mark.parametrize("failure", FAILURES)
@pytest.mark.parametrize("reference", ["$aws:prod/billing", "$aws:ssm/prod/billing"])
def test_every_failure_is_typed_after_one_attempt(
    failing: tuple[AwsServer, Resolver], failure: str, reference: str
) -> None:
    server, resolver = failing
    server.reply, kind, says, retryable, wait = FAILURES[failure]
    server.asked.clear()
    with pytest.raises(kind, match=rf"^\{reference}: .*{says}") as raised:
        resolver.resolve(reference)
    assert type(raised.value) is kind
    assert (raised.value.retryable, raised.value.retry_after) == (retryable, wait)
    assert len(server.asked) == 1
    assert "the-secret-key-of-the-tests" not in "".join(traceback.format_exception(raised.value))


def test_an_endpoint_that_is_not_there_is_unavailable() -> None:
    with AwsServer(Reply(500)) as server:
        address = server.url
    with pytest.raises(SecretBackendUnavailable, match="cannot be reached") as raised:
        AwsBackend(config_for(address)).get("billing")
    assert raised.value.retryable


# -- logs -------------------------------------------------------------------------------------------------------------


def test_the_log_of_botocore_shows_nothing_of_what_is_asked_and_answered(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("AWS_SESSION_TOKEN", "the-session-token-of-the-tests")
    caplog.set_level(logging.DEBUG)
    encoded = base64.b64encode(VALUE.encode()).decode()
    parameter = {"Name": "/a", "Type": "SecureString", "Value": VALUE}
    answer = {"SecretString": VALUE, "Parameter": parameter, "Plaintext": encoded}
    with AwsServer(Reply(200, json.dumps(answer))) as server:
        backend = AwsBackend(config_for(server.url))
        assert (backend.get("name"), backend.get("ssm/a")) == (VALUE, VALUE)
        client = AwsClient(backend.config.aws)
        assert client.call("kms", "decrypt", {"CiphertextBlob": b"sealed-data-key"})["Plaintext"] == VALUE.encode()
        assert client.call("kms", "encrypt", {"KeyId": "k", "Plaintext": VALUE.encode()})
        for shown in (VALUE, encoded, "the-session-token-of-the-tests"):
            assert shown not in caplog.text
        # What the project itself asks is its own affair.
        boto3.client("ssm", endpoint_url=server.url, region_name="eu-west-1").get_parameter(Name="/a")
        assert VALUE in caplog.text


def test_what_aws_does_not_allow_in_a_request_is_no_outage() -> None:
    client = AwsClient(config_for("http://127.0.0.1:9").aws)
    with pytest.raises(SecretError, match="AWS does not allow") as raised:
        client.call("secretsmanager", "get_secret_value", {"SecretId": ""})
    assert not isinstance(raised.value, SecretBackendUnavailable)
    assert not raised.value.retryable
