#include "principal.h"

#include <cstdint>

namespace {

uint32_t crc32(std::string_view bytes) {
    uint32_t crc = ~0u;
    for (char c : bytes) {
        crc ^= static_cast<unsigned char>(c);
        for (int bit = 0; bit < 8; bit++) {
            crc = (crc >> 1) ^ (crc & 1 ? 0xedb88320u : 0);
        }
    }
    return ~crc;
}

std::string base32(std::string_view bytes) {
    std::string out;
    uint32_t bits = 0;
    int count = 0;
    for (char c : bytes) {
        bits = (bits << 8) | static_cast<unsigned char>(c);
        for (count += 8; count >= 5; count -= 5) {
            out.push_back("abcdefghijklmnopqrstuvwxyz234567"[(bits >> (count - 5)) & 31]);
        }
    }
    if (count > 0) {
        out.push_back("abcdefghijklmnopqrstuvwxyz234567"[(bits << (5 - count)) & 31]);
    }
    return out;
}

} // namespace

std::string principal_text(std::string_view bytes) {
    uint32_t crc = crc32(bytes);
    std::string with_crc;
    for (int shift = 24; shift >= 0; shift -= 8) {
        with_crc.push_back(static_cast<char>(crc >> shift));
    }
    with_crc += bytes;
    std::string out;
    for (char c : base32(with_crc)) {
        if (out.size() % 6 == 5) {
            out.push_back('-');
        }
        out.push_back(c);
    }
    return out;
}
