// Prompt caches that nobody has used for some time are removed; the interface is that of later versions of
// llama_cpp_canister (cache_cleanup_start_timer and others).
#pragma once
#include <cstdint>
#include <string_view>

namespace cleanup {

constexpr uint64_t in_use_seconds = 600; // a cache used within this time is in use, whatever the settings say

struct Settings {
    bool is_running = false;           // by the timer
    uint64_t period_seconds = 86'400;  // from run to run
    uint64_t ttl_seconds = 604'800;    // a cache that was not used for longer is removed
    uint64_t max_files_per_run = 1000; // removed, at most
    uint64_t due = 0;                  // when the timer runs next, nanoseconds since 1970
};

struct Stats { // since the canister was installed or upgraded
    uint64_t runs = 0, files_examined = 0, files_deleted = 0;
    uint64_t last_run = 0; // nanoseconds since 1970
};

bool is_prompt_cache(std::string_view file); // by its name

// Remove what is too old; never `model_file`, whatever its name.
void run(const Settings & settings, std::string_view model_file);

const Stats & stats();

// The next run of the timer is one period from now.
void put_off(Settings & settings);

// Set the canister's timer as the settings say; it is off after each start of the module.
void set_timer(const Settings & settings);

} // namespace cleanup
