#include "arguments.h"

#include <cerrno>
#include <cmath>
#include <cstdlib>
#include <functional>
#include <map>

namespace {

using Problem = std::optional<std::string>;
using Setter = std::function<bool(Arguments &, const std::string &)>; // false: not a value this argument takes

bool to_integer(const std::string & text, long long low, long long high, long long & value) {
    char * end = nullptr;
    errno = 0;
    value = std::strtoll(text.c_str(), &end, 10);
    return !text.empty() && *end == 0 && errno == 0 && value >= low && value <= high;
}

Setter integer(int32_t Arguments::* field, long long low = INT32_MIN) {
    return [=](Arguments & arguments, const std::string & text) {
        long long value;
        bool good = to_integer(text, low, INT32_MAX, value);
        arguments.*field = good ? static_cast<int32_t>(value) : arguments.*field;
        return good;
    };
}

Setter number(float Arguments::* field, float low, float high) {
    return [=](Arguments & arguments, const std::string & text) {
        char * end = nullptr;
        float value = std::strtof(text.c_str(), &end);
        bool good = !text.empty() && *end == 0 && std::isfinite(value) && value >= low && value <= high;
        arguments.*field = good ? value : arguments.*field;
        return good;
    };
}

Setter string(std::string Arguments::* field) {
    return [=](Arguments & arguments, const std::string & text) {
        arguments.*field = text;
        return true;
    };
}

bool set_seed(Arguments & arguments, const std::string & text) {
    long long value;
    bool good = to_integer(text, -1, UINT32_MAX, value);
    arguments.seed = static_cast<uint32_t>(value);
    return good;
}

bool set_n_ctx(Arguments & arguments, const std::string & text) {
    long long value;
    bool good = to_integer(text, 0, 1 << 20, value);
    arguments.n_ctx = static_cast<uint32_t>(value);
    return good;
}

bool set_weights_per_message(Arguments & arguments, const std::string & text) {
    long long value;
    bool good = to_integer(text, 4096, max_weights_per_message, value);
    arguments.weights_per_message = static_cast<uint32_t>(value);
    return good;
}

bool set_type_k(Arguments & arguments, const std::string & text) {
    for (ggml_type type : {GGML_TYPE_F32, GGML_TYPE_F16, GGML_TYPE_Q8_0}) {
        if (text == ggml_type_name(type)) {
            arguments.type_k = type;
            return true;
        }
    }
    return false;
}

bool add_stop(Arguments & arguments, const std::string & text) {
    if (!text.empty()) {
        arguments.stops.push_back(text);
    }
    return true;
}

const float no_limit = 1e9f;

const std::map<std::string, Setter> & with_value() {
    static const std::map<std::string, Setter> setters = {
        {"-m", string(&Arguments::model)},
        {"--model", string(&Arguments::model)},
        {"-p", string(&Arguments::prompt)},
        {"--prompt", string(&Arguments::prompt)},
        {"--prompt-cache", string(&Arguments::prompt_cache)},
        {"--log-file", string(&Arguments::log_file)},
        {"-r", add_stop},
        {"--reverse-prompt", add_stop},
        {"-c", set_n_ctx},
        {"--ctx-size", set_n_ctx},
        {"-ctk", set_type_k},
        {"--cache-type-k", set_type_k},
        {"--weights-per-message", set_weights_per_message},
        {"-n", integer(&Arguments::n_predict, -2)},
        {"--predict", integer(&Arguments::n_predict, -2)},
        {"--n-predict", integer(&Arguments::n_predict, -2)},
        {"-s", set_seed},
        {"--seed", set_seed},
        {"--temp", number(&Arguments::temp, 0, 100)},
        {"--temperature", number(&Arguments::temp, 0, 100)},
        {"--top-k", integer(&Arguments::top_k)},
        {"--top-p", number(&Arguments::top_p, 0, 1)},
        {"--min-p", number(&Arguments::min_p, 0, 1)},
        {"--repeat-penalty", number(&Arguments::repeat_penalty, 1e-6f, no_limit)},
        {"--presence-penalty", number(&Arguments::presence_penalty, -no_limit, no_limit)},
        {"--frequency-penalty", number(&Arguments::frequency_penalty, -no_limit, no_limit)},
        {"--repeat-last-n", integer(&Arguments::repeat_last_n, -1)},
    };
    return setters;
}

const std::map<std::string, std::function<void(Arguments &)>> & flags() {
    const auto nothing = [](Arguments &) {}; // concerns the terminal or machine that a canister does not have
    static const std::map<std::string, std::function<void(Arguments &)>> setters = {
        {"--prompt-cache-all", [](Arguments & a) { a.cache_all = true; }},
        {"--prompt-cache-ro", [](Arguments & a) { a.cache_read_only = true; }},
        {"-sp", [](Arguments & a) { a.special = true; }},
        {"--special", [](Arguments & a) { a.special = true; }},
        {"--ignore-eos", [](Arguments & a) { a.ignore_eos = true; }},
        {"-e", [](Arguments & a) { a.escape = true; }},
        {"--escape", [](Arguments & a) { a.escape = true; }},
        {"--no-escape", [](Arguments & a) { a.escape = false; }},
        {"--simple-io", nothing},
        {"--no-display-prompt", nothing},
        {"-no-cnv", nothing},
        {"--no-conversation", nothing},
        {"--no-warmup", nothing},
        {"--no-mmap", nothing},
    };
    return setters;
}

int hex_digit(char c) {
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

// As llama.cpp does with prompt and reverse prompts: \n \r \t \' \" \\ and \x followed by two digits; others stay.
std::string without_escapes(const std::string & text) {
    static const std::map<char, char> simple = {{'n', '\n'}, {'r', '\r'}, {'t', '\t'},
                                                {'\'', '\''}, {'"', '"'}, {'\\', '\\'}};
    std::string out;
    for (size_t i = 0; i < text.size(); i++) {
        bool more = text[i] == '\\' && i + 1 < text.size();
        auto found = more ? simple.find(text[i + 1]) : simple.end();
        if (found != simple.end()) {
            out.push_back(found->second);
            i++;
        } else if (more && text[i + 1] == 'x' && i + 3 < text.size() && hex_digit(text[i + 2]) >= 0 &&
                   hex_digit(text[i + 2]) < 8 && hex_digit(text[i + 3]) >= 0) { // below 0x80: it stays UTF-8
            out.push_back(static_cast<char>(hex_digit(text[i + 2]) * 16 + hex_digit(text[i + 3])));
            i += 3;
        } else {
            out.push_back(text[i]);
        }
    }
    return out;
}

} // namespace

std::optional<std::string> parse(const std::vector<std::string> & args, Arguments & into) {
    for (size_t i = 0; i < args.size(); i++) {
        const std::string & name = args[i];
        if (auto flag = flags().find(name); flag != flags().end()) {
            flag->second(into);
            continue;
        }
        auto setter = with_value().find(name);
        if (setter == with_value().end()) {
            return "unknown argument '" + name + "'";
        }
        if (++i == args.size()) {
            return "the argument " + name + " wants a value after it";
        }
        if (!setter->second(into, args[i])) {
            return "the argument " + name + " cannot be '" + args[i] + "'";
        }
    }
    if (into.escape) {
        into.prompt = without_escapes(into.prompt);
        for (std::string & stop : into.stops) {
            stop = without_escapes(stop);
        }
    }
    return std::nullopt;
}
