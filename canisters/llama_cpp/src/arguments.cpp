#include "arguments.h"

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstdlib>
#include <functional>
#include <map>
#include <string_view>

namespace {

using Problem = std::optional<std::string>;
using Setter = std::function<bool(Arguments &, const std::string &)>; // false: not a value this argument takes

bool to_integer(const std::string & text, long long low, long long high, long long & value) {
    char * end = nullptr;
    errno = 0;
    value = std::strtoll(text.c_str(), &end, 10);
    return !text.empty() && *end == 0 && errno == 0 && value >= low && value <= high;
}

Setter integer(int32_t Arguments::* field, long long low = INT32_MIN, long long high = INT32_MAX) {
    return [=](Arguments & arguments, const std::string & text) {
        long long value;
        bool good = to_integer(text, low, high, value);
        arguments.*field = good ? static_cast<int32_t>(value) : arguments.*field;
        return good;
    };
}

bool to_number(const std::string & text, float & value) {
    char * end = nullptr;
    value = std::strtof(text.c_str(), &end);
    return !text.empty() && *end == 0 && std::isfinite(value);
}

Setter number(float Arguments::* field, float low, float high) {
    return [=](Arguments & arguments, const std::string & text) {
        float value;
        bool good = to_number(text, value) && value >= low && value <= high;
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
    arguments.n_ctx = static_cast<uint32_t>(value == 0 ? 0 : std::max<long long>(value, 8)); // as llama.cpp has it
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

// Names as in --samplers, separated by semicolons, with those that llama.cpp takes as well.
bool set_samplers(Arguments & arguments, const std::string & text) {
    static const std::map<std::string, SamplerType> types = {
        {"penalties", SamplerType::penalties},     {"dry", SamplerType::dry},
        {"top_n_sigma", SamplerType::top_n_sigma}, {"top-n-sigma", SamplerType::top_n_sigma},
        {"top_k", SamplerType::top_k},             {"top-k", SamplerType::top_k},
        {"typ_p", SamplerType::typical_p},         {"typ-p", SamplerType::typical_p},
        {"typ", SamplerType::typical_p},           {"typical", SamplerType::typical_p},
        {"typical_p", SamplerType::typical_p},     {"typical-p", SamplerType::typical_p},
        {"top_p", SamplerType::top_p},             {"top-p", SamplerType::top_p},
        {"nucleus", SamplerType::top_p},           {"min_p", SamplerType::min_p},
        {"min-p", SamplerType::min_p},             {"xtc", SamplerType::xtc},
        {"temperature", SamplerType::temperature}, {"temp", SamplerType::temperature}};
    arguments.samplers.clear();
    for (size_t at = 0; at < text.size();) {
        size_t end = std::min(text.find(';', at), text.size());
        auto found = types.find(text.substr(at, end - at));
        if (found == types.end() && end > at) {
            return false;
        }
        if (found != types.end()) {
            arguments.samplers.push_back(found->second);
        }
        at = end + 1;
    }
    return true;
}

bool set_sampler_letters(Arguments & arguments, const std::string & text) {
    arguments.samplers.clear();
    for (char letter : text) {
        if (std::string_view("edskypmxt").find(letter) == std::string_view::npos) {
            return false;
        }
        arguments.samplers.push_back(static_cast<SamplerType>(letter));
    }
    return true;
}

bool add_dry_breaker(Arguments & arguments, const std::string & text) {
    if (!arguments.dry_breakers) {
        arguments.dry_breakers.emplace(); // the first one takes the place of llama.cpp's
    }
    if (text != "none") {
        arguments.dry_breakers->push_back(text);
    }
    return true;
}

const float no_limit = 1e9f;

// TOKEN+BIAS or TOKEN-BIAS: the token's number, and what is added to or taken from its logit.
bool add_logit_bias(Arguments & arguments, const std::string & text) {
    size_t sign = text.find_first_of("+-");
    long long token;
    if (sign == std::string::npos || !to_integer(text.substr(0, sign), 0, INT32_MAX, token)) {
        return false;
    }
    float bias;
    if (text.substr(sign + 1) == "inf") {
        bias = no_limit; // finite, for what is reckoned with it
    } else if (!to_number(text.substr(sign + 1), bias)) {
        return false;
    }
    arguments.logit_bias[static_cast<int32_t>(token)] = text[sign] == '-' ? -bias : bias;
    return true;
}

// An argument of the command line, under all its names.
struct Option {
    enum class Values { none, one, on_or_off } values; // on_or_off: a value follows if it is one of these, else none
    Setter set;                                        // of an argument that is carried out
    std::string why_not;                               // of one that is refused
};

Option value(Setter set) { return {Option::Values::one, std::move(set), ""}; }

Option flag(bool Arguments::* field, bool becomes = true) {
    return {Option::Values::none,
            [=](Arguments & arguments, const std::string &) {
                arguments.*field = becomes;
                return true;
            },
            ""};
}

// What a canister does anyway.
Option as_it_is() {
    return {Option::Values::none, [](Arguments &, const std::string &) { return true; }, ""};
}

// Taken, and without effect here: it concerns the terminal or machine that a canister does not have, or how fast
// something is done.
Option idle(Option::Values values = Option::Values::none) { return {values, nullptr, ""}; }

Option refused(std::string why, Option::Values values = Option::Values::one) { return {values, nullptr, std::move(why)}; }

const std::map<std::string, Option> & options() {
    constexpr auto none = Option::Values::none, one = Option::Values::one, on_or_off = Option::Values::on_or_off;
    const std::string no_terminal = "a canister has no terminal to talk at: give the whole prompt with -p";
    const std::string no_files =
        "a canister has no files of its caller's: give the text itself, the prompt with -p, a grammar with --grammar";
    const std::string no_download = "a canister downloads nothing: upload the model with file_upload_chunk";
    const std::string no_schema = "a schema is not made into a grammar here: give the grammar with --grammar";
    const std::string no_template = "chat templates are not applied here: give -p the prompt in the model's own form";
    const std::string no_other_model = "a canister has one model, which load_model takes from a gguf as it is";
    const std::string as_trained = "the context is as the model was trained";
    const std::string not_this_tool = "it belongs to another of llama.cpp's programs than the one that completes a text";
    static const std::map<std::string, Option> all = {
        // What is done with which text.
        {"-m --model", value(string(&Arguments::model))},
        {"-p --prompt", value(string(&Arguments::prompt))},
        {"-e --escape", flag(&Arguments::escape)},
        {"--no-escape", flag(&Arguments::escape, false)},
        {"--prompt-cache", value(string(&Arguments::prompt_cache))},
        {"--prompt-cache-all", flag(&Arguments::cache_all)},
        {"--prompt-cache-ro", flag(&Arguments::cache_read_only)},
        {"-n --predict --n-predict", value(integer(&Arguments::n_predict))},
        {"-r --reverse-prompt", value(add_stop)},
        {"-sp --special", flag(&Arguments::special)},
        {"--ignore-eos", flag(&Arguments::ignore_eos)},
        {"--log-file", value(string(&Arguments::log_file))},
        {"--log-disable", flag(&Arguments::log_off)},
        // The context.
        {"-c --ctx-size", value(set_n_ctx)},
        {"-ctk --cache-type-k", value(set_type_k)},
        {"--weights-per-message", value(set_weights_per_message)},
        // Choosing a token.
        {"--samplers", value(set_samplers)},
        {"--sampler-seq --sampling-seq", value(set_sampler_letters)},
        {"-s --seed", value(set_seed)},
        {"--temp --temperature", value(number(&Arguments::temp, -no_limit, no_limit))},
        {"--dynatemp-range", value(number(&Arguments::dynatemp_range, -no_limit, no_limit))},
        {"--dynatemp-exp", value(number(&Arguments::dynatemp_exponent, -no_limit, no_limit))},
        {"--top-k", value(integer(&Arguments::top_k))},
        {"--top-p", value(number(&Arguments::top_p, 0, 1))},
        {"--min-p", value(number(&Arguments::min_p, 0, 1))},
        {"--top-nsigma --top-n-sigma", value(number(&Arguments::top_n_sigma, -no_limit, no_limit))},
        {"--typical --typical-p", value(number(&Arguments::typical_p, 0, 1))},
        {"--xtc-probability", value(number(&Arguments::xtc_probability, 0, 1))},
        {"--xtc-threshold", value(number(&Arguments::xtc_threshold, 0, 1))},
        {"--repeat-last-n", value(integer(&Arguments::repeat_last_n, -1))},
        {"--repeat-penalty", value(number(&Arguments::repeat_penalty, 1e-6f, no_limit))},
        {"--presence-penalty", value(number(&Arguments::presence_penalty, -no_limit, no_limit))},
        {"--frequency-penalty", value(number(&Arguments::frequency_penalty, -no_limit, no_limit))},
        {"--dry-multiplier", value(number(&Arguments::dry_multiplier, 0, no_limit))},
        {"--dry-base", value(number(&Arguments::dry_base, -no_limit, no_limit))},
        {"--dry-allowed-length", value(integer(&Arguments::dry_allowed_length, 0))},
        {"--dry-penalty-last-n", value(integer(&Arguments::dry_penalty_last_n, -1))},
        {"--dry-sequence-breaker", value(add_dry_breaker)},
        {"--mirostat", value(integer(&Arguments::mirostat, 0, 2))},
        {"--mirostat-lr", value(number(&Arguments::mirostat_eta, 0, no_limit))},
        {"--mirostat-ent", value(number(&Arguments::mirostat_tau, 0, no_limit))},
        {"-l --logit-bias", value(add_logit_bias)},
        {"--grammar", value(string(&Arguments::grammar))},
        // As it is anyway.
        {"--simple-io --no-display-prompt -no-cnv --no-conversation --no-jinja --no-perf --no-warmup", as_it_is()},
        {"--no-mmap --no-kv-offload -nkvo --no-context-shift --no-op-offload --offline", as_it_is()},
        // Without effect: terminal and log.
        {"--display-prompt", idle()},
        {"-co --color", idle(on_or_off)},
        {"--verbose-prompt", idle()},
        {"-ptc --print-token-count", idle(one)},
        {"--perf", idle()},
        {"--show-timings --no-show-timings", idle()},
        {"-v --verbose --log-verbose", idle()},
        {"-lv --verbosity --log-verbosity", idle(one)},
        {"--log-colors", idle(on_or_off)},
        {"--log-prefix --no-log-prefix --log-timestamps --no-log-timestamps --log-jsonl --no-log-jsonl", idle()},
        {"--skip-chat-parsing --no-skip-chat-parsing", idle()},
        // Without effect: the machine, and how the work is divided.
        {"--warmup", idle()},
        {"--mmap --mlock -dio --direct-io -ndio --no-direct-io", idle()},
        {"-lm --load-mode -lzm --lazy-mode", idle(one)},
        {"-t --threads -tb --threads-batch", idle(one)},
        {"-C --cpu-mask -Cr --cpu-range --cpu-strict --prio --poll", idle(one)},
        {"-Cb --cpu-mask-batch -Crb --cpu-range-batch --cpu-strict-batch --prio-batch --poll-batch", idle(one)},
        {"-b --batch-size -ub --ubatch-size -np --parallel -ns --sequences", idle(one)},
        {"-cb --cont-batching -nocb --no-cont-batching", idle()},
        {"--numa -dev --device -ot --override-tensor -ncmoe --n-cpu-moe -ncffn --n-cpu-ffn", idle(one)},
        {"-ngl --gpu-layers --n-gpu-layers -sm --split-mode -ts --tensor-split -mg --main-gpu", idle(one)},
        {"-fit --fit -fitt --fit-target -fitc --fit-ctx", idle(one)},
        {"-cmoe --cpu-moe -kvo --kv-offload --repack -nr --no-repack --no-host", idle()},
        {"--op-offload -bs --backend-sampling --check-tensors", idle()},
        // Without effect: the cache. Attention is exact, values stay F32, and a full context ends the text.
        {"-fa --flash-attn", idle(on_or_off)},
        {"-ctv --cache-type-v -dt --defrag-thold", idle(one)},
        {"--swa-full -kvu --kv-unified -no-kvu --no-kv-unified", idle()},
        {"-dkvc --dump-kv-cache", idle()},
        {"--keep", idle(one)},
        {"--context-shift", idle()},
        // Refused: left out, they would give another text than the caller expects.
        {"-cnv --conversation -i --interactive -if --interactive-first -st --single-turn", refused(no_terminal, none)},
        {"-mli --multiline-input --in-prefix-bos", refused(no_terminal, none)},
        {"--in-prefix --in-suffix", refused(no_terminal)},
        {"-sys --system-prompt --chat-template --chat-template-file -sysf --system-prompt-file", refused(no_template)},
        {"--jinja --reasoning-preserve --no-reasoning-preserve", refused(no_template, none)},
        {"--reasoning-format -rea --reasoning --reasoning-effort --reasoning-budget", refused(no_template)},
        {"--reasoning-budget-message", refused(no_template)},
        {"-f --file -bf --binary-file --grammar-file", refused(no_files)},
        {"-j --json-schema -jf --json-schema-file", refused(no_schema)},
        {"--adaptive-target --adaptive-decay", refused("this way of choosing is not kept from call to call here")},
        {"-gan --grp-attn-n -gaw --grp-attn-w", refused(as_trained)},
        {"--rope-scaling --rope-scale --rope-freq-base --rope-freq-scale", refused(as_trained)},
        {"--yarn-orig-ctx --yarn-ext-factor --yarn-attn-factor --yarn-beta-slow --yarn-beta-fast", refused(as_trained)},
        {"--override-kv --lora --lora-scaled --control-vector --control-vector-scaled", refused(no_other_model)},
        {"--control-vector-layer-range", refused(no_other_model)},
        {"-mm --mmproj --image-min-tokens --image-max-tokens", refused(no_other_model)},
        {"--mmproj-offload --no-mmproj-offload", refused(no_other_model, none)},
        {"-mu --model-url -dr --docker-repo -hf -hfr --hf-repo -hff --hf-file -hft --hf-token", refused(no_download)},
        {"-mmu --mmproj-url --rpc", refused(no_download)},
        {"-h --help --usage --version -cl --cache-list --completion-bash --list-devices", refused(not_this_tool, none)},
        {"--video-fps --video-timestamp-interval --video-ffmpeg-dir", refused(not_this_tool)},
        {"--spec-draft-type-k -ctkd --cache-type-k-draft --spec-draft-type-v -ctvd --cache-type-v-draft",
         refused(not_this_tool)},
    };
    static const std::map<std::string, Option> by_name = [] {
        std::map<std::string, Option> found;
        for (const auto & [names, option] : all) {
            for (size_t at = 0; at < names.size();) {
                size_t end = std::min(names.find(' ', at), names.size());
                found.emplace(names.substr(at, end - at), option);
                at = end + 1;
            }
        }
        return found;
    }();
    return by_name;
}

bool is_on_or_off(const std::string & text) {
    for (const char * word : {"on", "off", "auto", "enabled", "disabled", "true", "false", "0", "1", "-1"}) {
        if (text == word) {
            return true;
        }
    }
    return false;
}

// llama.cpp takes --n_predict for --n-predict.
std::string with_dashes(std::string name) {
    if (name.compare(0, 2, "--") == 0) {
        std::replace(name.begin(), name.end(), '_', '-');
    }
    return name;
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
        auto found = options().find(with_dashes(name));
        if (found == options().end()) {
            bool joined = name.compare(0, 1, "-") == 0 && name.find('=') != std::string::npos;
            return "unknown argument '" + name + "'" + (joined ? ": a name and its value are two words" : "");
        }
        const Option & option = found->second;
        if (!option.why_not.empty()) {
            return "the argument " + name + " cannot be used: " + option.why_not;
        }
        bool has_value = option.values == Option::Values::one ||
                         (option.values == Option::Values::on_or_off && i + 1 < args.size() && is_on_or_off(args[i + 1]));
        if (has_value && ++i == args.size()) {
            return "the argument " + name + " wants a value after it";
        }
        if (!option.set) {
            into.idle.push_back(has_value ? name + " " + args[i] : name);
        } else if (!option.set(into, has_value ? args[i] : "")) {
            return "the argument " + name + " cannot be '" + args[i] + "'";
        }
    }
    if (into.escape) {
        into.prompt = without_escapes(into.prompt);
        for (std::string & stop : into.stops) {
            stop = without_escapes(stop);
        }
        for (size_t i = 0; into.dry_breakers && i < into.dry_breakers->size(); i++) {
            (*into.dry_breakers)[i] = without_escapes((*into.dry_breakers)[i]);
        }
    }
    if (into.log_off) {
        into.log_file.clear();
    }
    return std::nullopt;
}
