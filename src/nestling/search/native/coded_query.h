#pragma once
#include <vector>

#include "snapshot.h"

namespace nestling {

// A query's prefix in the integers of one sketch, with what turns their sums back into scores.
struct SketchQuery {
    std::vector<std::int8_t> weights;
    std::vector<std::uint8_t> table;
    std::vector<float> spread, ranges;
    CodedQuery coded;
    float error;  // the score of any vector is wrong by no more, because the query was rounded

    // x: m floats, already as the metric wants them (cosine: length one).
    void prepare(const Sketch &sketch, const float *x);

   private:
    void weigh(const Sketch &sketch, const float *x);
    void tabulate(const Sketch &sketch, const float *x);
};

// A query's ring in bytes against a copy: dot = unit * scale_i * (sum - 128 * total).
struct CopyQuery {
    std::vector<std::int8_t> weights;
    std::vector<float> lost;  // what rounding took from each dim
    float unit;
    std::int32_t shift;
    float error;  // |q - q^|, rounded up
    void prepare(const Copy &copy, const float *x);
};

}  // namespace nestling
