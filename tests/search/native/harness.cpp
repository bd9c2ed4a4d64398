// Drives the kernels with random sizes, every buffer exactly as large as it must be, and with what a damaged file can
// hold: random bytes in codes, orders, scales, norms, ids and text offsets. The tests build it under AddressSanitizer and
// UBSan, and for other processors. Every instruction set must give the same bits; the digest of those is printed.
//
//     harness SEED TRIALS [SET ...]      without sets: all that this processor has
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <memory>
#include <string>
#include <vector>

#include "cells.h"
#include "encode.h"
#include "half.h"
#include "keeper.h"
#include "ring_dots.h"
#include "snapshot.h"

using namespace nestling;

namespace {

using Size = std::size_t;

[[noreturn]] void fail(const char *what) {
    std::printf("failed: %s\n", what);
    std::exit(1);
}
void must(bool holds, const char *what) {
    if (!holds) fail(what);
}

struct Random {
    std::uint64_t state;
    std::uint64_t next() {
        std::uint64_t z = state += 0x9e3779b97f4a7c15u;
        z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
        z = (z ^ z >> 27) * 0x94d049bb133111ebu;
        return z ^ z >> 31;
    }
    Size below(Size n) { return static_cast<Size>(next() % n); }
    Size between(Size low, Size high) { return low + below(high - low + 1); }
    bool chance(Size percent) { return below(100) < percent; }
    float number() {  // in [-1, 1), now and then much smaller; only exact operations
        const float x = static_cast<float>(static_cast<std::int32_t>(next() >> 40) - (1 << 23)) * 0x1p-23f;
        return chance(2) ? 0 : chance(10) ? std::ldexp(x, -static_cast<int>(below(12))) : x;
    }
};

// Exactly this many, so that the sanitizer sees what is read or written beyond.
template <class T>
struct Exact {
    std::unique_ptr<T[]> data;
    Size size = 0;
    Exact() = default;
    explicit Exact(Size n) : data(new T[n]()), size(n) {}
    T *get() const { return size ? data.get() : nullptr; }
    T &operator[](Size i) const { return data[i]; }
    void scramble(Random &random) {
        unsigned char *at = reinterpret_cast<unsigned char *>(data.get());
        for (Size i = 0; i < size * sizeof(T); ++i) at[i] = static_cast<unsigned char>(random.next());
    }
};

std::uint64_t digest = 0xcbf29ce484222325u;
void note(const void *from, Size bytes) {
    const unsigned char *at = static_cast<const unsigned char *>(from);
    for (Size i = 0; i < bytes; ++i) digest = (digest ^ at[i]) * 0x100000001b3u;
}

std::vector<std::string> sets;

// The result of `make` under every instruction set, all equal.
template <class Make>
auto everywhere(Make make, bool compare = true) {
    must(choose_kernels(sets[0].c_str()), "the first set can be chosen");
    auto first = make();
    for (Size i = 1; i < sets.size(); ++i) {
        must(choose_kernels(sets[i].c_str()), "every set can be chosen");
        const auto again = make();
        must(!compare || again == first, sets[i].c_str());
    }
    if (compare) note(first.data(), first.size());
    return first;
}
using Bytes = std::vector<unsigned char>;
void put(Bytes &to, const void *from, Size bytes) {
    const unsigned char *at = static_cast<const unsigned char *>(from);
    to.insert(to.end(), at, at + bytes);
}

// --- primitives --------------------------------------------------------------------------------------------

void dots(Random &random) {
    const Size width = random.between(1, 300), wide = random.between(1, 5) * 64;
    Exact<float> x(width), y(width), back(width);
    Exact<std::uint16_t> half(width);
    Exact<std::uint8_t> codes(wide);
    Exact<std::int8_t> weights(wide);
    for (Size i = 0; i < width; ++i) {
        x[i] = random.number(), y[i] = random.number();
        if (random.chance(3)) x[i] *= 1e9f;
    }
    codes.scramble(random), weights.scramble(random);
    everywhere([&] {
        const Kernels &k = kernels();
        Bytes out;
        const float a = k.dot_float(x.get(), y.get(), width);
        k.to_half(x.get(), half.get(), width);
        k.from_half(half.get(), back.get(), width);
        for (Size i = 0; i < width; ++i) must(half[i] == float_to_half(x[i]) && back[i] == half_to_float(half[i]), "halves");
        for (Size i = 0; i < width; ++i) half[i] &= 0xbfff;  // none that is infinite
        const float b = k.dot_half(half.get(), y.get(), width);
        const std::int32_t c = k.dot_codes(codes.get(), weights.get(), wide);
        put(out, &a, 4), put(out, &b, 4), put(out, &c, 4), put(out, back.get(), width * 4);
        return out;
    });
    half.scramble(random);  // NaN and infinity
    everywhere([&] {
        Bytes out(width * 4);
        kernels().from_half(half.get(), back.get(), width);
        std::memcpy(out.data(), back.get(), out.size());
        return out;
    });
}

void scans(Random &random) {
    const int bits = 1 << random.below(4);
    const Size m = random.between(1, tabulated(bits) ? 300 : 90), rows = random.between(1, 400), lines = lines_of(m, bits);
    const Size blocks = (rows + kBlock - 1) / kBlock, padded = lines * line_dims(bits);
    Exact<std::uint8_t> data(blocks * block_bytes(lines, bits)), table(lines * 32);
    Exact<std::uint16_t> shares(blocks * kBlock), tails(blocks * kBlock);
    Exact<std::uint8_t> scales(blocks * kBlock);
    Exact<float> bias(blocks * kBlock);
    Exact<std::int8_t> weights(padded);
    Exact<std::uint64_t> live(rows / 64 + 1);
    data.scramble(random), weights.scramble(random), live.scramble(random);
    for (Size i = 0; i < table.size; ++i) table[i] = static_cast<std::uint8_t>(random.below(static_cast<Size>(table_top(bits)) + 1));  // as coded_query.cpp makes them
    const bool wild = random.chance(25);
    for (Size i = 0; i < bias.size; ++i) {
        bias[i] = random.number();
        for (const auto *array : {&shares, &tails}) (*array)[i] = float_to_half(random.number());
    }
    scales.scramble(random);
    if (wild) shares.scramble(random), tails.scramble(random), bias.scramble(random);
    Codes codes{data.get(), rows, lines, bits, nullptr, nullptr, shares.get(), tails.get()};
    if (random.chance(bits == 8 ? 20 : 80)) codes.scales = scales.get();
    if (random.chance(50)) codes.bias = bias.get();
    const float shift = static_cast<float>(random.below(5000)) / 2, unit = random.chance(10) ? 0 : std::fabs(random.number()) / 256;
    const Size coarse = tabulated(bits) && random.chance(40) ? random.below(std::min<Size>(lines, 20)) : 0;
    const int up = coarse ? static_cast<int>(random.below(4)) : 0;
    const CodedQuery query{weights.get(), table.get(), coarse, up, static_cast<std::int32_t>(2 * ((coarse << up) + lines - coarse)) * table_top(bits),
                           random.number(), unit, shift, std::fabs(random.number()), 1e-4f};
    const Size from = random.below(rows), to = random.between(from, rows), room = random.between(kBlock, 4 * kBlock);
    const bool bound = random.chance(30), masked = random.chance(50);
    const float threshold = random.chance(20) ? -std::numeric_limits<float>::infinity() : random.number() * 40;
    const std::uint32_t first = static_cast<std::uint32_t>(random.below(1000000));
    everywhere(
        [&] {
            Exact<Key> keys(room);
            Bytes out;
            ScanRange range{from, to};
            while (range.begin < range.end) {
                const Size before = range.begin;
                const Size n = kernels().scan(codes, query, range, masked ? live.get() : nullptr, threshold, first, bound, keys.get(), room);
                must(n <= room && range.begin > before && range.begin <= to, "a scan goes on and stays within its room");
                for (Size i = 0; i < n; ++i) {
                    const Size at = position_of(keys[i]) - first;
                    must(at >= before && at < range.begin, "a scan finds positions of its range");
                    must(!masked || (live[at / 64] >> (at % 64) & 1), "a scan finds what lives");
                }
                put(out, keys.get(), n * sizeof(Key));
            }
            return out;
        },
        !wild);
}

void selections(Random &random) {
    const Size n = random.between(1, 600), keep = random.between(1, n), few = random.between(1, 900);
    Exact<Key> keys(n), spare(n);
    for (Size i = 0; i < n; ++i) keys[i] = random.chance(50) ? random.below(few) : few + i;
    std::vector<Key> sorted(keys.get(), keys.get() + n);
    std::sort(sorted.begin(), sorted.end(), std::greater<Key>());
    must(select_best(keys.get(), n, keep, spare.get()) == sorted[keep - 1], "the smallest of the best");
    std::sort(keys.get(), keys.get() + keep, std::greater<Key>());
    must(std::equal(keys.get(), keys.get() + keep, sorted.begin()), "the best");
}

void lists(Random &random) {
    const Size cells = random.between(1, 300), m = random.between(1, 20), q = random.between(1, 40), count = random.between(1, cells);
    Exact<float> centroids(m * cells), queries(q * m), scores(q * count);
    Exact<std::int32_t> out(q * count);
    Exact<std::int64_t> shortlist(q * count);
    for (const auto *array : {&centroids, &queries})
        for (Size i = 0; i < array->size; ++i) (*array)[i] = random.number();
    const bool wild = random.chance(20), random_unit = random.chance(50);
    if (wild) centroids.scramble(random), queries.scramble(random);
    everywhere(
        [&] {
            const CellFinder finder(centroids.get(), cells, m, random_unit);
            finder.find(queries.get(), q, m, count, 2, out.get());
            for (Size i = 0; i < out.size; ++i) must(out[i] >= -wild && out[i] < static_cast<std::int64_t>(cells), "cells that are there");
            Bytes bytes;
            put(bytes, out.get(), out.size * 4);
            return bytes;
        },
        !wild);
    for (Size i = 0; i < shortlist.size; ++i) shortlist[i] = static_cast<std::int64_t>(random.below(q + 1)) - 1;
    if (random.chance(20)) shortlist[random.below(shortlist.size)] = static_cast<std::int64_t>(random.next());
    const RowsOfRing ring{queries.get(), q, m, m};
    ring_dots(scores.get(), ring, ring, shortlist.get(), count);
}

// --- galleries ---------------------------------------------------------------------------------------------

enum class Damage { none, codes, all };  // codes: everything that holds whole numbers

struct Memory {  // of one segment
    Exact<float> x;
    std::vector<Exact<unsigned char>> rings, codes;
    std::vector<Exact<float>> norms, metas;
    Exact<std::int64_t> numbers;
    Exact<std::uint64_t> offsets, cells;
    Exact<std::uint8_t> text;
    Exact<std::uint32_t> order;
};

struct Shape {
    std::vector<Size> stops, copies;
    std::vector<std::pair<Size, int>> sketches;
    Metric metric;
    bool half, texts, cells;
    Size cell_count;
    Size width() const { return stops.back(); }
};

Shape shape_of(Random &random) {
    Shape s;
    Size stop = 0;
    for (Size k = random.between(1, 4); k > 0; --k) s.stops.push_back(stop += random.chance(30) ? 16 * random.between(1, 5) : random.between(1, 70));
    for (const Size m : s.stops)
        if (random.chance(50)) s.copies.push_back(m);
    for (Size i = random.below(4); i > 0; --i) s.sketches.push_back({random.between(1, s.width()), 1 << random.below(4)});
    s.metric = static_cast<Metric>(random.below(3));
    s.half = random.chance(50), s.texts = random.chance(40), s.cells = random.chance(50);
    s.cell_count = random.between(1, 40);
    return s;
}

void fill_vectors(Random &random, Memory &memory, Size rows, Size width) {
    memory.x = Exact<float>(rows * width);
    const bool equal = random.chance(10);
    for (Size i = 0; i < rows; ++i) {
        const bool copied = i > 0 && (equal || random.chance(10)), empty = random.chance(3);
        const Size from = copied ? random.below(i) : 0;
        for (Size j = 0; j < width; ++j)
            memory.x[i * width + j] = empty ? 0 : copied ? memory.x[from * width + j] : random.number() / static_cast<float>(j + 1);
    }
}

void add_rings(Random &random, Memory &memory, Segment &s, const Shape &shape, Damage damage) {
    std::vector<RingOut> outs;
    Size start = 0;
    for (const Size stop : shape.stops) {
        memory.rings.emplace_back(s.rows * (stop - start) * (shape.half ? 2 : 4));
        memory.norms.emplace_back(s.rows);
        outs.push_back({memory.rings.back().get(), memory.norms.back().get(), start, stop});
        start = stop;
    }
    everywhere([&] {
        const Size threads = 3;
        must(store_rings(memory.x.get(), s.rows, shape.width(), outs, shape.half, threads) == -1, "finite vectors");
        Bytes out;
        for (const auto &ring : memory.rings) put(out, ring.get(), ring.size);
        for (const auto &norm : memory.norms) put(out, norm.get(), norm.size * 4);
        return out;
    });
    for (Size r = 0; r < outs.size(); ++r) {
        if (damage == Damage::all && random.chance(50)) memory.rings[r].scramble(random);
        if (damage == Damage::all && random.chance(50)) memory.norms[r].scramble(random);
        s.rings.push_back({memory.rings[r].get(), memory.norms[r].get(), outs[r].start, outs[r].stop});
    }
}

void add_ids(Random &random, Memory &memory, Segment &s, const Shape &shape, Size first, Damage damage) {
    if (!shape.texts) {
        memory.numbers = Exact<std::int64_t>(s.rows);
        for (Size i = 0; i < s.rows; ++i) memory.numbers[i] = static_cast<std::int64_t>(((first + i) * 7919 + 13) % 100003);
        if (damage != Damage::none) memory.numbers.scramble(random);
        s.ids.numbers = memory.numbers.get();
        return;
    }
    memory.offsets = Exact<std::uint64_t>(s.rows + 1);
    for (Size i = 0; i < s.rows; ++i) memory.offsets[i + 1] = memory.offsets[i] + (s.rows == 1 ? 0 : random.below(6));
    memory.text = Exact<std::uint8_t>(static_cast<Size>(memory.offsets[s.rows]));
    memory.text.scramble(random);
    if (damage != Damage::none && random.chance(50)) memory.offsets.scramble(random);
    for (Size i = 0; damage != Damage::none && i <= s.rows; ++i)  // near the text, before and beyond it
        if (random.chance(20)) memory.offsets[i] = random.below(memory.text.size + 20) - 10;
    s.ids.offsets = memory.offsets.get(), s.ids.text = memory.text.get(), s.ids.text_bytes = memory.text.size;
}

void add_cells(Random &random, Memory &memory, Segment &s, const Shape &shape, Damage damage) {
    memory.order = Exact<std::uint32_t>(s.rows);
    memory.cells = Exact<std::uint64_t>(shape.cell_count + 1);
    for (Size i = 0; i < s.rows; ++i) {
        const Size j = random.below(i + 1);
        memory.order[i] = memory.order[j], memory.order[j] = static_cast<std::uint32_t>(i);
    }
    if (damage != Damage::none)
        for (Size i = 0; i < s.rows; ++i)
            if (random.chance(30)) memory.order[i] = static_cast<std::uint32_t>(random.chance(50) ? random.next() : random.below(s.rows));
    std::vector<Size> counts(shape.cell_count);
    for (Size i = 0; i < s.rows; ++i) ++counts[random.below(shape.cell_count)];
    for (Size c = 0; c < shape.cell_count; ++c) memory.cells[c + 1] = memory.cells[c] + counts[c];
    s.order = memory.order.get(), s.cell_offsets = memory.cells.get(), s.cells = shape.cell_count;
}

float half_up(double x) {
    std::uint16_t h = float_to_half(static_cast<float>(x));
    return half_to_float(half_to_float(h) < x ? static_cast<std::uint16_t>(h + 1) : h);
}

// The prefix that is coded at each position, and what bounds the rest (derived/sketch.py).
struct Coded {
    Exact<float> u, bias;
    Exact<std::uint16_t> shares, tails;
    float longest = 1;
};
Coded coded_of(const Memory &memory, const Segment &s, const Shape &shape, Size m) {
    const Size d = shape.width(), places = (s.rows + kBlock - 1) / kBlock * kBlock;
    Coded c{Exact<float>(s.rows * m), Exact<float>(places), Exact<std::uint16_t>(places), Exact<std::uint16_t>(places), 1};
    std::vector<float> row(d);
    for (Size p = 0; p < s.rows; ++p) {
        const Size i = s.row_of(p);
        double head = 0;
        for (Size r = 0, j = 0; r < shape.stops.size(); ++r)
            for (const Size width = shape.stops[r] - (r ? shape.stops[r - 1] : 0), end = j + width; j < end; ++j) {
                const Size at = i * width + (width - (end - j));
                row[j] = shape.half ? half_to_float(reinterpret_cast<const std::uint16_t *>(memory.rings[r].get())[at])
                                    : reinterpret_cast<const float *>(memory.rings[r].get())[at];
            }
        for (Size j = 0; j < m; ++j) head += static_cast<double>(row[j]) * row[j];
        const double whole = memory.norms.back()[i], tail = std::sqrt(std::max(0.0, whole - head) + 1e-5 * whole);
        const bool cosine = shape.metric == Metric::cosine;
        const double length = cosine && whole > 0 ? std::sqrt(whole) : 1, factor = !cosine ? 1 : head > 0 ? 1 / std::sqrt(head) : 0;
        for (Size j = 0; j < m; ++j) c.u[p * m + j] = static_cast<float>(row[j] * factor);
        c.bias[p] = static_cast<float>(head / 2);
        c.shares[p] = float_to_half(cosine ? static_cast<float>(std::min(1.0, std::sqrt(head) / length)) : 1);
        c.tails[p] = float_to_half(half_up(tail / length));
        if (!cosine) c.longest = std::max(c.longest, static_cast<float>(std::sqrt(whole)) * 1.001f);
    }
    return c;
}

void add_sketch(Random &random, const Memory &memory, Segment &s, const Shape &shape, Size m, int bits, Damage damage) {
    Coded c = coded_of(memory, s, shape, m);
    Exact<float> center(m), step(m), errors(s.rows);
    for (Size j = 0; j < m; ++j) center[j] = random.number() / 16, step[j] = (shape.metric == Metric::cosine ? 1.2f : 2.2f) / static_cast<float>(1 << bits);
    const Size places = c.bias.size, bytes = block_bytes(lines_of(m, bits), bits);
    Exact<std::uint8_t> codes(places / kBlock * bytes);
    Exact<std::uint8_t> scales(bits == 8 ? 0 : places);
    const float scale_unit = std::fabs(random.number()) / 64 + 1e-3f;
    encode_sketch(c.u.get(), s.rows, m, bits, center.get(), step.get(), scale_unit, codes.get(), scales.get(), errors.get(), random.between(1, 3));
    note(codes.get(), codes.size);
    Sketch k{};
    k.m = m, k.bits = bits, k.longest = c.longest, k.scale_unit = scale_unit;
    for (Size i = 0; i < s.rows; ++i) k.error = std::max(k.error, errors[i]);
    if (damage != Damage::none && random.chance(70)) codes.scramble(random);
    if (damage == Damage::all) {
        for (auto *array : {&c.shares, &c.tails})
            if (random.chance(50)) array->scramble(random);
        if (random.chance(50)) scales.scramble(random);
        if (random.chance(30)) k.scale_unit = random.number() * 1e30f;
        for (auto *array : {&center, &step, &c.bias})
            if (random.chance(30)) array->scramble(random);
        if (random.chance(30)) k.error = random.number() * 1e30f;
    }
    k.center.assign(center.get(), center.get() + m), k.step.assign(step.get(), step.get() + m);
    k.data = HugeMemory(codes.get(), codes.size);
    if (bits < 8) k.scales = HugeMemory(scales.get(), scales.size);
    else k.shares = HugeMemory(c.shares.get(), places * 2), k.tails = HugeMemory(c.tails.get(), places * 2);
    if (shape.metric == Metric::l2) k.bias = HugeMemory(c.bias.get(), places * 4);
    s.sketches.push_back(std::move(k));
    Sketch &kept = s.sketches.back();
    kept.codes = {kept.data.as<std::uint8_t>(), s.rows, lines_of(m, bits), bits, kept.scales.as<std::uint8_t>(),
                  kept.bias.as<float>(), kept.shares.as<std::uint16_t>(), kept.tails.as<std::uint16_t>()};
}

float up(double x) { return std::nextafter(static_cast<float>(x), std::numeric_limits<float>::infinity()); }

void add_copies(Random &random, Memory &memory, Segment &s, const Shape &shape, Damage damage) {
    std::vector<double> error(s.rows);
    Size start = 0;
    for (const Size stop : shape.copies) {
        const Size stride = (stop - start + 63) / 64 * 64;
        std::vector<RingIn> in;
        Size place = 0;
        for (Size r = 0; r < s.rings.size(); ++r) {
            if (s.rings[r].start >= start && s.rings[r].stop <= stop) in.push_back({memory.rings[r].get(), s.rings[r].stop - s.rings[r].start});
            if (s.rings[r].stop == stop) place = r;
        }
        memory.codes.emplace_back(s.rows * stride), memory.metas.emplace_back(s.rows * 4);
        Exact<float> scales(s.rows), &meta = memory.metas.back();
        Exact<double> errors(s.rows);
        encode_copy(in, shape.half, s.rows, stride, memory.codes.back().get(), scales.get(), errors.get(), random.between(1, 3));
        note(memory.codes.back().get(), s.rows * stride), note(scales.get(), s.rows * 4);
        for (Size i = 0; i < s.rows; ++i) {
            const double whole = memory.norms.back()[i], norm = memory.norms[place][i];
            error[i] += errors[i];
            meta[4 * i] = scales[i], meta[4 * i + 1] = static_cast<float>(norm), meta[4 * i + 2] = up(std::sqrt(error[i]));
            meta[4 * i + 3] = up(std::sqrt(std::max(0.0, whole - norm) + 1e-5 * whole));
        }
        if (damage != Damage::none && random.chance(70)) memory.codes.back().scramble(random);
        if (damage == Damage::all && random.chance(70)) meta.scramble(random);
        s.copies.push_back({memory.codes.back().get(), meta.get(), start, stop, stride});
        start = stop;
    }
}

// --- searches ----------------------------------------------------------------------------------------------

std::vector<Stage> plan_of(Random &random, const Shape &shape) {
    std::vector<Stage> plan;
    const auto keep = [&] { return random.chance(5) ? random.between(1, 3000) : random.between(1, 200); };
    Size dims = 0, least = keep();
    if (!shape.sketches.empty() && random.chance(75)) {
        const auto [m, bits] = shape.sketches[random.below(shape.sketches.size())];
        plan.push_back({dims = m, bits, least});
        for (const Size stop : shape.copies)
            if (stop >= dims && random.chance(60)) plan.push_back({dims = stop, 8, least = random.between(1, least)});
    }
    for (const Size stop : shape.stops)
        if (stop >= dims && (random.chance(60) || (plan.empty() && stop == shape.width())))
            plan.push_back({dims = stop, 0, least = random.between(1, least)});
    return plan;
}

struct Results {
    std::vector<std::int64_t> rows, reads;
    std::vector<float> scores;
    Results(Size q, Size k) : rows(q * k), reads(q * 3), scores(q * k) {}
    Bytes bytes() const {
        Bytes out;
        put(out, rows.data(), rows.size() * 8), put(out, scores.data(), scores.size() * 4);
        return out;
    }
};

void searches(Random &random, const Snapshot &whole, const Snapshot &bare, const Shape &shape, Damage damage) {
    const Size d = shape.width(), rows = whole.rows();
    const Size q = random.chance(15) ? random.between(1, std::min<Size>(300, 30000 / rows) + 3) : random.between(1, 3);
    Exact<float> queries(q * d);
    const bool empty = random.chance(5);
    for (Size i = 0; i < q * d; ++i) queries[i] = empty ? 0 : random.number();
    Masks masks;
    for (const Segment &s : whole.segments()) {
        masks.emplace_back(s.rows / 64 + 1);
        for (auto &word : masks.back()) {
            word = random.next();
            if (random.chance(50)) word &= random.next();
        }
    }
    const Masks *among = random.chance(30) ? &masks : nullptr;
    const auto plan = plan_of(random, shape);
    const bool probed = shape.cells && random.chance(60), compare = damage != Damage::all;
    const Size probe = random.between(1, shape.cell_count), k = plan.back().keep, threads = random.between(1, 3);
    Exact<std::int32_t> chosen(q * probe);
    for (Size i = 0; i < chosen.size; ++i) chosen[i] = static_cast<std::int32_t>(random.below(shape.cell_count));
    if (damage != Damage::none && random.chance(10)) chosen.scramble(random);
    Results found(q, k);
    const auto inside = [&](const Results &results) {
        for (const std::int64_t row : results.rows) must(row >= -1 && row < static_cast<std::int64_t>(rows), "rows that are there");
    };
    everywhere(
        [&] {
            whole.search(queries.get(), q, plan, Cells{probed ? chosen.get() : nullptr, probed ? probe : 0}, among, threads,
                         found.rows.data(), found.scores.data());
            inside(found);
            Results again(q, k);  // one after another on one thread
            for (Size i = 0; i < q; ++i)
                whole.search(queries.get() + i * d, 1, plan, Cells{probed ? chosen.get() + i * probe : nullptr, probed ? probe : 0},
                             among, 1, again.rows.data() + i * k, again.scores.data() + i * k);
            must(!compare || again.bytes() == found.bytes(), "a batch is its queries");
            return found.bytes();
        },
        compare);
    if (damage != Damage::none)
        for (auto &row : found.rows)
            if (random.chance(20)) row = static_cast<std::int64_t>(random.chance(50) ? random.next() : random.below(rows));
    Size bounding = 0;
    for (const auto &[m, bits] : shape.sketches) bounding = bits == 8 ? m : bounding;
    const Size best = std::min(k, static_cast<Size>(random.between(1, 20)));
    const std::int64_t *guess = random.chance(50) ? found.rows.data() : nullptr;
    everywhere(
        [&] {
            Results exact(q, best), plain(q, best);
            whole.exact(queries.get(), q, best, guess, k, bounding, among, threads, exact.rows.data(), exact.scores.data(), exact.reads.data());
            inside(exact);
            bare.exact(queries.get(), q, best, nullptr, 0, 0, among, 1, plain.rows.data(), plain.scores.data(), nullptr);
            must(damage != Damage::none || exact.bytes() == plain.bytes(), "exact search with and without bounds");
            return exact.bytes();
        },
        damage == Damage::none);
}

void gallery(Random &random) {
    const Damage damage = static_cast<Damage>(random.below(3));
    const Shape shape = shape_of(random);
    Snapshot whole(shape.stops, shape.metric, shape.half), bare(shape.stops, shape.metric, shape.half);
    std::vector<std::unique_ptr<Memory>> memories;
    for (Size i = random.between(1, 3); i > 0; --i) {
        memories.push_back(std::make_unique<Memory>());
        Memory &memory = *memories.back();
        Segment s{}, plain{};
        s.rows = plain.rows = random.chance(6) ? random.between(1000, 4000) : random.between(1, 200);
        fill_vectors(random, memory, s.rows, shape.width());
        add_rings(random, memory, s, shape, damage);
        add_ids(random, memory, s, shape, whole.rows(), damage);
        plain.rings = s.rings, plain.ids = s.ids;
        if (shape.cells) add_cells(random, memory, s, shape, damage);
        for (const auto &[m, bits] : shape.sketches) add_sketch(random, memory, s, shape, m, bits, damage);
        add_copies(random, memory, s, shape, damage);
        if (random.chance(40)) {
            s.live_rows.assign(s.rows / 64 + 1, 0), s.live_positions = s.live_rows;
            for (auto &word : s.live_rows) word = random.next() | random.next();
            for (Size p = 0; p < s.rows; ++p)
                if (s.live_rows[s.row_of(p) / 64] >> (s.row_of(p) % 64) & 1) s.live_positions[p / 64] |= std::uint64_t{1} << (p % 64);
            plain.live_rows = plain.live_positions = s.live_rows;
        }
        whole.add_segment(std::move(s)), bare.add_segment(std::move(plain));
    }
    for (int i = 0; i < 3; ++i) searches(random, whole, bare, shape, damage);
}

}  // namespace

int main(int count, char **words) {
    if (count < 3) return 2;
    const std::uint64_t seed = std::strtoull(words[1], nullptr, 10), trials = std::strtoull(words[2], nullptr, 10);
    for (int i = 3; i < count; ++i) sets.push_back(words[i]);
    if (sets.empty())
        for (const char *name : {"plain", "avx2", "avx512", "neon"})
            if (choose_kernels(name)) sets.push_back(name);
    for (const auto &set : sets) must(choose_kernels(set.c_str()), "no such instruction set here");
    for (std::uint64_t i = 0; i < trials; ++i) {
        Random random{(seed << 32) + i};
        for (int j = 0; j < 10; ++j) dots(random), scans(random), selections(random);
        lists(random);
        gallery(random);
    }
    for (const auto &set : sets) std::printf("%s ", set.c_str());
    std::printf("%016llx\n", static_cast<unsigned long long>(digest));
    return 0;
}
