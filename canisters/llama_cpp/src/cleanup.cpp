#include "cleanup.h"

#include "files.h"
#include "ic0.h"

#include <algorithm>

namespace cleanup {

namespace {

constexpr uint64_t second = 1'000'000'000; // nanoseconds
constexpr std::string_view caches = ".canister_cache/";

Stats done;

uint64_t now() { return static_cast<uint64_t>(ic0_time()); }

// Of times that may be longer than what is left of time.
uint64_t nanoseconds(uint64_t seconds) { return std::min(seconds, UINT64_MAX / 4 / second) * second; }

} // namespace

bool is_prompt_cache(std::string_view file) {
    size_t caller_ends = file.find('/', caches.size());
    return file.substr(0, caches.size()) == caches && caller_ends != std::string_view::npos &&
           file.substr(caller_ends, 10) == "/sessions/";
}

void run(const Settings & settings, std::string_view model_file) {
    uint64_t age = nanoseconds(std::max(settings.ttl_seconds, in_use_seconds)), deleted = 0;
    for (files::Id file : files::with_prefix(caches)) {
        std::string name = files::name(file);
        if (!is_prompt_cache(name) || name == model_file) {
            continue;
        }
        done.files_examined++;
        if (files::modified(file) + age < now() && deleted < settings.max_files_per_run) {
            files::remove(file);
            deleted++;
        }
    }
    done.files_deleted += deleted;
    done.runs++;
    done.last_run = now();
}

const Stats & stats() { return done; }

void put_off(Settings & settings) { settings.due = now() + nanoseconds(settings.period_seconds); }

void set_timer(const Settings & settings) {
    ic0_global_timer_set(settings.is_running ? static_cast<int64_t>(std::max(settings.due, now() + 1)) : 0);
}

} // namespace cleanup
