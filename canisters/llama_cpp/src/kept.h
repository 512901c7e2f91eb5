// What is set by controllers, kept over upgrades in a file.
#pragma once
#include "cleanup.h"
#include "model.h"

#include <string_view>

struct Kept {
    uint64_t max_tokens_update = 0, max_tokens_query = 0;
    uint16_t access_level = 0;
    bool log_paused = false;
    cleanup::Settings cleanup;
    model::Settings model; // of the loaded model; no file: none is loaded
};

constexpr std::string_view kept_file = ".canister_settings"; // lines of a name and a value

void save(const Kept & kept);

// What was saved last; the usual settings if nothing was.
Kept restored();
