// A matrix multiplication by the canister's kernels alone, as test_llm_kernels.py calls it.
#include "ggml-cpu-impl.h"
#include "ggml-cpu.h"
#include "tiled/tiled.h"

#include <cstdlib>

namespace {

ggml_tensor matrix(ggml_type type, int64_t n_elements, int64_t n_rows, void * data) {
    ggml_tensor tensor = {};
    tensor.type = type;
    tensor.ne[0] = n_elements;
    tensor.ne[1] = n_rows;
    tensor.ne[2] = tensor.ne[3] = 1;
    tensor.nb[0] = ggml_type_size(type);
    tensor.nb[1] = ggml_row_size(type, n_elements);
    tensor.nb[2] = tensor.nb[3] = tensor.nb[1] * static_cast<size_t>(n_rows);
    tensor.data = data;
    return tensor;
}

} // namespace

extern "C" {

[[clang::export_name("allocate")]] void * allocate(size_t size) { return std::malloc(size); }

// Whether the kernels did it.
[[clang::export_name("multiply")]] bool multiply(int type, void * weights, int n_rows, int n_elements, float * input,
                                               int n_columns, float * result) {
    ggml_cpu_init();
    ggml_tensor from = matrix(static_cast<ggml_type>(type), n_elements, n_rows, weights);
    ggml_tensor columns = matrix(GGML_TYPE_F32, n_elements, n_columns, input);
    ggml_tensor to = matrix(GGML_TYPE_F32, n_rows, n_columns, result);
    to.op = GGML_OP_MUL_MAT;
    to.src[0] = &from;
    to.src[1] = &columns;
    ggml_compute_params params = {};
    params.nth = 1;
    params.wsize = ggml_tiled_wdata_size(1, &to);
    params.wdata = std::malloc(params.wsize);
    bool done = ggml_compute_forward_mul_mat_tiled(&params, &to);
    std::free(params.wdata);
    return done;
}
}
