"""What a session owns, and the science done with it.

Nothing in here draws on a screen or parses a command line: every room is usable from a notebook.
Data types live in modules that import no torch; the modules that compute import it at the top.

A notebook begins with `open`:

    import sessions

    model = sessions.open("smollm2")
    attribution = model.attribute("The capital of Texas is", " Austin")
    attribution.top(20)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sessions.notebook import Model


def open(name: str, **options: Any) -> Model:
    """Open a model by name: an embedded one, a folder, a .gguf file, or a hub id.

    Args:
        options: those of `sessions.model.opening.open_model`: dtype, device, device_map, load_in, …

    Raises:
        ModelError: there is no such model, or it cannot be loaded.
    """
    from sessions.events import finished
    from sessions.model.opening import open_model
    from sessions.notebook import Model
    from sessions.store import Store

    store = Store()
    return Model(finished(open_model(name, models=store.models, **options)), store.home)
