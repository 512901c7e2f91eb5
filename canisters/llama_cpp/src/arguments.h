// llama.cpp's command-line arguments, those that mean something in a canister.
#pragma once
#include "ggml.h"

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

// Bytes of the weights that one message of load_model reads, at most. Mainnet lets a message read 2 GiB of stable memory
// and write as much of the heap; the rest is for what else loading takes.
constexpr uint32_t max_weights_per_message = 1 << 30;

struct Arguments {
    std::string model;
    std::string prompt;
    std::string prompt_cache;
    std::string log_file;
    std::vector<std::string> stops; // --reverse-prompt
    std::optional<uint32_t> n_ctx;
    std::optional<ggml_type> type_k;
    uint32_t weights_per_message = max_weights_per_message; // bytes
    int32_t n_predict = -1; // < 0: no limit
    uint32_t seed = UINT32_MAX; // this one: a new one at each call
    float temp = 0.8f;
    int32_t top_k = 40;
    float top_p = 0.95f;
    float min_p = 0.05f;
    float repeat_penalty = 1.0f;
    float presence_penalty = 0.0f;
    float frequency_penalty = 0.0f;
    int32_t repeat_last_n = 64;
    bool cache_all = false;
    bool cache_read_only = false;
    bool special = false; // special tokens show in output and conversation
    bool ignore_eos = false;
    bool escape = true; // \n and the like in prompt and stops
};

// On error the reason, naming the argument.
std::optional<std::string> parse(const std::vector<std::string> & args, Arguments & into);
