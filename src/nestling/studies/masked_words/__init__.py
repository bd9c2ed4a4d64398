"""`nestling reproduce masked-words`: BERT's masked words by nested prefixes, beside a model for every width.

`settings` says how long, `words` which texts, `models` trains what is missing and keeps it, `table` shows, `study`
joins.
"""
