"""The connector: one action that calls Acme's API, and one that only calculates."""

from __future__ import annotations

from typing import Any, Literal

from automate_connectors.base import ActionSpec, HTTPConnector
from automate_core.errors import ConfigurationError, PermanentError
from automate_core.secrets import SecretValue
from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError

__all__ = ["AcmeWeather"]

Unit = Literal["celsius", "fahrenheit", "kelvin"]


class Config(BaseModel):
    """The settings of an ``acme_weather`` connection."""

    model_config = ConfigDict(extra="forbid")

    base_url: str = Field("https://api.acme-weather.example", description="Where Acme's API is.")
    api_key: SecretStr = Field(SecretStr(""), description="Acme's API key; store it as a secret reference.")


class Place(BaseModel):
    """What ``acme_weather.current`` takes."""

    model_config = ConfigDict(extra="forbid")

    city: str = Field(min_length=1, max_length=100)
    api_key: SecretValue | None = Field(None, description="Another API key than the connection's; a secret reference.")


class Weather(BaseModel):
    """What ``acme_weather.current`` returns."""

    city: str
    celsius: float
    conditions: str = ""


class Temperature(BaseModel):
    """What ``acme_weather.convert`` takes."""

    model_config = ConfigDict(extra="forbid")

    value: float = Field(allow_inf_nan=False)
    unit: Unit = "celsius"
    to: Unit


class Converted(BaseModel):
    """What ``acme_weather.convert`` returns."""

    value: float
    unit: Unit


class AcmeWeather(HTTPConnector):
    """Tells the weather."""

    key = "acme_weather"
    display_name = "Acme Weather"

    @classmethod
    def actions(cls) -> list[ActionSpec]:
        """Return both actions."""
        return [
            ActionSpec("current", Place, Weather, idempotent=True, title="Current weather of a city"),
            ActionSpec("convert", Temperature, Converted, idempotent=True, title="Convert a temperature"),
        ]

    def execute_action(self, action: str, input_data: dict[str, Any]) -> Any:
        """Run one of the actions.

        Args:
            action: ``current`` or ``convert``.
            input_data: The input, already validated.
        """
        if action == "current":
            return self._current(Place.model_validate(input_data)).model_dump(mode="json")
        if action == "convert":
            return convert(Temperature.model_validate(input_data)).model_dump(mode="json")
        return super().execute_action(action, input_data)

    def _current(self, place: Place) -> Weather:
        config = self.settings(Config)
        api_key = place.api_key.reveal() if place.api_key else config.api_key.get_secret_value()
        if not api_key:
            raise ConfigurationError("acme_weather.current has no api_key: pass one, as a secret reference.")
        response = self.egress().request(
            "GET",
            f"{config.base_url.rstrip('/')}/v1/current",
            params={"city": place.city},
            headers={"X-Api-Key": api_key},
            timeout=self.timeout(10),
        )
        answer = response.raise_for_status().json()
        try:
            return Weather.model_validate(answer)
        except ValidationError as error:
            raise PermanentError(
                f"Acme's answer has another form than documented: {error.error_count()} fields."
            ) from None


def convert(temperature: Temperature) -> Converted:
    """Convert a temperature.

    Args:
        temperature: The temperature, its unit and the unit to convert to.

    Returns:
        The same temperature in the other unit, rounded to a millionth.

    Raises:
        PermanentError: If it is below absolute zero.
    """
    kelvin = {
        "celsius": temperature.value + 273.15,
        "fahrenheit": (temperature.value + 459.67) * 5 / 9,
        "kelvin": temperature.value,
    }[temperature.unit]
    if kelvin < -1e-9:
        raise PermanentError(f"{temperature.value} {temperature.unit} is below absolute zero.")
    value = {"celsius": kelvin - 273.15, "fahrenheit": kelvin * 9 / 5 - 459.67, "kelvin": kelvin}[temperature.to]
    return Converted(value=round(value, 6), unit=temperature.to)
