"""An index on disk: immutable part files, a manifest that is replaced atomically, one writer, any readers.

Import from the modules: `blocks` (one file), `manifest` (what there is), `snapshot` (an opened index), `writer`
and `parts` (what changes one).
"""
