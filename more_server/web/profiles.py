"""Quality profiles for administrators: `/v1/admin/profiles`."""

from typing import Annotated, Any, Literal

import msgspec
from litestar import Request, Response, delete, get, patch, post
from litestar.di import NamedDependency
from litestar.params import FromPath
from msgspec import UNSET, Meta, UnsetType

from more_server.administration import Administration
from more_server.errors import BadInput
from more_server.fields import field_lines
from more_server.speak import Speaker
from more_server.speech import Profile
from more_server.web import wire
from more_server.web.admin import ADMIN, answer, caller
from more_server.web.described import described, said


class ProfileItem(Profile, frozen=True, kw_only=True):
    """A profile with all that it says."""

    default: bool
    """Of requests that name none (default_quality)."""
    inactive: list[str]
    """Of its post-processors, those whose plugin is disabled or gone."""
    base: str | UnsetType = UNSET
    """The profile that it was made of; those of plugins have none."""
    changes: dict[str, Any] | UnsetType = UNSET
    """Fields that differ from it."""


class UnusableProfile(msgspec.Struct, kw_only=True):
    """A profile that cannot be used."""

    name: str
    problem: str
    """Why, as a sentence."""
    base: str | UnsetType = UNSET
    """The profile that it was made of."""
    changes: dict[str, Any] | UnsetType = UNSET
    """Fields that differ from it."""


EITHER = {"items": {"anyOf": [{"$ref": f"#/components/schemas/{one}"} for one in ("ProfileItem", "UnusableProfile")]}}
"""msgspec has no unions of structs without tags."""


class ProfileList(msgspec.Struct):
    """`GET /v1/admin/profiles`."""

    data: Annotated[list[Any], Meta(extra_json_schema=EITHER)]
    """Those of plugins, then those that were made."""
    post_processors: list[str]
    """What their `post_processors` may name now."""
    object: Literal["list"] = "list"


class ProfileDeleted(msgspec.Struct):
    """`DELETE /v1/admin/profiles/{name}`."""

    name: str
    deleted: bool = True
    object: Literal["profile"] = "profile"


CHANGES = [
    (field.name, said(field.type, field_lines(Profile).get(field.name, "")) | None, None)
    for field in msgspec.structs.fields(Profile)
    if field.name != "name"
]
ChangedProfile = msgspec.defstruct("ChangedProfile", CHANGES, kw_only=True, forbid_unknown_fields=True)
NewProfile = msgspec.defstruct(
    "NewProfile", [("name", str), ("base", str), *CHANGES], kw_only=True, forbid_unknown_fields=True
)
"""What these routes take; it is not read as them, for the profile that comes of it is checked, by the same rules."""
ITEM = (ProfileItem, UnusableProfile)


@get("/v1/admin/profiles", opt=described(ADMIN, answer=ProfileList), sync_to_thread=False)
def list_profiles(administration: NamedDependency[Administration]) -> Response[bytes]:
    """Every profile with all that it says, and what the made ones are made of."""
    speaker = administration.speaker
    names = speaker.profiles.names(speaker.registry.snapshot)
    return answer(
        ProfileList([_item(speaker, name) for name in names], sorted(speaker.registry.snapshot.post_processors))
    )


@post("/v1/admin/profiles", opt=described(ADMIN, body=NewProfile, answer=ITEM), status_code=200)
async def create_profile(
    request: Request[Any, Any, Any], administration: NamedDependency[Administration]
) -> Response[bytes]:
    """A new profile: `name`, `base`, and the fields that differ from it."""
    fields = wire.decode(await request.body(), dict[str, Any])
    name, base = (_text(fields, field) for field in ("name", "base"))
    profile = await administration.create_profile(caller(request), name, base, fields)
    return answer(_item(administration.speaker, profile.name))


@patch("/v1/admin/profiles/{name:str}", opt=described(ADMIN, body=ChangedProfile, answer=ITEM))
async def change_profile(
    request: Request[Any, Any, Any], administration: NamedDependency[Administration], name: FromPath[str]
) -> Response[bytes]:
    """Change fields of a made profile; null makes one as the base has it."""
    fields = wire.decode(await request.body(), dict[str, Any])
    profile = await administration.change_profile(caller(request), name, fields)
    return answer(_item(administration.speaker, profile.name))


@delete("/v1/admin/profiles/{name:str}", opt=described(ADMIN, answer=ProfileDeleted), status_code=200)
async def delete_profile(
    request: Request[Any, Any, Any], administration: NamedDependency[Administration], name: FromPath[str]
) -> Response[bytes]:
    """Forget a made profile; those of plugins stay."""
    await administration.delete_profile(caller(request), name)
    return answer(ProfileDeleted(name))


def _text(fields: dict[str, Any], field: str) -> str:
    value = fields.pop(field, None)
    if not isinstance(value, str):
        raise BadInput(f"{field} is required, as text", param=field)
    return value


def _item(speaker: Speaker, name: str) -> ProfileItem | UnusableProfile:
    """A profile's fields; base and changes where it is made; a sentence where it cannot be used."""
    snapshot, made = speaker.registry.snapshot, speaker.profiles.made.get(name)
    source: dict[str, Any] = (
        {"base": made.base, "changes": made.changes} if made and name not in snapshot.profiles else {}
    )
    try:
        profile: Profile = speaker.profiles.find(name, snapshot)
    except BadInput as error:
        return UnusableProfile(name=name, problem=error.message, **source)
    inactive = [link for link in profile.post_processors if link not in snapshot.post_processors]
    default = name == speaker.settings.default_quality
    return ProfileItem(**msgspec.structs.asdict(profile), default=default, inactive=inactive, **source)
