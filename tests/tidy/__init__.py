"""The house's own rules as failing tests: layers, sizes, banned calls, dead modules, links,
promises.

Each rule is a function from source text to a list of complaints. It is run over the repository,
and over a small bad example, so that a rule which stopped seeing anything is noticed.
"""
