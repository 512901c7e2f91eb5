// Candid (https://github.com/dfinity/candid/blob/master/spec/Candid.md), as much as this canister's interface needs: arguments
// are (), a text, or one record of text, vec text, blob and fixed-size naturals; results are built field by field.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace candid {

// The number by which a label is known on the wire (specification, "Records").
constexpr uint32_t hash(std::string_view label) {
    uint32_t value = 0;
    for (char c : label) {
        value = value * 223 + static_cast<unsigned char>(c);
    }
    return value;
}

bool is_utf8(std::string_view text);

// ---- arguments ----

// One field of the record a method takes. `value` is where it goes; a missing field is an error, unless it is
// optional.
struct Field {
    enum class Type { text, texts, blob, nat16, nat64, opt_nat64 };
    std::string_view label;
    Type type;
    void * value; // std::string, std::vector<std::string>, std::string (bytes), uint16_t, uint64_t or std::optional<uint64_t>
};

inline Field text(std::string_view label, std::string & value) { return {label, Field::Type::text, &value}; }
inline Field texts(std::string_view label, std::vector<std::string> & value) {
    return {label, Field::Type::texts, &value};
}
inline Field blob(std::string_view label, std::string & value) { return {label, Field::Type::blob, &value}; }
inline Field nat16(std::string_view label, uint16_t & value) { return {label, Field::Type::nat16, &value}; }
inline Field nat64(std::string_view label, uint64_t & value) { return {label, Field::Type::nat64, &value}; }
inline Field opt_nat64(std::string_view label, std::optional<uint64_t> & value) {
    return {label, Field::Type::opt_nat64, &value};
}

// Decode a message whose first argument is a record with at least these fields; further fields and arguments are
// skipped, as subtyping allows. Traps, naming what does not fit, if the bytes are not such a message.
void decode_record(std::string_view message, const std::vector<Field> & fields);

// ---- results ----

// A value with its type, ready to be written.
class Value {
public:
    static Value text(std::string_view value);
    static Value blob(std::string_view value);
    static Value boolean(bool value);
    static Value nat16(uint16_t value);
    static Value nat64(uint64_t value);
    static Value opt(Value value); // one that is there
    static Value record(std::vector<std::pair<std::string, Value>> fields);
    // A vec of records of one shape; `example` gives the type of an empty one.
    static Value vec(const Value & example, const std::vector<Value> & elements);
    // One case of a variant. A variant type of a single case is a subtype of every variant type that has it.
    static Value variant(std::string_view label, Value content);

    // The message with this value as its only result.
    std::string message() const;

private:
    // `opcode` as on the wire; `fields` of records and variants by hash, in order; the only "field" of a vec or an opt is
    // its element.
    struct Type {
        int opcode;
        std::vector<std::pair<uint32_t, Type>> fields;
    };

    Value(Type type, std::string bytes) : type_(std::move(type)), bytes_(std::move(bytes)) {}
    static int table_entry(const Type & type, std::vector<std::string> & table);

    Type type_;
    std::string bytes_;
};

} // namespace candid
