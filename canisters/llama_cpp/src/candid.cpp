#include "candid.h"

#include "trap.h"

#include <algorithm>
#include <cstring>

namespace candid {

namespace {

// Opcodes of types (specification, "Type table").
enum Opcode : int {
    op_null = -1, op_bool = -2, op_nat = -3, op_int = -4, op_nat8 = -5, op_nat16 = -6, op_nat32 = -7, op_nat64 = -8,
    op_int8 = -9, op_int16 = -10, op_int32 = -11, op_int64 = -12, op_float32 = -13, op_float64 = -14, op_text = -15,
    op_reserved = -16, op_empty = -17, op_opt = -18, op_vec = -19, op_record = -20, op_variant = -21, op_func = -22,
    op_service = -23, op_principal = -24,
};

constexpr std::string_view magic = "DIDL";
constexpr int max_depth = 100;               // of nested values that are skipped
constexpr uint64_t max_empty_elements = 1'000'000; // of vecs whose elements take no bytes: else a few bytes cost any time
constexpr uint64_t max_type_size = 10'000;   // entries of the type table, fields of an entry

[[noreturn]] void fail(std::string_view what) {
    trap("the argument is not the Candid this method takes: " + std::string(what));
}

class Reader {
public:
    explicit Reader(std::string_view bytes) : bytes_(bytes) {}

    std::string_view take(uint64_t size) {
        if (size > bytes_.size() - at_) {
            fail("it ends too early");
        }
        std::string_view taken = bytes_.substr(at_, size);
        at_ += size;
        return taken;
    }

    uint8_t byte() { return static_cast<uint8_t>(take(1)[0]); }

    uint64_t leb() {
        uint64_t value = 0;
        for (int shift = 0; shift < 64; shift += 7) {
            uint8_t b = byte();
            value |= static_cast<uint64_t>(b & 0x7f) << shift;
            if (b < 0x80) {
                if (shift == 63 && b > 1) {
                    break;
                }
                return value;
            }
        }
        fail("a number is too large");
    }

    int64_t sleb() {
        int64_t value = 0;
        for (int shift = 0; shift < 63; shift += 7) {
            uint8_t b = byte();
            value |= static_cast<int64_t>(b & 0x7f) << shift;
            if (b < 0x80) {
                if (b & 0x40) {
                    value -= int64_t(1) << (shift + 7);
                }
                return value;
            }
        }
        fail("a type is out of range");
    }

    void skip_long_leb() {
        while (byte() >= 0x80) {
        }
    }

    template <class Number>
    Number fixed() {
        Number value;
        std::memcpy(&value, take(sizeof value).data(), sizeof value); // both sides are little-endian
        return value;
    }

    std::string_view text() {
        std::string_view taken = take(leb());
        if (!is_utf8(taken)) {
            fail("a text is not UTF-8");
        }
        return taken;
    }

    bool at_end() const { return at_ == bytes_.size(); }

private:
    std::string_view bytes_;
    size_t at_ = 0;
};

struct Entry {
    int64_t opcode = 0;
    std::vector<std::pair<uint32_t, int64_t>> fields; // of record and variant; of opt and vec the only one
};

class Message {
public:
    explicit Message(std::string_view bytes) : reader_(bytes) {
        if (bytes.substr(0, magic.size()) != magic) {
            fail("it does not begin with DIDL");
        }
        reader_.take(magic.size());
        read_table();
        uint64_t count = reader_.leb();
        if (count > max_type_size) {
            fail("too many arguments");
        }
        for (uint64_t i = 0; i < count; i++) {
            arguments_.push_back(checked(reader_.sleb()));
        }
    }

    void decode(const std::vector<Field> & fields) {
        const Entry * record = arguments_.empty() ? nullptr : entry(arguments_[0]);
        if (!record || record->opcode != op_record) {
            fail("a record is wanted");
        }
        std::vector<bool> seen(fields.size(), false);
        for (auto [label, type] : record->fields) {
            bool wanted = false;
            for (size_t i = 0; i < fields.size(); i++) {
                if (hash(fields[i].label) == label) {
                    read(fields[i], type);
                    wanted = seen[i] = true;
                }
            }
            if (!wanted) {
                skip(type, 0);
            }
        }
        for (size_t i = 0; i < fields.size(); i++) {
            if (!seen[i] && fields[i].type != Field::Type::opt_nat64) {
                fail("the field '" + std::string(fields[i].label) + "' is missing");
            }
        }
        for (size_t i = 1; i < arguments_.size(); i++) {
            skip(arguments_[i], 0);
        }
        if (!reader_.at_end()) {
            fail("there are bytes after the last value");
        }
    }

private:
    void read_table() {
        uint64_t count = reader_.leb();
        if (count > max_type_size) {
            fail("too many types");
        }
        table_.resize(count);
        for (Entry & e : table_) {
            e.opcode = reader_.sleb();
            switch (e.opcode) {
                case op_opt:
                case op_vec:
                    e.fields.emplace_back(0, reader_.sleb());
                    break;
                case op_record:
                case op_variant:
                    read_fields(e);
                    break;
                case op_func:
                    for (int lists = 0; lists < 2; lists++) {
                        for (uint64_t n = reader_.leb(); n > 0; n--) {
                            reader_.sleb();
                        }
                    }
                    reader_.take(reader_.leb()); // annotations, one byte each
                    break;
                case op_service:
                    for (uint64_t n = reader_.leb(); n > 0; n--) {
                        reader_.text();
                        reader_.sleb();
                    }
                    break;
                default: // a type of a later version: its length, then its bytes
                    if (e.opcode >= op_principal) {
                        fail("an entry of the type table is no composite type");
                    }
                    reader_.take(reader_.leb());
            }
        }
        for (const Entry & e : table_) {
            for (auto [label, type] : e.fields) {
                checked(type);
            }
        }
    }

    void read_fields(Entry & e) {
        uint64_t count = reader_.leb();
        if (count > max_type_size) {
            fail("too many fields");
        }
        for (uint64_t i = 0; i < count; i++) {
            uint64_t label = reader_.leb();
            if (label > UINT32_MAX || (i > 0 && label <= e.fields.back().first)) {
                fail("the fields of a type are not in order");
            }
            int64_t type = reader_.sleb();
            e.fields.emplace_back(static_cast<uint32_t>(label), type);
        }
    }

    int64_t checked(int64_t type) const {
        bool is_entry = type >= 0 && static_cast<uint64_t>(type) < table_.size();
        bool is_primitive = (type <= op_null && type >= op_empty) || type == op_principal;
        if (!is_entry && !is_primitive) {
            fail("it uses a type that is not there");
        }
        return type;
    }

    const Entry * entry(int64_t type) const { return type < 0 ? nullptr : &table_[static_cast<size_t>(type)]; }

    bool is_vec_of(int64_t type, int64_t element) const {
        const Entry * e = entry(type);
        return e && e->opcode == op_vec && e->fields[0].second == element;
    }

    void read(const Field & field, int64_t type) {
        auto must_be = [&](bool is_so, const char * name) {
            if (!is_so) {
                fail("the field '" + std::string(field.label) + "' must be a " + name);
            }
        };
        switch (field.type) {
            case Field::Type::text:
                must_be(type == op_text, "text");
                *static_cast<std::string *>(field.value) = reader_.text();
                break;
            case Field::Type::blob:
                must_be(is_vec_of(type, op_nat8), "vec nat8");
                *static_cast<std::string *>(field.value) = reader_.take(reader_.leb());
                break;
            case Field::Type::texts: {
                const Entry * e = entry(type);
                must_be(e && e->opcode == op_vec, "vec text");
                uint64_t count = reader_.leb();
                must_be(count == 0 || e->fields[0].second == op_text, "vec text");
                auto & texts = *static_cast<std::vector<std::string> *>(field.value);
                for (texts.clear(); count > 0; count--) {
                    texts.emplace_back(reader_.text());
                }
                break;
            }
            case Field::Type::nat16:
                must_be(type == op_nat16, "nat16");
                *static_cast<uint16_t *>(field.value) = reader_.fixed<uint16_t>();
                break;
            case Field::Type::nat64:
                must_be(type == op_nat64, "nat64");
                *static_cast<uint64_t *>(field.value) = reader_.fixed<uint64_t>();
                break;
            case Field::Type::opt_nat64: {
                const Entry * e = entry(type);
                must_be(type == op_null || (e && e->opcode == op_opt && e->fields[0].second == op_nat64), "opt nat64");
                if (type != op_null && reader_.byte() != 0) {
                    *static_cast<std::optional<uint64_t> *>(field.value) = reader_.fixed<uint64_t>();
                }
                break;
            }
        }
    }

    void skip(int64_t type, int depth) {
        if (depth > max_depth) {
            fail("its values are nested too deeply");
        }
        const Entry * e = entry(type);
        switch (e ? e->opcode : type) {
            case op_null:
            case op_reserved:
                count_empty();
                break;
            case op_bool:
            case op_nat8:
            case op_int8:
                reader_.take(1);
                break;
            case op_nat16:
            case op_int16:
                reader_.take(2);
                break;
            case op_nat32:
            case op_int32:
            case op_float32:
                reader_.take(4);
                break;
            case op_nat64:
            case op_int64:
            case op_float64:
                reader_.take(8);
                break;
            case op_nat:
            case op_int:
                reader_.skip_long_leb();
                break;
            case op_text:
                reader_.text();
                break;
            case op_principal:
                skip_reference();
                break;
            case op_opt:
                if (reader_.byte() != 0) {
                    skip(e->fields[0].second, depth + 1);
                }
                break;
            case op_vec:
                for (uint64_t n = reader_.leb(); n > 0; n--) {
                    skip(e->fields[0].second, depth + 1);
                }
                break;
            case op_record:
                count_empty();
                for (auto [label, field] : e->fields) {
                    skip(field, depth + 1);
                }
                break;
            case op_variant: {
                uint64_t which = reader_.leb();
                if (which >= e->fields.size()) {
                    fail("a variant has no such case");
                }
                skip(e->fields[which].second, depth + 1);
                break;
            }
            case op_service:
                skip_reference();
                break;
            case op_func:
                if (reader_.byte() != 1) {
                    fail("an opaque reference");
                }
                skip_reference();
                reader_.text();
                break;
            default:
                fail("a value of a type that has none");
        }
    }

    void skip_reference() {
        if (reader_.byte() != 1) {
            fail("an opaque reference");
        }
        reader_.take(reader_.leb());
    }

    void count_empty() {
        if (++empty_values_ > max_empty_elements) {
            fail("too many values that take no bytes");
        }
    }

    Reader reader_;
    std::vector<Entry> table_;
    std::vector<int64_t> arguments_;
    uint64_t empty_values_ = 0;
};

void put_leb(std::string & out, uint64_t value) {
    do {
        uint8_t b = value & 0x7f;
        value >>= 7;
        out.push_back(static_cast<char>(value ? b | 0x80 : b));
    } while (value);
}

void put_sleb(std::string & out, int64_t value) {
    while (true) {
        uint8_t b = value & 0x7f;
        value >>= 7;
        bool last = (value == 0 && !(b & 0x40)) || (value == -1 && (b & 0x40));
        out.push_back(static_cast<char>(last ? b : b | 0x80));
        if (last) {
            return;
        }
    }
}

template <class Number>
std::string little_endian(Number value) {
    return std::string(reinterpret_cast<const char *>(&value), sizeof value);
}

std::string with_length(std::string_view bytes) {
    std::string out;
    out.reserve(bytes.size() + 10);
    put_leb(out, bytes.size());
    out += bytes;
    return out;
}

} // namespace

bool is_utf8(std::string_view text) {
    const auto * p = reinterpret_cast<const unsigned char *>(text.data());
    const auto * end = p + text.size();
    while (p < end) {
        if (*p < 0x80) {
            p++;
            continue;
        }
        int more = *p >= 0xc2 && *p <= 0xdf ? 1 : (*p & 0xf0) == 0xe0 ? 2 : *p >= 0xf0 && *p <= 0xf4 ? 3 : 0;
        if (more == 0 || end - p <= more) {
            return false;
        }
        bool too_low = (p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xf0 && p[1] < 0x90);
        bool too_high = (p[0] == 0xed && p[1] > 0x9f) || (p[0] == 0xf4 && p[1] > 0x8f);
        if (too_low || too_high) {
            return false;
        }
        for (int i = 1; i <= more; i++) {
            if ((p[i] & 0xc0) != 0x80) {
                return false;
            }
        }
        p += more + 1;
    }
    return true;
}

void decode_record(std::string_view message, const std::vector<Field> & fields) {
    Message(message).decode(fields);
}

Value Value::text(std::string_view value) { return {{op_text, {}}, with_length(value)}; }

Value Value::blob(std::string_view value) { return {{op_vec, {{0, {op_nat8, {}}}}}, with_length(value)}; }

Value Value::boolean(bool value) { return {{op_bool, {}}, std::string(1, value ? 1 : 0)}; }

Value Value::nat16(uint16_t value) { return {{op_nat16, {}}, little_endian(value)}; }

Value Value::nat64(uint64_t value) { return {{op_nat64, {}}, little_endian(value)}; }

Value Value::opt(Value value) { return {{op_opt, {{0, std::move(value.type_)}}}, std::string(1, 1) + value.bytes_}; }

Value Value::record(std::vector<std::pair<std::string, Value>> fields) {
    std::sort(fields.begin(), fields.end(),
              [](const auto & a, const auto & b) { return hash(a.first) < hash(b.first); });
    Value value{{op_record, {}}, ""};
    for (auto & [label, field] : fields) {
        value.type_.fields.emplace_back(hash(label), std::move(field.type_));
        value.bytes_ += field.bytes_;
    }
    return value;
}

Value Value::vec(const Value & example, const std::vector<Value> & elements) {
    Value value{{op_vec, {{0, example.type_}}}, ""};
    put_leb(value.bytes_, elements.size());
    for (const Value & element : elements) {
        value.bytes_ += element.bytes_;
    }
    return value;
}

Value Value::variant(std::string_view label, Value content) {
    std::string which(1, 0);
    return {{op_variant, {{hash(label), std::move(content.type_)}}}, which + content.bytes_};
}

// The type as it is referred to on the wire: its opcode or its place in the table, to which it is added if need be.
int Value::table_entry(const Type & type, std::vector<std::string> & table) {
    if (type.opcode >= op_empty) {
        return type.opcode;
    }
    std::string entry;
    put_sleb(entry, type.opcode);
    if (type.opcode == op_vec || type.opcode == op_opt) {
        put_sleb(entry, table_entry(type.fields[0].second, table));
    } else {
        put_leb(entry, type.fields.size());
        for (const auto & [label, field] : type.fields) {
            int reference = table_entry(field, table);
            put_leb(entry, label);
            put_sleb(entry, reference);
        }
    }
    auto known = std::find(table.begin(), table.end(), entry);
    if (known == table.end()) {
        table.push_back(entry);
        return static_cast<int>(table.size()) - 1;
    }
    return static_cast<int>(known - table.begin());
}

std::string Value::message() const {
    std::vector<std::string> table;
    int own = table_entry(type_, table);
    std::string out(magic);
    put_leb(out, table.size());
    for (const std::string & entry : table) {
        out += entry;
    }
    put_leb(out, 1);
    put_sleb(out, own);
    return out + bytes_;
}

} // namespace candid
