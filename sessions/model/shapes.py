"""The sizes of an open model that its memory depends on."""

from __future__ import annotations

from sessions.model.memory_needed import Shape
from sessions.model.opening import OpenModel
from sessions.model.sites import ExpertSite


def shape_of(opened: OpenModel) -> Shape:
    """The sizes of an open model. Where heads cannot be told apart, attention counts as one of the model's width."""
    anatomy, model = opened.anatomy, opened.model
    config = model.config.get_text_config()
    heads = max((layer.heads.n_heads * layer.heads.d_head for layer in anatomy.layers if layer.heads), default=0)
    d_query = heads or anatomy.d_model
    shared = getattr(config, "num_key_value_heads", None) or anatomy.n_heads
    return Shape(
        weights=sum(weight.nbytes for weight in model.parameters() if not weight.is_meta),
        layers=anatomy.n_layers,
        d_model=anatomy.d_model,
        d_mlp=max(anatomy.widths),
        neurons=sum(anatomy.widths),
        heads=anatomy.n_heads,
        d_query=d_query,
        d_key=max(1, d_query * shared // max(anatomy.n_heads, 1)),
        vocabulary=opened.info.vocab_size,
        itemsize=model.dtype.itemsize,
        gated=any(isinstance(site, ExpertSite) or site.gated for layer in anatomy.layers for site in layer.sites),
    )
