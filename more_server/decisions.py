"""What was decided while servers ran, at a start: damage is set aside, and copies of a database are taken."""

from more_server.keys import KeyRing
from more_server.models import set_damaged_choice_aside, set_damaged_licences_aside
from more_server.profiles import set_damaged_profiles_aside
from more_server.registry import set_damaged_choices_aside
from more_server.settings import Settings
from more_server.shared.copies import take_up


def set_damaged_aside(settings: Settings) -> None:
    """Go on without what is damaged, but for keys. Raises StorageError."""
    set_damaged_choices_aside(settings)
    set_damaged_profiles_aside(settings)
    set_damaged_choice_aside(settings)
    set_damaged_licences_aside(settings)


def take_up_decisions(settings: Settings) -> None:
    """Have what is decided everywhere on this machine too, before anything is read of it.

    Raises KeysUnreadable where this machine's own keys are damaged, which no other server shall inherit; else as
    `shared.copies.take_up` does.
    """

    def check() -> None:
        set_damaged_aside(settings)
        KeyRing(settings)

    take_up(settings, check)
