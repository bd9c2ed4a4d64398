"""`nestling reproduce text-retrieval`: what adaptors make of vectors of texts and pictures, at every prefix."""
