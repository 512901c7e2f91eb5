// The canister's methods: llama_cpp_canister v0.0.1's interface, what later versions of it do with files and old prompt
// caches, and what this one can tell of prompts, tokens and memory. See files/llama_cpp.did.
#include "arguments.h"
#include "buffers.h"
#include "candid.h"
#include "cleanup.h"
#include "files.h"
#include "ic0.h"
#include "kept.h"
#include "model.h"
#include "principal.h"
#include "run.h"
#include "runtime.h"
#include "session.h"
#include "trap.h"

#include <algorithm>
#include <cstdio>
#include <ctime>

namespace {

using candid::Value;

// Mainnet's limits of instructions for one message.
constexpr uint64_t update_instructions = 40'000'000'000, query_instructions = 5'000'000'000;

constexpr uint64_t max_download = 2'000'000; // bytes in one answer, which may have 2 MiB in all
constexpr size_t max_chats = 3;              // kept for each caller
constexpr uint64_t max_log = 1 << 20;        // bytes; a log that is longer begins anew

Kept kept;

void save_kept() { save(kept); }

// ---- callers ----

std::string caller() {
    std::string bytes(ic0_msg_caller_size(), 0);
    ic0_msg_caller_copy(bytes.data(), 0, bytes.size());
    return bytes;
}

bool is_controller() {
    std::string bytes = caller();
    return ic0_is_controller(bytes.data(), bytes.size()) == 1;
}

bool has_access() { return is_controller() || (kept.access_level == 1 && caller() != anonymous_principal); }

const char * access_explanation() { return kept.access_level == 1 ? "All except anonymous" : "Only controllers"; }

// ---- messages in and out ----

std::string argument() {
    std::string bytes(ic0_msg_arg_data_size(), 0);
    ic0_msg_arg_data_copy(bytes.data(), 0, bytes.size());
    return bytes;
}

void reply(const Value & value) {
    std::string message = value.message();
    ic0_msg_reply_data_append(message.data(), message.size());
    ic0_msg_reply();
}

void reply_ok(Value value) { reply(Value::variant("Ok", std::move(value))); }

void reply_error(std::string_view text) {
    reply(Value::variant("Err", Value::variant("Other", Value::text(text))));
}

void reply_status_ok() { reply_ok(Value::record({{"status_code", Value::nat16(200)}})); }

void deny() { reply_error("Access Denied"); }

void reply_run(const RunResult & result) {
    Value record = Value::record({
        {"status_code", Value::nat16(result.status)},
        {"output", Value::text(result.output)},
        {"conversation", Value::text(result.conversation)},
        {"error", Value::text(result.error)},
        {"prompt_remaining", Value::text(result.prompt_remaining)},
        {"generated_eog", Value::boolean(result.generated_eog)},
        {"prompt_tokens", Value::opt(Value::nat64(result.n_prompt))},
        {"generated_tokens", Value::opt(Value::nat64(result.n_generated))},
    });
    reply(Value::variant(result.status == 200 ? "Ok" : "Err", std::move(record)));
}

void reply_run_ok(std::string output) {
    RunResult result;
    result.output = std::move(output);
    reply_run(result);
}

void reply_run_error(uint16_t status, std::string error) {
    RunResult result;
    result.status = status;
    result.error = std::move(error);
    reply_run(result);
}

// Decode `record { args : vec text }` and its arguments; false if the reply, an error, has been given.
bool take_args(bool allowed, Arguments & arguments) {
    if (!allowed) {
        reply_run_error(401, "Access Denied");
        return false;
    }
    std::vector<std::string> args;
    candid::decode_record(argument(), {candid::texts("args", args)});
    if (std::optional<std::string> problem = parse(args, arguments)) {
        reply_run_error(400, *problem);
        return false;
    }
    if (!arguments.idle.empty()) { // the answer is that of original canisters: it is said in the canister's log
        std::string line = "without effect in a canister:";
        for (const std::string & argument : arguments.idle) {
            line += " " + argument;
        }
        ic0_debug_print(line.data(), line.size());
    }
    arguments.model = files::plain(arguments.model);
    arguments.log_file = files::plain(arguments.log_file);
    return true;
}

// ---- names of files ----

std::string home() { return ".canister_cache/" + principal_text(caller()) + "/"; }

// Each caller has prompt caches of its own. `problem` if the name cannot be one.
std::string cache_path(const std::string & name, std::optional<std::string> & problem) {
    std::string path = home() + "sessions/" + name;
    if (name.empty()) {
        problem = "no prompt cache is named: give --prompt-cache NAME";
    } else if (path.size() > files::max_name) {
        problem = "the prompt cache name '" + name + "' is too long: " + std::to_string(name.size()) + " bytes";
    }
    return path;
}

// As `2026-01-31_23-59-59.123456789`: names sort by time.
std::string timestamp() {
    uint64_t now = static_cast<uint64_t>(ic0_time());
    std::time_t seconds = static_cast<std::time_t>(now / 1'000'000'000);
    char text[64];
    size_t size = std::strftime(text, sizeof text, "%Y-%m-%d_%H-%M-%S", std::gmtime(&seconds));
    std::snprintf(text + size, sizeof text - size, ".%09u", static_cast<unsigned>(now % 1'000'000'000));
    return text;
}

// ---- logs and chats ----

void log(const Arguments & arguments, const std::string & line) {
    if (arguments.log_file.empty() || kept.log_paused || arguments.log_file.size() > files::max_name) {
        return;
    }
    std::optional<files::Id> found = files::find(arguments.log_file);
    files::Id file = found ? *found : files::create(arguments.log_file);
    if (files::size(file) > max_log) {
        files::truncate(file, 0);
    }
    std::string text = timestamp() + " " + principal_text(caller()) + " " + line + "\n";
    files::write(file, files::size(file), text.data(), text.size());
}

void start_chat() {
    files::create(home() + "db_chats/" + timestamp());
    std::vector<files::Id> chats = files::with_prefix(home() + "db_chats/");
    for (size_t i = 0; i + max_chats < chats.size(); i++) {
        files::remove(chats[i]);
    }
}

void save_chat(const std::string & conversation) {
    std::vector<files::Id> chats = files::with_prefix(home() + "db_chats/");
    if (!chats.empty()) {
        files::write_all(files::name(chats.back()), conversation);
    }
}

// ---- the model ----

void remember_model() {
    kept.model = model::settings();
    save_kept();
}

// The reason if it cannot be loaded.
std::optional<std::string> begin_and_remember(const model::Settings & settings) {
    session::leave_context();
    std::optional<std::string> problem = model::begin_loading(settings);
    remember_model();
    return problem;
}

std::string why_not_loaded() {
    return model::is_loading() ? "'" + model::settings().file + "' is being loaded: " +
                                     std::to_string(model::unread_weights() >> 20) + " MiB of it are left to read"
                               : "no model is loaded: call load_model";
}

// Loading takes as many messages as it needs, each with limits of its own: this canister calls itself and goes on when
// the answer comes, whatever it is (a canister that is being stopped refuses the call). Then it answers load_model.

uint32_t weights_per_message;

// A trap here has been told to the caller of load_model. What has been read so far is of no use.
void give_up_loading(int32_t) {
    model::unload();
    remember_model();
}

void go_on_loading(int32_t = 0);

void go_on_loading_in_another_message() {
    constexpr std::string_view method = "health", no_arguments("DIDL\0\0", 6);
    std::string self(ic0_canister_self_size(), 0);
    ic0_canister_self_copy(self.data(), 0, self.size());
    ic0_call_new(self.data(), self.size(), method.data(), method.size(), go_on_loading, 0, go_on_loading, 0);
    ic0_call_on_cleanup(give_up_loading, 0);
    ic0_call_data_append(no_arguments.data(), no_arguments.size());
    if (ic0_call_perform() != 0) {
        trap("this canister cannot call itself to go on loading: it has too few cycles, or too many calls under way");
    }
}

void go_on_loading(int32_t) {
    if (model::is_loading()) {
        model::read_weights(weights_per_message);
    }
    if (model::is_loading()) {
        go_on_loading_in_another_message();
    } else if (model::is_loaded()) { // after an upgrade in between, too, as that loads at once
        reply_run_ok("Model succesfully loaded into memory.");
    } else {
        reply_run_error(503, "loading was interrupted by a new installation of this canister: call load_model again");
    }
}

void run_call(bool is_update) {
    Arguments arguments;
    if (!take_args(has_access(), arguments)) {
        return;
    }
    if (!arguments.log_file.empty() && !is_controller()) {
        return reply_run_error(401, "--log-file is for controllers only");
    }
    if (!model::is_loaded()) {
        return reply_run_error(503, why_not_loaded());
    }
    if (!arguments.model.empty() && arguments.model != model::settings().file) {
        return reply_run_error(400, "'" + arguments.model + "' is not the model that is loaded, which is '" +
                                        model::settings().file + "': load it with load_model");
    }
    std::optional<std::string> problem;
    std::string cache = arguments.prompt_cache.empty() ? "" : cache_path(arguments.prompt_cache, problem);
    if (problem) {
        return reply_run_error(400, *problem);
    }
    RunLimits limits = is_update ? RunLimits{kept.max_tokens_update, update_instructions, true}
                                 : RunLimits{kept.max_tokens_query, query_instructions, false};
    RunResult result = run(arguments, cache, limits);
    if (is_update && result.status == 200) {
        save_chat(result.conversation);
    }
    log(arguments, "status " + std::to_string(result.status) + ", evaluated " + std::to_string(result.n_evaluated) +
                       ", generated " + std::to_string(result.n_generated) + ", instructions " +
                       std::to_string(ic0_performance_counter(0)) + (result.error.empty() ? "" : ": " + result.error));
    reply_run(result);
}

} // namespace

#define EXPORT(kind, name) extern "C" __attribute__((export_name("canister_" kind #name))) void method_##name()

EXPORT("", init) {
    start_runtime();
    files::mount();
}

// The files are as they were; a model that was loaded, or was being loaded, is loaded again, as the heap is new. This
// message may read and write 8 GiB.
EXPORT("", post_upgrade) {
    start_runtime();
    files::mount();
    kept = restored();
    cleanup::set_timer(kept.cleanup);
    if (!kept.model.file.empty()) {
        if (std::optional<std::string> problem = begin_and_remember(kept.model)) {
            ic0_debug_print(problem->data(), problem->size());
        } else {
            model::read_weights(model::unread_weights());
        }
    }
}

EXPORT("query ", health) { reply_status_ok(); }

EXPORT("query ", ready) {
    if (model::is_loaded()) {
        reply_status_ok();
    } else if (model::is_loading()) {
        reply_error("Model not yet loaded: " + why_not_loaded());
    } else {
        reply_error("Model not yet loaded: upload it with file_upload_chunk, then call load_model");
    }
}

EXPORT("query ", whoami) { reply(Value::text(principal_text(caller()))); }

EXPORT("update ", load_model) {
    Arguments arguments;
    if (!take_args(is_controller(), arguments)) {
        return;
    }
    if (arguments.model.empty()) {
        reply_run_error(400, "no model is named: give --model FILE");
        return;
    }
    if (model::is_loading()) {
        return reply_run_error(409, why_not_loaded() + ". Call load_model again when that is done");
    }
    std::optional<std::string> problem =
        begin_and_remember({arguments.model, arguments.n_ctx.value_or(0), arguments.type_k.value_or(GGML_TYPE_F32)});
    if (problem) {
        return reply_run_error(422, *problem);
    }
    weights_per_message = arguments.weights_per_message;
    if (model::unread_weights() <= weights_per_message) {
        go_on_loading();
    } else { // vocabulary and context may be large, too
        go_on_loading_in_another_message();
    }
}

EXPORT("update ", set_max_tokens) {
    if (!is_controller()) {
        return deny();
    }
    Kept wanted = kept;
    candid::decode_record(argument(), {candid::nat64("max_tokens_update", wanted.max_tokens_update),
                                       candid::nat64("max_tokens_query", wanted.max_tokens_query)});
    kept = wanted;
    save_kept();
    reply_status_ok();
}

EXPORT("query ", get_max_tokens) {
    reply(Value::record({{"max_tokens_update", Value::nat64(kept.max_tokens_update)},
                         {"max_tokens_query", Value::nat64(kept.max_tokens_query)}}));
}

EXPORT("query ", measure_prompt) {
    if (!has_access()) {
        return deny();
    }
    std::vector<std::string> args;
    candid::decode_record(argument(), {candid::texts("args", args)});
    Arguments arguments;
    if (std::optional<std::string> problem = parse(args, arguments)) {
        return reply_error(*problem);
    }
    if (!model::is_loaded()) {
        return reply_error(why_not_loaded());
    }
    PromptSize size = measure_prompt(arguments.prompt);
    reply_ok(Value::record({{"tokens", Value::nat64(size.tokens)},
                            {"room", Value::nat64(size.room)},
                            {"max_tokens_update", Value::nat64(kept.max_tokens_update)}}));
}

EXPORT("query ", get_memory_status) {
    if (!is_controller()) {
        return deny();
    }
    constexpr uint64_t most_heap = uint64_t(1) << 32;
    uint64_t heap = uint64_t(__builtin_wasm_memory_size(0)) * 65536, caches = 0, n_caches = 0;
    BufferMemory buffers = buffer_memory();
    for (files::Id file : files::with_prefix("")) {
        bool is_cache = cleanup::is_prompt_cache(files::name(file));
        caches += is_cache ? files::size(file) : 0;
        n_caches += is_cache;
    }
    uint64_t free_for_files = files::free_space();
    reply_ok(Value::record({
        {"heap", Value::nat64(heap)},
        {"free_for_a_model", Value::nat64(most_heap - heap + buffers.unused + buffers.taken)},
        {"model", Value::nat64(model::weights_size())},
        {"context", Value::nat64(buffers.taken - std::min(buffers.taken, model::weights_size()))},
        {"context_tokens", Value::nat64(model::is_loaded() ? model::n_ctx() : 0)},
        {"files", Value::nat64(files::max_size - free_for_files)},
        {"free_for_files", Value::nat64(free_for_files)},
        {"prompt_caches", Value::nat64(caches)},
        {"prompt_cache_files", Value::nat64(n_caches)},
    }));
}

EXPORT("update ", measure_token_cost) {
    if (!is_controller()) {
        return deny();
    }
    if (!model::is_loaded()) {
        return reply_error(why_not_loaded());
    }
    TokenCost cost = measure_token_cost();
    reply_ok(Value::record({{"instructions_per_prompt_token", Value::nat64(cost.prompt)},
                            {"instructions_per_generated_token", Value::nat64(cost.generated)},
                            {"instructions_fixed", Value::nat64(cost.fixed)}}));
}

EXPORT("update ", file_upload_chunk) {
    if (!is_controller()) {
        return deny();
    }
    std::string name, chunk;
    uint64_t chunk_size = 0, offset = 0; // uploaders tell the size of all their chunks but the last: nothing to check
    candid::decode_record(argument(), {candid::text("filename", name), candid::blob("chunk", chunk),
                                       candid::nat64("chunksize", chunk_size), candid::nat64("offset", offset)});
    name = files::plain(name);
    if (name.empty() || name.size() > files::max_name) {
        return reply_error("a file name has 1 to " + std::to_string(files::max_name) + " bytes; this one has " +
                           std::to_string(name.size()));
    }
    if (chunk.size() > files::max_size || offset > files::max_size - chunk.size()) {
        return reply_error("offset is " + std::to_string(offset) + "; a file has at most " +
                           std::to_string(files::max_size) + " bytes");
    }
    std::optional<files::Id> found = files::find(name);
    files::Id file = found ? *found : files::create(name);
    if (offset == 0) {
        files::truncate(file, 0); // the upload begins anew
    }
    files::fill(file, offset);
    files::write(file, offset, chunk.data(), chunk.size());
    reply_ok(Value::record({{"filesize", Value::nat64(files::size(file))}}));
}

EXPORT("query ", file_download_chunk) {
    if (!is_controller()) {
        return deny();
    }
    std::string name;
    uint64_t chunk_size = 0, offset = 0;
    candid::decode_record(argument(), {candid::text("filename", name), candid::nat64("chunksize", chunk_size),
                                       candid::nat64("offset", offset)});
    std::optional<files::Id> file = files::find(files::plain(name));
    if (!file) {
        return reply_error("there is no file '" + name + "'");
    }
    uint64_t left = files::size(*file) - std::min(offset, files::size(*file));
    std::string chunk(std::min({chunk_size, left, max_download}), 0);
    files::read(*file, offset, chunk.data(), chunk.size());
    reply_ok(Value::record({
        {"chunk", Value::blob(chunk)},
        {"chunksize", Value::nat64(chunk.size())},
        {"filesize", Value::nat64(files::size(*file))},
        {"offset", Value::nat64(offset)},
        {"done", Value::boolean(chunk.size() == left)},
    }));
}

EXPORT("query ", recursive_dir_content_query) {
    if (!is_controller()) {
        return deny();
    }
    std::string directory;
    uint64_t max_entries = 0; // 0: all
    candid::decode_record(argument(), {candid::text("dir", directory), candid::nat64("max_entries", max_entries)});
    auto entry = [](std::string_view name, std::string_view kind) {
        return Value::record({{"filename", Value::text(name)}, {"filetype", Value::text(kind)}});
    };
    std::string prefix = files::plain(directory);
    prefix += prefix.empty() ? "" : "/";
    std::vector<Value> entries; // no directories: they are part of the names here
    for (files::Id file : files::with_prefix(prefix)) {
        if (max_entries == 0 || entries.size() < max_entries) {
            entries.push_back(entry(files::name(file), "file"));
        }
    }
    if (entries.empty()) {
        return reply_error("there is no directory '" + directory + "'");
    }
    reply_ok(Value::vec(entry("", ""), entries));
}

EXPORT("update ", filesystem_remove) {
    if (!is_controller()) {
        return deny();
    }
    std::string name;
    candid::decode_record(argument(), {candid::text("filename", name)});
    std::string path = files::plain(name);
    if (path == kept_file || path == kept.model.file) {
        return reply_error("'" + name + "' is in use: it has the settings, or the model that is loaded");
    }
    std::optional<files::Id> file = files::find(path);
    uint64_t size = file ? files::size(*file) : 0;
    if (file) {
        files::remove(*file);
    }
    reply_ok(Value::record({{"msg", Value::text((file ? "File removed: " : "File does not exist: ") + name)},
                            {"filename", Value::text(name)},
                            {"filesize", Value::nat64(size)},
                            {"exists", Value::boolean(file.has_value())},
                            {"removed", Value::boolean(file.has_value())}}));
}

EXPORT("update ", new_chat) {
    Arguments arguments;
    if (!take_args(has_access(), arguments)) {
        return;
    }
    std::optional<std::string> problem;
    std::string path = cache_path(arguments.prompt_cache, problem);
    if (problem) {
        return reply_run_error(400, *problem);
    }
    start_chat();
    reply_run_ok("Ready to start a new chat for cache file " + path);
}

EXPORT("update ", run_update) { run_call(true); }

EXPORT("query ", run_query) { run_call(false); }

EXPORT("update ", remove_prompt_cache) {
    Arguments arguments;
    if (!take_args(has_access(), arguments)) {
        return;
    }
    std::optional<std::string> problem;
    std::string path = cache_path(arguments.prompt_cache, problem);
    if (problem) {
        return reply_run_error(400, *problem);
    }
    std::optional<files::Id> file = files::find(path);
    if (!file) {
        return reply_run_ok("Cache file " + path + " not found. Nothing to delete.");
    }
    files::remove(*file);
    reply_run_ok("Cache file " + path + " deleted successfully");
}

EXPORT("update ", copy_prompt_cache) {
    if (!has_access()) {
        return deny();
    }
    std::string from, to;
    candid::decode_record(argument(), {candid::text("from", from), candid::text("to", to)});
    std::optional<std::string> problem;
    std::string from_path = cache_path(from, problem), to_path = cache_path(to, problem);
    if (problem) {
        return reply_error(*problem);
    }
    std::optional<files::Id> file = files::find(from_path);
    if (!file) {
        return reply_error("File " + from_path + " does not exist.");
    }
    session::use(from_path);
    files::write_all(to_path, files::read_all(*file));
    reply_status_ok();
}

// ---- prompt caches removed by age ----

static void clean_up() { cleanup::run(kept.cleanup, kept.model.file); }

EXPORT("", global_timer) {
    clean_up();
    cleanup::put_off(kept.cleanup);
    cleanup::set_timer(kept.cleanup);
    save_kept();
}

static void run_cleanup_by_timer(bool is_running) {
    if (!is_controller()) {
        return deny();
    }
    if (is_running && !kept.cleanup.is_running) {
        cleanup::put_off(kept.cleanup);
    }
    kept.cleanup.is_running = is_running;
    cleanup::set_timer(kept.cleanup);
    save_kept();
    reply_ok(Value::record({{"ok", Value::boolean(true)}, {"is_running", Value::boolean(is_running)}}));
}

EXPORT("update ", cache_cleanup_start_timer) { run_cleanup_by_timer(true); }

EXPORT("update ", cache_cleanup_stop_timer) { run_cleanup_by_timer(false); }

EXPORT("update ", set_cache_cleanup_config) {
    if (!is_controller()) {
        return deny();
    }
    std::optional<uint64_t> period, ttl, max_files;
    candid::decode_record(argument(), {candid::opt_nat64("period_seconds", period), candid::opt_nat64("ttl_seconds", ttl),
                                       candid::opt_nat64("max_files_per_run", max_files)});
    if (period == 0 || max_files == 0) {
        return reply_error("period_seconds and max_files_per_run are at least 1; cache_cleanup_stop_timer ends the runs");
    }
    cleanup::Settings & c = kept.cleanup;
    c.ttl_seconds = ttl.value_or(c.ttl_seconds);
    c.max_files_per_run = max_files.value_or(c.max_files_per_run);
    if (period) {
        c.period_seconds = *period;
        cleanup::put_off(c);
        cleanup::set_timer(c);
    }
    save_kept();
    reply_ok(Value::record({{"period_seconds", Value::nat64(c.period_seconds)},
                            {"ttl_seconds", Value::nat64(c.ttl_seconds)},
                            {"max_files_per_run", Value::nat64(c.max_files_per_run)},
                            {"is_running", Value::boolean(c.is_running)}}));
}

static void reply_cleanup_stats() {
    const cleanup::Settings & c = kept.cleanup;
    const cleanup::Stats & done = cleanup::stats();
    reply_ok(Value::record({{"runs", Value::nat64(done.runs)},
                            {"files_examined", Value::nat64(done.files_examined)},
                            {"files_deleted", Value::nat64(done.files_deleted)},
                            {"files_failed", Value::nat64(0)}, // a file that is there can be removed
                            {"last_run_ns", Value::nat64(done.last_run)},
                            {"period_seconds", Value::nat64(c.period_seconds)},
                            {"ttl_seconds", Value::nat64(c.ttl_seconds)},
                            {"max_files_per_run", Value::nat64(c.max_files_per_run)},
                            {"is_running", Value::boolean(c.is_running)}}));
}

EXPORT("update ", cache_cleanup_now) {
    if (!is_controller()) {
        return deny();
    }
    clean_up();
    reply_cleanup_stats();
}

EXPORT("query ", get_cache_cleanup_stats) {
    if (!is_controller()) {
        return deny();
    }
    reply_cleanup_stats();
}

EXPORT("update ", remove_log_file) {
    Arguments arguments;
    if (!take_args(is_controller(), arguments)) {
        return;
    }
    if (arguments.log_file.empty()) {
        return reply_run_error(400, "no log file is named: give --log-file FILE");
    }
    std::optional<files::Id> file = files::find(arguments.log_file);
    if (!file) {
        return reply_run_ok("Log file " + arguments.log_file + " not found. Nothing to delete.");
    }
    files::remove(*file);
    reply_run_ok("Log file " + arguments.log_file + " deleted successfully");
}

static void pause_log(bool paused) {
    if (!is_controller()) {
        return deny();
    }
    kept.log_paused = paused;
    save_kept();
    reply_status_ok();
}

EXPORT("update ", log_pause) { pause_log(true); }

EXPORT("update ", log_resume) { pause_log(false); }

EXPORT("query ", get_chats) {
    if (caller() == anonymous_principal) {
        return reply_error("get_chats: Unauthorized: You are not logged in.");
    }
    auto chat = [](std::string_view time, std::string_view text) {
        return Value::record({{"timestamp", Value::text(time)}, {"chat", Value::text(text)}});
    };
    std::string directory = home() + "db_chats/";
    std::vector<Value> chats;
    for (files::Id file : files::with_prefix(directory)) {
        chats.push_back(chat(files::name(file).substr(directory.size()), files::read_all(file)));
    }
    reply_ok(Value::record({{"chats", Value::vec(chat("", ""), chats)}}));
}

static void reply_access() {
    reply_ok(Value::record({{"level", Value::nat16(kept.access_level)}, {"explanation", Value::text(access_explanation())}}));
}

EXPORT("update ", set_access) {
    if (!is_controller()) {
        return deny();
    }
    uint16_t level = 0;
    candid::decode_record(argument(), {candid::nat16("level", level)});
    if (level > 1) {
        return reply_error("Invalid access level " + std::to_string(level) +
                           ": 0 = only controllers, 1 = all except anonymous");
    }
    kept.access_level = level;
    save_kept();
    reply_access();
}

EXPORT("query ", get_access) {
    if (!is_controller()) {
        return deny();
    }
    reply_access();
}

EXPORT("query ", check_access) {
    if (!has_access()) {
        return deny();
    }
    reply_status_ok();
}
