"""The tables and figures of the paper as commands: ``nestling reproduce NAME``.

`settings` says on what and how long, `zoo` trains what is missing and keeps it, `systems` are the rows of the tables,
`experiments` the tables, `report` the page.
"""
