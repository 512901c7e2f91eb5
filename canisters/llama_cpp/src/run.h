// One call of the model: evaluate what is left of the prompt, then generate, as far as the call may go.
#pragma once
#include "arguments.h"

#include <cstdint>
#include <string>

struct RunResult {
    uint16_t status = 200;
    std::string output;           // generated in this call
    std::string conversation;     // all evaluated or generated tokens as text
    std::string error;            // why, if status is not 200
    std::string prompt_remaining; // what of the prompt this call did not get to
    bool generated_eog = false;   // the model, or a stop, ended the text
    uint64_t n_evaluated = 0;     // tokens
    uint64_t n_prompt = 0;        // of these: of the prompt
    uint64_t n_generated = 0;
};

struct RunLimits {
    uint64_t max_tokens;   // to evaluate in this call, prompt and generated ones together; 0: no limit
    uint64_t instructions; // that the call may use in all
    bool keeps;            // it is an update call: the prompt cache can be written
};

// `cache_file`: the prompt cache's full name, "" for none. A model must be loaded.
RunResult run(const Arguments & arguments, const std::string & cache_file, const RunLimits & limits);

struct PromptSize { // in tokens
    uint64_t tokens; // of the prompt
    uint64_t room;   // that the context has for a prompt
};

// A model must be loaded.
PromptSize measure_prompt(const std::string & prompt);

struct TokenCost { // in instructions
    uint64_t prompt, generated, fixed;
};

// Measured by evaluating a few tokens; the context is empty afterwards.
TokenCost measure_token_cost();
