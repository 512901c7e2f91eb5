#include "model.h"

#include "candid.h"
#include "files.h"
#include "runtime.h"

#include "ggml-cpp.h"
#include "gguf.h"
#include "kept-models.h"
#include "llama-arch.h"

#include <algorithm>
#include <memory>
#include <vector>

namespace model {

namespace {

struct Freer {
    void operator()(llama_model * model) { llama_model_free(model); }
    void operator()(llama_context * context) { llama_free(context); }
};

std::unique_ptr<llama_model, Freer> loaded;
std::unique_ptr<llama_context, Freer> state; // freed before the model it belongs to
Settings current; // what was loaded
Settings in_use;  // of the context there is, which a call may have wanted otherwise

// What `problem_with` has read of a file, for llama.cpp.
gguf_context_ptr header;
ggml_context_ptr header_tensors;

struct Unread { // a piece of the file, and where it belongs
    char * target;
    uint64_t offset, size;
};
std::vector<Unread> unread;

// A system call cannot be interrupted, so that mainnet limits what one may do.
constexpr uint64_t max_read = 64 << 20;

uint64_t gguf_size(const std::string & file) {
    std::optional<files::Id> found = files::find(file);
    return found ? files::size(*found) : 0;
}

bool strings_are_utf8(const gguf_context * gguf, int64_t key) {
    if (gguf_get_kv_type(gguf, key) == GGUF_TYPE_STRING) {
        return candid::is_utf8(gguf_get_val_str(gguf, key));
    }
    if (gguf_get_kv_type(gguf, key) != GGUF_TYPE_ARRAY || gguf_get_arr_type(gguf, key) != GGUF_TYPE_STRING) {
        return true;
    }
    for (size_t i = 0; i < gguf_get_arr_n(gguf, key); i++) {
        if (!candid::is_utf8(gguf_get_arr_str(gguf, key, i))) {
            return false;
        }
    }
    return true;
}

std::optional<std::string> problem_with_content(const gguf_context * gguf, const std::string & file) {
    int64_t key = gguf_find_key(gguf, "general.architecture");
    if (key < 0 || gguf_get_kv_type(gguf, key) != GGUF_TYPE_STRING) {
        return "it does not say its architecture (general.architecture)";
    }
    std::string name = gguf_get_val_str(gguf, key);
    constexpr llm_arch kept[] = {KEPT_MODELS};
    if (std::find(std::begin(kept), std::end(kept), llm_arch_from_string(name)) == std::end(kept)) {
        return "its architecture '" + name + "' is not among those this canister is built with";
    }
    for (const char * needed : {"context_length", "embedding_length", "block_count", "attention.head_count"}) {
        if (gguf_find_key(gguf, (name + "." + needed).c_str()) < 0) {
            return "it does not say its " + name + "." + needed;
        }
    }
    if (gguf_find_key(gguf, "tokenizer.ggml.model") < 0 || gguf_find_key(gguf, "tokenizer.ggml.tokens") < 0) {
        return "it has no vocabulary (tokenizer.ggml.model, tokenizer.ggml.tokens)";
    }
    for (int64_t i = 0; i < gguf_get_n_kv(gguf); i++) {
        if (!strings_are_utf8(gguf, i)) {
            return "its value for " + std::string(gguf_get_key(gguf, i)) + " is not UTF-8";
        }
    }
    int64_t n_tensors = gguf_get_n_tensors(gguf);
    if (n_tensors == 0) {
        return "it has no tensors";
    }
    uint64_t size = gguf_size(file);
    for (int64_t i = 0; i < n_tensors; i++) {
        uint64_t end = uint64_t(gguf_get_data_offset(gguf)) + gguf_get_tensor_offset(gguf, i) +
                       gguf_get_tensor_size(gguf, i);
        if (end > size) {
            return "it is truncated: tensor '" + std::string(gguf_get_tensor_name(gguf, i)) + "' ends at byte " +
                   std::to_string(end) + " of " + std::to_string(size);
        }
    }
    return std::nullopt;
}

std::optional<std::string> make_context(uint32_t n_ctx, ggml_type type_k) {
    uint32_t trained = static_cast<uint32_t>(llama_model_n_ctx_train(loaded.get()));
    llama_context_params params = llama_context_default_params();
    params.n_ctx = n_ctx ? n_ctx : std::min(default_n_ctx, trained);
    params.n_batch = params.n_ubatch = max_batch;
    params.n_outputs_max = 1;
    params.n_threads = params.n_threads_batch = 1;
    params.flash_attn_type = LLAMA_FLASH_ATTN_TYPE_DISABLED;
    params.type_k = type_k;
    params.type_v = GGML_TYPE_F32;
    params.swa_full = false;
    state.reset();
    state.reset(llama_init_from_model(loaded.get(), params));
    if (!state) {
        return "no context of " + std::to_string(params.n_ctx) + " tokens: " + take_last_error();
    }
    in_use = {current.file, params.n_ctx, type_k};
    return std::nullopt;
}

// The reason why this file cannot be loaded, if there is one that can be known before trying.
std::optional<std::string> problem_with(const std::string & file) {
    if (!files::find(file)) {
        return "there is no file '" + file + "': upload it with file_upload_chunk";
    }
    ggml_context * tensors = nullptr;
    header.reset(gguf_init_from_file(file.c_str(), {/*no_alloc*/ true, &tensors}));
    header_tensors.reset(tensors);
    std::optional<std::string> problem =
        header ? problem_with_content(header.get(), file) : "it is not a usable gguf: " + take_last_error();
    if (problem) {
        problem = "'" + file + "' (" + std::to_string(gguf_size(file)) + " bytes) cannot be loaded: " + *problem;
        header.reset();
        header_tensors.reset();
    }
    return problem;
}

} // namespace

std::optional<std::string> begin_loading(const Settings & wanted) {
    if (std::optional<std::string> problem = problem_with(wanted.file)) {
        return problem;
    }
    unload();
    llama_model_params params = llama_model_default_params();
    params.load_mode = LLAMA_LOAD_MODE_NONE;
    params.use_extra_bufts = false;
    params.progress_callback = [](float, void *) { return true; };
    loaded.reset(llama_model_load_from_file(wanted.file.c_str(), params));
    if (!loaded) {
        unload();
        return "'" + wanted.file + "' cannot be loaded: " + take_last_error();
    }
    current = wanted;
    std::optional<std::string> problem = make_context(wanted.n_ctx, wanted.type_k);
    if (problem) {
        unload();
    } else {
        current = in_use;
        files::protect(files::find(wanted.file));
    }
    return problem;
}

void read_weights(uint64_t bytes) {
    files::Id file = *files::find(current.file);
    while (bytes > 0 && !unread.empty()) {
        Unread & next = unread.back();
        uint64_t count = std::min({next.size, bytes, max_read});
        files::read(file, next.offset, next.target, count);
        next = {next.target + count, next.offset + count, next.size - count};
        bytes -= count;
        if (next.size == 0) {
            unread.pop_back();
        }
    }
    if (unread.empty()) {
        files::protect(std::nullopt);
    }
}

uint64_t unread_weights() {
    uint64_t sum = 0;
    for (const Unread & piece : unread) {
        sum += piece.size;
    }
    return sum;
}

void unload() {
    unread.clear();
    files::protect(std::nullopt);
    state.reset();
    loaded.reset();
    current = in_use = Settings{};
}

bool is_loading() { return !unread.empty(); }

bool is_loaded() { return state != nullptr && unread.empty(); }

const Settings & settings() { return current; }

const Settings & context_settings() { return in_use; }

uint64_t weights_size() { return loaded ? llama_model_size(loaded.get()) : 0; }

uint32_t n_ctx() { return llama_n_ctx(state.get()); }

uint32_t n_batch() { return llama_n_batch(state.get()); }

std::optional<std::string> change_context(uint32_t n_ctx, ggml_type type_k) {
    Settings before = in_use;
    std::optional<std::string> problem = make_context(n_ctx, type_k);
    if (problem) {
        make_context(before.n_ctx, before.type_k);
    }
    return problem;
}

llama_context * context() { return state.get(); }

const llama_vocab * vocab() { return llama_model_get_vocab(loaded.get()); }

uint32_t n_embd() { return static_cast<uint32_t>(llama_model_n_embd(loaded.get())); }

uint32_t n_swa() { return static_cast<uint32_t>(llama_model_n_swa(loaded.get())); }

uint64_t state_key() {
    std::optional<files::Id> file = files::find(current.file);
    uint64_t key = 0;
    for (uint64_t part : {uint64_t(candid::hash(current.file)), file ? files::size(*file) : 0,
                          file ? files::modified(*file) : 0, uint64_t(in_use.type_k)}) {
        key = (key ^ part) * 0x9e3779b97f4a7c15u;
        key ^= key >> 32;
    }
    return key;
}

} // namespace model

// llama.cpp calls these (EDITS in build.py).

gguf_context * take_header(ggml_context ** tensors) {
    *tensors = model::header_tensors.release();
    return model::header.release();
}

void read_later(void * target, size_t offset, size_t size) {
    model::unread.push_back({static_cast<char *>(target), offset, size});
}
