"""Saved means, of each layer and of single neurons."""

from __future__ import annotations

from sessions.errors import UsageError
from sessions.model.units import Unit, only_neurons
from sessions.results import MeansShown, NeuronMean
from sessions.session import Session


def means_shown(session: Session, *, name: str, selection: str | None, rows: int | None, force: bool) -> MeansShown:
    """Saved means: those of each layer, and of the strongest neurons or those selected."""
    means, notes = session.saved.read_means(name, force=force)
    count, about = rows or session.settings.rows, means.about
    neurons = means.strongest(count)
    if selection is not None:
        units = only_neurons(session.select(selection).neurons, "means show")
        chosen = dict.fromkeys(neuron.site for neuron in units)
        for layer, index in chosen:
            if layer >= len(means.layers) or index >= len(means.layers[layer]):
                raise UsageError(f"means '{name}' do not cover L{layer}/N{index}", "they are of another model")
        neurons = [Unit(*site) for site in list(chosen)[:count]]
    return MeansShown(
        name=name,
        model=means.model,
        over=about.over,
        texts=about.texts,
        tokens=about.tokens,
        size=len(means),
        places=len(means.places[0]) if means.places else 0,
        layers=tuple(means.of_layer(layer) for layer in range(len(means.layers))),
        neurons=tuple(NeuronMean(neuron=neuron, mean=means.of(neuron)) for neuron in neurons),
        notes=notes,
    )
