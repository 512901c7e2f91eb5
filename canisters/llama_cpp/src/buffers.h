// The memory of ggml's buffers: weights, context, and what is computed with.
#pragma once
#include <cstdint>

struct BufferMemory { // bytes
    uint64_t taken;
    uint64_t unused; // of the heap, for the next buffers
};
BufferMemory buffer_memory();
