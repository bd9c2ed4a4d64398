#include "snapshot.h"

#include <stdexcept>
#include <string>

#include "parallel.h"
#include "search.h"

namespace nestling {

Snapshot::Snapshot(std::vector<std::size_t> stops, Metric metric, bool half)
    : stops_(std::move(stops)), metric_(metric), half_(half) {}

std::size_t Snapshot::add_segment(Segment segment) {
    if (rows_ + segment.rows >= 0xffffffffu) throw std::invalid_argument("a snapshot holds fewer than 2^32 - 1 rows.");
    segment.first = static_cast<std::uint32_t>(rows_);
    rows_ += segment.rows;
    segments_.push_back(std::move(segment));
    return segments_.size() - 1;
}

void Snapshot::check(const std::vector<Stage> &plan, bool cells) const {
    if (plan.empty()) throw std::invalid_argument("a plan must have at least one stage.");
    for (std::size_t i = 0; i < plan.size(); ++i) {
        const Stage &stage = plan[i];
        if (stage.keep < 1 || stage.dims < 1 || stage.dims > width())
            throw std::invalid_argument("dims and keeps must be positive, dims at most the width.");
        if (i > 0 && (stage.dims < plan[i - 1].dims || stage.keep > plan[i - 1].keep))
            throw std::invalid_argument("dims never fall and keeps never rise.");
        if (i > 1 && plan[i - 1].bits == 0 && stage.bits != 0) throw std::invalid_argument("precision never falls.");
        if (i == 1 && plan[0].bits == 0 && stage.bits != 0) throw std::invalid_argument("precision never falls.");
        for (const Segment &segment : segments_) {
            bool stored = false;
            if (stage.bits == 0)
                for (const Ring &ring : segment.rings) stored |= ring.stop == stage.dims;
            else if (i == 0)
                stored = segment.sketch(stage.dims, stage.bits) != nullptr;
            else
                for (const Copy &copy : segment.copies) stored |= stage.bits == 8 && copy.stop == stage.dims;
            if (!stored)
                throw std::invalid_argument("a stage of " + std::to_string(stage.dims) + " dims at " +
                                            std::to_string(stage.bits) + " bits is not stored.");
            if (cells && !segment.cell_offsets) throw std::invalid_argument("a segment has no cells.");
        }
    }
}

void Snapshot::search(const float *queries, std::size_t q, const std::vector<Stage> &plan, Cells cells, const Masks *masks,
                      std::size_t threads, std::int64_t *rows, float *scores) const {
    check(plan, cells.chosen != nullptr);
    const Live live = live_of(segments_, masks);
    parallel(q, threads, 1, [&](std::size_t begin, std::size_t end) {
        Search search(*this, plan, cells, live, scratch_of_this_thread());
        search.run(queries, begin, end, rows, scores);
    });
}

std::size_t Snapshot::segment_of(std::uint32_t row) const {
    std::size_t s = 0;
    while (row - segments_[s].first >= segments_[s].rows) ++s;
    return s;
}

}  // namespace nestling
