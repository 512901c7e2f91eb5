#include "grammar.h"

#include "ic0.h"
#include "model.h"

#include "llama-grammar.h"
#include "llama-vocab.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <string_view>
#include <vector>

// llama.cpp's (EDITS in llm_build.py).
void llama_grammar_advance_stack(const llama_grammar_rules & rules, const llama_grammar_stack & stack,
                                 llama_grammar_stacks & new_stacks);

namespace {

constexpr size_t max_text = 65536;     // bytes
constexpr size_t max_elements = 65536; // of all rules
constexpr size_t max_repetitions = 2000;
constexpr size_t max_depth = 100;      // of parentheses
constexpr size_t max_leftmost = 500;   // rules that begin with each other
constexpr size_t max_stacks = 4096;    // ways to go on
constexpr size_t max_held = 1 << 20;   // elements in them

template <class Good>
void keep(llama_token_data_array & candidates, Good good) {
    auto * end = std::remove_if(candidates.data, candidates.data + candidates.size,
                                [&](const llama_token_data & one) { return !good(one); });
    candidates.size = static_cast<size_t>(end - candidates.data);
}

// ---- how far a step may go ----

uint64_t step_ends; // at this count of instructions
bool step_is_too_much;

bool is_word(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-';
}

bool is_digit(char c) { return c >= '0' && c <= '9'; }

bool is_end(const llama_grammar_element & element) {
    return element.type == LLAMA_GRETYPE_END || element.type == LLAMA_GRETYPE_ALT;
}

// ---- reading ----

// A mistake moves to the end of the text, so that whatever reads it stops there; the first one is kept.
class Reader {
public:
    explicit Reader(std::string_view text) : text_(text) {}

    std::optional<std::string> read() {
        if (text_.size() > max_text) {
            return "the grammar has " + std::to_string(text_.size()) + " bytes; it may have " +
                   std::to_string(max_text);
        }
        skip_space(true);
        while (more()) {
            read_rule();
        }
        for (auto & [name, rule] : names_) {
            if (!problem_ && rules[rule].empty()) {
                problem_ = "the grammar does not say what '" + name + "' is";
            }
        }
        if (!problem_ && names_.count("root") == 0) {
            problem_ = "the grammar has no rule 'root', with which it begins";
        }
        return problem_;
    }

    uint32_t root() const { return names_.at("root"); }

    // A rule as a message names it.
    std::string name(uint32_t rule) const {
        for (auto & [name, number] : names_) {
            if (number == rule) {
                return "'" + name + "'";
            }
        }
        return "in parentheses, or repeated,";
    }

    llama_grammar_rules rules;
    bool names_tokens = false;

private:
    bool more() const { return at_ < text_.size(); }

    char peek(size_t ahead = 0) const { return at_ + ahead < text_.size() ? text_[at_ + ahead] : 0; }

    bool take(std::string_view what) {
        bool there = text_.substr(at_, what.size()) == what;
        at_ += there ? what.size() : 0;
        return there;
    }

    void fail(const std::string & why) {
        if (!problem_) {
            std::string_view before = text_.substr(0, at_);
            auto line = std::count(before.begin(), before.end(), '\n') + 1;
            size_t column = at_ - (before.rfind('\n') + 1) + 1; // npos + 1 is 0
            problem_ = "the grammar cannot be read at line " + std::to_string(line) + ", column " +
                       std::to_string(column) + ": " + why;
        }
        at_ = text_.size();
    }

    void skip_space(bool newlines) {
        while (more()) {
            char c = peek();
            if (c == '#') {
                at_ = std::min(text_.find_first_of("\r\n", at_), text_.size());
            } else if (c == ' ' || c == '\t' || (newlines && (c == '\r' || c == '\n'))) {
                at_++;
            } else {
                break;
            }
        }
    }

    std::string read_name() {
        size_t begin = at_;
        while (is_word(peek())) {
            at_++;
        }
        std::string name(text_.substr(begin, at_ - begin));
        if (name.empty()) {
            fail("a rule's name is wanted, of letters, digits and '-'");
        }
        return name;
    }

    size_t read_number() {
        size_t value = 0;
        if (!is_digit(peek())) {
            fail("a number is wanted");
        }
        while (is_digit(peek())) {
            value = std::min<size_t>(value * 10 + static_cast<size_t>(peek() - '0'), UINT32_MAX / 16);
            at_++;
        }
        return value;
    }

    uint32_t new_rule() {
        rules.emplace_back();
        return static_cast<uint32_t>(rules.size() - 1);
    }

    uint32_t rule_named(const std::string & name) {
        auto known = names_.find(name);
        return known != names_.end() ? known->second : names_[name] = new_rule();
    }

    void grow(size_t elements) {
        n_elements_ += elements;
        if (n_elements_ > max_elements) {
            fail("it is too large: repetitions written out, it may have " + std::to_string(max_elements) + " elements");
        }
    }

    void read_rule() {
        std::string name = read_name();
        skip_space(false);
        if (!take("::=")) {
            return fail("'::=' is wanted after a rule's name");
        }
        uint32_t rule = rule_named(name);
        if (!rules[rule].empty()) {
            return fail("the rule '" + name + "' is there already");
        }
        llama_grammar_rule content = read_alternatives(0);
        rules[rule] = std::move(content);
        if (more() && peek() != '\r' && peek() != '\n') {
            return fail(peek() == ')' ? "'(' is missing" : "this is no part of a rule");
        }
        skip_space(true);
    }

    llama_grammar_rule read_alternatives(size_t depth) {
        llama_grammar_rule rule;
        do {
            skip_space(true);
            read_sequence(rule, depth);
            rule.push_back({LLAMA_GRETYPE_ALT, 0});
        } while (take("|"));
        rule.back().type = LLAMA_GRETYPE_END;
        grow(rule.size());
        return rule;
    }

    void read_sequence(llama_grammar_rule & rule, size_t depth) {
        size_t item = rule.size(); // where the last one begins, for a repetition of it
        while (more()) {
            char c = peek();
            if (c == '*' || c == '+' || c == '?' || c == '{') {
                read_repetition(rule, item, depth > 0);
            } else {
                item = rule.size();
                if (!read_item(rule, depth)) {
                    break;
                }
            }
            skip_space(depth > 0);
        }
    }

    bool read_item(llama_grammar_rule & rule, size_t depth) {
        switch (peek()) {
            case '"': read_literal(rule); return true;
            case '[': read_class(rule); return true;
            case '<':
            case '!': read_token(rule); return true;
            case '(': read_group(rule, depth); return true;
            case '.':
                at_++;
                rule.push_back({LLAMA_GRETYPE_CHAR_ANY, 0});
                return true;
        }
        if (!is_word(peek())) {
            return false;
        }
        rule.push_back({LLAMA_GRETYPE_RULE_REF, rule_named(read_name())});
        return true;
    }

    void read_literal(llama_grammar_rule & rule) {
        at_++;
        while (more() && peek() != '"') {
            rule.push_back({LLAMA_GRETYPE_CHAR, read_character()});
        }
        if (!take("\"")) {
            fail("'\"' is missing");
        }
    }

    void read_class(llama_grammar_rule & rule) {
        at_++;
        llama_gretype type = take("^") ? LLAMA_GRETYPE_CHAR_NOT : LLAMA_GRETYPE_CHAR;
        if (peek() == ']') {
            return fail("there is no character between the brackets");
        }
        while (more() && peek() != ']') {
            rule.push_back({type, read_character()});
            type = LLAMA_GRETYPE_CHAR_ALT;
            if (peek() == '-' && peek(1) != ']') {
                at_++;
                rule.push_back({LLAMA_GRETYPE_CHAR_RNG_UPPER, read_character()});
            }
        }
        if (!take("]")) {
            fail("']' is missing");
        }
    }

    uint32_t read_character() {
        if (peek() == '\\') {
            return read_escape();
        }
        auto first = static_cast<unsigned char>(peek());
        size_t length = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : first >= 0xc0 ? 2 : 1; // an argument is UTF-8
        uint32_t value = length == 1 ? first : first & (0xffu >> (length + 1));
        for (size_t i = 1; i < length; i++) {
            value = value << 6 | (static_cast<unsigned char>(peek(i)) & 0x3fu);
        }
        at_ = std::min(at_ + length, text_.size());
        return value;
    }

    uint32_t read_escape() {
        static const std::map<char, uint32_t> simple = {{'t', '\t'}, {'r', '\r'}, {'n', '\n'}, {'\\', '\\'},
                                                        {'"', '"'},  {'[', '['},  {']', ']'},  {'-', '-'}};
        char kind = peek(1);
        size_t digits = kind == 'x' ? 2 : kind == 'u' ? 4 : kind == 'U' ? 8 : 0;
        auto found = simple.find(kind);
        if (digits == 0 && found == simple.end()) {
            fail("this escape is unknown: \\t \\r \\n \\\\ \\\" \\[ \\] \\- \\x41 \\u0041 \\U00000041 are known");
            return 0;
        }
        at_ += 2;
        uint32_t value = digits == 0 ? found->second : 0;
        for (size_t i = 0; i < digits; i++) {
            char c = peek();
            bool letter = (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
            if (!is_digit(c) && !letter) {
                fail(std::to_string(digits) + " hexadecimal digits are wanted");
                return 0;
            }
            value = value << 4 | static_cast<uint32_t>(letter ? (c | 0x20) - 'a' + 10 : c - '0');
            at_++;
        }
        return value;
    }

    // <[NUMBER]> or the text of a single token, such as <|im_end|>; !<...> is any other token.
    void read_token(llama_grammar_rule & rule) {
        llama_gretype type = take("!") ? LLAMA_GRETYPE_TOKEN_NOT : LLAMA_GRETYPE_TOKEN;
        size_t begin = at_, end = text_.find('>', at_);
        if (peek() != '<' || end == std::string_view::npos) {
            return fail("a token is wanted, as <[NUMBER]> or <TEXT>");
        }
        std::string_view text = text_.substr(begin, end + 1 - begin);
        llama_token tokens[2] = {};
        if (take("<[")) {
            size_t number = read_number();
            tokens[0] = static_cast<llama_token>(number);
            if (number >= static_cast<size_t>(llama_vocab_n_tokens(model::vocab())) || !take("]>")) {
                return fail("this is no number of a token of the model");
            }
        } else if (llama_tokenize(model::vocab(), text.data(), static_cast<int32_t>(text.size()), tokens, 2, false,
                                  true) != 1) {
            return fail("this is no single token of the model");
        }
        at_ = end + 1;
        names_tokens = true;
        rule.push_back({type, static_cast<uint32_t>(tokens[0])});
    }

    void read_group(llama_grammar_rule & rule, size_t depth) {
        if (depth == max_depth) {
            return fail("parentheses may stand in each other " + std::to_string(max_depth) + " times");
        }
        at_++;
        uint32_t group = new_rule();
        llama_grammar_rule content = read_alternatives(depth + 1);
        rules[group] = std::move(content);
        if (!take(")")) {
            return fail("')' is missing");
        }
        rule.push_back({LLAMA_GRETYPE_RULE_REF, group});
    }

    void read_repetition(llama_grammar_rule & rule, size_t item, bool newlines) {
        if (item == rule.size()) {
            return fail("there is nothing before it that could be repeated");
        }
        if (take("*")) {
            return repeat(rule, item, 0, std::nullopt);
        }
        if (take("+")) {
            return repeat(rule, item, 1, std::nullopt);
        }
        if (take("?")) {
            return repeat(rule, item, 0, 1);
        }
        at_++; // {
        skip_space(newlines);
        size_t least = read_number();
        std::optional<size_t> most = least;
        skip_space(newlines);
        if (take(",")) {
            skip_space(newlines);
            most = is_digit(peek()) ? std::optional<size_t>(read_number()) : std::nullopt;
            skip_space(newlines);
        }
        if (!take("}")) {
            return fail("'}' is missing");
        }
        if (least > max_repetitions || most.value_or(0) > max_repetitions || most.value_or(least) < least) {
            return fail("a repetition goes from a number to one that is not smaller, at most " +
                        std::to_string(max_repetitions));
        }
        repeat(rule, item, least, most);
    }

    // As llama.cpp has it: S{m,n} is m times S and a rule that is S with what is left of the n, or nothing; without an
    // n it is S with itself, or nothing.
    void repeat(llama_grammar_rule & rule, size_t item, size_t least, std::optional<size_t> most) {
        const llama_grammar_rule repeated(rule.begin() + static_cast<ptrdiff_t>(item), rule.end());
        size_t optional = most ? *most - least : 1;
        grow((repeated.size() + 3) * (least + optional));
        if (problem_) {
            return;
        }
        rule.resize(item);
        for (size_t i = 0; i < least; i++) {
            rule.insert(rule.end(), repeated.begin(), repeated.end());
        }
        uint32_t rest = 0;
        for (size_t i = 0; i < optional; i++) {
            uint32_t next = new_rule();
            llama_grammar_rule content = repeated;
            if (i > 0 || !most) {
                content.push_back({LLAMA_GRETYPE_RULE_REF, most ? rest : next});
            }
            content.push_back({LLAMA_GRETYPE_ALT, 0});
            content.push_back({LLAMA_GRETYPE_END, 0});
            rules[next] = std::move(content);
            rest = next;
        }
        if (optional > 0) {
            rule.push_back({LLAMA_GRETYPE_RULE_REF, rest});
        }
    }

    std::string_view text_;
    size_t at_ = 0;
    std::optional<std::string> problem_;
    std::map<std::string, uint32_t> names_;
    size_t n_elements_ = 0;
};

// ---- left recursion ----

// Whether rules may be empty, found by looking at what they begin with; a rule that is met again there is one that the
// automaton would follow for ever.
class Beginnings {
public:
    explicit Beginnings(const llama_grammar_rules & rules) : rules_(rules), known_(rules.size(), Known::nothing) {}

    // The rule that begins with itself, or with too long a chain of others, if there is one.
    std::optional<uint32_t> endless() {
        for (uint32_t rule = 0; rule < rules_.size() && !endless_; rule++) {
            may_be_empty(rule, 0);
        }
        return endless_;
    }

private:
    enum class Known : char { nothing, in_progress, empty, not_empty };

    bool may_be_empty(uint32_t rule, size_t depth) {
        if (known_[rule] == Known::in_progress || depth > max_leftmost) {
            endless_ = endless_ ? endless_ : rule;
        }
        if (known_[rule] != Known::nothing || endless_) {
            return known_[rule] == Known::empty;
        }
        known_[rule] = Known::in_progress;
        bool empty = false, so_far = true; // so_far: of the alternative
        for (const llama_grammar_element & element : rules_[rule]) {
            if (is_end(element)) {
                empty = empty || so_far;
                so_far = true;
            } else {
                so_far = so_far && element.type == LLAMA_GRETYPE_RULE_REF && may_be_empty(element.value, depth + 1);
            }
        }
        known_[rule] = empty ? Known::empty : Known::not_empty;
        return empty;
    }

    const llama_grammar_rules & rules_;
    std::vector<Known> known_;
    std::optional<uint32_t> endless_;
};

// What begins with the start rule's alternatives.
llama_grammar_stacks first_stacks(const llama_grammar_rules & rules, uint32_t root) {
    llama_grammar_stacks stacks;
    const llama_grammar_element * at = rules[root].data();
    while (true) {
        llama_grammar_stack stack;
        if (!is_end(*at)) {
            stack.push_back(at);
        }
        llama_grammar_advance_stack(rules, stack, stacks);
        while (!is_end(*at)) {
            at++;
        }
        if (at->type == LLAMA_GRETYPE_END) {
            return stacks;
        }
        at++;
    }
}

} // namespace

// llama.cpp asks (EDITS in llm_build.py): so many stacks have been looked at to go on by one character, the last of this
// depth; none: all tokens that are left are to be compared with another stack.
bool grammar_goes_on(size_t stacks, size_t depth) {
    static uint32_t questions = 0;
    bool look_at_counter = stacks == 0 || ++questions % 64 == 0; // a stack takes little, the model's tokens take much
    step_is_too_much = step_is_too_much || stacks > max_stacks || stacks * depth > max_held ||
                       (look_at_counter && static_cast<uint64_t>(ic0_performance_counter(0)) > step_ends);
    return !step_is_too_much;
}

Grammar::Grammar(const std::string & text, uint64_t step_instructions, std::optional<std::string> & problem)
    : step_instructions_(step_instructions) {
    Reader reader(text);
    problem = reader.read();
    if (problem) {
        return;
    }
    if (std::optional<uint32_t> rule = Beginnings(reader.rules).endless()) {
        problem = "the grammar's rule " + reader.name(*rule) +
                  " begins with itself, or with too many others (left recursion): put something else first";
        return;
    }
    names_tokens_ = reader.names_tokens;
    automaton_.reset(new llama_grammar{model::vocab(), std::move(reader.rules), {}, {}});
    begin_step();
    automaton_->stacks = first_stacks(automaton_->rules, reader.root());
    if (step_is_too_much) {
        problem = "the grammar has too many ways to begin";
    }
}

Grammar::~Grammar() = default;

void Grammar::begin_step() {
    step_ends = static_cast<uint64_t>(ic0_performance_counter(0)) + step_instructions_;
    step_is_too_much = false;
}

bool Grammar::accept(llama_token token) {
    if (llama_vocab_is_eog(model::vocab(), token) && may_end()) {
        ended_ = true;
        return true;
    }
    if (ended_ || !allows(token)) {
        return false;
    }
    llama_grammar_accept_token(*automaton_, token, model::vocab()->token_to_piece(token));
    step_is_too_much = step_is_too_much || automaton_->stacks.size() > max_stacks;
    return !step_is_too_much;
}

bool Grammar::allows(llama_token token) const {
    llama_token_data one{token, 0.0f, 0.0f};
    llama_token_data_array candidates{&one, 1, -1, false};
    constrain(candidates);
    return candidates.size == 1;
}

void Grammar::constrain(llama_token_data_array & candidates) const {
    constexpr int hidden = LLAMA_TOKEN_ATTR_CONTROL | LLAMA_TOKEN_ATTR_UNKNOWN; // they do not show in the text
    const llama_vocab * vocab = model::vocab();
    std::array<bool, 256> possible = possible_beginnings(); // llama.cpp takes the characters of all tokens apart
    keep(candidates, [&](const llama_token_data & one) {
        const std::string & piece = vocab->token_to_piece(one.id);
        bool shows = names_tokens_ || !(llama_vocab_get_attr(vocab, one.id) & hidden);
        bool fits = shows && !piece.empty() && possible[static_cast<unsigned char>(piece[0])];
        return one.logit != -INFINITY && (fits || llama_vocab_is_eog(vocab, one.id));
    });
    llama_grammar_apply_impl(*automaton_, &candidates);
    keep(candidates, [](const llama_token_data & one) { return one.logit != -INFINITY; });
}

std::array<bool, 256> Grammar::possible_beginnings() const {
    constexpr uint32_t ascii = 128;
    std::array<bool, 256> possible;
    possible.fill(true);
    if (names_tokens_ || automaton_->partial_utf8.n_remain != 0) {
        return possible;
    }
    std::array<std::array<uint32_t, 2>, ascii> texts; // of one character, with the 0 that ends it
    llama_grammar_candidates impossible;
    for (uint32_t c = 1; c < ascii; c++) {
        texts[c] = {c, 0};
        impossible.push_back({c, texts[c].data(), {}, 0});
    }
    for (const llama_grammar_stack & stack : automaton_->stacks) {
        impossible = llama_grammar_reject_candidates_for_stack(automaton_->rules, stack, impossible);
    }
    for (const llama_grammar_candidate & one : impossible) {
        possible[one.index] = false;
    }
    return possible;
}

bool Grammar::may_end() const {
    return std::any_of(automaton_->stacks.begin(), automaton_->stacks.end(), [](auto & stack) { return stack.empty(); });
}

bool Grammar::is_over() const {
    return ended_ ||
           std::all_of(automaton_->stacks.begin(), automaton_->stacks.end(), [](auto & stack) { return stack.empty(); });
}

bool Grammar::too_much() const { return step_is_too_much; }
