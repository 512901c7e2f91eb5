// llama.cpp's command-line arguments: carried out, taken without effect, or refused. README.md has the table.
#pragma once
#include "ggml.h"

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

// Bytes of the weights that one message of load_model reads, at most. Mainnet lets a message read 2 GiB of stable memory
// and write as much of the heap; the rest is for what else loading takes.
constexpr uint32_t max_weights_per_message = 1 << 30;

// What a token is chosen with, by llama.cpp's letters (--sampler-seq).
enum class SamplerType : char {
    penalties = 'e', dry = 'd', top_n_sigma = 's', top_k = 'k', typical_p = 'y', top_p = 'p', min_p = 'm', xtc = 'x',
    temperature = 't'
};

struct Arguments {
    std::string model;
    std::string prompt;
    std::string prompt_cache;
    std::string log_file;
    std::string grammar; // GBNF; "": any text
    std::vector<std::string> stops; // --reverse-prompt
    std::optional<uint32_t> n_ctx;
    std::optional<ggml_type> type_k;
    uint32_t weights_per_message = max_weights_per_message; // bytes
    int32_t n_predict = -1; // < 0: no limit
    uint32_t seed = UINT32_MAX; // this one: a new one at each call
    std::vector<SamplerType> samplers = {
        SamplerType::penalties, SamplerType::dry, SamplerType::top_n_sigma, SamplerType::top_k, SamplerType::typical_p,
        SamplerType::top_p, SamplerType::min_p, SamplerType::xtc, SamplerType::temperature};
    float temp = 0.8f;
    float dynatemp_range = 0.0f; // 0: the temperature does not change
    float dynatemp_exponent = 1.0f;
    int32_t top_k = 40;
    float top_p = 0.95f;
    float min_p = 0.05f;
    float top_n_sigma = -1.0f; // < 0: off
    float typical_p = 1.0f;    // 1: off
    float xtc_probability = 0.0f; // 0: off
    float xtc_threshold = 0.1f;
    float repeat_penalty = 1.0f;
    float presence_penalty = 0.0f;
    float frequency_penalty = 0.0f;
    int32_t repeat_last_n = 64;
    float dry_multiplier = 0.0f; // 0: off
    float dry_base = 1.75f;
    int32_t dry_allowed_length = 2;
    int32_t dry_penalty_last_n = -1; // -1: the whole context
    std::optional<std::vector<std::string>> dry_breakers; // none given: llama.cpp's
    int32_t mirostat = 0; // 1 or 2: that version, in place of all samplers but the temperature
    float mirostat_tau = 5.0f;
    float mirostat_eta = 0.1f;
    std::map<int32_t, float> logit_bias; // by token
    bool cache_all = false;
    bool cache_read_only = false;
    bool special = false; // special tokens show in output and conversation
    bool ignore_eos = false;
    bool escape = true; // \n and the like in prompt and stops
    bool log_off = false; // --log-disable
    std::vector<std::string> idle; // taken without effect, as they were written
};

// On error the reason, naming the argument.
std::optional<std::string> parse(const std::vector<std::string> & args, Arguments & into);
