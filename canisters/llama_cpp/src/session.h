// What a conversation leaves for its next call: the tokens so far and the model's state after the evaluated ones. It is in
// the model's context while nobody else uses that, and in a prompt cache file from call to call.
#pragma once
#include "llama.h"

#include <optional>
#include <string>
#include <vector>

struct Session {
    std::vector<llama_token> tokens; // prompt and generated text; the context holds the state after the first n_past
    size_t n_past = 0;
    size_t n_prompt = 0; // of the tokens: the prompt; what follows was generated
    std::string held; // generated, but not yet given out: an unfinished character, the possible beginning of a stop
};

namespace session {

// The session in this prompt cache, its state put into the context; an empty one if there is no such file (or no file is
// meant: ""). `problem` if the file is of no use with the loaded model.
Session open(const std::string & file, std::optional<std::string> & problem);

// This prompt cache, a file that is there, is in use: it is young when old ones are removed.
void use(const std::string & file);

// Forget the state of all tokens from `n_keep` on, or of more if the model cannot forget just these.
void rewind(Session & session, size_t n_keep);

// Write the session to its prompt cache. The context keeps its state: opening it next costs nothing.
void save(const std::string & file, const Session & session);

// The context no longer holds what a prompt cache has: to be called before it is used otherwise.
void leave_context();

} // namespace session
