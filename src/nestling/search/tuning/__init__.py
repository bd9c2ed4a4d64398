"""What `Index.tune` is made of: queries and truth, sketches to try, simulated plans, costs of this machine, advice."""
