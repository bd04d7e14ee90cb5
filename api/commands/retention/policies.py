"""Commands `dod retention set` and `show`, without the command line around them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from api.commands.access.tenants import existing_tenant
from api.commands.terminal import user
from store.audit.records import AuditRecord, Deed
from store.errors import StartupError
from store.retention.declared import PolicyError, declared, parse, written

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from store.access import AccessStore
    from store.retention.policy import Policy, PolicyStore
    from store.stores import Stores
    from store.tenancy import Tenant


def read_policy(text: str | None, options: Mapping[str, Any], rules: list[str]) -> Policy:
    """The policy of a file, or of options. Raises StartupError with everything that is wrong."""
    given = {name: value for name, value in options.items() if value is not None}
    if (text is None) == (not given and not rules):
        raise StartupError("Say how long: either with `--file` or with the other options.")
    try:
        if text is not None:
            return parse(text)
        return declared({**given, "rules": [_rule(one) for one in rules]})
    except PolicyError as error:
        raise StartupError(f"The policy is refused: {error}.") from None


def _rule(text: str) -> dict[str, Any]:
    """`type=DiagnosticReport,category=LAB,category=RAD,keep_days=30` as the file would have it."""
    rule: dict[str, Any] = {}
    for part in text.split(","):
        name, equals, value = part.partition("=")
        name = name.strip().replace("-", "_")
        if not equals:
            raise StartupError("`--rule` is `name=value,name=value …`, such as `category=LAB,keep_days=30`.")
        if name in ("category", "status"):
            rule.setdefault(name, []).append(value)
        elif name == "keep_days":
            rule[name] = int(value) if value.lstrip("-").isdigit() else value
        elif name == "without_end":
            rule[name] = value == "true" or value
        else:
            rule[name] = value
    return rule


async def put_policy(stores: Stores, tenant: Tenant, policy: Policy, *, now: datetime) -> str:
    """Make it the tenant's; says what was done. Raises StartupError when there is no such tenant."""
    await existing_tenant(stores.access, tenant)
    before = (await stores.policies.retention(tenant)).policy
    if before.version and before.says(policy):
        return f"{tenant}: policy {before.version} says this already"
    made = await stores.policies.put(tenant, policy._replace(made_at=now), instead_of=before.version)
    await stores.privacy.audit.note(AuditRecord(tenant, now, user(), Deed.POLICY_SET, of=str(made.version)))
    return (
        f"{tenant}: policy {made.version} holds from now on. What is stored already goes by it with the next"
        f" run; `dod retention plan --tenant {tenant}` shows what that will delete."
    )


async def shown_policy(
    access: AccessStore, policies: PolicyStore, tenant: Tenant, *, every: bool = False
) -> str:
    """The policy as a file that sets it again; `every` version, newest first."""
    await existing_tenant(access, tenant)
    if every:
        return "\n\n".join(map(written, await policies.versions(tenant))) or _NONE
    policy = (await policies.retention(tenant)).policy
    return written(policy) if policy.version else _NONE


_NONE: Final = "# No policy was set: everything is kept without end."
