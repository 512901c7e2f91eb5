// What a text may be (--grammar), in llama.cpp's form of grammars, GBNF (grammars/README.md of llama.cpp). It is read
// here, as llama.cpp's own reader throws and knows no limits; llama.cpp's automaton follows it, token by token.
#pragma once
#include "llama.h"

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>

struct llama_grammar;

class Grammar {
public:
    // `problem`, with the line, if the text is no grammar, or one that is not carried out. `step_instructions`: what one
    // step of the automaton may take. A model must be loaded.
    Grammar(const std::string & text, uint64_t step_instructions, std::optional<std::string> & problem);
    ~Grammar();

    // A step begins: what follows may take the instructions of one.
    void begin_step();

    // Go on by this token; false if the grammar does not allow it here.
    bool accept(llama_token token);

    bool allows(llama_token token) const;

    // Leave the tokens that are allowed here.
    void constrain(llama_token_data_array & candidates) const;

    bool may_end() const;  // the text so far is one that the grammar allows
    bool is_over() const;  // ... and nothing can be added to it
    bool too_much() const; // the step took more than it may, so that its result is of no use

private:
    // By the first byte of a token, whether it may be allowed here: known of ASCII, true of others.
    std::array<bool, 256> possible_beginnings() const;

    std::unique_ptr<llama_grammar> automaton_;
    uint64_t step_instructions_;
    bool names_tokens_ = false; // <token> stands in it
    bool ended_ = false;        // by a token that says so
};
