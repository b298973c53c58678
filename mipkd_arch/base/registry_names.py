"""Names in BasicSR's registries."""
from typing import Any


def registered_name(registry: Any, name: str) -> str:
    """The name by which a registry has what ``name`` means: BasicSR has added a suffix to some, as to SRVGGNetCompact.

    Its own lookup prints a line whenever it finds one without the suffix.
    """
    longer = f'{name}_basicsr'
    return longer if name not in registry and longer in registry else name
