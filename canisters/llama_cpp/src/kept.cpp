#include "kept.h"

#include "files.h"

#include <cstdlib>
#include <optional>
#include <string>

static void restore(cleanup::Settings & c, const std::string & name, uint64_t number) {
    c.is_running = name == "cleanup_is_running" ? number != 0 : c.is_running;
    c.period_seconds = name == "cleanup_period" ? number : c.period_seconds;
    c.ttl_seconds = name == "cleanup_ttl" ? number : c.ttl_seconds;
    c.max_files_per_run = name == "cleanup_max_files" ? number : c.max_files_per_run;
    c.due = name == "cleanup_due" ? number : c.due;
}

void save(const Kept & kept) {
    std::string lines;
    auto add = [&](std::string_view name, const std::string & value) {
        lines += std::string(name) + " " + value + "\n";
    };
    add("max_tokens_update", std::to_string(kept.max_tokens_update));
    add("max_tokens_query", std::to_string(kept.max_tokens_query));
    add("access_level", std::to_string(kept.access_level));
    add("log_paused", std::to_string(kept.log_paused));
    add("cleanup_is_running", std::to_string(kept.cleanup.is_running));
    add("cleanup_period", std::to_string(kept.cleanup.period_seconds));
    add("cleanup_ttl", std::to_string(kept.cleanup.ttl_seconds));
    add("cleanup_max_files", std::to_string(kept.cleanup.max_files_per_run));
    add("cleanup_due", std::to_string(kept.cleanup.due));
    add("n_ctx", std::to_string(kept.model.n_ctx));
    add("type_k", std::to_string(kept.model.type_k));
    add("model", kept.model.file); // the last line, to its end: a name may have any characters
    files::write_all(kept_file, lines);
}

Kept restored() {
    Kept kept;
    std::optional<files::Id> file = files::find(kept_file);
    std::string lines = file ? files::read_all(*file) : "";
    for (size_t at = 0; at < lines.size();) {
        size_t space = lines.find(' ', at);
        std::string name = lines.substr(at, space - at);
        size_t end = name == "model" ? lines.size() - 1 : lines.find('\n', space);
        std::string value = lines.substr(space + 1, end - space - 1);
        at = end + 1;
        if (name == "model") {
            kept.model.file = value;
            continue;
        }
        uint64_t number = std::strtoull(value.c_str(), nullptr, 10);
        kept.max_tokens_update = name == "max_tokens_update" ? number : kept.max_tokens_update;
        kept.max_tokens_query = name == "max_tokens_query" ? number : kept.max_tokens_query;
        kept.access_level = name == "access_level" ? static_cast<uint16_t>(number) : kept.access_level;
        kept.log_paused = name == "log_paused" ? number != 0 : kept.log_paused;
        restore(kept.cleanup, name, number);
        kept.model.n_ctx = name == "n_ctx" ? static_cast<uint32_t>(number) : kept.model.n_ctx;
        kept.model.type_k = name == "type_k" ? static_cast<ggml_type>(number) : kept.model.type_k;
    }
    return kept;
}
