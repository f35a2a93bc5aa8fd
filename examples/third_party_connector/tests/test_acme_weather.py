"""The connector holds Automate's contract, and does what its README says, over a real loopback server."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from automate_acme_weather.connector import AcmeWeather
from automate_core import settings
from automate_core.errors import ConfigurationError, InvalidInputError, PermanentError, RateLimited, SSRFBlocked
from automate_core.registry import registry
from automate_core.secrets import SecretValue
from automate_core.testing.connectors import ConnectorContract

API_KEY = "acme-key-for-tests"


class Acme(BaseHTTPRequestHandler):
    """Answers as Acme's API does."""

    def do_GET(self) -> None:
        city = parse_qs(urlsplit(self.path).query).get("city", [""])[0]
        if self.headers["X-Api-Key"] != API_KEY:
            self.answer(403, {"error": "wrong key"})
        elif city == "Atlantis":
            self.answer(404, {"error": "no such city"})
        elif city == "Busytown":
            self.answer(429, {"error": "slow down"}, retry_after="5")
        elif city == "Oddville":
            self.answer(200, {"temperature": "warm"})
        else:
            self.answer(200, {"city": city, "celsius": 11.5, "conditions": "rain"})

    def answer(self, status: int, body: Any, retry_after: str = "") -> None:
        content = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        if retry_after:
            self.send_header("Retry-After", retry_after)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def config() -> Iterator[dict[str, Any]]:
    """The settings of a connection to a server on loopback, which the egress policy is told to allow."""
    server = HTTPServer(("127.0.0.1", 0), Acme)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    allowed = f"127.0.0.1:{server.server_port}"
    settings.configure(settings.parse({"POLICY": {"egress_allow": [allowed]}}))
    yield {"base_url": f"http://{allowed}", "api_key": API_KEY}
    settings.configure(None)
    server.shutdown()
    server.server_close()
    thread.join()


class TestContract(ConnectorContract):
    connector = AcmeWeather
    secrets = (API_KEY,)

    @pytest.fixture(autouse=True)
    def _over_a_server(self, config: dict[str, Any]) -> None:
        self.config = config
        self.inputs = {"current": {"city": "Oslo"}, "convert": {"value": 100, "to": "fahrenheit"}}


def current(config: dict[str, Any], city: str) -> Any:
    return registry.get_connector("acme_weather")(config=config).call("current", {"city": city})


def test_the_weather_is_told(config: dict[str, Any]) -> None:
    assert current(config, "São Paulo") == {"city": "São Paulo", "celsius": 11.5, "conditions": "rain"}


def test_a_step_may_bring_the_key(config: dict[str, Any]) -> None:
    connector = registry.get_connector("acme_weather")(config={"base_url": config["base_url"]})
    assert connector.call("current", {"city": "Oslo", "api_key": SecretValue(API_KEY)})["celsius"] == 11.5
    with pytest.raises(InvalidInputError, match="not the secret itself"):
        connector.call("current", {"city": "Oslo", "api_key": API_KEY})


def test_failures_say_whether_to_try_again(config: dict[str, Any]) -> None:
    with pytest.raises(RateLimited) as caught:
        current(config, "Busytown")
    assert (caught.value.retryable, caught.value.retry_after) == (True, 5)
    for city, text in (("Atlantis", "404"), ("Oddville", "another form")):
        with pytest.raises(PermanentError, match=text):
            current(config, city)
    with pytest.raises(PermanentError, match="403"):
        current({**config, "api_key": "wrong"}, "Oslo")
    with pytest.raises(ConfigurationError, match="no api_key"):
        current({**config, "api_key": ""}, "Oslo")


def test_the_egress_policy_holds_for_plugins_too() -> None:
    with pytest.raises(SSRFBlocked):
        current({"base_url": "http://127.0.0.1:1", "api_key": API_KEY}, "Oslo")


@pytest.mark.parametrize(
    ("value", "unit", "to", "expected"),
    [
        (100, "celsius", "fahrenheit", 212),
        (-40, "fahrenheit", "celsius", -40),
        (0, "kelvin", "celsius", -273.15),
        (-459.67, "fahrenheit", "kelvin", 0),
        (21.5, "celsius", "celsius", 21.5),
    ],
)
def test_temperatures_are_converted(value: float, unit: str, to: str, expected: float) -> None:
    assert AcmeWeather().call("convert", {"value": value, "unit": unit, "to": to}) == {"value": expected, "unit": to}


def test_what_cannot_be_converted_is_refused() -> None:
    with pytest.raises(PermanentError, match="absolute zero"):
        AcmeWeather().call("convert", {"value": -300, "to": "kelvin"})
    for wrong in ({"value": 1}, {"value": "warm", "to": "kelvin"}, {"value": 1, "to": "rankine"}):
        with pytest.raises(InvalidInputError):
            AcmeWeather().call("convert", wrong)
