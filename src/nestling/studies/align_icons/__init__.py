"""`nestling reproduce align-icons`: pictures and their captions in one nested space, as the paper trains ALIGN."""
