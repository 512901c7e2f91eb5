// ggml's registry of backends: the CPU alone, known at link time. It stands in for ggml-backend-reg.cpp, which looks for
// shared libraries in directories.
#include "ggml-backend-impl.h"
#include "ggml-backend.h"
#include "ggml-cpu.h"

#include <strings.h>

size_t ggml_backend_reg_count() { return 1; }

ggml_backend_reg_t ggml_backend_reg_get(size_t) { return ggml_backend_cpu_reg(); }

ggml_backend_reg_t ggml_backend_reg_by_name(const char * name) {
    ggml_backend_reg_t cpu = ggml_backend_cpu_reg();
    return strcasecmp(ggml_backend_reg_name(cpu), name) == 0 ? cpu : nullptr;
}

size_t ggml_backend_dev_count() { return ggml_backend_reg_dev_count(ggml_backend_cpu_reg()); }

ggml_backend_dev_t ggml_backend_dev_get(size_t index) {
    return ggml_backend_reg_dev_get(ggml_backend_cpu_reg(), index);
}

ggml_backend_dev_t ggml_backend_dev_by_name(const char * name) {
    ggml_backend_dev_t cpu = ggml_backend_dev_get(0);
    return strcasecmp(ggml_backend_dev_name(cpu), name) == 0 ? cpu : nullptr;
}

ggml_backend_dev_t ggml_backend_dev_by_type(enum ggml_backend_dev_type type) {
    return type == GGML_BACKEND_DEVICE_TYPE_CPU ? ggml_backend_dev_get(0) : nullptr;
}

ggml_backend_t ggml_backend_init_by_type(enum ggml_backend_dev_type type, const char * params) {
    ggml_backend_dev_t device = ggml_backend_dev_by_type(type);
    return device ? ggml_backend_dev_init(device, params) : nullptr;
}

void ggml_backend_load_all() {} // there is nothing beside the CPU
