"""How good a model is at what brise does, on sets that training has never seen: other families, templates, names.

It asks through a callable and knows neither the engine nor the gateway; `tramontane eval` composes them.
"""
