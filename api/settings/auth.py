"""Settings of who may come in."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Self

from limits import parse
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from api.limits.limiter import Class
from ingest.http.forwarded import NetworksText
from store.tenancy import parse_origins

if TYPE_CHECKING:
    from collections.abc import Mapping


@lru_cache(maxsize=16)
def _origins(text: str) -> frozenset[str]:
    return frozenset(one.strip() for one in text.split(",")) - {""}


class AuthSettings(BaseModel):
    """Bearer tokens, client assertions, published keys, the external issuer, and pages of other origins."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    token_days_default: int = Field(default=30, ge=1, le=3_650)
    """Life of a bearer token when `dod token issue` has no `--days`."""
    access_cache_seconds: float = Field(default=1.0, ge=0, le=60)
    """Time for which a grant, a client and a tenant are remembered: the longest that what was revoked or
    disabled still works."""
    access_token_seconds: int = Field(default=300, ge=10, le=300)
    """Life of an access token that `POST /v2/auth/token` gives."""
    assertion_leeway_seconds: float = Field(default=5.0, ge=0, le=60)
    """Difference that the clock of a client, or of the external issuer, may have."""
    token_audiences: str = ""
    """More that the `aud` of a client assertion may be beside our token URL, such as upstream's while clients
    move: `https://api.redoxengine.com/v2/auth/token`. Whoever it was meant for could use it here."""
    jwks_networks: NetworksText = ""
    """Networks, such as `10.0.0.0/8`, that JWKS URLs may lead to beside public addresses, and by `http`."""
    issuer: str | None = Field(default=None, min_length=1)
    """The `iss` of an external issuer whose bearer tokens are accepted; its clients are registered here with
    `dod client create --external`."""
    issuer_audience: str | None = Field(default=None, min_length=1)
    """Value that the `aud` of its tokens must be, or hold. Needed with `issuer`."""
    issuer_jwks_url: str | None = Field(default=None, pattern=r"^https?://[^\s?#]+$")
    """URL at which it publishes its keys. Needed with `issuer`."""

    rate_search: str = "60000/5 minute"
    """Searches, reads and histories of one client, in any stretch of this length, such as `10000/5 minute`;
    empty: no limit. Past it 429, until `Retry-After`. Each process counts for itself."""
    rate_push: str = "60000/5 minute"
    """Rate of pushes of single resources and messages."""
    rate_backfill: str = "6000/5 minute"
    """Rate of Bundles of type batch and transaction."""
    rate_login: str = "600/5 minute"
    """Requests for access tokens, and endpoint verifications, of one address; see `trusted_proxies`."""
    rate_address: str = ""
    """All requests of one address, before it is known who asks. Behind a proxy that `trusted_proxies` does
    not name, all have one address."""
    client_requests_max: int = Field(default=128, ge=1)
    """Requests of one client under way at a time; past it 429."""
    throttle_pause_seconds: float = Field(default=1.0, ge=0, le=30)
    """Time for which a 429 is held back, and up to ten seconds when hundreds of one client are: one that asks
    again at once, on many connections, would keep others waiting with refusals alone."""

    cors_origins: str = ""
    """Origins such as `https://app.example`, separated by commas, whose pages may ask; `*`: any.
    A tenant may have its own in place of these."""

    @property
    def pages(self) -> frozenset[str]:
        """The origins whose pages may ask."""
        return _origins(self.cors_origins)

    @property
    def rates(self) -> Mapping[Class, str]:
        """The limit of each class."""
        return {kind: getattr(self, f"rate_{kind.value}") for kind in Class}

    @field_validator("rate_search", "rate_push", "rate_backfill", "rate_login", "rate_address")
    @classmethod
    def _rate(cls, text: str) -> str:
        try:
            if text:
                parse(text)
        except ValueError:
            message = "must be a number of requests and a time, such as `10000/5 minute` or `20/second`"
            raise ValueError(message) from None
        return text

    @field_validator("cors_origins")
    @classmethod
    def _only_origins(cls, text: str) -> str:
        try:
            parse_origins(_origins(text))
        except ValueError:
            message = "must be origins such as `https://app.example`, without a path, or `*`"
            raise ValueError(message) from None
        return text

    @model_validator(mode="after")
    def _issuer_whole(self) -> Self:
        told = (self.issuer, self.issuer_audience, self.issuer_jwks_url)
        if any(told) and not all(told):
            raise ValueError("`issuer`, `issuer_audience` and `issuer_jwks_url` go together")
        return self
