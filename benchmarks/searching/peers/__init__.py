"""The peers, one file a family."""

from benchmarks.searching.peers.base import Base, Built, Peer, Setting
from benchmarks.searching.peers.faiss_flat import FaissFlat, FaissPanorama
from benchmarks.searching.peers.faiss_funnel import FaissFunnel
from benchmarks.searching.peers.faiss_hnsw import FaissHnsw
from benchmarks.searching.peers.faiss_ivf import FaissIvfRefine
from benchmarks.searching.peers.faiss_rabitq import FaissRabitqRefine
from benchmarks.searching.peers.usearch_peers import UsearchExact, UsearchHnsw

PEERS: dict[str, Peer] = {
    peer.name: peer
    for peer in (
        FaissFlat(),
        FaissPanorama(),
        UsearchExact(),
        FaissFunnel(),
        FaissRabitqRefine(),
        FaissIvfRefine(),
        FaissHnsw(),
        UsearchHnsw(),
    )
}

__all__ = ["PEERS", "Base", "Built", "Peer", "Setting"]
