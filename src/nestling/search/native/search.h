#pragma once
#include <vector>

#include "coded_query.h"
#include "keeper.h"
#include "snapshot.h"

namespace nestling {

// Which rows of a segment a search may find, by position; null: all.
struct Live {
    std::vector<std::vector<std::uint64_t>> positions;  // one per segment; empty: the segment's own
    const std::uint64_t *of(const Segment &segment, std::size_t index) const {
        if (!positions.empty()) return positions[index].data();
        return segment.live_positions.empty() ? nullptr : segment.live_positions.data();
    }
};
Live live_of(const std::deque<Segment> &segments, const Masks *masks);

// What is known of a candidate while it goes through the stages.
struct Candidate {
    std::uint32_t number;  // of its row in the snapshot
    std::uint32_t segment;
    std::uint32_t row;
    float dot;    // running dot product in the precision at hand
    float value;  // orders candidates of one query, larger first
};

bool id_before(const Snapshot &snapshot, const Candidate &a, const Candidate &b);
// Best first by score (larger first), equal scores by id; leaves at most k.
void rank(const Snapshot &snapshot, std::vector<Candidate> &candidates, std::size_t k);

// What a search needs for a while. A thread keeps its own, because memory fresh from the system costs more than a search.
struct Scratch {
    std::vector<SketchQuery> coded;  // tile x segments
    std::vector<Keeper> keepers;     // tile
    std::vector<Candidate> candidates;
    std::vector<Key> order, spare;
    CopyQuery copy_query;
    std::vector<float> unit;
    std::vector<std::uint64_t> visited;
    std::vector<ScanRange> ranges;
    std::vector<std::size_t> readers;  // queries of the tile that a pass is for
    bool backward = false;  // the way of the last scan
};
Scratch &scratch_of_this_thread();

// The stages of a plan for a tile of queries.
class Search {
   public:
    Search(const Snapshot &snapshot, const std::vector<Stage> &plan, Cells cells, const Live &live, Scratch &scratch)
        : snapshot_(snapshot), plan_(plan), cells_(cells), live_(live), coded_(scratch.coded), keepers_(scratch.keepers),
          candidates_(scratch.candidates), order_(scratch.order), spare_(scratch.spare), copy_query_(scratch.copy_query), unit_(scratch.unit),
          visited_(scratch.visited), ranges_(scratch.ranges), readers_(scratch.readers), backward_(scratch.backward) {}
    // Queries [begin, end) of the matrix; rows and scores are (q, k).
    void run(const float *queries, std::size_t begin, std::size_t end, std::int64_t *rows, float *scores);

   private:
    enum class Pass { sample, rest, all };
    void scan(const float *queries, std::size_t begin, std::size_t count);
    void prepare(const float *queries, std::size_t count);
    void pass(Pass which, const float *queries, std::size_t begin);
    void ranges_of(const Segment &segment, std::size_t t);
    void scan_range(std::size_t segment, ScanRange range, std::size_t t, const float *query);
    void scan_stored(std::size_t segment, ScanRange range, Keeper &keeper, const float *query);
    void shortlist(Keeper &keeper);
    void rerank(std::size_t stage, const float *query);
    void add_stored(std::size_t from, std::size_t to, const float *query);
    void add_copies(std::size_t from, std::size_t to, const float *query);
    void weigh(std::size_t stage);
    void finish(const float *query);

    const Snapshot &snapshot_;
    const std::vector<Stage> &plan_;
    const Cells cells_;
    const Live &live_;
    std::vector<SketchQuery> &coded_;
    std::vector<Keeper> &keepers_;
    std::vector<Candidate> &candidates_;
    std::vector<Key> &order_, &spare_;
    CopyQuery &copy_query_;
    std::vector<float> &unit_;
    std::vector<std::uint64_t> &visited_;
    std::vector<ScanRange> &ranges_;
    std::vector<std::size_t> &readers_;
    bool &backward_;
    std::size_t sample_unit_ = 4, sample_period_ = 16, summed_ = 0;
    int summed_bits_ = -1;
};

float squared_norm(const float *x, std::size_t width);

}  // namespace nestling
