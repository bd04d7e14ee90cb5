"""Settings of tests, which look nowhere else."""

from __future__ import annotations

from typing import TYPE_CHECKING

from typing_extensions import override

from api.settings.service import Settings

if TYPE_CHECKING:
    from pydantic_settings import BaseSettings, PydanticBaseSettingsSource


class Given(Settings):
    """Settings as given: to look for each in the environment takes as long as the rest of a start."""

    @override
    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        *_: object,
        **__: object,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return (init_settings,)
