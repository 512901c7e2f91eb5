// Matrix multiplication for wasm: the weights' blocks are unpacked once for several columns, or the columns' once for several
// rows, where ggml's own kernels unpack both for each single product.
//
// It is called where ggml calls its tiled multiplication (ggml-cpu/tiled/tiled.h), which has no kernels for wasm. The result
// for a row and a column does not depend on what is computed beside it, so a text does not depend on how a prompt is cut.
#define GGML_COMMON_DECL_C
#include "ggml-common.h"
#include "ggml-cpu-impl.h"
#include "ggml-impl.h"
#include "simd-mappings.h"
#include "tiled/tiled.h"

#include <wasm_simd128.h>

#include <algorithm>
#include <utility>

namespace {

constexpr int64_t block = 32; // elements that share a scale, in the columns and in most weights
constexpr int64_t rows_at_once = 4, columns_at_once = 4, rows_in_cache = 16;

// A column's elements as integers, for each block with its scale, and its scale times the integers' sum.
struct Columns {
    int16_t * values;
    float * scales;
    float * sums;
};

Columns columns_in(void * memory, int64_t n_elements) {
    auto * values = static_cast<int16_t *>(memory);
    auto * scales = reinterpret_cast<float *>(values + n_elements);
    return {values, scales, scales + n_elements / block};
}

size_t size_of_columns(int64_t n_elements) {
    return static_cast<size_t>(n_elements * 2 + n_elements / block * 8);
}

void quantize_block(const float * from, int16_t * values, float & scale, float & sum) {
    v128_t highest = wasm_f32x4_splat(0);
    for (int i = 0; i < block; i += 4) {
        highest = wasm_f32x4_max(highest, wasm_f32x4_abs(wasm_v128_load(from + i)));
    }
    float absolute = std::max(std::max(wasm_f32x4_extract_lane(highest, 0), wasm_f32x4_extract_lane(highest, 1)),
                              std::max(wasm_f32x4_extract_lane(highest, 2), wasm_f32x4_extract_lane(highest, 3)));
    scale = absolute / 127;
    v128_t inverse = wasm_f32x4_splat(scale > 0 ? 1 / scale : 0);
    v128_t total = wasm_i32x4_splat(0);
    for (int i = 0; i < block; i += 8) {
        v128_t low = wasm_f32x4_nearest(wasm_f32x4_mul(wasm_v128_load(from + i), inverse));
        v128_t high = wasm_f32x4_nearest(wasm_f32x4_mul(wasm_v128_load(from + i + 4), inverse));
        v128_t packed = wasm_i16x8_narrow_i32x4(wasm_i32x4_trunc_sat_f32x4(low), wasm_i32x4_trunc_sat_f32x4(high));
        wasm_v128_store(values + i, packed);
        total = wasm_i32x4_add(total, wasm_i32x4_extadd_pairwise_i16x8(packed));
    }
    sum = scale * static_cast<float>(wasm_i32x4_extract_lane(total, 0) + wasm_i32x4_extract_lane(total, 1) +
                                     wasm_i32x4_extract_lane(total, 2) + wasm_i32x4_extract_lane(total, 3));
}

// ---- weights: 32 of them as 16-bit integers, with the scale of the first and last 16, and what each is less than that ----
//
// Types with superblocks have several such parts in one; `part` is known when compiling.

struct Weights {
    v128_t values[4];
    float scales[2];
    float offset;
};

inline void extend(Weights & weights, v128_t low, v128_t high) {
    weights.values[0] = wasm_i16x8_extend_low_i8x16(low);
    weights.values[1] = wasm_i16x8_extend_high_i8x16(low);
    weights.values[2] = wasm_i16x8_extend_low_i8x16(high);
    weights.values[3] = wasm_i16x8_extend_high_i8x16(high);
}

struct Q8_0 {
    static constexpr int parts = 1;
    static constexpr bool two_scales = false, has_offset = false;
    template <int part>
    static Weights unpack(const void * row, int64_t index) {
        const block_q8_0 & from = static_cast<const block_q8_0 *>(row)[index];
        Weights weights;
        for (int i = 0; i < 4; i++) {
            weights.values[i] = wasm_i16x8_load8x8(from.qs + 8 * i);
        }
        weights.scales[0] = GGML_CPU_FP16_TO_FP32(from.d);
        return weights;
    }
};

struct Q5_0 {
    static constexpr int parts = 1;
    static constexpr bool two_scales = false, has_offset = false;
    template <int part>
    static Weights unpack(const void * row, int64_t index) {
        const block_q5_0 & from = static_cast<const block_q5_0 *>(row)[index];
        const v128_t bit = wasm_u8x16_const(1, 2, 4, 8, 16, 32, 64, 128, 1, 2, 4, 8, 16, 32, 64, 128);
        const v128_t minus_16 = wasm_u8x16_const_splat(0xf0);
        v128_t fifth = wasm_v128_load32_splat(from.qh);
        v128_t fifth_low = wasm_i8x16_shuffle(fifth, fifth, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1);
        v128_t fifth_high = wasm_i8x16_shuffle(fifth, fifth, 2, 2, 2, 2, 2, 2, 2, 2, 3, 3, 3, 3, 3, 3, 3, 3);
        auto without_16 = [&](v128_t nibbles, v128_t bits) {
            v128_t is_unset = wasm_i8x16_eq(wasm_v128_and(bits, bit), wasm_i8x16_const_splat(0));
            return wasm_v128_or(nibbles, wasm_v128_and(is_unset, minus_16));
        };
        v128_t packed = wasm_v128_load(from.qs);
        Weights weights;
        extend(weights, without_16(wasm_v128_and(packed, wasm_u8x16_const_splat(15)), fifth_low),
               without_16(wasm_u8x16_shr(packed, 4), fifth_high));
        weights.scales[0] = GGML_CPU_FP16_TO_FP32(from.d);
        return weights;
    }
};

struct Q4_0 {
    static constexpr int parts = 1;
    static constexpr bool two_scales = false, has_offset = false;
    template <int part>
    static Weights unpack(const void * row, int64_t index) {
        const block_q4_0 & from = static_cast<const block_q4_0 *>(row)[index];
        const v128_t eight = wasm_i8x16_const_splat(8);
        v128_t packed = wasm_v128_load(from.qs);
        Weights weights;
        extend(weights, wasm_i8x16_sub(wasm_v128_and(packed, wasm_u8x16_const_splat(15)), eight),
               wasm_i8x16_sub(wasm_u8x16_shr(packed, 4), eight));
        weights.scales[0] = GGML_CPU_FP16_TO_FP32(from.d);
        return weights;
    }
};

struct Q4_K {
    static constexpr int parts = 8;
    static constexpr bool two_scales = false, has_offset = true;
    template <int part>
    static Weights unpack(const void * row, int64_t index) {
        const block_q4_K & from = static_cast<const block_q4_K *>(row)[index];
        const uint8_t * s = from.scales; // 6 bits for each of 8 scales, then of 8 offsets
        int scale = part < 4 ? s[part] & 63 : (s[part + 4] & 15) | (s[part - 4] >> 6) << 4;
        int offset = part < 4 ? s[part + 4] & 63 : s[part + 4] >> 4 | (s[part] >> 6) << 4;
        const uint8_t * packed = from.qs + part / 2 * 32;
        v128_t first = wasm_v128_load(packed), last = wasm_v128_load(packed + 16);
        const v128_t low_bits = wasm_u8x16_const_splat(15);
        Weights weights;
        if (part % 2 == 0) {
            extend(weights, wasm_v128_and(first, low_bits), wasm_v128_and(last, low_bits));
        } else {
            extend(weights, wasm_u8x16_shr(first, 4), wasm_u8x16_shr(last, 4));
        }
        weights.scales[0] = GGML_CPU_FP16_TO_FP32(from.d) * static_cast<float>(scale);
        weights.offset = GGML_CPU_FP16_TO_FP32(from.dmin) * static_cast<float>(offset);
        return weights;
    }
};

struct Q6_K {
    static constexpr int parts = 8;
    static constexpr bool two_scales = true, has_offset = false;
    template <int part>
    static Weights unpack(const void * row, int64_t index) {
        const block_q6_K & from = static_cast<const block_q6_K *>(row)[index];
        constexpr int quarter = part % 4; // of 128 elements, which share their bytes
        const uint8_t * low = from.ql + part / 4 * 64 + quarter % 2 * 32;
        const uint8_t * high = from.qh + part / 4 * 32;
        auto sixteen = [&](int at) {
            v128_t four = wasm_v128_load(low + at);
            four = quarter < 2 ? wasm_v128_and(four, wasm_u8x16_const_splat(15)) : wasm_u8x16_shr(four, 4);
            v128_t two = wasm_v128_and(wasm_u8x16_shr(wasm_v128_load(high + at), 2 * quarter), wasm_u8x16_const_splat(3));
            return wasm_i8x16_sub(wasm_v128_or(four, wasm_i8x16_shl(two, 4)), wasm_i8x16_const_splat(32));
        };
        Weights weights;
        extend(weights, sixteen(0), sixteen(16));
        float scale = GGML_CPU_FP16_TO_FP32(from.d);
        weights.scales[0] = scale * static_cast<float>(from.scales[2 * part]);
        weights.scales[1] = scale * static_cast<float>(from.scales[2 * part + 1]);
        return weights;
    }
};

// ---- products ----

inline v128_t dot(v128_t a, v128_t b, const int16_t * with) {
    return wasm_i32x4_add(wasm_i32x4_dot_i16x8(a, wasm_v128_load(with)),
                          wasm_i32x4_dot_i16x8(b, wasm_v128_load(with + 8)));
}

inline void add_scaled(v128_t & total, v128_t integers, float scale) {
    total = wasm_f32x4_add(total, wasm_f32x4_mul(wasm_f32x4_convert_i32x4(integers), wasm_f32x4_splat(scale)));
}

template <int... part, class Visit>
inline void for_each_part(std::integer_sequence<int, part...>, Visit visit) {
    (visit(std::integral_constant<int, part>()), ...);
}

// The products of R rows and C columns. `result` is where that of the first two goes; the others' are at the strides.
template <class Type, int R, int C>
void multiply(const char * const * rows, const Columns * columns, int64_t n_blocks, float * result, size_t row_stride,
              size_t column_stride) {
    v128_t totals[R][C];
    float offsets[R][C];
    for (int r = 0; r < R; r++) {
        for (int c = 0; c < C; c++) {
            totals[r][c] = wasm_f32x4_const_splat(0);
            offsets[r][c] = 0;
        }
    }
    auto add_part = [&](auto part, int64_t index) {
        const int64_t i = index * Type::parts + part;
#pragma unroll
        for (int r = 0; r < R; r++) {
            const Weights weights = Type::template unpack<part>(rows[r], index);
#pragma unroll
            for (int c = 0; c < C; c++) {
                const int16_t * values = columns[c].values + block * i;
                const float scale = columns[c].scales[i];
                v128_t first = dot(weights.values[0], weights.values[1], values);
                v128_t last = dot(weights.values[2], weights.values[3], values + 16);
                if constexpr (Type::two_scales) {
                    add_scaled(totals[r][c], first, weights.scales[0] * scale);
                    add_scaled(totals[r][c], last, weights.scales[1] * scale);
                } else {
                    add_scaled(totals[r][c], wasm_i32x4_add(first, last), weights.scales[0] * scale);
                }
                if constexpr (Type::has_offset) {
                    offsets[r][c] += weights.offset * columns[c].sums[i];
                }
            }
        }
    };
    for (int64_t index = 0; index < n_blocks / Type::parts; index++) {
        for_each_part(std::make_integer_sequence<int, Type::parts>(), [&](auto part) { add_part(part, index); });
    }
    for (int r = 0; r < R; r++) {
        for (int c = 0; c < C; c++) {
            v128_t total = totals[r][c];
            result[static_cast<size_t>(c) * column_stride + static_cast<size_t>(r) * row_stride] =
                (wasm_f32x4_extract_lane(total, 0) + wasm_f32x4_extract_lane(total, 1)) +
                (wasm_f32x4_extract_lane(total, 2) + wasm_f32x4_extract_lane(total, 3)) - offsets[r][c];
        }
    }
}

template <class Type>
void multiply_all(const ggml_tensor * weights, const Columns * columns, ggml_tensor * result) {
    const int64_t n_rows = weights->ne[1], n_columns = result->ne[1], n_blocks = weights->ne[0] / block;
    const size_t stride = result->nb[1] / sizeof(float);
    auto row = [&](int64_t r) { return static_cast<const char *>(weights->data) + static_cast<size_t>(r) * weights->nb[1]; };
    auto to = [&](int64_t r, int64_t c) {
        return static_cast<float *>(result->data) + static_cast<size_t>(c) * stride + static_cast<size_t>(r);
    };
    // Several columns: weights are unpacked once for all of them, and a few rows stay in the cache while columns change.
    const int64_t in_groups = n_columns / columns_at_once * columns_at_once;
    for (int64_t first = 0; first < n_rows && in_groups > 0; first += rows_in_cache) {
        const int64_t end = std::min(first + rows_in_cache, n_rows);
        for (int64_t c = 0; c < in_groups; c += columns_at_once) {
            for (int64_t r = first; r < end; r++) {
                const char * rows[] = {row(r)};
                multiply<Type, 1, columns_at_once>(rows, columns + c, n_blocks, to(r, c), 0, stride);
            }
        }
    }
    // Single columns: several rows share what is loaded of the column. They are far apart, as the processor reads ahead
    // well along one row of a memory page and badly along several.
    const int64_t apart = n_rows / rows_at_once;
    for (int64_t c = in_groups; c < n_columns; c++) {
        for (int64_t r = 0; r < apart; r++) {
            const char * rows[] = {row(r), row(r + apart), row(r + 2 * apart), row(r + 3 * apart)};
            multiply<Type, rows_at_once, 1>(rows, columns + c, n_blocks, to(r, c), static_cast<size_t>(apart), stride);
        }
        for (int64_t r = apart * rows_at_once; r < n_rows; r++) {
            const char * rows[] = {row(r)};
            multiply<Type, 1, 1>(rows, columns + c, n_blocks, to(r, c), 0, stride);
        }
    }
}

using MultiplyAll = void (*)(const ggml_tensor *, const Columns *, ggml_tensor *);

MultiplyAll kernel_for(ggml_type type) {
    switch (type) {
        case GGML_TYPE_Q8_0: return multiply_all<Q8_0>;
        case GGML_TYPE_Q5_0: return multiply_all<Q5_0>;
        case GGML_TYPE_Q4_0: return multiply_all<Q4_0>;
        case GGML_TYPE_Q4_K: return multiply_all<Q4_K>;
        case GGML_TYPE_Q6_K: return multiply_all<Q6_K>;
        default: return nullptr;
    }
}

bool is_for_us(const ggml_tensor * dst) {
    const ggml_tensor * weights = dst->src[0];
    const ggml_tensor * input = dst->src[1];
    return dst->op == GGML_OP_MUL_MAT && kernel_for(weights->type) && ggml_is_matrix(weights) && ggml_is_matrix(input) &&
           input->type == GGML_TYPE_F32 && input->nb[0] == sizeof(float) && ggml_is_contiguous(weights);
}

} // namespace

size_t ggml_tiled_wdata_size(int, ggml_tensor * dst) {
    if (!is_for_us(dst)) {
        return 0;
    }
    size_t n_columns = static_cast<size_t>(dst->ne[1]);
    return n_columns * (size_of_columns(dst->src[0]->ne[0]) + sizeof(Columns)) + 64;
}

bool ggml_compute_forward_mul_mat_tiled(const ggml_compute_params * params, ggml_tensor * dst) {
    if (!is_for_us(dst)) {
        return false;
    }
    const ggml_tensor * input = dst->src[1];
    const int64_t n_elements = input->ne[0], n_columns = input->ne[1];
    auto * columns = static_cast<Columns *>(params->wdata);
    auto * memory = reinterpret_cast<char *>(GGML_PAD(reinterpret_cast<uintptr_t>(columns + n_columns), 16));
    for (int64_t c = 0; c < n_columns; c++) {
        columns[c] = columns_in(memory, n_elements);
        memory += size_of_columns(n_elements);
        auto * from = reinterpret_cast<const float *>(static_cast<const char *>(input->data) +
                                                      static_cast<size_t>(c) * input->nb[1]);
        for (int64_t i = 0; i < n_elements / block; i++) {
            quantize_block(from + block * i, columns[c].values + block * i, columns[c].scales[i], columns[c].sums[i]);
        }
    }
    kernel_for(dst->src[0]->type)(dst->src[0], columns, dst);
    return true;
}

bool ggml_compute_forward_mul_mat_id_tiled(const ggml_compute_params *, ggml_tensor *, int64_t, int64_t, const int32_t *,
                                           char *) {
    return false; // mixtures of experts go ggml's own way
}
