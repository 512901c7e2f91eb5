// The memory of ggml's buffers (weights, context, what is computed): whole pages of the heap, as many as they need.
//
// The C library rounds what is large up to a power of two and uses it again for that size alone. A model beyond 2 GiB
// would find no room, one of 1.1 GiB would take 2, and the next model could not use what the one before it had.
#include "buffers.h"

#include <cstddef>
#include <cstdint>
#include <iterator>
#include <map>

namespace {

constexpr size_t page_size = 65536;

std::map<size_t, size_t> unused; // first page and number of pages; no two are next to each other
size_t taken; // pages

size_t pages_of(size_t bytes) { return bytes / page_size + (bytes % page_size != 0); }

void * address_of(size_t page) { return reinterpret_cast<void *>(page * page_size); }

// The first of `count` pages at the end of memory; SIZE_MAX if there is no room.
size_t grow(size_t count) {
    size_t end = __builtin_wasm_memory_size(0);
    auto last = unused.empty() ? unused.end() : std::prev(unused.end());
    bool at_the_end = last != unused.end() && last->first + last->second == end;
    size_t have = at_the_end ? last->second : 0; // fewer than `count`
    if (__builtin_wasm_memory_grow(0, count - have) == SIZE_MAX) {
        return SIZE_MAX;
    }
    if (at_the_end) {
        unused.erase(last);
    }
    return end - have;
}

} // namespace

// ggml calls these (EDITS in build.py).

void * take_pages(size_t bytes) {
    size_t count = pages_of(bytes);
    if (count == 0) {
        return nullptr;
    }
    auto best = unused.end();
    for (auto at = unused.begin(); at != unused.end(); ++at) {
        if (at->second >= count && (best == unused.end() || at->second < best->second)) {
            best = at;
        }
    }
    if (best == unused.end()) {
        size_t first = grow(count);
        taken += first == SIZE_MAX ? 0 : count;
        return first == SIZE_MAX ? nullptr : address_of(first);
    }
    taken += count;
    auto [first, available] = *best;
    unused.erase(best);
    if (available > count) {
        unused.emplace(first + count, available - count);
    }
    return address_of(first);
}

void give_back_pages(void * address, size_t bytes) {
    size_t first = reinterpret_cast<uintptr_t>(address) / page_size, count = pages_of(bytes);
    if (count == 0) {
        return;
    }
    taken -= count;
    auto after = unused.lower_bound(first);
    if (after != unused.end() && after->first == first + count) {
        count += after->second;
        after = unused.erase(after);
    }
    auto before = after == unused.begin() ? unused.end() : std::prev(after);
    if (before != unused.end() && before->first + before->second == first) {
        before->second += count;
    } else {
        unused.emplace_hint(after, first, count);
    }
}

BufferMemory buffer_memory() {
    uint64_t pages = 0;
    for (auto [first, count] : unused) {
        pages += count;
    }
    return {uint64_t(taken) * page_size, pages * page_size};
}
