#include "run.h"

#include "candid.h"
#include "grammar.h"
#include "ic0.h"
#include "model.h"
#include "session.h"
#include "trap.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <memory>

namespace {

constexpr size_t context_reserve = 4; // tokens of the context that a prompt leaves free, as in llama.cpp
constexpr size_t first_batch = 8;     // evaluated before the cost of a token is known
constexpr uint64_t instructions_per_output_weight = 2; // quantized ones take fewer
constexpr uint64_t grammar_share = 10; // a step of a grammar may take this part of a call's instructions

// ---- text ----

std::string piece(llama_token token, bool special) {
    std::string text(32, 0);
    int32_t size = llama_token_to_piece(model::vocab(), token, text.data(), static_cast<int32_t>(text.size()), 0, special);
    if (size < 0) {
        text.resize(static_cast<size_t>(-size));
        size = llama_token_to_piece(model::vocab(), token, text.data(), static_cast<int32_t>(text.size()), 0, special);
    }
    text.resize(static_cast<size_t>(std::max(size, 0)));
    return text;
}

std::vector<llama_token> tokenize(const std::string & text) {
    std::vector<llama_token> tokens(text.size() + 8);
    int32_t size = static_cast<int32_t>(text.size()), room = static_cast<int32_t>(tokens.size());
    int32_t count = llama_tokenize(model::vocab(), text.data(), size, tokens.data(), room, true, true);
    if (count < 0) {
        tokens.resize(static_cast<size_t>(-count));
        count = llama_tokenize(model::vocab(), text.data(), size, tokens.data(), -count, true, true);
    }
    tokens.resize(static_cast<size_t>(std::max(count, 0)));
    return tokens;
}

// Tokens that a prompt may have.
size_t prompt_room() { return model::n_ctx() - std::min<size_t>(context_reserve, model::n_ctx()); }

// Bytes at the end of `text` that begin a character but do not finish it: 0 to 3.
size_t unfinished_character(const std::string & text) {
    for (size_t back = 1; back <= 3 && back <= text.size(); back++) {
        auto c = static_cast<unsigned char>(text[text.size() - back]);
        if ((c & 0xc0) != 0x80) {
            size_t length = c >= 0xf0 ? 4 : c >= 0xe0 ? 3 : c >= 0xc0 ? 2 : 1;
            return length > back ? back : 0;
        }
    }
    return 0;
}

// Bytes at the end of `text` that may be the beginning of a stop.
size_t begun_stop(const std::string & text, const std::vector<std::string> & stops) {
    size_t longest = 0;
    for (const std::string & stop : stops) {
        for (size_t size = std::min(stop.size() - 1, text.size()); size > longest; size--) {
            if (text.compare(text.size() - size, size, stop, 0, size) == 0) {
                longest = size;
            }
        }
    }
    return longest;
}

// A model may generate any bytes; what is not UTF-8 becomes U+FFFD.
std::string as_utf8(const std::string & bytes) {
    if (candid::is_utf8(bytes)) {
        return bytes;
    }
    std::string out;
    for (size_t i = 0; i < bytes.size();) {
        size_t length = 1;
        while (length < 4 && i + length <= bytes.size() && !candid::is_utf8({&bytes[i], length})) {
            length++;
        }
        bool good = length <= 4 && i + length <= bytes.size() && candid::is_utf8({&bytes[i], length});
        out += good ? bytes.substr(i, length) : "\xEF\xBF\xBD";
        i += good ? length : 1;
    }
    return out;
}

std::string text_of(const llama_token * first, const llama_token * last, bool special) {
    std::string text;
    for (; first != last; first++) {
        text += piece(*first, special);
    }
    return as_utf8(text);
}

// ---- choosing the next token ----

struct SamplerFreer {
    void operator()(llama_sampler * sampler) { llama_sampler_free(sampler); }
};

uint64_t mixed(uint64_t value) { // splitmix64
    value += 0x9e3779b97f4a7c15u;
    value = (value ^ (value >> 30)) * 0xbf58476d1ce4e5b9u;
    value = (value ^ (value >> 27)) * 0x94d049bb133111ebu;
    return value ^ (value >> 31);
}

// llama.cpp's samplers. Chance comes from seed and position alone, so that a text does not depend on how it is cut into
// calls. (Mirostat has a memory of its own, which ends with the call.)
class Sampler {
public:
    explicit Sampler(const Arguments & arguments) : arguments_(arguments) {
        seed_ = arguments.seed == UINT32_MAX ? static_cast<uint64_t>(ic0_time()) : arguments.seed;
        n_vocab_ = static_cast<size_t>(llama_vocab_n_tokens(model::vocab()));
        if (arguments.mirostat > 0) {
            samplers_.push_back({SamplerType::temperature, made(SamplerType::temperature)});
            return;
        }
        for (SamplerType type : arguments.samplers) {
            if (has_effect(type)) {
                samplers_.push_back({type, made(type)});
            }
        }
    }

    void accept(llama_token token) {
        for (auto & [type, sampler] : samplers_) {
            llama_sampler_accept(sampler.get(), token);
        }
    }

    // With a grammar as llama.cpp does it: among all tokens, and again among those that are allowed if the grammar does not
    // allow the first one. LLAMA_TOKEN_NULL: it allows none.
    llama_token choose(size_t position, const Grammar * grammar) {
        llama_token token = choose_among(nullptr, position);
        return !grammar || grammar->allows(token) ? token : choose_among(grammar, ~position); // other dice
    }

private:
    using Made = std::unique_ptr<llama_sampler, SamplerFreer>;

    llama_token choose_among(const Grammar * grammar, size_t position) {
        load_logits();
        llama_token_data_array candidates{candidates_.data(), candidates_.size(), -1, false};
        if (grammar) {
            grammar->constrain(candidates);
        }
        if (candidates.size == 0) {
            return LLAMA_TOKEN_NULL;
        }
        for (auto & [type, sampler] : samplers_) {
            if (type == SamplerType::xtc) {
                sampler = xtc(position); // it throws dice
            }
            llama_sampler_apply(sampler.get(), &candidates);
        }
        if (greedy()) {
            return most_likely(candidates);
        }
        return arguments_.mirostat > 0 ? by_mirostat(candidates, position) : by_chance(candidates, position);
    }

    bool wanted(SamplerType type) const {
        return std::find(arguments_.samplers.begin(), arguments_.samplers.end(), type) != arguments_.samplers.end();
    }

    bool greedy() const {
        return arguments_.temp <= 0 && (arguments_.mirostat > 0 || wanted(SamplerType::temperature));
    }

    // Samplers that are switched off cost time; so do those that leave the likeliest token the likeliest when it is
    // the one that is taken.
    bool has_effect(SamplerType type) const {
        switch (type) {
            case SamplerType::penalties: return true;
            case SamplerType::dry: return arguments_.dry_multiplier > 0 && arguments_.dry_penalty_last_n != 0;
            case SamplerType::typical_p: return arguments_.typical_p < 1;
            case SamplerType::xtc: return arguments_.xtc_probability > 0 && arguments_.xtc_threshold <= 0.5f;
            case SamplerType::top_n_sigma: return arguments_.top_n_sigma > 0 && !greedy();
            default: return !greedy();
        }
    }

    Made made(SamplerType type) const {
        const Arguments & a = arguments_;
        auto n_ctx = static_cast<int32_t>(model::n_ctx());
        switch (type) {
            case SamplerType::penalties:
                return Made(llama_sampler_init_penalties(static_cast<int32_t>(n_vocab_),
                                                         a.repeat_last_n < 0 ? n_ctx : a.repeat_last_n, a.repeat_penalty,
                                                         a.frequency_penalty, a.presence_penalty));
            case SamplerType::dry: return dry(a.dry_penalty_last_n < 0 ? n_ctx : a.dry_penalty_last_n);
            case SamplerType::top_n_sigma: return Made(llama_sampler_init_top_n_sigma(a.top_n_sigma));
            case SamplerType::top_k: return Made(llama_sampler_init_top_k(a.top_k));
            case SamplerType::typical_p: return Made(llama_sampler_init_typical(a.typical_p, 1));
            case SamplerType::top_p: return Made(llama_sampler_init_top_p(a.top_p, 1));
            case SamplerType::min_p: return Made(llama_sampler_init_min_p(a.min_p, 1));
            case SamplerType::xtc: return xtc(0);
            case SamplerType::temperature: break;
        }
        return Made(a.dynatemp_range > 0
                        ? llama_sampler_init_temp_ext(a.temp, a.dynatemp_range, a.dynatemp_exponent)
                        : llama_sampler_init_temp(a.temp));
    }

    Made dry(int32_t last_n) const {
        static const std::vector<std::string> usual = {"\n", ":", "\"", "*"};
        std::vector<const char *> breakers;
        for (const std::string & breaker : arguments_.dry_breakers ? *arguments_.dry_breakers : usual) {
            breakers.push_back(breaker.c_str());
        }
        return Made(llama_sampler_init_dry(model::vocab(), arguments_.dry_multiplier, arguments_.dry_base,
                                           arguments_.dry_allowed_length, last_n, breakers.data(), breakers.size()));
    }

    Made xtc(size_t position) const {
        return Made(llama_sampler_init_xtc(arguments_.xtc_probability, arguments_.xtc_threshold, 1, dice(position)));
    }

    // The seed of what throws dice of its own at a position, other dice than `by_chance` has.
    uint32_t dice(size_t position) const { return static_cast<uint32_t>(mixed(mixed(~seed_) ^ position)); }

    llama_token by_mirostat(llama_token_data_array & candidates, size_t position) {
        if (!mirostat_) {
            constexpr int32_t considered = 100; // tokens, as in llama.cpp
            uint32_t seed = dice(position);
            float tau = arguments_.mirostat_tau, eta = arguments_.mirostat_eta;
            mirostat_.reset(arguments_.mirostat == 1
                                ? llama_sampler_init_mirostat(static_cast<int32_t>(n_vocab_), seed, tau, eta, considered)
                                : llama_sampler_init_mirostat_v2(seed, tau, eta));
        }
        llama_sampler_apply(mirostat_.get(), &candidates);
        return candidates.data[candidates.selected].id;
    }

    void load_logits() {
        const float * logits = llama_get_logits_ith(model::context(), -1);
        candidates_.resize(n_vocab_);
        for (size_t i = 0; i < n_vocab_; i++) {
            candidates_[i] = {static_cast<llama_token>(i), logits[i], 0.0f};
        }
        for (auto [token, bias] : arguments_.logit_bias) {
            if (static_cast<size_t>(token) < n_vocab_) {
                candidates_[static_cast<size_t>(token)].logit += bias;
            }
        }
        int32_t n_suppressed = 0;
        const llama_token * suppressed = llama_vocab_get_suppress_tokens(model::vocab(), &n_suppressed);
        for (int32_t i = 0; i < n_suppressed; i++) {
            candidates_[static_cast<size_t>(suppressed[i])].logit = -INFINITY;
        }
        for (size_t i = 0; arguments_.ignore_eos && i < n_vocab_; i++) {
            if (llama_vocab_is_eog(model::vocab(), static_cast<llama_token>(i))) {
                candidates_[i].logit = -INFINITY;
            }
        }
    }

    static llama_token most_likely(const llama_token_data_array & candidates) {
        return std::max_element(candidates.data, candidates.data + candidates.size,
                                [](auto & a, auto & b) { return a.logit < b.logit; })
            ->id;
    }

    llama_token by_chance(const llama_token_data_array & candidates, size_t position) const {
        float highest = -INFINITY;
        for (size_t i = 0; i < candidates.size; i++) {
            highest = std::max(highest, candidates.data[i].logit);
        }
        double total = 0;
        for (size_t i = 0; i < candidates.size; i++) {
            candidates.data[i].p = std::exp(candidates.data[i].logit - highest);
            total += candidates.data[i].p;
        }
        double rest = total * static_cast<double>(mixed(mixed(seed_) ^ position) >> 11) / 9007199254740992.0; // 2^53
        for (size_t i = 0; i < candidates.size; i++) {
            rest -= candidates.data[i].p;
            if (rest < 0) {
                return candidates.data[i].id;
            }
        }
        return most_likely(candidates);
    }

    const Arguments & arguments_;
    uint64_t seed_;
    size_t n_vocab_;
    std::vector<std::pair<SamplerType, Made>> samplers_;
    Made mirostat_;
    std::vector<llama_token_data> candidates_;
};

// ---- evaluating tokens, within what a call may cost ----

uint64_t instructions() { return static_cast<uint64_t>(ic0_performance_counter(0)); }

// Evaluate tokens at the positions from `position` on; logits of the last one if wanted. 0 on success, else llama.cpp's code.
int32_t evaluate(const llama_token * tokens, size_t count, size_t position, bool logits) {
    llama_batch batch = llama_batch_init(static_cast<int32_t>(count), 0, 1);
    batch.n_tokens = static_cast<int32_t>(count);
    for (size_t i = 0; i < count; i++) {
        batch.token[i] = tokens[i];
        batch.pos[i] = static_cast<llama_pos>(position + i);
        batch.n_seq_id[i] = 1;
        batch.seq_id[i][0] = 0;
        batch.logits[i] = logits && i + 1 == count;
    }
    int32_t code = llama_decode(model::context(), batch);
    llama_batch_free(batch);
    return code;
}

class Budget {
public:
    Budget(const RunLimits & limits, bool has_grammar) : limits_(limits) {
        // What comes after the tokens: the last one's logits, choosing from them, saving. The logits are a product with
        // a matrix of this size.
        uint64_t output_layer = static_cast<uint64_t>(llama_vocab_n_tokens(model::vocab())) * model::n_embd();
        reserve_ = limits.instructions / 20 + output_layer * instructions_per_output_weight;
        reserve_ += has_grammar ? limits.instructions / grammar_share : 0; // following the text, and the next token
    }

    // How many of `wanted` tokens may be evaluated at once now; 0: the call must end.
    size_t allowed(size_t wanted) const {
        uint64_t left = limits_.max_tokens == 0 ? wanted : limits_.max_tokens - std::min(limits_.max_tokens, used_);
        left = std::min<uint64_t>({left, wanted, model::n_batch()});
        if (per_token_ == 0) {
            return std::min<uint64_t>(left, first_batch);
        }
        uint64_t spent = instructions() + reserve_;
        uint64_t affordable = spent < limits_.instructions ? (limits_.instructions - spent) / per_token_ : 0;
        return std::min(left, affordable);
    }

    // Call with instructions() as it was before `count` tokens were evaluated.
    void spend(size_t count, uint64_t instructions_before) {
        used_ += count;
        per_token_ = std::max(per_token_, (instructions() - instructions_before) / count);
    }

    uint64_t used() const { return used_; }

private:
    RunLimits limits_;
    uint64_t used_ = 0;
    uint64_t per_token_ = 0; // instructions, the most seen
    uint64_t reserve_;       // instructions
};

RunResult failed(uint16_t status, std::string error) {
    RunResult result;
    result.status = status;
    result.error = std::move(error);
    return result;
}

// ---- the call ----

class Call {
public:
    Call(const Arguments & arguments, Grammar * grammar, const std::string & cache_file, const RunLimits & limits)
        : arguments_(arguments), grammar_(grammar),
          cache_file_(arguments.cache_read_only || !limits.keeps ? "" : cache_file), budget_(limits, grammar),
          sampler_(arguments), may_continue_(!cache_file_.empty() && arguments.cache_all) {}

    RunResult run(Session session) {
        session_ = std::move(session);
        if (std::optional<RunResult> result = take_prompt()) {
            return *result;
        }
        n_read_before_ = std::min(session_.n_past, session_.n_prompt);
        session::leave_context();
        for (size_t i = 0; i < session_.n_past; i++) {
            sampler_.accept(session_.tokens[i]);
        }
        while (session_.n_past < session_.tokens.size()) {
            size_t count = budget_.allowed(session_.tokens.size() - session_.n_past);
            if (count == 0) {
                break;
            }
            if (!evaluate_next(count)) {
                return failure();
            }
        }
        bool prompt_done = session_.n_past == session_.tokens.size();
        if (!cache_file_.empty() && !arguments_.cache_all) {
            session::save(cache_file_, session_);
            session::leave_context(); // what follows is not kept
        }
        if (prompt_done && !generate()) {
            return failure();
        }
        return finish(prompt_done);
    }

private:
    // Make the session's tokens the prompt, keeping the state of what they have in common; the result if the call ends
    // with that.
    std::optional<RunResult> take_prompt() {
        size_t n_keep = session_.n_past;
        if (!arguments_.prompt.empty() || session_.tokens.empty()) {
            std::vector<llama_token> prompt = tokenize(arguments_.prompt);
            size_t room = prompt_room();
            if (prompt.empty()) {
                return failed(400, "there is nothing to go on from: no prompt, and nothing in the prompt cache");
            }
            if (prompt.size() > room) {
                return failed(413, "the prompt is too long: " + std::to_string(prompt.size()) + " tokens, the context of " +
                                       std::to_string(model::n_ctx()) + " has room for " + std::to_string(room) +
                                       ". Shorten it, or use a larger --ctx-size");
            }
            auto differing = std::mismatch(prompt.begin(), prompt.end(), session_.tokens.begin(), session_.tokens.end());
            n_keep = std::min<size_t>(n_keep, static_cast<size_t>(differing.first - prompt.begin()));
            session_.tokens = std::move(prompt);
            session_.n_prompt = session_.tokens.size();
            session_.held.clear();
        } else if (session_.tokens.size() > model::n_ctx()) {
            return ended();
        }
        n_keep = std::min(n_keep, session_.tokens.size() - 1); // the last one is evaluated, for its logits
        if (session_.n_past > n_keep) {
            session::rewind(session_, n_keep);
        }
        return std::nullopt;
    }

    bool evaluate_next(size_t count) {
        uint64_t before = instructions();
        const llama_token * next = session_.tokens.data() + session_.n_past;
        bool last = session_.n_past + count == session_.tokens.size();
        int32_t code = evaluate(next, count, session_.n_past, last);
        if (code != 0) {
            error_ = "llama.cpp could not evaluate " + std::to_string(count) + " tokens at " +
                     std::to_string(session_.n_past) + ": code " + std::to_string(code);
            return false;
        }
        for (size_t i = 0; i < count; i++) {
            sampler_.accept(next[i]);
        }
        session_.n_past += count;
        budget_.spend(count, before);
        return true;
    }

    bool generate() {
        text_ = session_.held;
        bool unlimited = arguments_.n_predict < 0;
        if (grammar_ && !follow_grammar()) {
            return false;
        }
        for (int64_t generated = 0; !ended_ && (unlimited || generated < arguments_.n_predict);) {
            llama_token token = sampler_.choose(session_.tokens.size(), grammar_);
            if (grammar_ && !go_on_in_grammar(token)) {
                return ended_;
            }
            session_.tokens.push_back(token);
            generated = static_cast<int64_t>(++n_generated_);
            bool end_token = llama_vocab_is_eog(model::vocab(), token);
            ended_ = end_token || ended_;
            if (!end_token || arguments_.special) {
                text_ += piece(token, arguments_.special);
            }
            ended_ = cut_at_stop(token) || ended_;
            ended_ = session_.tokens.size() > model::n_ctx() || ended_; // a full context ends the text
            bool enough = !unlimited && generated >= arguments_.n_predict;
            if (ended_ || enough || budget_.allowed(1) == 0) {
                break;
            }
            if (!evaluate_next(1)) {
                return false;
            }
        }
        return true;
    }

    // Where the text generated by earlier calls has led to; false if that is nowhere.
    bool follow_grammar() {
        grammar_->begin_step();
        auto generated = session_.tokens.begin() + static_cast<ptrdiff_t>(std::min(session_.n_prompt, session_.tokens.size()));
        if (!std::all_of(generated, session_.tokens.end(), [&](llama_token token) { return grammar_->accept(token); })) {
            return refuse(grammar_->too_much() ? too_ambiguous
                                               : "the text so far is not one that the grammar allows: give the same "
                                                 "grammar in each call of an answer");
        }
        ended_ = grammar_->is_over();
        return true; // the next token belongs to the same step
    }

    // False if the text cannot go on by this token: it has ended, or the call fails.
    bool go_on_in_grammar(llama_token token) {
        bool accepted = token != LLAMA_TOKEN_NULL && grammar_->accept(token);
        if (grammar_->too_much()) {
            return refuse(too_ambiguous);
        }
        ended_ = accepted ? grammar_->is_over() : grammar_->may_end();
        if (!accepted && !ended_) {
            return refuse("the grammar allows nothing here that the model's tokens can write, after '" + as_utf8(text_) + "'");
        }
        grammar_->begin_step();
        return accepted;
    }

    bool refuse(const std::string & why) {
        failed_with_ = 400;
        error_ = why;
        return false;
    }

    bool cut_at_stop(llama_token token) {
        size_t first = std::string::npos;
        for (const std::string & stop : arguments_.stops) {
            first = std::min(first, text_.find(stop));
        }
        if (first != std::string::npos) {
            text_.resize(first);
            return true;
        }
        if (arguments_.stops.empty() || !llama_vocab_is_control(model::vocab(), token)) {
            return false;
        }
        std::string name = piece(token, true); // a control token is no text, but may be named as a stop
        return std::find(arguments_.stops.begin(), arguments_.stops.end(), name) != arguments_.stops.end();
    }

    RunResult finish(bool prompt_done) {
        size_t hold = 0;
        if (prompt_done && !ended_ && may_continue_) {
            hold = std::max(unfinished_character(text_), begun_stop(text_, arguments_.stops));
        }
        if (prompt_done) {
            session_.held = text_.substr(text_.size() - hold);
        }
        if (may_continue_) {
            session::save(cache_file_, session_);
        }
        RunResult result = described();
        result.output = as_utf8(text_.substr(0, text_.size() - hold));
        result.generated_eog = ended_;
        return result;
    }

    // Nothing can be added: the context was full at the end of an earlier call.
    RunResult ended() const {
        RunResult result;
        result.conversation = text_of(session_.tokens.data(), session_.tokens.data() + session_.tokens.size(),
                                      arguments_.special);
        result.generated_eog = true;
        return result;
    }

    RunResult failure() {
        session::leave_context();
        RunResult result = described();
        result.status = failed_with_;
        result.error = error_;
        return result;
    }

    RunResult described() const {
        const llama_token * tokens = session_.tokens.data();
        const llama_token * known = n_generated_ > 0 ? tokens + session_.tokens.size() : tokens + session_.n_past;
        RunResult result;
        result.conversation = text_of(tokens, known, arguments_.special);
        result.prompt_remaining = text_of(known, tokens + session_.tokens.size(), true);
        result.n_evaluated = budget_.used();
        result.n_prompt = std::min(session_.n_past, session_.n_prompt) - n_read_before_;
        result.n_generated = n_generated_;
        return result;
    }

    static constexpr const char * too_ambiguous =
        "the grammar is too ambiguous: a text can follow it in more ways than a call can look at. Write it so that the next "
        "characters tell which alternative it is";

    const Arguments & arguments_;
    Grammar * grammar_; // nullptr: any text
    std::string cache_file_;
    Budget budget_;
    Sampler sampler_;
    bool may_continue_;
    Session session_;
    std::string text_; // generated
    std::string error_;
    uint16_t failed_with_ = 500;
    bool ended_ = false;
    size_t n_read_before_ = 0; // tokens of the prompt
    uint64_t n_generated_ = 0;
};

} // namespace

// The context that a call wants: what it does not say is as the model was loaded, whatever the call before wanted.
static std::optional<std::string> have_context(const Arguments & arguments) {
    const model::Settings &usual = model::settings(), &present = model::context_settings();
    uint32_t n_ctx = arguments.n_ctx.value_or(0) ? *arguments.n_ctx : usual.n_ctx;
    ggml_type type_k = arguments.type_k.value_or(usual.type_k);
    if (n_ctx == present.n_ctx && type_k == present.type_k) {
        return std::nullopt;
    }
    session::leave_context();
    return model::change_context(n_ctx, type_k);
}

RunResult run(const Arguments & arguments, const std::string & cache_file, const RunLimits & limits) {
    std::optional<std::string> problem = have_context(arguments);
    std::optional<Grammar> grammar;
    if (!problem && !arguments.grammar.empty()) {
        grammar.emplace(arguments.grammar, limits.instructions / grammar_share, problem);
    }
    if (problem) {
        return failed(400, *problem);
    }
    Session session = session::open(cache_file, problem);
    if (problem) {
        return failed(409, *problem);
    }
    return Call(arguments, grammar ? &*grammar : nullptr, cache_file, limits).run(std::move(session));
}

PromptSize measure_prompt(const std::string & prompt) { return {tokenize(prompt).size(), prompt_room()}; }

TokenCost measure_token_cost() {
    constexpr size_t n_prompt = 16;
    if (std::optional<std::string> problem = have_context({})) {
        trap(*problem);
    }
    session::leave_context();
    llama_memory_t memory = llama_get_memory(model::context());
    llama_memory_clear(memory, false);
    std::vector<llama_token> tokens(2 * n_prompt, llama_vocab_n_tokens(model::vocab()) / 2);
    auto cost = [&](size_t position, size_t count, bool logits) {
        uint64_t before = instructions();
        if (evaluate(tokens.data() + position, count, position, logits) != 0) {
            trap("llama.cpp could not evaluate the tokens to measure with");
        }
        return instructions() - before;
    };
    uint64_t one = cost(0, 1, false);
    uint64_t many = cost(1, n_prompt, false);
    uint64_t generated = cost(1 + n_prompt, 1, true);
    Arguments usual;
    uint64_t before = instructions();
    Sampler(usual).choose(0, nullptr);
    generated += instructions() - before;
    llama_memory_clear(memory, false);
    uint64_t prompt = (many - std::min(many, one)) / (n_prompt - 1);
    return {prompt, generated, one - std::min(one, prompt)};
}
