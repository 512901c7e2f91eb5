#include "session.h"

#include "files.h"
#include "model.h"
#include "trap.h"

#include <algorithm>
#include <cstring>

namespace session {

namespace {

struct Header { // of a prompt cache file; then the tokens, the held bytes and the model's state
    char magic[8];
    uint64_t state_key;
    uint32_t n_tokens;
    uint32_t n_prompt; // 0 in files of earlier versions
    uint64_t n_past;
    uint64_t n_held;
};
constexpr char magic[8] = {'L', 'L', 'M', 'C', 'A', 'C', 'H', 'E'};

// What the context holds, if it is what a prompt cache has.
struct {
    std::string file; // "": nothing
    uint64_t modified = 0;
    uint64_t size = 0;
    Session session;
} in_context;

bool is_in_context(const std::string & name, files::Id file) {
    return in_context.file == name && in_context.modified == files::modified(file) &&
           in_context.size == files::size(file);
}

Session read(files::Id file, std::optional<std::string> & problem) {
    std::string content = files::read_all(file);
    Header header{};
    if (content.size() >= sizeof header) {
        std::memcpy(&header, content.data(), sizeof header);
    }
    uint64_t state_at = sizeof header + uint64_t(header.n_tokens) * sizeof(llama_token) + header.n_held;
    bool whole = std::memcmp(header.magic, magic, sizeof magic) == 0 && header.n_tokens <= content.size() &&
                 header.n_held <= content.size() && state_at <= content.size() && header.n_past <= header.n_tokens;
    Session session;
    if (!whole) {
        problem = "the prompt cache is damaged; remove it with remove_prompt_cache";
    } else if (header.state_key != model::state_key()) {
        problem = "the prompt cache was made with another model or cache type; remove it with remove_prompt_cache";
    } else if (header.n_past > model::n_ctx()) {
        problem = "the prompt cache holds " + std::to_string(header.n_past) + " tokens, the context has only " +
                  std::to_string(model::n_ctx());
    }
    if (problem) {
        return session;
    }
    const char * at = content.data() + sizeof header;
    session.tokens.resize(header.n_tokens);
    std::memcpy(session.tokens.data(), at, header.n_tokens * sizeof(llama_token));
    session.held.assign(at + header.n_tokens * sizeof(llama_token), header.n_held);
    session.n_past = header.n_past;
    session.n_prompt = header.n_prompt;
    const auto * state = reinterpret_cast<const uint8_t *>(content.data()) + state_at;
    if (session.n_past > 0 && llama_state_seq_set_data(model::context(), state, content.size() - state_at, 0) == 0) {
        trap("the prompt cache's state does not fit the context");
    }
    return session;
}

} // namespace

void use(const std::string & name) {
    files::Id file = *files::find(name);
    bool is_there = is_in_context(name, file);
    files::touch(file);
    in_context.modified = is_there ? files::modified(file) : in_context.modified;
}

Session open(const std::string & name, std::optional<std::string> & problem) {
    std::optional<files::Id> file = files::find(name);
    if (file) {
        use(name);
    }
    if (file && is_in_context(name, *file)) {
        return in_context.session;
    }
    leave_context();
    llama_memory_clear(llama_get_memory(model::context()), false);
    return file ? read(*file, problem) : Session{};
}

void rewind(Session & session, size_t n_keep) {
    llama_memory_t memory = llama_get_memory(model::context());
    n_keep = std::min(n_keep, session.n_past);
    size_t window_start = n_keep > model::n_swa() ? n_keep - model::n_swa() : 0;
    bool window_is_there = model::n_swa() == 0 || session.n_past == n_keep ||
                           llama_memory_seq_pos_min(memory, 0) <= static_cast<llama_pos>(window_start);
    if (!window_is_there || !llama_memory_seq_rm(memory, 0, static_cast<llama_pos>(n_keep), -1)) {
        llama_memory_clear(memory, false);
        n_keep = 0;
    }
    session.n_past = n_keep;
}

void save(const std::string & name, const Session & session) {
    Header header{{}, model::state_key(), session.tokens.size(), session.n_prompt, session.n_past, session.held.size()};
    std::memcpy(header.magic, magic, sizeof magic);
    size_t tokens_size = session.tokens.size() * sizeof(llama_token);
    size_t state_at = sizeof header + tokens_size + session.held.size();
    size_t state_size = llama_state_seq_get_size(model::context(), 0);
    std::string content(state_at + state_size, 0);
    char * at = content.data();
    std::memcpy(at, &header, sizeof header);
    std::memcpy(at + sizeof header, session.tokens.data(), tokens_size);
    std::memcpy(at + sizeof header + tokens_size, session.held.data(), session.held.size());
    llama_state_seq_get_data(model::context(), reinterpret_cast<uint8_t *>(at + state_at), state_size, 0);
    files::write_all(name, content);
    files::Id file = *files::find(name);
    in_context = {name, files::modified(file), files::size(file), session};
}

void leave_context() { in_context = {}; }

} // namespace session
