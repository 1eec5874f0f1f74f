"""The honest judge: scores by what people have before their cameras, beside what is free elsewhere.

``photos``: which photos, under which licence, of which domain. ``clips``: empty floors and
flicker. ``judge``: the scores. ``peers``: other projects' networks, each in a process of its own.
"""
