// Matrix multiplication for wasm, where ggml's own kernels unpack the weights and the columns for each single product.
//
// It is called where ggml calls its tiled multiplication (ggml-cpu/tiled/tiled.h), which has no kernels for wasm. Quantized
// weights are multiplied as integers: a column's elements become 16-bit integers with a scale for each 256 of them. Several
// columns are multiplied with weights that are unpacked once, a few columns with weights as they are.
//
// The result for a row and a column does not depend on what is computed beside it, so a text does not depend on how a
// prompt is cut: integers are added exactly, and scales are applied in the same order everywhere.
#define GGML_COMMON_DECL_C
#include "ggml-common.h"
#include "ggml-cpu-impl.h"
#include "ggml-impl.h"
#include "simd-mappings.h"
#include "tiled/tiled.h"

#include <wasm_simd128.h>

#include <algorithm>
#include <climits>
#include <cstring>
#include <utility>

namespace {

constexpr int64_t part_size = 32;   // elements that are unpacked at once
constexpr int64_t chunk_size = 256; // elements of a column that share a scale
constexpr int64_t parts_in_chunk = chunk_size / part_size;

struct Matrix {
    const char * data;
    size_t stride; // bytes from row to row
    int64_t n_rows, n_elements;
    const char * row(int64_t r) const { return data + static_cast<size_t>(r) * stride; }
};

struct Results {
    float * data;
    size_t stride; // floats from column to column
    float & at(int64_t row, int64_t column) const {
        return data[static_cast<size_t>(column) * stride + static_cast<size_t>(row)];
    }
};

// Takes memory from the work buffer.
class Room {
public:
    explicit Room(void * memory) : next_(reinterpret_cast<uintptr_t>(memory)) {}

    template <class T>
    T * take(int64_t count) {
        next_ = GGML_PAD(next_, 16);
        auto * taken = reinterpret_cast<T *>(next_);
        next_ += static_cast<size_t>(count) * sizeof(T);
        return taken;
    }

    size_t used() const { return next_ + 16; } // of a buffer that begins at address 0

private:
    uintptr_t next_;
};

// ---- weights: 32 of them as 16-bit integers ----
//
// A block of a type has `parts` parts of 32, and one floating-point scale. Parts may have integer scales, one for all or one
// for the first and one for the last 16, and an integer offset, which the block's offset scale multiplies and which is
// subtracted. `largest` is the largest absolute value of weight times integer scale.

struct Part {
    v128_t values[4];
    int scales[2];
    int offset;
};

inline float to_float(ggml_half half) { return GGML_CPU_FP16_TO_FP32(half); }

inline Part extended(v128_t low, v128_t high) {
    return {{wasm_i16x8_extend_low_i8x16(low), wasm_i16x8_extend_high_i8x16(low), wasm_i16x8_extend_low_i8x16(high),
             wasm_i16x8_extend_high_i8x16(high)},
            {1, 1},
            1};
}

inline v128_t low_nibbles(v128_t bytes) { return wasm_v128_and(bytes, wasm_u8x16_const_splat(15)); }
inline v128_t high_nibbles(v128_t bytes) { return wasm_u8x16_shr(bytes, 4); }

// For each of 16 bits, all of a byte's bits.
template <int first_byte>
inline v128_t spread_bits(v128_t bits) {
    const v128_t bit = wasm_u8x16_const(1, 2, 4, 8, 16, 32, 64, 128, 1, 2, 4, 8, 16, 32, 64, 128);
    constexpr int a = first_byte, b = first_byte + 1;
    return wasm_i8x16_eq(wasm_v128_and(wasm_i8x16_shuffle(bits, bits, a, a, a, a, a, a, a, a, b, b, b, b, b, b, b, b), bit), bit);
}

struct Plain { // one part, one scale
    static constexpr int parts = 1, n_scales = 0;
    static constexpr bool has_offset = false;
};

struct PlainWithOffset : Plain {
    static constexpr bool has_offset = true;
};

struct Q8_0 : Plain {
    using Block = block_q8_0;
    static constexpr int largest = 128;
    template <int>
    static Part unpack(const Block & from) {
        Part part = {};
        for (int i = 0; i < 4; i++) {
            part.values[i] = wasm_i16x8_load8x8(from.qs + 8 * i);
        }
        return part;
    }
};

struct Q5_0 : Plain {
    using Block = block_q5_0;
    static constexpr int largest = 16;
    template <int>
    static Part unpack(const Block & from) {
        v128_t packed = wasm_v128_load(from.qs), fifth = wasm_v128_load32_splat(from.qh);
        auto without_16 = [](v128_t nibbles, v128_t is_set) {
            return wasm_v128_or(nibbles, wasm_v128_andnot(wasm_u8x16_const_splat(0xf0), is_set));
        };
        return extended(without_16(low_nibbles(packed), spread_bits<0>(fifth)),
                        without_16(high_nibbles(packed), spread_bits<2>(fifth)));
    }
};

struct Q5_1 : PlainWithOffset {
    using Block = block_q5_1;
    static constexpr int largest = 31;
    template <int>
    static Part unpack(const Block & from) {
        v128_t packed = wasm_v128_load(from.qs), fifth = wasm_v128_load32_splat(from.qh);
        const v128_t sixteen = wasm_u8x16_const_splat(16);
        return extended(wasm_v128_or(low_nibbles(packed), wasm_v128_and(spread_bits<0>(fifth), sixteen)),
                        wasm_v128_or(high_nibbles(packed), wasm_v128_and(spread_bits<2>(fifth), sixteen)));
    }
    static float offset_scale(const Block & from) { return -to_float(from.m); }
};

struct Q4_0 : Plain {
    using Block = block_q4_0;
    static constexpr int largest = 8;
    template <int>
    static Part unpack(const Block & from) {
        const v128_t eight = wasm_i8x16_const_splat(8);
        v128_t packed = wasm_v128_load(from.qs);
        return extended(wasm_i8x16_sub(low_nibbles(packed), eight), wasm_i8x16_sub(high_nibbles(packed), eight));
    }
};

struct Q4_1 : PlainWithOffset {
    using Block = block_q4_1;
    static constexpr int largest = 15;
    template <int>
    static Part unpack(const Block & from) {
        v128_t packed = wasm_v128_load(from.qs);
        return extended(low_nibbles(packed), high_nibbles(packed));
    }
    static float offset_scale(const Block & from) { return -to_float(from.m); }
};

// Q4_K, and Q5_K, which has a fifth bit.
template <class From, bool has_fifth>
struct WithOffsets {
    using Block = From;
    static constexpr int parts = 8, n_scales = 1, largest = (has_fifth ? 31 : 15) * 63;
    static constexpr bool has_offset = true;
    template <int index>
    static Part unpack(const Block & from) {
        const uint8_t * packed = from.qs + index / 2 * 32;
        v128_t first = wasm_v128_load(packed), last = wasm_v128_load(packed + 16);
        first = index % 2 == 0 ? low_nibbles(first) : high_nibbles(first);
        last = index % 2 == 0 ? low_nibbles(last) : high_nibbles(last);
        if constexpr (has_fifth) {
            auto fifth = [&](int at) {
                v128_t bits = wasm_u8x16_shr(wasm_v128_load(from.qh + at), index);
                return wasm_i8x16_shl(wasm_v128_and(bits, wasm_u8x16_const_splat(1)), 4);
            };
            first = wasm_v128_or(first, fifth(0));
            last = wasm_v128_or(last, fifth(16));
        }
        Part part = extended(first, last);
        const uint8_t * s = from.scales; // 6 bits for each of 8 scales, then of 8 offsets
        part.scales[0] = index < 4 ? s[index] & 63 : (s[index + 4] & 15) | (s[index - 4] >> 6) << 4;
        part.offset = index < 4 ? s[index + 4] & 63 : s[index + 4] >> 4 | (s[index] >> 6) << 4;
        return part;
    }
    static float offset_scale(const Block & from) { return to_float(from.dmin); }
};

using Q4_K = WithOffsets<block_q4_K, false>;
using Q5_K = WithOffsets<block_q5_K, true>;

struct Q6_K {
    using Block = block_q6_K;
    static constexpr int parts = 8, n_scales = 2, largest = 32 * 128;
    static constexpr bool has_offset = false;
    template <int index>
    static Part unpack(const Block & from) {
        constexpr int quarter = index % 4; // of 128 elements, which share their bytes
        const uint8_t * low = from.ql + index / 4 * 64 + quarter % 2 * 32;
        const uint8_t * high = from.qh + index / 4 * 32;
        auto sixteen = [&](int at) {
            v128_t four = wasm_v128_load(low + at);
            four = quarter < 2 ? low_nibbles(four) : high_nibbles(four);
            v128_t two = wasm_v128_and(wasm_u8x16_shr(wasm_v128_load(high + at), 2 * quarter), wasm_u8x16_const_splat(3));
            return wasm_i8x16_sub(wasm_v128_or(four, wasm_i8x16_shl(two, 4)), wasm_i8x16_const_splat(32));
        };
        Part part = extended(sixteen(0), sixteen(16));
        part.scales[0] = from.scales[2 * index];
        part.scales[1] = from.scales[2 * index + 1];
        return part;
    }
};

template <class Type>
const typename Type::Block & block_of(const char * row, int64_t index) {
    return reinterpret_cast<const typename Type::Block *>(row)[index];
}

template <int... index, class Visit>
inline void for_each_index(std::integer_sequence<int, index...>, Visit visit) {
    (visit(std::integral_constant<int, index>()), ...);
}

// Unpack the parts of a block one after the other: visit(number of the part, part).
template <class Type, class Visit>
inline void for_each_part(const typename Type::Block & from, Visit visit) {
    for_each_index(std::make_integer_sequence<int, Type::parts>(),
                   [&](auto index) { visit(static_cast<int>(index), Type::template unpack<index>(from)); });
}

// ---- columns as integers ----

// The largest absolute value of a column's integers, so that the sum over a block fits into 32 bits.
template <class Type>
constexpr int levels = std::min(INT16_MAX, INT32_MAX / (Type::largest * Type::parts * int(part_size)));

struct Scale {
    float scale;
    v128_t inverse;
};

Scale scale_for(const float * from, int64_t count, int levels) {
    v128_t highest = wasm_f32x4_const_splat(0);
    for (int64_t i = 0; i < count; i += 4) {
        highest = wasm_f32x4_max(highest, wasm_f32x4_abs(wasm_v128_load(from + i)));
    }
    float absolute = std::max(std::max(wasm_f32x4_extract_lane(highest, 0), wasm_f32x4_extract_lane(highest, 1)),
                              std::max(wasm_f32x4_extract_lane(highest, 2), wasm_f32x4_extract_lane(highest, 3)));
    float inverse = absolute > 0 ? static_cast<float>(levels) / absolute : 0;
    return {absolute / static_cast<float>(levels), wasm_f32x4_splat(inverse)};
}

inline v128_t eight_integers(const float * from, v128_t inverse) {
    v128_t low = wasm_f32x4_nearest(wasm_f32x4_mul(wasm_v128_load(from), inverse));
    v128_t high = wasm_f32x4_nearest(wasm_f32x4_mul(wasm_v128_load(from + 4), inverse));
    return wasm_i16x8_narrow_i32x4(wasm_i32x4_trunc_sat_f32x4(low), wasm_i32x4_trunc_sat_f32x4(high));
}

inline void add_scaled(v128_t & total, v128_t integers, v128_t scale) {
    total = wasm_f32x4_add(total, wasm_f32x4_mul(wasm_f32x4_convert_i32x4(integers), scale));
}

inline void subtract_scaled(v128_t & total, v128_t integers, v128_t scale) {
    total = wasm_f32x4_sub(total, wasm_f32x4_mul(wasm_f32x4_convert_i32x4(integers), scale));
}

// ---- a few columns: four rows at once share what is loaded of a column ----

struct Column {
    int16_t * values;
    int32_t * sums;  // of each part
    float * scales;  // of each chunk
};

constexpr int64_t rows_at_once = 4;

Column column_in(Room & room, int64_t n_elements) {
    return {room.take<int16_t>(n_elements), room.take<int32_t>(n_elements / part_size),
            room.take<float>((n_elements + chunk_size - 1) / chunk_size)};
}

inline int32_t sum_of(v128_t lanes) {
    return wasm_i32x4_extract_lane(lanes, 0) + wasm_i32x4_extract_lane(lanes, 1) + wasm_i32x4_extract_lane(lanes, 2) +
           wasm_i32x4_extract_lane(lanes, 3);
}

void quantize(const float * from, int64_t n_elements, int levels, const Column & to) {
    for (int64_t start = 0; start < n_elements; start += chunk_size) {
        const int64_t end = std::min(start + chunk_size, n_elements);
        Scale scale = scale_for(from + start, end - start, levels);
        to.scales[start / chunk_size] = scale.scale;
        for (int64_t i = start; i < end; i += part_size) {
            v128_t sum = wasm_i32x4_const_splat(0);
            for (int64_t j = i; j < i + part_size; j += 8) {
                v128_t integers = eight_integers(from + j, scale.inverse);
                wasm_v128_store(to.values + j, integers);
                sum = wasm_i32x4_add(sum, wasm_i32x4_extadd_pairwise_i16x8(integers));
            }
            to.sums[i / part_size] = sum_of(sum);
        }
    }
}

inline v128_t dot(v128_t a, v128_t b, const int16_t * with) {
    return wasm_i32x4_add(wasm_i32x4_dot_i16x8(a, wasm_v128_load(with)),
                          wasm_i32x4_dot_i16x8(b, wasm_v128_load(with + 8)));
}

// The sums of the lanes of each.
inline v128_t sums_of(const v128_t (&of)[4]) {
    auto halves = [](v128_t a, v128_t b) {
        return wasm_i32x4_add(wasm_i32x4_shuffle(a, b, 0, 4, 1, 5), wasm_i32x4_shuffle(a, b, 2, 6, 3, 7));
    };
    v128_t first = halves(of[0], of[1]), last = halves(of[2], of[3]);
    return wasm_i32x4_add(wasm_i64x2_shuffle(first, last, 0, 2), wasm_i64x2_shuffle(first, last, 1, 3));
}

// The products of a column with four rows.
template <class Type>
v128_t multiply(const char * const (&rows)[rows_at_once], const Column & column, int64_t n_elements) {
    constexpr int64_t block_size = Type::parts * part_size;
    v128_t total = wasm_f32x4_const_splat(0);
    const int16_t * values = column.values;
    const int32_t * part_sums = column.sums;
    int64_t index = 0;
    for (int64_t start = 0; start < n_elements; start += chunk_size) {
        v128_t of_chunk = wasm_f32x4_const_splat(0);
        const int64_t end = std::min(start + chunk_size, n_elements) / block_size;
        for (; index < end; index++) {
            v128_t sums[rows_at_once];
            int32_t offsets[rows_at_once];
            float scales[rows_at_once], offset_scales[rows_at_once];
#pragma unroll
            for (int r = 0; r < rows_at_once; r++) {
                const auto & from = block_of<Type>(rows[r], index);
                scales[r] = to_float(from.d);
                sums[r] = wasm_i32x4_const_splat(0);
                offsets[r] = 0;
                for_each_part<Type>(from, [&](int p, const Part & part) {
                    v128_t first = dot(part.values[0], part.values[1], values + p * part_size);
                    v128_t last = dot(part.values[2], part.values[3], values + p * part_size + 16);
                    if constexpr (Type::n_scales == 2) {
                        first = wasm_i32x4_mul(first, wasm_i32x4_splat(part.scales[0]));
                        last = wasm_i32x4_mul(last, wasm_i32x4_splat(part.scales[1]));
                    }
                    v128_t both = wasm_i32x4_add(first, last);
                    if constexpr (Type::n_scales == 1) {
                        both = wasm_i32x4_mul(both, wasm_i32x4_splat(part.scales[0]));
                    }
                    sums[r] = wasm_i32x4_add(sums[r], both);
                    if constexpr (Type::has_offset) {
                        offsets[r] += part.offset * part_sums[p];
                    }
                });
                if constexpr (Type::has_offset) {
                    offset_scales[r] = Type::offset_scale(from);
                }
            }
            add_scaled(of_chunk, sums_of(sums), wasm_f32x4_make(scales[0], scales[1], scales[2], scales[3]));
            if constexpr (Type::has_offset) {
                subtract_scaled(of_chunk, wasm_i32x4_make(offsets[0], offsets[1], offsets[2], offsets[3]),
                                wasm_f32x4_make(offset_scales[0], offset_scales[1], offset_scales[2], offset_scales[3]));
            }
            values += block_size;
            part_sums += Type::parts;
        }
        total = wasm_f32x4_add(total, wasm_f32x4_mul(of_chunk, wasm_v128_load32_splat(column.scales + start / chunk_size)));
    }
    return total;
}

template <class Type>
void multiply_few(const Matrix & weights, const Matrix & input, const Results & results, Room room) {
    Column column = column_in(room, weights.n_elements);
    // The rows at once are far apart, as the processor reads ahead well along one row of a memory page and badly along several.
    const int64_t apart = (weights.n_rows + rows_at_once - 1) / rows_at_once;
    for (int64_t c = 0; c < input.n_rows; c++) {
        quantize(reinterpret_cast<const float *>(input.row(c)), weights.n_elements, levels<Type>, column);
        for (int64_t r = 0; r < apart; r++) {
            int64_t numbers[rows_at_once];
            const char * rows[rows_at_once];
            for (int i = 0; i < rows_at_once; i++) {
                numbers[i] = std::min(r + i * apart, weights.n_rows - 1);
                rows[i] = weights.row(numbers[i]);
            }
            float products[rows_at_once];
            wasm_v128_store(products, multiply<Type>(rows, column, weights.n_elements));
            for (int i = 0; i < rows_at_once; i++) {
                results.at(numbers[i], c) = products[i];
            }
        }
    }
}

// ---- many columns: two rows and up to 16 columns at once ----
//
// Elements go in pairs, as i32x4.dot_i16x8 multiplies them. Of four columns, a pair of each makes a vector, of which up to
// four stand side by side; of a row, a pair four times over. Sums are then in lanes, one for each column. After the pairs of
// a chunk come those of the parts' sums, cut into low and high bits, to be multiplied with the offsets.

constexpr int64_t panel_rows = 8, rows_in_tile = 2, lanes = 4, vectors_in_group = 4;
constexpr int64_t group_columns = lanes * vectors_in_group;
constexpr int64_t pairs_in_part = part_size / 2, pairs_in_chunk = chunk_size / 2 + parts_in_chunk;
constexpr int64_t few_columns = 4; // fewer are multiplied one by one

constexpr int64_t n_chunks(int64_t n_elements) { return (n_elements + chunk_size - 1) / chunk_size; }

// Up to 16 columns.
struct Group {
    int64_t n_vectors;
    v128_t * pairs;  // for each chunk, pairs_in_chunk times n_vectors
    v128_t * scales; // for each chunk, n_vectors
};

void quantize_vector(const float * const (&from)[lanes], int64_t n_elements, int levels, const Group & group, int64_t v) {
    const v128_t ones = wasm_i16x8_const_splat(1);
    for (int64_t start = 0; start < n_elements; start += chunk_size) {
        const int64_t end = std::min(start + chunk_size, n_elements), chunk = start / chunk_size;
        v128_t inverses[lanes];
        float scales[lanes];
        for (int c = 0; c < lanes; c++) {
            Scale scale = scale_for(from[c] + start, end - start, levels);
            inverses[c] = scale.inverse;
            scales[c] = scale.scale;
        }
        group.scales[chunk * group.n_vectors + v] = wasm_v128_load(scales);
        v128_t * to = group.pairs + chunk * pairs_in_chunk * group.n_vectors + v;
        v128_t * sums_to = to + chunk_size / 2 * group.n_vectors;
        for (int64_t i = start; i < end; i += part_size) {
            v128_t sums = wasm_i32x4_const_splat(0);
            for (int64_t j = i; j < i + part_size; j += 8) {
                v128_t a = eight_integers(from[0] + j, inverses[0]), b = eight_integers(from[1] + j, inverses[1]);
                v128_t c = eight_integers(from[2] + j, inverses[2]), d = eight_integers(from[3] + j, inverses[3]);
                v128_t ab_low = wasm_i32x4_shuffle(a, b, 0, 4, 1, 5), ab_high = wasm_i32x4_shuffle(a, b, 2, 6, 3, 7);
                v128_t cd_low = wasm_i32x4_shuffle(c, d, 0, 4, 1, 5), cd_high = wasm_i32x4_shuffle(c, d, 2, 6, 3, 7);
                const v128_t pairs[4] = {
                    wasm_i64x2_shuffle(ab_low, cd_low, 0, 2), wasm_i64x2_shuffle(ab_low, cd_low, 1, 3),
                    wasm_i64x2_shuffle(ab_high, cd_high, 0, 2), wasm_i64x2_shuffle(ab_high, cd_high, 1, 3)};
                for (v128_t pair : pairs) {
                    *to = pair;
                    to += group.n_vectors;
                    sums = wasm_i32x4_add(sums, wasm_i32x4_dot_i16x8(pair, ones));
                }
            }
            v128_t low = wasm_v128_and(sums, wasm_i32x4_const_splat(255)), high = wasm_i32x4_shr(sums, 8);
            *sums_to = wasm_v128_or(low, wasm_i32x4_shl(high, 16));
            sums_to += group.n_vectors;
        }
    }
}

Group group_in(Room & room, int64_t n_columns, int64_t n_elements) {
    int64_t n_vectors = (std::min(n_columns, group_columns) + lanes - 1) / lanes;
    int64_t chunks = n_chunks(n_elements);
    return {n_vectors, room.take<v128_t>(chunks * pairs_in_chunk * n_vectors), room.take<v128_t>(chunks * n_vectors)};
}

// The columns of the input from `first` on, as many as go into a group. Lanes without a column repeat the last.
void quantize_group(const Matrix & input, int64_t first, int levels, const Group & group) {
    for (int64_t v = 0; v < group.n_vectors; v++) {
        const float * from[lanes];
        for (int64_t i = 0; i < lanes; i++) {
            from[i] = reinterpret_cast<const float *>(input.row(std::min(first + v * lanes + i, input.n_rows - 1)));
        }
        quantize_vector(from, input.n_elements, levels, group, v);
    }
}

// A chunk of two rows.
struct Tile {
    v128_t pairs[pairs_in_chunk][rows_in_tile];
    float scales[parts_in_chunk][rows_in_tile]; // of blocks, as are the next
    float offset_scales[parts_in_chunk][rows_in_tile];
};

inline void store_pairs(v128_t * to, v128_t pairs) {
    to[0] = wasm_i32x4_shuffle(pairs, pairs, 0, 0, 0, 0);
    to[rows_in_tile] = wasm_i32x4_shuffle(pairs, pairs, 1, 1, 1, 1);
    to[2 * rows_in_tile] = wasm_i32x4_shuffle(pairs, pairs, 2, 2, 2, 2);
    to[3 * rows_in_tile] = wasm_i32x4_shuffle(pairs, pairs, 3, 3, 3, 3);
}

// Unpack `n_blocks` blocks of a row from number `first` on.
template <class Type>
void unpack_row(const char * row, int64_t first, int64_t n_blocks, Tile & tile, int r) {
    v128_t * to = &tile.pairs[0][r];
    v128_t * offsets_to = &tile.pairs[chunk_size / 2][r];
    for (int64_t b = 0; b < n_blocks; b++) {
        const auto & from = block_of<Type>(row, first + b);
        tile.scales[b][r] = to_float(from.d);
        for_each_part<Type>(from, [&](int, const Part & part) {
#pragma unroll
            for (int i = 0; i < 4; i++) {
                v128_t values = part.values[i];
                if constexpr (Type::n_scales > 0) {
                    values = wasm_i16x8_mul(values, wasm_i16x8_splat(static_cast<int16_t>(part.scales[Type::n_scales == 2 ? i / 2 : 0])));
                }
                store_pairs(to, values);
                to += 4 * rows_in_tile;
            }
            if constexpr (Type::has_offset) {
                *offsets_to = wasm_i32x4_splat(part.offset | part.offset << 24);
                offsets_to += rows_in_tile;
            }
        });
        if constexpr (Type::has_offset) {
            tile.offset_scales[b][r] = Type::offset_scale(from);
        }
    }
}

// wasmtime computes a value where it is needed first. In a long basic block with many loads that is after the last of them,
// which takes far more registers than there are. A branch ends the block, and what it changes is computed before it. This
// is always true, which the compilers cannot know.
volatile int32_t always_true = 1;
#define IF_ALWAYS(yes)                                                                                                           \
    asm volatile("" : "+r"(yes)::"memory");                                                                                      \
    if (yes)

template <int V>
using Sums = v128_t[rows_in_tile][V];

template <int V>
inline void add_pair(Sums<V> & sums, const v128_t (&rows)[rows_in_tile], const v128_t * columns) {
    v128_t column[V];
#pragma unroll
    for (int v = 0; v < V; v++) {
        column[v] = columns[v];
    }
#pragma unroll
    for (int r = 0; r < rows_in_tile; r++) {
        v128_t row = rows[r];
#pragma unroll
        for (int v = 0; v < V; v++) {
            sums[r][v] = wasm_i32x4_add(sums[r][v], wasm_i32x4_dot_i16x8(row, column[v]));
        }
    }
}

template <int V, int n_pairs>
[[gnu::always_inline]] inline void add_pairs(Sums<V> & sums, const v128_t (*rows)[rows_in_tile], const v128_t * columns, int32_t & yes) {
#pragma unroll
    for (int p = 0; p < n_pairs; p++) {
        IF_ALWAYS(yes) {
            add_pair<V>(sums, rows[p], columns + p * V);
        }
    }
}

template <int V>
inline void clear(Sums<V> & sums) {
    for (auto & of_row : sums) {
        for (v128_t & sum : of_row) {
            sum = wasm_i32x4_const_splat(0);
        }
    }
}

// Add the products over a chunk to `totals`.
template <int parts, bool has_offset, int V>
void multiply_tile(const Tile & tile, const v128_t * columns, const v128_t * column_scales, int64_t n_blocks, Sums<V> & totals) {
    int32_t yes = always_true;
    Sums<V> of_chunk;
    clear<V>(of_chunk);
    const v128_t * part = columns;
    const v128_t(*rows)[rows_in_tile] = tile.pairs;
    for (int64_t b = 0; b < n_blocks; b++) {
        Sums<V> sums;
        clear<V>(sums);
        for (int p = 0; p < parts; p++) {
            add_pairs<V, pairs_in_part>(sums, rows, part, yes);
            rows += pairs_in_part;
            part += pairs_in_part * V;
        }
        IF_ALWAYS(yes) {
#pragma unroll
            for (int r = 0; r < rows_in_tile; r++) {
                v128_t scale = wasm_v128_load32_splat(&tile.scales[b][r]);
#pragma unroll
                for (int v = 0; v < V; v++) {
                    add_scaled(of_chunk[r][v], sums[r][v], scale);
                }
            }
        }
        if constexpr (has_offset) {
            clear<V>(sums);
            const int64_t first = chunk_size / 2 + b * parts;
            add_pairs<V, parts>(sums, tile.pairs + first, columns + first * V, yes);
            IF_ALWAYS(yes) {
#pragma unroll
                for (int r = 0; r < rows_in_tile; r++) {
                    v128_t scale = wasm_v128_load32_splat(&tile.offset_scales[b][r]);
#pragma unroll
                    for (int v = 0; v < V; v++) {
                        subtract_scaled(of_chunk[r][v], sums[r][v], scale);
                    }
                }
            }
        }
    }
    for (int r = 0; r < rows_in_tile; r++) {
        for (int v = 0; v < V; v++) {
            totals[r][v] = wasm_f32x4_add(totals[r][v], wasm_f32x4_mul(of_chunk[r][v], column_scales[v]));
        }
    }
}

// The products of a panel's rows with a group's columns over one chunk. `totals` has a Sums for each tile.
template <class Type, int V>
void multiply_panel(const Tile * tiles, int64_t n_tiles, const Group & group, int64_t chunk, int64_t n_blocks, v128_t * totals) {
    for (int64_t t = 0; t < n_tiles; t++) {
        multiply_tile<Type::parts, Type::has_offset, V>(tiles[t], group.pairs + chunk * pairs_in_chunk * V,
                                                        group.scales + chunk * V, n_blocks,
                                                        reinterpret_cast<Sums<V> *>(totals)[t]);
    }
}

// What many columns are multiplied with: the groups, a panel's tiles, and for each group the panel's totals.
struct Many {
    int64_t n_groups;
    Group * groups;
    Tile * tiles;
    v128_t * totals;
};

constexpr int64_t totals_of_group = panel_rows * vectors_in_group;

Many many_in(Room & room, int64_t n_columns) {
    const int64_t n_groups = (n_columns + group_columns - 1) / group_columns;
    return {n_groups, room.take<Group>(n_groups), room.take<Tile>(panel_rows / rows_in_tile),
            room.take<v128_t>(n_groups * totals_of_group)};
}

template <class Type>
void multiply_many(const Matrix & weights, const Matrix & input, const Results & results, Room room) {
    constexpr int64_t block_size = Type::parts * part_size;
    const int64_t n_columns = input.n_rows;
    const auto [n_groups, groups, tiles, totals] = many_in(room, n_columns);
    for (int64_t g = 0; g < n_groups; g++) {
        groups[g] = group_in(room, n_columns - g * group_columns, input.n_elements);
        quantize_group(input, g * group_columns, levels<Type>, groups[g]);
    }
    for (int64_t first = 0; first < weights.n_rows; first += panel_rows) {
        const int64_t n_rows = std::min(panel_rows, weights.n_rows - first), n_tiles = (n_rows + rows_in_tile - 1) / rows_in_tile;
        std::fill_n(totals, n_groups * totals_of_group, wasm_f32x4_const_splat(0));
        for (int64_t start = 0; start < input.n_elements; start += chunk_size) {
            const int64_t n_blocks = std::min(chunk_size, input.n_elements - start) / block_size;
            for (int64_t r = 0; r < n_tiles * rows_in_tile; r++) {
                unpack_row<Type>(weights.row(std::min(first + r, weights.n_rows - 1)), start / block_size, n_blocks,
                                 tiles[r / rows_in_tile], static_cast<int>(r % rows_in_tile));
            }
            for (int64_t g = 0; g < n_groups; g++) {
                auto multiply = groups[g].n_vectors == 1   ? multiply_panel<Type, 1>
                                : groups[g].n_vectors == 2 ? multiply_panel<Type, 2>
                                : groups[g].n_vectors == 3 ? multiply_panel<Type, 3>
                                                           : multiply_panel<Type, 4>;
                multiply(tiles, n_tiles, groups[g], start / chunk_size, n_blocks, totals + g * totals_of_group);
            }
        }
        for (int64_t c = 0; c < n_columns; c++) {
            const int64_t g = c / group_columns, lane = c % group_columns;
            auto * of_group = reinterpret_cast<const float *>(totals + g * totals_of_group);
            for (int64_t r = 0; r < n_rows; r++) {
                results.at(first + r, c) = of_group[r * groups[g].n_vectors * lanes + lane];
            }
        }
    }
}

template <class Type>
void multiply_quantized(const Matrix & weights, const Matrix & input, const Results & results, Room room) {
    auto multiply = input.n_rows < few_columns ? multiply_few<Type> : multiply_many<Type>;
    multiply(weights, input, results, room);
}

using Multiply = void (*)(const Matrix & weights, const Matrix & input, const Results &, Room);

Multiply kernel_for(ggml_type type) {
    switch (type) {
        case GGML_TYPE_Q8_0: return multiply_quantized<Q8_0>;
        case GGML_TYPE_Q5_0: return multiply_quantized<Q5_0>;
        case GGML_TYPE_Q5_1: return multiply_quantized<Q5_1>;
        case GGML_TYPE_Q4_0: return multiply_quantized<Q4_0>;
        case GGML_TYPE_Q4_1: return multiply_quantized<Q4_1>;
        case GGML_TYPE_Q4_K: return multiply_quantized<Q4_K>;
        case GGML_TYPE_Q5_K: return multiply_quantized<Q5_K>;
        case GGML_TYPE_Q6_K: return multiply_quantized<Q6_K>;
        default: return nullptr;
    }
}

// ---- floats: two rows and four columns at once ----
//
// Weights in floats, and the keys and values of attention. Sums are in four lanes, each of every fourth element.

constexpr int64_t rows_in_block = 16; // stay in the cache while columns change

struct FloatColumn {
    const float * from;
    float * to; // that of row 0
};

template <int R, int C>
void multiply_floats(const float * const (&rows)[R], const FloatColumn * columns, int64_t n_elements, int64_t first_row) {
    constexpr int at_once = 8; // vectors
    int32_t yes = always_true;
    v128_t sums[R][C];
    for (auto & of_row : sums) {
        for (v128_t & sum : of_row) {
            sum = wasm_f32x4_const_splat(0);
        }
    }
    const float * from_rows[R];
    const float * from_columns[C];
    std::copy_n(rows, R, from_rows);
    for (int c = 0; c < C; c++) {
        from_columns[c] = columns[c].from;
    }
    auto add = [&](int64_t i) {
        v128_t column[C];
#pragma unroll
        for (int c = 0; c < C; c++) {
            column[c] = wasm_v128_load(from_columns[c] + i);
        }
#pragma unroll
        for (int r = 0; r < R; r++) {
            v128_t row = wasm_v128_load(from_rows[r] + i);
#pragma unroll
            for (int c = 0; c < C; c++) {
                sums[r][c] = wasm_f32x4_add(sums[r][c], wasm_f32x4_mul(row, column[c]));
            }
        }
    };
    auto advance = [&](int64_t n) {
        for (const float *& from : from_rows) {
            from += n;
        }
        for (const float *& from : from_columns) {
            from += n;
        }
    };
    int64_t left = n_elements;
    for (; left >= at_once * lanes; left -= at_once * lanes) {
#pragma unroll
        for (int j = 0; j < at_once; j++) {
            IF_ALWAYS(yes) {
                add(j * lanes);
            }
        }
        advance(at_once * lanes);
    }
    for (; left >= lanes; left -= lanes) {
        add(0);
        advance(lanes);
    }
    for (int r = 0; r < R; r++) {
        for (int c = 0; c < C; c++) {
            v128_t sum = sums[r][c];
            float product = (wasm_f32x4_extract_lane(sum, 0) + wasm_f32x4_extract_lane(sum, 1)) +
                            (wasm_f32x4_extract_lane(sum, 2) + wasm_f32x4_extract_lane(sum, 3));
            for (int64_t i = 0; i < left; i++) {
                product += from_rows[r][i] * from_columns[c][i];
            }
            columns[c].to[first_row + r] = product;
        }
    }
}

// The products of some rows of `weights` with C columns.
template <int C>
void multiply_block(const Matrix & weights, int64_t first, int64_t end, const FloatColumn * columns) {
    constexpr int at_once = C > 2 ? 2 : 4;
    auto row = [&](int64_t r) { return reinterpret_cast<const float *>(weights.row(r)); };
    int64_t r = first;
    for (; r + at_once <= end; r += at_once) {
        const float * rows[at_once];
        for (int i = 0; i < at_once; i++) {
            rows[i] = row(r + i);
        }
        multiply_floats<at_once, C>(rows, columns, weights.n_elements, r);
    }
    for (; r < end; r++) {
        multiply_floats<1, C>({row(r)}, columns, weights.n_elements, r);
    }
}

void multiply_floats(const Matrix & weights, const FloatColumn * columns, int64_t n_columns) {
    for (int64_t first = 0; first < weights.n_rows; first += rows_in_block) {
        const int64_t end = std::min(first + rows_in_block, weights.n_rows);
        int64_t c = 0;
        for (; c + 4 <= n_columns; c += 4) {
            multiply_block<4>(weights, first, end, columns + c);
        }
        auto rest = n_columns - c == 3 ? multiply_block<3> : n_columns - c == 2 ? multiply_block<2> : multiply_block<1>;
        if (c < n_columns) {
            rest(weights, first, end, columns + c);
        }
    }
}

// ---- what ggml calls ----

Matrix matrix_of(const ggml_tensor * tensor, int64_t i2, int64_t i3) {
    return {static_cast<const char *>(tensor->data) + static_cast<size_t>(i2) * tensor->nb[2] +
                static_cast<size_t>(i3) * tensor->nb[3],
            tensor->nb[1], tensor->ne[1], tensor->ne[0]};
}

bool has_float_rows(const ggml_tensor * tensor) { return tensor->type == GGML_TYPE_F32 && tensor->nb[0] == sizeof(float); }

bool is_quantized_for_us(const ggml_tensor * dst) {
    const ggml_tensor * weights = dst->src[0];
    const ggml_tensor * input = dst->src[1];
    return dst->op == GGML_OP_MUL_MAT && kernel_for(weights->type) && ggml_is_matrix(weights) && ggml_is_matrix(input) &&
           has_float_rows(input) && ggml_is_contiguous(weights);
}

bool is_float_for_us(const ggml_tensor * dst) {
    return dst->op == GGML_OP_MUL_MAT && has_float_rows(dst->src[0]) && has_float_rows(dst->src[1]);
}

// Matrices of `input` share one of `weights`, as heads of attention do: their columns are multiplied together.
void multiply_all_floats(const ggml_tensor * weights, const ggml_tensor * input, ggml_tensor * result, Room room) {
    const int64_t shared2 = input->ne[2] / weights->ne[2], shared3 = input->ne[3] / weights->ne[3];
    auto * columns = room.take<FloatColumn>(input->ne[1] * shared2);
    for (int64_t i3 = 0; i3 < input->ne[3]; i3++) {
        for (int64_t i2 = 0; i2 < weights->ne[2]; i2++) {
            int64_t n_columns = 0;
            for (int64_t i = i2 * shared2; i < (i2 + 1) * shared2; i++) {
                const Matrix from = matrix_of(input, i, i3), to = matrix_of(result, i, i3);
                for (int64_t c = 0; c < from.n_rows; c++) {
                    columns[n_columns++] = {reinterpret_cast<const float *>(from.row(c)),
                                            reinterpret_cast<float *>(const_cast<char *>(to.row(c)))};
                }
            }
            multiply_floats(matrix_of(weights, i2, i3 / shared3), columns, n_columns);
        }
    }
}

} // namespace

size_t ggml_tiled_wdata_size(int, ggml_tensor * dst) {
    Room room(nullptr);
    if (is_float_for_us(dst)) {
        room.take<FloatColumn>(dst->ne[1] * dst->ne[2] / dst->src[0]->ne[2]);
    } else if (is_quantized_for_us(dst)) {
        const int64_t n_elements = dst->src[0]->ne[0], n_columns = dst->ne[1];
        if (n_columns < few_columns) {
            column_in(room, n_elements);
        } else {
            const int64_t n_groups = many_in(room, n_columns).n_groups;
            for (int64_t g = 0; g < n_groups; g++) {
                group_in(room, n_columns - g * group_columns, n_elements);
            }
        }
    } else {
        return 0;
    }
    return room.used();
}

bool ggml_compute_forward_mul_mat_tiled(const ggml_compute_params * params, ggml_tensor * dst) {
    const ggml_tensor * weights = dst->src[0];
    const ggml_tensor * input = dst->src[1];
    Room room(params->wdata);
    if (is_float_for_us(dst)) {
        multiply_all_floats(weights, input, dst, room);
        return true;
    }
    if (is_quantized_for_us(dst)) {
        kernel_for(weights->type)(matrix_of(weights, 0, 0), matrix_of(input, 0, 0),
                                  {static_cast<float *>(dst->data), dst->nb[1] / sizeof(float)}, room);
        return true;
    }
    return false;
}

bool ggml_compute_forward_mul_mat_id_tiled(const ggml_compute_params *, ggml_tensor *, int64_t, int64_t, const int32_t *,
                                           char *) {
    return false; // mixtures of experts go ggml's own way
}
