// The model in memory: loaded from a gguf among the files, with the context that holds the state of one prompt cache.
#pragma once
#include "llama.h"

#include <cstdint>
#include <optional>
#include <string>

namespace model {

// What a model is loaded with; as command-line arguments `--model`, `--ctx-size` and `--cache-type-k`.
struct Settings {
    std::string file;
    uint32_t n_ctx = 0; // tokens; 0: the smaller of `default_n_ctx` and what the model was trained with
    ggml_type type_k = GGML_TYPE_F32;
};

constexpr uint32_t default_n_ctx = 2048;
constexpr uint32_t max_batch = 128; // tokens evaluated at once, at most

// Load all but the weights, replacing what was loaded before; the reason if it cannot be. Traps on a fault inside the
// model that is not seen before. From here to the end of loading nothing can change the file.
std::optional<std::string> begin_loading(const Settings & settings);

// Read the next `bytes` of the weights, or all that are left.
void read_weights(uint64_t bytes);

uint64_t unread_weights(); // bytes

void unload();

bool is_loading(); // begun, and weights are left to read
bool is_loaded();  // ready for use
const Settings & settings(); // of the model that is loaded or being loaded
const Settings & context_settings(); // of the context there is: as the model's, unless `change_context` was called
uint64_t weights_size(); // bytes in memory; 0 without a model
uint32_t n_ctx();   // tokens the context has room for: what was wanted, rounded up by llama.cpp
uint32_t n_batch(); // tokens that the context evaluates at once, at most

// Make the context anew with another size or type; the reason if it cannot be.
std::optional<std::string> change_context(uint32_t n_ctx, ggml_type type_k);

llama_context * context();
const llama_vocab * vocab();
uint32_t n_embd(); // width of the model
uint32_t n_swa();  // tokens of a sliding attention window, 0 if there is none

// Names file, its content and the type of the state: a prompt cache is good for an equal key only.
uint64_t state_key();

} // namespace model
